import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Client } from "../src/grtc/index";
import { install, settle, signedIn, type FakeGateway } from "./fakes";

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

test("a DN with a password signs in with a POST whose body is raw", async () => {
  await signedIn({ sip_password: "a:b&c%d+e f" });
  expect(gateway.requests[0]).toEqual({ method: "POST", url: "http://gw.test/sign_in", body: "5001:a:b&c%d+e f" });
});

test("a DN without a password signs in with a GET whose query is the bare id", async () => {
  new Client({ webrtc_gateway: "http://gw.test/base/" }).register("5001");
  await settle();
  expect(gateway.requests[0]).toEqual({ method: "GET", url: "http://gw.test/base/sign_in?5001", body: "" });
});

test("a guest's id begins with anon and has 36 characters", async () => {
  const client = new Client({ webrtc_gateway: "http://gw.test" });
  const connected = vi.fn();
  client.onConnect.add(connected);
  client.connect();
  await settle();
  expect(gateway.requests[0]!.url).toMatch(/\?anon[0-9a-f]{32}$/);
  expect(connected).toHaveBeenCalledOnce();
});

test("the SSID is the second piece of the first line and goes into URLs as it is", async () => {
  await signedIn();
  expect(gateway.requests[1]!.url).toBe("http://gw.test/wait?id=abc.DEF-1_2~3");
});

test("a refusal fires onFailed with the status, and the next gateway is not tried", async () => {
  gateway.signInAnswer = () => ({ status: 401, body: "wrong password" });
  const { events } = await signedIn({ webrtc_gateway: "http://gw.test,http://other.test" });
  expect(events).toEqual(["failed 401"]);
  expect(gateway.requests).toHaveLength(1);
});

test("gateways that are down or cannot reach their SIP server are passed over", async () => {
  gateway.signInAnswer = (url) => url.includes("one.test") ? "unreachable" : url.includes("two.test") ? { status: 503 } : { status: 200, body: "SSID=x" };
  const { events } = await signedIn({ webrtc_gateway: "http://one.test, http://two.test, http://three.test" });
  expect(events).toEqual(["register"]);
  expect(gateway.requests.at(-1)!.url).toBe("http://three.test/wait?id=x");
});

test("a second sign-in signs out first", async () => {
  const { client, events } = await signedIn();
  client.register("5002");
  await settle();
  expect(gateway.requests.map(({ url }) => new URL(url).pathname)).toEqual(["/sign_in", "/wait", "/sign_out", "/sign_in", "/wait"]);
  expect(events).toEqual(["register", "disconnect", "register"]);
});

test("signing out while the sign-in is under way leaves no session behind", async () => {
  let answer: (value: Response) => void = () => undefined;
  vi.stubGlobal("fetch", (input: string, init: RequestInit) => {
    if (!input.endsWith("/sign_in")) return gateway.fetch(input, init);
    return new Promise<Response>((resolve) => { answer = resolve; });
  });
  const { client, events } = await signedIn();
  client.disconnect();
  answer(new Response("SSID=late"));
  await settle();
  expect(gateway.requests.map(({ url }) => url)).toEqual(["http://gw.test/sign_out?id=late"]);
  expect(events).toEqual([]);
});

test.each([
  [{}, "webrtc_gateway"],
  [{ webrtc_gateway: "ftp://x" }, "http"],
  [{ webrtc_gateway: "http://x", turn_server: "t:3478" }, "turn_username"],
  [{ webrtc_gateway: "http://x", stun_server: "stun:s:3478" }, "scheme"],
  [{ webrtc_gateway: "http://x", polling_timeout: "soon" }, "polling_timeout"],
  [{ webrtc_gateway: "http://x", dtls_srtp: 1 as never, use_rsa_certificate: "yes" }, "use_rsa_certificate"],
  [{ webrtc_gateway: "http://x", web_gateway: "y" } as object, "web_gateway"],
])("the configuration %j is refused and the fault is named", (config, named) => {
  expect(() => new Client(config)).toThrowError(expect.objectContaining({ name: "CONFIGURATION_ERROR", message: expect.stringContaining(named) }));
});

test("numbers may be strings, and what is too small is raised to the least", () => {
  const { settings } = new Client({ webrtc_gateway: "http://x", polling_timeout: "5000", noanswer_timeout: "20000", ice_timeout: 10 });
  expect(settings).toMatchObject({ pollingTimeout: 10_000, noanswerTimeout: 20_000, iceTimeout: 1_000 });
  expect(new Client({ webrtc_gateway: "http://x", polling_timeout: 0 }).settings.pollingTimeout).toBe(0);
});

test("STUN and TURN servers become ICE servers", () => {
  const { settings } = new Client({
    webrtc_gateway: "http://x", stun_server: "a:1,b:2", turn_server: "t:3?transport=tcp", turn_username: "u", turn_password: "p",
  });
  expect(settings.iceServers).toEqual([
    { urls: ["stun:a:1", "stun:b:2"] }, { urls: ["turn:t:3?transport=tcp"], username: "u", credential: "p" },
  ]);
});

test("the short form's connect() registers the DN", async () => {
  const client = new Client({ serverUrl: "http://gw.test", username: "agent123", dn: "5001", password: "p" });
  const ready = vi.fn();
  client.on("ready", ready).connect();
  await settle();
  expect(gateway.requests[0]!.body).toBe("5001:p");
  expect(ready).toHaveBeenCalledOnce();
});
