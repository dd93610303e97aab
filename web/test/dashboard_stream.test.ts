// The dashboard's stream: bytes to events, events to state, and a connection that is kept up.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Api } from "../src/dashboard/api";
import { apply, emptyState, Live, type Link, type Part } from "../src/dashboard/live";
import { EventParser } from "../src/dashboard/sse";

const agent = (dn: string, more = {}) => ({ dn, guest: false, id: `id-${dn}`, dialect: "jsapi", registered_at: 1_790_000_000_000, state: "ready", registration: { status: "registered", last_reason: "200 OK", server: "udp:192.0.2.1:5060" }, calls: 0, ...more });
const call = (id: string, more = {}) => ({ call_id: id, agent_id: "id-5001", dn: "5001", remote: "sip:600@lab", direction: "outgoing", state: "established", started: 1000, answered: 2000, mos: 4.3, browser_loss_percent: 0, sip_loss_percent: 0.5, ...more });
const snapshot = { agents: [agent("5001"), agent("5002")], servers: [], calls: [call("a"), call("b")], alerts: [], totals: { ports: 9 }, history: [{ id: 1, at: 5, kind: "sign_in", text: "one" }, { id: 2, at: 6, kind: "sign_in", text: "two" }], version: "1.2.3" };

function events(...pieces: string[]) {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

test("events are read whatever pieces they come in, with any line ends", () => {
  const whole = "event: a\ndata: one\ndata: two\n\n:\n\nevent:b\r\ndata:3\r\n\r\ndata: x\r\r";
  const expected = [{ event: "a", data: "one\ntwo" }, { event: "b", data: "3" }, { event: "message", data: "x" }];
  // The last CR could be half of a CRLF until something follows.
  expect(events(whole, "\n")).toEqual(expected);
  expect(events(...whole, "\n")).toEqual(expected);
});

test("a comment is no event, and an unfinished event is not told", () => {
  expect(events(":\n\n", "event: a\ndata: 1\n")).toEqual([]);
});

test("a snapshot, then differences", () => {
  const state = emptyState();
  const take = (event: string, data: unknown) => apply(state, { event, data: JSON.stringify(data) });
  take("snapshot", snapshot);
  expect(state.history.map(({ text }) => text)).toEqual(["two", "one"]);
  expect(state.version).toBe("1.2.3");
  expect(take("agent", { changed: [agent("5002", { state: "held" }), agent("5003")], gone: [{ dn: "5001", guest: false }] })).toEqual(["agents"]);
  expect(state.agents.map(({ dn, state: now }) => [dn, now])).toEqual([["5002", "held"], ["5003", "ready"]]);
  take("call", { changed: [call("c")], gone: ["a"] });
  expect(state.calls.map(({ id }) => id)).toEqual(["b", "c"]);
  take("calls", [call("z", { direction: "incoming" })]);
  expect(state.calls).toMatchObject([{ id: "z", incoming: true, sipLoss: 0.5 }]);
  expect(take("history", { id: 2, at: 6, kind: "sign_in", text: "two" })).toEqual([]);
  take("history", { id: 3, at: 7, kind: "alert", text: "three", dn: "5001" });
  expect(state.history[0]).toMatchObject({ id: 3, text: "three", dn: "5001" });
  expect(take("something new", {})).toEqual([]);
});

test("a guest is not the DN of the same name", () => {
  const state = emptyState();
  apply(state, { event: "agents", data: JSON.stringify([agent("5001"), agent("5001", { guest: true, registration: null })]) });
  apply(state, { event: "agent", data: JSON.stringify({ changed: [], gone: [{ dn: "5001", guest: true }] }) });
  expect(state.agents).toMatchObject([{ dn: "5001", guest: false }]);
});

// -------------------------------------------------------------------- the connection

interface Asked {
  url: string;
  authorization: string | null;
  say(text: string): void;
  end(): void;
}

let asked: Asked[];
let answer: (init: RequestInit) => Response | null;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  answer = () => null;
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const stream = new TransformStream<Uint8Array, Uint8Array>();
    const writer = stream.writable.getWriter();
    asked.push({
      url, authorization: (init.headers as Headers).get("Authorization"),
      say: (text) => void writer.write(new TextEncoder().encode(text)),
      end: () => void writer.close(),
    });
    init.signal?.addEventListener("abort", () => void writer.abort(new DOMException("aborted", "AbortError")).catch(() => undefined));
    const other = answer(init);
    if (other === null) return Promise.resolve(new Response(stream.readable, { headers: { "Operator-Role": "act" } }));
    return other.type === "error" ? Promise.reject(new TypeError("no network")) : Promise.resolve(other);
  });
});
afterEach(() => { vi.useRealTimers(); });

