// Staying signed in: a gateway that is restarted, gone or somebody else's; a page that sleeps, wakes and is left.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Client, MediaSession } from "../src/grtc/index";
import { answerTo, FakePeerConnection, install, settle, signedIn, type FakeGateway } from "./fakes";

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

/** The paths that were asked for, without the server. */
const paths = () => gateway.requests.map(({ url }) => new URL(url).pathname);

test("a gateway that has forgotten us is signed in to again, with the same DN and password", async () => {
  const { events } = await signedIn();
  gateway.say("no such session; sign in first", "", 404);
  await vi.advanceTimersByTimeAsync(2_500);
  expect(paths()).toEqual(["/sign_in", "/wait", "/sign_in", "/wait"]);
  expect(gateway.requests[2]!.body).toBe("5001:secret");
  // Neither a sign-out nor a second onRegister: the application has not changed its mind.
  expect(events).toEqual(["register", "connection 404", "signed in again"]);
});

test("a call that went with the gateway ends, and the session takes the next one", async () => {
  const { session, events } = await signedIn();
  session.makeOffer("1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(2_500);
  expect(events.slice(-4)).toEqual(["connection 404", "end error 0", "closing", "signed in again"]);
  session.makeOffer("1003");
  await settle();
  expect(gateway.roap("OFFER")).toHaveLength(2);
});

test("while the gateway is away, signing in again is repeated, more and more slowly", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const { events } = await signedIn();
  gateway.breakPoll();
  await settle();
  gateway.signInAnswer = () => "unreachable";
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(1_000 + 500 + 1_000 + 2_000 + 4_000 + 100);
  expect(paths().filter((path) => path === "/sign_in")).toHaveLength(5);
  gateway.signInAnswer = () => ({ status: 200, body: "SSID=second" });
  await vi.advanceTimersByTimeAsync(8_100);
  expect(events.at(-1)).toBe("signed in again");
  expect(gateway.requests.at(-1)!.url).toContain("/wait?id=second");
});

test("a gateway that does not take us back ends it", async () => {
  const { events } = await signedIn();
  gateway.signInAnswer = () => ({ status: 401, body: "wrong password" });
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(events).toEqual(["register", "connection 404", "failed 401", "disconnect"]);
  expect(paths().filter((path) => path === "/sign_in")).toHaveLength(2);
});

test("a DN that signed in elsewhere is told of and not taken back", async () => {
  const { events } = await signedIn();
  gateway.say("another sign-in took the session's place", "", 404);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(events).toEqual(["register", "connection 404", "replaced", "disconnect"]);
  expect(paths()).toEqual(["/sign_in", "/wait"]);
});

test("two pages that are not told why do not take the DN from each other for ever", async () => {
  const { events } = await signedIn();
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(2_500);
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(events.slice(-2)).toEqual(["replaced", "disconnect"]);
  expect(paths().filter((path) => path === "/sign_in")).toHaveLength(2);
});

test("gateways that drain one after the other pass us on", async () => {
  const { events } = await signedIn();
  for (let gateways = 0; gateways < 2; gateways += 1) {
    gateway.say("the gateway is stopping", "", 404);
    await vi.advanceTimersByTimeAsync(1_100);
  }
  expect(events).toEqual(["register", "connection 404", "signed in again", "connection 404", "signed in again"]);
});

test("a gateway that says when is asked then, and does not make us slow", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  const { events } = await signedIn();
  gateway.signInAnswer = () => ({ status: 503, body: "the gateway takes no sign-in now", headers: { "Retry-After": "5" } });
  gateway.say("the gateway is stopping", "", 404);
  await vi.advanceTimersByTimeAsync(500 + 20 * 5_000 + 100);
  expect(paths().filter((path) => path === "/sign_in")).toHaveLength(1 + 1 + 20);
  gateway.signInAnswer = () => ({ status: 200, body: "SSID=second" });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(events.at(-1)).toBe("signed in again");
});

test("after a restart we are back within the second that it takes to ask, and another", async () => {
  const { events } = await signedIn();
  gateway.breakPoll();
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(1_250 + 1_000 + 100);
  expect(events).toEqual(["register", "connection 0", "connection 404", "signed in again"]);
});

test("signing out while signing in again is under way ends it", async () => {
  const { client, events } = await signedIn();
  gateway.signInAnswer = () => "unreachable";
  gateway.say("", "", 404);
  await vi.advanceTimersByTimeAsync(2_500);
  client.disconnect();
  const asked = gateway.requests.length;
  await vi.advanceTimersByTimeAsync(120_000);
  expect(gateway.requests).toHaveLength(asked);
  expect(events.at(-1)).toBe("disconnect");
});

