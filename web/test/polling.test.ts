import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { answerTo, install, settle, signedIn, type FakeGateway } from "./fakes";

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

test("there is one hanging GET at a time, and it is given up and asked again after polling_timeout", async () => {
  await signedIn({ polling_timeout: 12_000 });
  expect(gateway.polls).toBe(1);
  await vi.advanceTimersByTimeAsync(11_900);
  expect(gateway.polls).toBe(1);
  await vi.advanceTimersByTimeAsync(200);
  expect(gateway.polls).toBe(2);
});

test("a polling_timeout of 0 never gives up", async () => {
  await signedIn({ polling_timeout: 0 });
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(gateway.polls).toBe(1);
});

test("an answer that has begun is not given up, however long its body takes", async () => {
  const { client } = await signedIn({ polling_timeout: 10_000 });
  const info = vi.fn();
  client.onInfoFromPeer.add(info);
  await vi.advanceTimersByTimeAsync(9_000);
  let finish: (text: string) => void = () => undefined;
  const slow = new Response("", { headers: { Pragma: "1003" } });
  slow.text = () => new Promise((resolve) => { finish = resolve; });
  gateway.sayResponse(slow);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(gateway.polls).toBe(1);
  finish("INFO-PEER a=b&c=d%20e");
  await settle();
  expect(info).toHaveBeenCalledWith({ a: "b", c: "d e" });
});

test("an empty 200 is only a reason to ask again", async () => {
  const { events } = await signedIn();
  gateway.say("", "");
  await settle();
  expect(gateway.polls).toBe(2);
  expect(events).toEqual(["register"]);
});

test("a fault fires onConnectionError and is tried again after 3 s", async () => {
  const { events } = await signedIn();
  gateway.say("later", "", 503);
  await settle();
  expect(events).toEqual(["register", "connection 503"]);
  await vi.advanceTimersByTimeAsync(2_900);
  expect(gateway.polls).toBe(1);
  await vi.advanceTimersByTimeAsync(200);
  expect(gateway.polls).toBe(2);
  gateway.breakPoll();
  await settle();
  expect(events.at(-1)).toBe("connection 0");
});

test("any other 2xx signs out and reports the peer as closing", async () => {
  const { session, events } = await signedIn();
  session.makeOffer("1003");
  await settle();
  gateway.say("", "", 204);
  await settle();
  expect(events).toEqual(["register", "offer sent", "end remote 0", "closing", "disconnect"]);
  expect(gateway.requests.at(-1)!.url).toContain("/sign_out");
});

test("a POST that failed is sent again after 3 s with the same body", async () => {
  const { session } = await signedIn();
  gateway.messageAnswers.push("unreachable", { status: 503 });
  session.makeOffer("1003");
  await settle();
  expect(gateway.sent).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(6_100);
  expect(gateway.sent).toHaveLength(3);
  expect(new Set(gateway.sent.map(({ body }) => body)).size).toBe(1);
});

test("hanging up does not wait for the offer that could not be sent", async () => {
  const { session } = await signedIn();
  gateway.messageAnswers.push("unreachable");
  session.makeOffer("1003");
  await settle();
  session.terminateCall();
  await settle();
  expect(gateway.sent.map(({ body }) => body.slice(0, 4))).toEqual(["RSMP", "BYE"]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(gateway.sent).toHaveLength(2);
});

test("messages of the gateway go to the peer that was dialled, and the number is escaped", async () => {
  const { session } = await signedIn();
  session.makeOffer("10 03#");
  await settle();
  expect(gateway.sent[0]!.url).toBe("http://gw.test/message?from=abc.DEF-1_2~3&to=10%2003%23");
  gateway.say(answerTo(gateway.roap("OFFER")[0]!), "someone else");
  await settle();
  expect(gateway.sent[1]!.to).toBe("10 03#");
});