function watched(token: string | null = null) {
  const kept = new Map<string, string>(token === null ? [] : [["operator-token", token]]);
  const storage = { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => { kept.set(key, value); }, removeItem: (key: string) => { kept.delete(key); } };
  const links: Link[] = [];
  const parts: Part[][] = [];
  const api = new Api("http://gw.test/base", storage);
  const live = new Live(api, { onLink: (link) => links.push(link), onParts: (some) => parts.push(some) });
  return { live, links, parts, api, kept };
}

const settle = () => vi.advanceTimersByTimeAsync(10);
const SNAPSHOT = `event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n`;

test("the token goes with the request, and the role comes back", async () => {
  const { live, links } = watched("secret");
  live.start();
  await settle();
  expect(asked).toMatchObject([{ url: "http://gw.test/base/api/events", authorization: "Bearer secret" }]);
  asked[0]!.say(SNAPSHOT);
  await settle();
  expect(links).toEqual(["live"]);
  expect(live.state.mayAct).toBe(true);
  expect(live.state.agents).toHaveLength(2);
});

test("without a header of the role nothing that acts is offered", async () => {
  answer = () => new Response(SNAPSHOT);
  const { live } = watched();
  live.start();
  await settle();
  expect(live.state.agents).toHaveLength(2);
  expect(live.state.mayAct).toBe(false);
});

test("a lost connection is stale, and tried again with longer and longer pauses until it is back", async () => {
  const { live, links } = watched();
  live.start();
  await settle();
  asked[0]!.say(SNAPSHOT);
  await settle();
  answer = () => Response.error();
  asked[0]!.end();
  await settle();
  expect(links).toEqual(["live", "stale"]);
  // What was known is still there to be read.
  expect(live.state.calls).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(60_000);
  const tries = asked.length;
  expect(tries).toBeGreaterThan(4);
  expect(tries).toBeLessThan(14);
  answer = () => null;
  await vi.advanceTimersByTimeAsync(20_000);
  asked.at(-1)!.say(SNAPSHOT);
  await settle();
  expect(live.link).toBe("live");
});

test("a connection on which nothing is heard is given up", async () => {
  const { live } = watched();
  live.start();
  await settle();
  asked[0]!.say(SNAPSHOT);
  await vi.advanceTimersByTimeAsync(30_000);
  asked[0]!.say(":\n\n");
  await vi.advanceTimersByTimeAsync(39_000);
  expect(live.link).toBe("live");
  expect(asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(3000);
  expect(live.link).toBe("stale");
  expect(asked.length).toBeGreaterThan(1);
});

test("a wrong token locks the page, and is not tried again", async () => {
  answer = () => new Response(JSON.stringify({ error: "no operator has this token", code: "operator_unknown" }), { status: 401 });
  const { live, links } = watched("wrong");
  live.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(links).toEqual(["locked"]);
  expect(asked).toHaveLength(1);
});

test("a gateway that is busy says when to come back", async () => {
  answer = () => new Response("{}", { status: 503, headers: { "Retry-After": "10" } });
  const { live } = watched();
  live.start();
  await vi.advanceTimersByTimeAsync(9000);
  expect(asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(2000);
  expect(asked).toHaveLength(2);
});

test("a refusal has the gateway's own sentence", async () => {
  answer = () => new Response(JSON.stringify({ error: "there is no such call", code: "call_unknown" }), { status: 404 });
  const { api } = watched();
  await expect(api.send("POST", "/api/calls/x/hangup")).rejects.toMatchObject({ status: 404, code: "call_unknown", message: "there is no such call" });
});
