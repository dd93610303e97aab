// The gadget's postMessage API, its origin list, WWE's Service Client API, and the choice of a language.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Model } from "../src/gadget/agent_phone";
import { HostLink, type Drives } from "../src/gadget/host";
import { originsOf } from "../src/gadget/origins";
import { Wwe } from "../src/gadget/wwe";
import { pick } from "../src/gadget/words/index";

const CRM = "https://crm.example";
const POLICY = "default-src 'self'; frame-ancestors 'self' https://crm.example http://localhost:*";

function model(part: Partial<Model> = {}): Model {
  return {
    phase: "ready", dn: "5001", online: true, party: "", name: "", divertedFrom: "", outgoing: false, rest: "Ready", talkingSince: null, lastDuration: null,
    muted: false, held: false, heldByFarEnd: false, digitsSent: "", quality: { quality: "none", loss: 0, jitter: 0, delay: null },
    notice: null, ...part,
  };
}

function linked() {
  const phone = {
    model: model(), call: vi.fn(() => true), answer: vi.fn(() => true), reject: vi.fn(() => false), hangUp: vi.fn(() => true),
    setMuted: vi.fn(() => true), setHeld: vi.fn(() => true), sendKeys: vi.fn(() => true), data: vi.fn(() => [{ key: "a", value: "b" }]),
    callUuid: vi.fn(() => "0123"), signIn: vi.fn(), signOut: vi.fn(),
  };
  const setVolume = vi.fn();
  const link = new HostLink({ phone: phone as Drives, allowed: originsOf(POLICY, "https://gw.example"), setVolume });
  const host = { postMessage: vi.fn() };
  const tell = (message: object, origin = CRM) => {
    host.postMessage.mockClear();
    link.handle({ to: "wrtc-gadget", id: 7, ...message }, origin, host);
    return host.postMessage.mock.calls[0]?.[0] as Record<string, unknown> | undefined;
  };
  return { phone, setVolume, link, host, tell };
}

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

test("the origins are those that may frame the gadget, and its own", () => {
  const allowed = originsOf(POLICY, "https://gw.example");
  for (const origin of [CRM, "https://gw.example", "http://localhost:8000", "http://localhost"]) expect(allowed(origin), origin).toBe(true);
  for (const origin of ["https://crm.example.evil.example", "http://crm.example", "http://localhost.evil.example:80", "http://localhost:80@evil.example", "null", ""]) {
    expect(allowed(origin), origin).toBe(false);
  }
});

test("'*' lets nobody but our own pages drive the phone", () => {
  const allowed = originsOf("frame-ancestors *", "https://gw.example");
  expect([allowed(CRM), allowed("*"), allowed("https://gw.example")]).toEqual([false, false, true]);
  expect(originsOf("", "https://gw.example")(CRM)).toBe(false);
});

test("a command is done and answered to the origin that gave it, with its id", () => {
  const { phone, host, tell } = linked();
  expect(tell({ action: "call", number: " 600 ", data: [{ key: "CustomerId", value: "42" }] })).toMatchObject({ from: "wrtc-gadget", id: 7, ok: true });
  expect(host.postMessage.mock.calls[0]![1]).toBe(CRM);
  expect(phone.call).toHaveBeenCalledWith("600", [{ key: "CustomerId", value: "42" }]);
  expect(tell({ action: "reject" })).toEqual({ from: "wrtc-gadget", id: 7, ok: false, error: "wrong_state" });
});

test.each([
  [{ action: "call" }, "bad_argument"],
  [{ action: "call", number: "" }, "bad_argument"],
  [{ action: "call", number: "6".repeat(65) }, "bad_argument"],
  [{ action: "call", number: "600", data: "x" }, "bad_argument"],
  [{ action: "call", number: "600", data: [null] }, "bad_argument"],
  [{ action: "dtmf", digits: "12x" }, "bad_argument"],
  [{ action: "volume", volume: 2 }, "bad_argument"],
  [{ action: "volume", volume: NaN }, "bad_argument"],
  [{ action: "signIn", dn: "5001", password: "p" }, "wrong_state"],
  [{ action: "signIn", dn: 5001 }, "bad_argument"],
  [{ action: "signIn", dn: "5001", token: 7, password: "p" }, "bad_argument"],
  [{ action: "explode" }, "unknown_action"],
  [{ action: "constructor" }, "unknown_action"],
])("%j is refused: %s", (message, error) => {
  const { tell, phone } = linked();
  expect(tell(message)).toMatchObject({ ok: false, error });
  for (const action of [phone.call, phone.sendKeys, phone.signIn]) expect(action).not.toHaveBeenCalled();
});