test("the next gateway of the list takes over after three polls that failed", async () => {
  const { events } = await signedIn({ webrtc_gateway: "http://one.test,http://two.test" });
  for (let polls = 0; polls < 3; polls += 1) {
    gateway.breakPoll();
    await vi.advanceTimersByTimeAsync(3_000);
  }
  await vi.advanceTimersByTimeAsync(2_500);
  expect(gateway.requests.at(-1)!.url).toMatch(/^http:\/\/two\.test\/wait/);
  expect(events).toEqual(["register", "connection 0", "connection 0", "connection 0", "signed in again"]);
});

test("a call whose sound still passes keeps us where we are", async () => {
  const { session } = await signedIn({ webrtc_gateway: "http://one.test,http://two.test" });
  session.makeOffer("1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  FakePeerConnection.newest.ice("connected");
  for (let polls = 0; polls < 5; polls += 1) {
    gateway.breakPoll();
    await vi.advanceTimersByTimeAsync(3_000);
  }
  expect(gateway.requests.every(({ url }) => url.startsWith("http://one.test/"))).toBe(true);
  expect(session.isEstablished()).toBe(true);
});

test("a gateway that swallows the sign-in is passed over when there is another", async () => {
  vi.stubGlobal("fetch", (input: string, init: RequestInit = {}) => input.startsWith("http://deaf.test")
    ? new Promise((_, reject) => { init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError"))); })
    : gateway.fetch(input, init));
  const { events } = await signedIn({ webrtc_gateway: "http://deaf.test,http://two.test" });
  await vi.advanceTimersByTimeAsync(34_000);
  expect(events).toEqual([]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(events).toEqual(["register"]);
});

test("a poll that works again after a fault is told of", async () => {
  const { events } = await signedIn();
  gateway.breakPoll();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(events.at(-1)).toBe("connection 0");
  await vi.advanceTimersByTimeAsync(4_100);
  expect(events.at(-1)).toBe("recovered");
});

test.each(["online", "visible", "resume", "pageshow"])("'%s' does not wait for the next try", async (what) => {
  await signedIn();
  gateway.breakPoll();
  await settle();
  expect(gateway.polls).toBe(1);
  if (what === "online") window.dispatchEvent(new Event("online"));
  if (what === "visible") document.dispatchEvent(new Event("visibilitychange"));
  if (what === "resume") document.dispatchEvent(new Event("resume"));
  if (what === "pageshow") window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await settle();
  expect(gateway.polls).toBe(2);
});

test("a poll that hung while the page was frozen is asked anew, another one is left alone", async () => {
  await signedIn({ polling_timeout: 30_000 });
  document.dispatchEvent(new Event("resume"));
  await settle();
  expect(gateway.polls).toBe(1);
  // The timers of a frozen page do not run; its clock does.
  const now = performance.now();
  vi.spyOn(performance, "now").mockReturnValue(now + 40_000);
  document.dispatchEvent(new Event("resume"));
  await settle();
  expect(gateway.polls).toBe(2);
});

test("a page that is left signs out with a request that outlives it; one that is put aside does not", async () => {
  const asked = vi.fn(gateway.fetch);
  vi.stubGlobal("fetch", asked);
  const { events } = await signedIn();
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
  expect(paths()).toEqual(["/sign_in", "/wait"]);
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  expect(paths()).toEqual(["/sign_in", "/wait", "/sign_out"]);
  expect(asked).toHaveBeenLastCalledWith("http://gw.test/sign_out?id=abc.DEF-1_2~3", expect.objectContaining({ keepalive: true }));
  expect(events).toEqual(["register"]);
});

test("a browser without keepalive signs out with a beacon", async () => {
  vi.stubGlobal("Request", class {});
  const sendBeacon = vi.fn(() => true);
  Object.assign(navigator, { sendBeacon });
  await signedIn();
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  expect(sendBeacon).toHaveBeenCalledExactlyOnceWith("http://gw.test/sign_out?id=abc.DEF-1_2~3");
});

test("after signing out nothing is listened to any more", async () => {
  const { client } = await signedIn();
  client.disconnect();
  await settle();
  const asked = gateway.requests.length;
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  window.dispatchEvent(new Event("online"));
  await settle();
  expect(gateway.requests).toHaveLength(asked);
});

test("a second client of the same page is a thing of its own", async () => {
  await signedIn();
  const guest = new Client({ webrtc_gateway: "http://gw.test" });
  new MediaSession(guest);
  guest.connect();
  await settle();
  expect(paths()).toEqual(["/sign_in", "/wait", "/sign_in", "/wait"]);
});
