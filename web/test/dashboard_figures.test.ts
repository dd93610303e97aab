// Scales, grades, words and places of the dashboard.

import { expect, test, vi } from "vitest";
import { alertWord, clock, gradeLoss, gradeMos, party, percent, span, stateWord, totalWord } from "../src/dashboard/format";
import { moment, readLiveCall, readSeries, readServer } from "../src/dashboard/model";
import { parsePlace } from "../src/dashboard/place";
import { areaPath, linePath, nearest, stretches, ticks } from "../src/dashboard/scale";
import { serverWords } from "../src/dashboard/server_words";

vi.stubGlobal("document", { getElementById: () => null });
const { cells, standing } = await import("../src/dashboard/agents_panel");
const { gradeCall, ordered } = await import("../src/dashboard/calls_panel");

test("an axis has round lines and room for the highest value", () => {
  expect(ticks(0, 200, 2)).toMatchObject({ from: 0, at: [0, 100, 200] });
  expect(ticks(3, 4.5, 2)).toMatchObject({ from: 3, at: [3, 4] });
  for (const [least, most] of [[0, 0], [0, 0.013], [0, 987], [3, 4.41], [2.2, 4.4]] as const) {
    const { from, to, at } = ticks(least, most);
    expect(from).toBeLessThanOrEqual(least);
    expect(to).toBeGreaterThanOrEqual(most);
    expect(at.length).toBeGreaterThanOrEqual(2);
    expect(at.every((value) => value >= from && value <= to)).toBe(true);
  }
});

test("a line has a hole where nobody has measured, and one value is a dot", () => {
  const [a, b, c] = [{ x: 0, y: 1 }, { x: 1, y: 2 }, { x: 3, y: 4 }];
  expect(stretches([null, a!, b!, null, c!])).toEqual([[a, b], [c]]);
  expect(linePath([a!, b!])).toBe("M0 1L1 2");
  expect(linePath([c!])).toBe("M3 4h0");
  expect(areaPath([a!, b!], 9)).toBe("M0 1L1 2V9H0Z");
  expect([nearest([0, 10, 20], -5), nearest([0, 10, 20], 14), nearest([0, 10, 20], 16), nearest([], 3)]).toEqual([0, 1, 2, 0]);
});

test("every agent of a wall has a cell in the room there is", () => {
  for (const [all, width, height] of [[1, 600, 500], [60, 600, 500], [500, 560, 480], [2000, 560, 480]] as const) {
    const { cell, row } = cells(all, width, height);
    const columns = Math.floor((width + 3) / (cell + 3));
    expect(Math.ceil(all / columns) * (row + 3) - 3).toBeLessThanOrEqual(height);
  }
});

test("numbers as people say them", () => {
  expect([span(412), span(4300), span(12_400), span(192_000), span(180_000), span(7_500_000)]).toEqual(["412 ms", "4.3 s", "12 s", "3 min 12 s", "3 min", "2 h 5 min"]);
  expect([clock(7000), clock(723_000), clock(3_723_000), clock(-5)]).toEqual(["0:07", "12:03", "1:02:03", "0:00"]);
  expect([percent(null), percent(0), percent(0.01), percent(2.34), percent(12.3)]).toEqual(["–", "0.0 %", "<0.1 %", "2.3 %", "12 %"]);
  expect([party("sip:600@10.0.0.1"), party("sips:+4930@x;user=phone"), party("600"), party("sip:10.0.0.1")]).toEqual(["600", "+4930", "600", "10.0.0.1"]);
  expect([stateWord("established"), stateWord("some_new_state"), stateWord("")]).toEqual(["Talking", "Some new state", "–"]);
  expect([gradeMos(4.3), gradeMos(3.7), gradeMos(2), gradeMos(null)]).toEqual(["good", "fair", "poor", "none"]);
  expect([gradeLoss(0), gradeLoss(2), gradeLoss(7)]).toEqual(["good", "fair", "poor"]);
});

test("times come as milliseconds, seconds or text", () => {
  expect([moment(1_790_000_000_000), moment(1_790_000_000), moment("2026-09-21T13:33:20Z"), moment("soon"), moment(null)]).toEqual([1_790_000_000_000, 1_790_000_000_000, Date.parse("2026-09-21T13:33:20Z"), null, null]);
});

