import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakePeerConnection, install, settle, signedIn, type FakeGateway } from "./fakes";

const TURN = { urls: ["turn:gw.test:3478?transport=udp"], username: "1800000000:u", credential: "c" };

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

function handOut(ttl = 600): void {
  const body = JSON.stringify({ iceServers: [{ ...TURN, expires: 1_800_000_000 }, { urls: ["stun:s.test"] }], ttl });
  gateway.iceAnswer = () => ({ status: 200, body });
}

/** The servers that the peer connection of a call is made with. */
async function used(session: Awaited<ReturnType<typeof signedIn>>["session"]) {
  session.makeOffer("1003");
  await settle();
  const { iceServers } = FakePeerConnection.newest.configuration;
  session.terminateCall();
  await settle();
  return iceServers;
}

test("what the gateway hands out is used, and asked for ahead of the call", async () => {
  handOut();
  const { session } = await signedIn();
  await settle();
  expect(gateway.iceRequests).toBe(1);
  expect(await used(session)).toEqual([TURN, { urls: ["stun:s.test"] }]);
  expect(gateway.iceRequests).toBe(1);
});

test("what the page has configured goes before, and nothing is asked", async () => {
  handOut();
  const { session } = await signedIn({ stun_server: "mine.test:3478" });
  expect(await used(session)).toEqual([{ urls: ["stun:mine.test:3478"] }]);
  expect(gateway.iceRequests).toBe(0);
});

test("credentials are renewed before they run out", async () => {
  handOut(600);
  const { session } = await signedIn();
  await vi.advanceTimersByTimeAsync(290_000);
  await used(session);
  expect(gateway.iceRequests).toBe(1);
  await vi.advanceTimersByTimeAsync(20_000);
  await used(session);
  expect(gateway.iceRequests).toBe(2);
  // Long past their time, the new ones are waited for.
  await vi.advanceTimersByTimeAsync(700_000);
  const renewed = { urls: ["turn:new.test"], username: "u", credential: "d" };
  gateway.iceAnswer = () => ({ status: 200, body: JSON.stringify({ iceServers: [renewed], ttl: 600 }) });
  expect(await used(session)).toEqual([renewed]);
});

test("a gateway that knows nothing of it is a gateway without, and not asked at each call", async () => {
  for (const answer of [{ status: 404 }, { status: 200, body: "<html>" }, { status: 200, body: "{}" }, "unreachable"] as const) {
    gateway = install();
    gateway.iceAnswer = () => answer;
    const { session } = await signedIn();
    expect(await used(session)).toEqual([]);
    expect(await used(session)).toEqual([]);
    expect(gateway.iceRequests).toBe(1);
    await vi.advanceTimersByTimeAsync(61_000);
    expect(await used(session)).toEqual([]);
    expect(gateway.iceRequests).toBe(2);
  }
});

test("a gateway without TURN says so once", async () => {
  gateway.iceAnswer = () => ({ status: 200, body: JSON.stringify({ iceServers: [], ttl: 0 }) });
  const { session } = await signedIn();
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(await used(session)).toEqual([]);
  expect(gateway.iceRequests).toBe(1);
});
