// The gadget's phone without its face, against a fake gateway.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AgentPhone } from "../src/gadget/agent_phone";
import { en } from "../src/gadget/words/en";
import { answerTo, FakePeerConnection, FakeStream, install, offer, settle, type FakeGateway } from "./fakes";

class FakeElement {
  srcObject: unknown = null;
  play = () => Promise.resolve();
}

let gateway: FakeGateway;
beforeEach(() => {
  gateway = install();
  vi.stubGlobal("HTMLMediaElement", FakeElement);
  Object.assign(window, { parent: window });
});
afterEach(() => { vi.useRealTimers(); });

function made() {
  const microphones: unknown[] = [];
  const player = new FakeElement();
  const phases: string[] = [];
  const phone = new AgentPhone("http://gw.test", en, player as never, { echoCancellation: true }, {
    onChange: ({ phase }) => {
      if (phases.at(-1) !== phase) phases.push(phase);
    },
    onMicrophone: (stream) => microphones.push(stream),
    onFarEnd: () => undefined,
  });
  return { phone, player, phases, microphones };
}

async function ready() {
  const all = made();
  all.phone.signIn({ dn: "5001", secret: "secret" });
  await settle();
  return all;
}

async function talking() {
  const all = await ready();
  all.phone.call("1003", [{ key: "CustomerId", value: "42" }]);
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  return all;
}

test("the microphone comes before the sign-in, and without one there is none", async () => {
  const refused = vi.spyOn(navigator.mediaDevices, "getUserMedia").mockRejectedValueOnce(new DOMException("no", "NotAllowedError"));
  const { phone } = await ready();
  expect(gateway.requests).toHaveLength(0);
  expect(phone.model).toMatchObject({ phase: "out", notice: { text: expect.stringContaining("The microphone is blocked") } });
  refused.mockRestore();
  phone.signIn({ dn: "5001", secret: "secret" });
  await settle();
  expect(gateway.requests[0]).toMatchObject({ body: "5001:secret" });
  expect(phone.model).toMatchObject({ phase: "ready", notice: null });
});

test("in a frame that keeps it from the microphone, it says what the frame needs", async () => {
  Object.assign(window, { parent: {} });
  vi.spyOn(navigator.mediaDevices, "getUserMedia").mockRejectedValueOnce(new DOMException("no", "NotAllowedError"));
  const { phone } = await ready();
  expect(phone.model.notice?.text).toContain('allow="microphone; autoplay"');
});

test("a chosen microphone that is gone is done without", async () => {
  const { phone } = made();
  const asked = vi.spyOn(navigator.mediaDevices, "getUserMedia").mockRejectedValueOnce(new DOMException("no", "OverconstrainedError"));
  phone.useMicrophone({ echoCancellation: true, deviceId: { exact: "gone" } });
  phone.signIn({ dn: "5001", secret: "secret" });
  await settle();
  expect(asked.mock.calls.map(([wish]) => wish?.audio)).toEqual([{ echoCancellation: true, deviceId: { exact: "gone" } }, { echoCancellation: true }]);
  expect(phone.model.phase).toBe("ready");
});

test("signing out while the microphone is being asked for gives it back", async () => {
  const { phone } = made();
  let open: (stream: FakeStream) => void = () => undefined;
  vi.spyOn(navigator.mediaDevices, "getUserMedia").mockReturnValueOnce(new Promise((resolve) => { open = resolve as never; }));
  phone.signIn({ dn: "5001", secret: "secret" });
  phone.signOut();
  const stop = vi.fn();
  open(new FakeStream([{ kind: "audio", stop, addEventListener: () => undefined } as never]));
  await settle();
  expect(stop).toHaveBeenCalled();
  expect(gateway.requests).toHaveLength(0);
});

test("EVENT-TALK answers what rings, EVENT-HOLD holds, EVENT-TALK resumes", async () => {
  const { phone, phases } = await ready();
  gateway.say(offer(), "1003", 200, { "X-Wrtc-Peer-Name": "Alice" });
  await settle();
  expect(phone.model).toMatchObject({ phase: "ringing", party: "1003", name: "Alice", outgoing: false });
  gateway.say("EVENT-TALK", "1003");
  await settle();
  expect(phases.slice(-3)).toEqual(["ringing", "answering", "talking"]);
  gateway.say("EVENT-HOLD", "1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER").at(-1)!, "inactive"));
  await settle();
  expect(phone.model).toMatchObject({ phase: "talking", held: true });
  gateway.say("EVENT-TALK", "1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER").at(-1)!));
  await settle();
  expect(phone.model.held).toBe(false);
});