test("what is missing is nothing, not a fault", () => {
  expect(readLiveCall({})).toMatchObject({ id: "", mos: null, started: null, incoming: false });
  expect(readSeries(null)).toEqual({ stepSeconds: 60, points: [] });
});

test("an agent with trouble at the SIP server is a problem, whatever else it does", () => {
  const agent = { dn: "5001", guest: false, id: "x", dialect: "jsapi", since: null, state: "established", registration: { status: "registered", reason: "", server: "" }, calls: 1 };
  expect(standing(agent)).toBe("talking");
  expect(standing({ ...agent, registration: { status: "refused", reason: "403", server: "" } })).toBe("problem");
  expect(standing({ ...agent, state: "ready", calls: 0, registration: null })).toBe("ready");
  expect(standing({ ...agent, state: "absent" })).toBe("absent");
});

test("the worst call comes first where the worst is wanted", () => {
  const call = (id: string, started: number, mos: number | null, loss: number | null) => readLiveCall({ call_id: id, started, mos, browser_loss_percent: loss, sip_loss_percent: 0 });
  const calls = [call("old", 2e12, 4.3, 0), call("lossy", 2e12 + 1, 4.3, 9), call("poor", 2e12 + 2, 2, 0), call("new", 2e12 + 3, null, null)];
  expect(gradeCall(calls[1]!)).toBe("poor");
  expect(ordered(calls, "worst").map(({ id }) => id)).toEqual(["lossy", "poor", "old", "new"]);
  expect(ordered(calls, "newest").map(({ id }) => id)).toEqual(["new", "poor", "lossy", "old"]);
  expect(ordered(calls, "longest").map(({ id }) => id)).toEqual(["old", "lossy", "poor", "new"]);
});

test("addresses name pages", () => {
  expect(parsePlace("")).toEqual({ page: "overview" });
  expect(parsePlace("#/calls/a%2Fb%40c")).toEqual({ page: "call", id: "a/b@c" });
  expect(parsePlace("#/agents/5001")).toEqual({ page: "agent", dn: "5001" });
  expect(parsePlace("#/calls/%zz")).toEqual({ page: "call", id: "%zz" });
  const search = parsePlace("#/calls?q=600&hours=1");
  expect(search.page === "search" && [search.query.get("q"), search.query.get("hours")]).toEqual(["600", "1"]);
});

test("a SIP server's row tells a name without an address from a server that is down", () => {
  const row = (more: object) => serverWords(readServer({ name: "sip:sip.example:5060", address: "udp:192.0.2.1:5060", up: true, current: true, rtt_ms: 4, reason: null, name_fault: null, ...more }));
  expect(row({})).toMatchObject({ grade: "good", name: "sip.example", told: "4.0 ms", label: "sip.example:5060: up, in use, 4.0 ms" });
  expect(row({ up: false, rtt_ms: null, current: false, reason: "silence" })).toMatchObject({ grade: "poor", told: "down", label: "sip.example:5060: down: silence" });
  expect(row({ up: null, rtt_ms: null })).toMatchObject({ grade: "none", told: "not asked" });
  const fault = "DNS knows no such name";
  expect(row({ address: null, up: false, rtt_ms: null, current: false, reason: fault, name_fault: fault }))
    .toMatchObject({ grade: "poor", told: "no address", label: `sip.example:5060: the name does not resolve: ${fault}` });
  const old = row({ name_fault: fault });
  expect(old.grade).toBe("fair");
  expect(old.label).toContain(`its name does not resolve any more: ${fault}`);
  // Of a gateway that does not tell addresses.
  expect(row({ address: undefined })).toMatchObject({ told: "4.0 ms" });
});

test("every kind of alert that api-spec/events.md names is one for people", () => {
  for (const kind of ["registration", "no_rtp", "ports", "sip_server", "store", "clock", "sign_in"]) expect(alertWord(kind)).toMatch(/^[A-Z]/);
  expect(alertWord("of_tomorrow")).toBe("of tomorrow");
});

test("one of a kind is no plural", () => {
  expect([0, 1, 2].map((value) => `${value} ${totalWord("calls_started", value)}`)).toEqual(["0 calls", "1 call", "2 calls"]);
  expect(totalWord("sign_ins_refused", 1)).toBe("sign-in refused");
});
