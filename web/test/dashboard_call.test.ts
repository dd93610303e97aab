// One call as the dashboard tells it: the sentence, what explains it, the ladder.

import { expect, test } from "vitest";
import { ladder } from "../src/dashboard/ladder";
import { readStory } from "../src/dashboard/model";
import { reasonHeader, why } from "../src/dashboard/why";

const T0 = 1_790_000_000_000;
const stream = { packets: 3000, bytes: 480_000, lost: 0, jitter_ms: 2, mos: 4.3, mos_worst: 4.2 };
const leg = { rtt_ms: 20, rx: stream, tx: stream };
const record = { call: "c1", sip_call_ids: ["x@h"], call_uuid: null, user: "5001", peer: "sip:600@lab", incoming: false, dialect: "jsapi", started: T0, answered: T0 + 400, ended: T0 + 60_400, setup_ms: 400, talked_ms: 60_000, ended_by: "peer", code: 200, reason: "hung up", sip_reason: null, browser: leg, sip: leg, state: "ended" };
type Line = Record<string, unknown>;
const http = (after: number, direction: string, title: string, detail: Line = {}): Line => ({ at: T0 + after, kind: "http", direction, from: direction === "in" ? "browser" : "gateway", to: direction === "in" ? "gateway" : "browser", title, detail });
const sip = (after: number, direction: string, title: string): Line => ({ at: T0 + after, kind: "sip", direction, from: direction === "in" ? "sip" : "gateway", to: direction === "in" ? "gateway" : "sip", title, detail: {} });
const note = (after: number, kind: string, title: string, more: Line = {}): Line => ({ at: T0 + after, kind, direction: null, from: null, to: null, title, detail: {}, ...more });
const rtp = (after: number, from: string, title = `RTP from the ${from}`): Line => note(after, "rtp", title, { direction: "in", from, to: "gateway" });
const MEDIA = [note(410, "ice", "ICE connected"), note(430, "dtls", "DTLS connected"), rtp(450, "browser"), rtp(460, "sip")];
const GOOD = [http(0, "in", "OFFER"), sip(5, "out", "INVITE sip:600@lab"), sip(400, "in", "200 OK"), ...MEDIA, sip(60_390, "in", "BYE"), http(60_395, "out", "BYE")];

function told(change: Line = {}, timeline: Line[] = GOOD, now = T0) {
  return why(readStory({ call: { ...record, ...change }, timeline, quality: [] }), now);
}

test("an ordinary end names who hung up and when", () => {
  expect(told()).toEqual({ verdict: "good", sentence: "The SIP side hung up after 1 min.", findings: [], ends: [{ side: "Browser", said: "did not end it" }, { side: "SIP side", said: "BYE" }] });
  expect(told({ ended_by: "browser" }, [...GOOD.slice(0, -2), http(60_390, "in", "BYE"), sip(60_392, "out", "BYE"), sip(60_395, "in", "200 OK")])).toMatchObject({
    sentence: "The agent hung up after 1 min.", ends: [{ said: "BYE" }, { said: "did not end it" }],
  });
});

test("calls that did not come about say whose doing it was", () => {
  const unanswered = { answered: null, setup_ms: null, talked_ms: null, ended: T0 + 12_000 };
  const of = (change: Line) => told({ ...unanswered, ...change }, [sip(0, "out", "INVITE sip:600@lab")]);
  expect(of({ ended_by: "peer", code: 486, reason: "Busy Here" })).toMatchObject({ verdict: "fault", sentence: "Not answered: the SIP side refused after 12 s: 486 Busy Here." });
  expect(of({ ended_by: "browser", code: 487, reason: "Request Terminated" })).toMatchObject({ verdict: "good", sentence: "Not answered: the agent gave up after 12 s." });
  expect(of({ ended_by: "peer", code: 487, incoming: true })).toMatchObject({ verdict: "good", sentence: "Not answered: the SIP side gave up after 12 s." });
  expect(of({ ended_by: "browser", code: 603, reason: "Decline", incoming: true })).toMatchObject({ sentence: "Not answered: the agent rejected it after 12 s: 603 Decline." });
  expect(of({ ended_by: "network", code: 408, reason: "Request Timeout" })).toMatchObject({ verdict: "fault", sentence: "Not answered: the SIP server did not reply within 12 s: 408 Request Timeout." });
  expect(of({ ended_by: "gateway", code: 488, reason: "no codec in common" }).findings.join()).toContain("no codec");
});

test("both ends' reasons stand beside the sentence", () => {
  const { ends } = told({ sip_reason: "Q.850;cause=17", code: 486, reason: "Busy Here", answered: null, talked_ms: null }, [sip(30, "in", "486 Busy Here")]);
  expect(ends.at(-1)).toEqual({ side: "SIP side", said: "486 Busy Here, Reason: Q.850;cause=17 (user busy)" });
  expect(reasonHeader('Q.850;cause=17;text="Busy"')).toBe('Q.850;cause=17;text="Busy"');
  expect(reasonHeader("SIP;cause=17")).toBe("SIP;cause=17");
});