test("an INVITE without an offer rings and is answered like any other", async () => {
  const { phone } = await ready();
  gateway.say("INVITE", "1003");
  await settle();
  expect(phone.model.phase).toBe("ringing");
  phone.answer();
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  expect(phone.model.phase).toBe("talking");
});

test("what makes no sense in a state is refused and does nothing", async () => {
  const { phone } = await ready();
  const wrong = [phone.answer(), phone.reject(), phone.hangUp(), phone.setMuted(true), phone.setHeld(true), phone.sendKeys("1"), phone.call("")];
  expect(wrong).toEqual(wrong.map(() => false));
  phone.call("1003");
  await settle();
  expect(phone.call("1004")).toBe(false);
  expect(gateway.roap("OFFER")).toHaveLength(1);
});

test("a mute lasts as long as its call", async () => {
  const { phone } = await talking();
  phone.setMuted(true);
  expect(FakePeerConnection.newest.transceivers[0]!.sender.track!.enabled).toBe(false);
  gateway.say("BYE", "1003");
  await settle();
  expect(phone.model).toMatchObject({ phase: "ready", muted: false, rest: "The far end hung up" });
  phone.call("1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER").at(-1)!));
  await settle();
  expect(FakePeerConnection.newest.transceivers[0]!.sender.track!.enabled).toBe(true);
});

test("the quality is measured during a call, and the gateway is asked every ten seconds", async () => {
  const { phone } = await talking();
  const { statistics } = FakePeerConnection.newest;
  for (let seconds = 2; seconds <= 10; seconds += 2) {
    statistics.set("in", { type: "inbound-rtp", kind: "audio", packetsReceived: seconds * 50, packetsLost: 0, jitter: 0.001 });
    await vi.advanceTimersByTimeAsync(2_000);
  }
  expect(phone.model.quality.quality).toBe("good");
  expect(gateway.sent.filter(({ body }) => body === "GET-STATS")).toHaveLength(1);
  gateway.say('PUT-STATS {"audio":{"rx":{"packets":400,"lost":100}}}', "1003");
  statistics.set("in", { type: "inbound-rtp", kind: "audio", packetsReceived: 600, packetsLost: 0, jitter: 0.001 });
  await vi.advanceTimersByTimeAsync(2_000);
  expect(phone.model.quality.quality).toBe("poor");
  phone.hangUp();
  await settle();
  const asked = gateway.sent.length;
  // The hanging GET's is the only one that runs on.
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(gateway.sent).toHaveLength(asked);
  expect(phone.model.quality.quality).toBe("none");
});

test("a gateway that is restarted in a call takes the call with it, and the phone says so", async () => {
  const { phone } = await talking();
  gateway.breakPoll();
  await settle();
  expect(phone.model).toMatchObject({ online: false, phase: "talking", notice: { text: en.gatewayLost } });
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(phone.model).toMatchObject({ online: true, phase: "ready", notice: { text: en.callLost, calm: true } });
});

test("a gateway that does not take us back, and another sign-in of the DN, sign out and say why", async () => {
  const refused = await ready();
  gateway.signInAnswer = () => ({ status: 401 });
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(refused.phone.model).toMatchObject({ phase: "out", notice: { text: "The DN or the password is wrong." } });
  expect(refused.microphones.at(-1)).toBeNull();
  gateway.signInAnswer = () => ({ status: 200, body: "SSID=other" });
  const replaced = await ready();
  gateway.say("another sign-in took the session's place", "", 404);
  await settle();
  expect(replaced.phone.model).toMatchObject({ phase: "out", notice: { text: en.replaced } });
});

test("a microphone that is unplugged is told of, and so is the one that takes over", async () => {
  const { phone, microphones } = await talking();
  const first = microphones.at(-1) as FakeStream;
  first.tracks[0]!.unplug();
  await settle();
  expect(phone.model.notice).toEqual({ text: en.deviceReplaced, calm: true });
  expect(microphones.at(-1)).not.toBe(first);
});