test("a token takes the password's place", () => {
  const { phone, tell } = linked();
  phone.model = model({ phase: "out" });
  expect(tell({ action: "signIn", dn: "5001", token: "once-0123456789abcdef0123456789abcdef" })).toMatchObject({ ok: true });
  expect(phone.signIn).toHaveBeenCalledWith({ dn: "5001", secret: "once-0123456789abcdef0123456789abcdef" });
});

test("other origins, and what is no message to us, get no answer at all", () => {
  const { tell, link, host, phone } = linked();
  expect(tell({ action: "hangUp" }, "https://evil.example")).toBeUndefined();
  for (const garbage of [null, 3, "x", {}, { to: "wrtc-gadget" }, { to: "wrtc-gadget", action: 3 }, { action: "hangUp" }]) {
    link.handle(garbage, CRM, host);
  }
  expect(host.postMessage).not.toHaveBeenCalled();
  expect(phone.hangUp).not.toHaveBeenCalled();
});

test("a subscriber hears of each state once, of calls and of their ends, and of no secret", () => {
  const { link, host, tell } = linked();
  tell({ action: "subscribe" });
  host.postMessage.mockClear();
  link.tell(model());
  link.tell(model());
  link.tell(model({ phase: "ringing", party: "1003", name: "Alice" }));
  link.tell(model({ party: "1003", lastDuration: 65.2 }));
  const told = host.postMessage.mock.calls.map(([message]) => message as Record<string, unknown>);
  expect(told.map(({ event }) => event)).toEqual(["state", "state", "incoming", "state", "ended"]);
  expect(told[2]).toEqual({ from: "wrtc-gadget", event: "incoming", party: "1003", name: "Alice", divertedFrom: "", callUuid: "0123", data: [{ key: "a", value: "b" }] });
  expect(told[4]).toMatchObject({ party: "1003", seconds: 65 });
  expect(host.postMessage.mock.calls.every(([, origin]) => origin === CRM)).toBe(true);
  tell({ action: "unsubscribe" });
  host.postMessage.mockClear();
  link.tell(model({ phase: "calling" }));
  expect(host.postMessage).not.toHaveBeenCalled();
});

function wwe() {
  const host = { postMessage: vi.fn() };
  const states: string[] = [];
  const mutes: boolean[] = [];
  const link = new Wwe(host, "https://wwe.example", { onAgentState: (state) => states.push(state), onMuted: (muted) => mutes.push(muted) });
  const sent = () => host.postMessage.mock.calls.map(([message]) => message as Record<string, unknown>);
  return { host, link, states, mutes, sent };
}

test("WWE is asked what it allows, and then subscribed to", async () => {
  const { link, sent, states, mutes, host } = wwe();
  const connected = link.connect();
  expect(sent()[0]).toEqual({ request: "system.getAllowedServices", parameters: {}, referenceId: 1, userAgent: "WWE Client", protocolVersion: 2 });
  link.handle({ referenceId: 1, data: ["system.popupToast", "agent.get"] });
  expect(await connected).toBe(true);
  expect(sent()).toContainEqual({ event: "agent", data: "subscribe" });
  link.toast("Incoming call", "1003");
  expect(sent().at(-1)).toMatchObject({ request: "system.popupToast" });
  expect(host.postMessage.mock.calls.every(([, origin]) => origin === "https://wwe.example")).toBe(true);
  link.handle({ event: "agent", data: { agentState: "Not Ready" } });
  link.handle({ event: "interaction", data: { interaction: { isMuted: true } } });
  expect([states, mutes]).toEqual([["Not Ready"], [true]]);
});

test("a page that is no WWE does not answer; one that refuses says why; either way nothing more is said", async () => {
  const silent = wwe();
  const connected = silent.link.connect();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await connected).toBe(false);
  silent.link.toast("Incoming call", "1003");
  expect(silent.sent()).toHaveLength(1);
  const refusing = wwe();
  const refused = refusing.link.connect();
  refusing.link.handle({ referenceId: 1, errorMessage: "not allowed" });
  expect(await refused).toBe(false);
  expect(refusing.sent()).toHaveLength(1);
});

test("a WWE without toasts is not asked for one", async () => {
  const { link, sent } = wwe();
  const connected = link.connect();
  link.handle({ referenceId: 1, data: [] });
  await connected;
  const before = sent().length;
  link.toast("Incoming call", "1003");
  expect(sent()).toHaveLength(before);
});

test("the first language that there is, English otherwise", () => {
  expect(pick(["", "xx", "en-GB"]).tag).toBe("en");
  expect(pick(["constructor", "__proto__"]).tag).toBe("en");
});