test("a challenge of digest and a refused re-INVITE did not end the call", () => {
  const timeline = [sip(2, "in", "407 Proxy Authentication Required"), ...GOOD.slice(0, -2), sip(30_000, "in", "491 Request Pending"), http(60_390, "in", "BYE")];
  expect(told({ ended_by: "browser" }, timeline).ends.at(-1)).toEqual({ side: "SIP side", said: "did not end it" });
});

test("a call without sound says which leg of it is missing", () => {
  const without = (...kinds: string[]) => told({}, GOOD.filter(({ kind }) => !kinds.includes(String(kind))));
  expect(without("ice", "dtls", "rtp")).toMatchObject({ verdict: "fault", findings: [expect.stringContaining("no ICE check")] });
  expect(without("dtls", "rtp").findings).toEqual([expect.stringContaining("no DTLS handshake")]);
  expect(without("rtp").findings).toEqual(["No RTP ever came from the browser.", "No RTP ever came from the SIP side."]);
  expect(told({ silent: "sip" }).findings[0]).toContain("Nothing was heard of the SIP side");
  expect(told({}, [...GOOD, note(420, "dtls", "DTLS failed: the certificate is not the SDP's")]).findings[0]).toContain("DTLS handshake");
});

test("loss is told by leg and way", () => {
  const lossy = { ...leg, rx: { ...stream, packets: 950, lost: 50 } };
  expect(told({ browser: lossy })).toMatchObject({ verdict: "fault", findings: ["Packets were lost: 5.0 % from the browser."] });
});

test("a call under way", () => {
  expect(told({ ended: 0, ended_by: "", code: 0, state: "established", talked_ms: null }, GOOD.slice(0, 7), T0 + 30_400)).toMatchObject({
    verdict: "live", sentence: "5001 calls 600: talking for 30 s, answered after 400 ms.",
  });
});

// -------------------------------------------------------------------- the ladder

function rows(timeline: Line[], hidden: string[] = []) {
  return ladder(readStory({ call: record, timeline, quality: [] }).timeline, T0, new Set(hidden));
}

test("messages are arrows between their columns, milestones lie on theirs", () => {
  const drawn = rows([http(0, "in", "OFFER"), sip(5, "out", "INVITE sip:600@lab"), sip(40, "in", "SIP/2.0 180 Ringing"), ...MEDIA, note(470, "state", "established")]);
  expect(drawn.map(({ shape, from, to, label }) => [shape, from, to, label])).toEqual([
    ["arrow", 0, 1, "OFFER"], ["arrow", 1, 2, "INVITE sip:600@lab"], ["arrow", 2, 1, "180 Ringing"], ["mark", 0, 1, "ICE connected"], ["mark", 0, 1, "DTLS connected"],
    ["mark", 0, 1, "RTP from the browser"], ["mark", 1, 2, "RTP from the sip"], ["band", 0, 2, "established"],
  ]);
  expect(drawn.map(({ after }) => after)).toEqual([0, 5, 40, 410, 430, 450, 460, 470]);
});

test("a refusal stands out, a challenge of digest does not", () => {
  expect(rows([sip(0, "in", "407 Proxy Authentication Required"), sip(1, "in", "486 Busy Here")]).map(({ tone }) => tone)).toEqual(["reply", "bad"]);
});

test("holds are a band along the side that holds, until it lets go", () => {
  const hold = (after: number, by: string, held: boolean) => note(after, "hold", "", { detail: { by, held } });
  const held = rows([hold(0, "browser", true), sip(1, "out", "a"), hold(2, "sip", true), hold(3, "browser", false), note(4, "end", "ended")]).map((row) => row.held);
  expect(held).toEqual([
    { browser: true, sip: false }, { browser: true, sip: false }, { browser: true, sip: true }, { browser: false, sip: true }, { browser: false, sip: false },
  ]);
});

test("a pause has a row, and what is filtered out leaves none", () => {
  const timeline = [sip(0, "out", "a"), http(100, "in", "b"), sip(9000, "in", "c")];
  expect(rows(timeline).map(({ label }) => label)).toEqual(["a", "b", "8.9 s later", "c"]);
  expect(rows(timeline, ["sip"]).map(({ label }) => label)).toEqual(["b"]);
});

test("keys stay when lines are added, so that what is open stays open", () => {
  const before = rows(GOOD.slice(0, 4)).map(({ key }) => key);
  expect(rows(GOOD).map(({ key }) => key).slice(0, 4)).toEqual(before);
});

test("a message that another took the place of is not missed", () => {
  expect(rows([http(0, "out", "RINGING", { fetched: false }), http(1, "out", "ANSWER", { waited_ms: 3 }), sip(2, "in", "180 Ringing (INVITE)"), sip(3, "in", "200 OK (BYE)")]).map(({ label }) => label))
    .toEqual(["RINGING", "ANSWER", "180 Ringing", "200 OK (BYE)"]);
});

test("a message that nobody fetched, or waited long, says so", () => {
  expect(rows([http(1, "out", "OFFER", { waited_ms: 1200 }), http(2, "out", "OFFER", { waited_ms: 3 }), http(3, "in", "ANSWER", { fault: "NOMATCH" }), http(4, "out", "BYE", { fetched: false })])
    .map(({ label, tone }) => [label, tone])).toEqual([["OFFER, waited 1.2 s", "plain"], ["OFFER", "plain"], ["ANSWER: NOMATCH", "bad"], ["BYE, not fetched", "plain"]]);
});
