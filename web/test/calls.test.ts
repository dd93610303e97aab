import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { MediaSession } from "../src/grtc/index";
import { answerTo, CANDIDATE, FakePeerConnection, GATEWAY_CANDIDATE, install, offer, settle, signedIn, type FakeGateway } from "./fakes";

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

async function talking() {
  const all = await signedIn();
  all.session.makeOffer("1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  return all;
}

test("a call out: OFFER, ANSWER, OK with the numbers of the offer", async () => {
  const { session, events } = await signedIn();
  session.setData([{ key: "CustomerId", value: "42" }]);
  session.makeOffer("1003");
  await settle();
  const sent = gateway.roap("OFFER")[0]!;
  expect(sent).toMatchObject({ answererSessionId: null, seq: 1, attacheddata: [{ key: "CustomerId", value: "42" }] });
  expect(sent["Candidates"]).toEqual([{ candidate: CANDIDATE, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "abcd" }]);
  expect(sent["sdp"]).not.toContain("candidate");
  expect(sent["tiebreaker"]).toSatisfy((value: number) => value > 0 && value < 0xffffffff);
  expect(session.isEstablished()).toBe(false);

  gateway.say(answerTo(sent));
  await settle();
  expect(gateway.roap("OK")).toEqual([
    { messageType: "OK", offererSessionId: sent["offererSessionId"], answererSessionId: 77, seq: 1 },
  ]);
  expect(FakePeerConnection.newest.remoteCandidates).toEqual([{ candidate: GATEWAY_CANDIDATE, sdpMid: "0", sdpMLineIndex: 0 }]);
  expect(session.isEstablished()).toBe(true);
  expect(events).toEqual(["register", "offer sent", "stream", "answer received"]);
});

test("an ANSWER that belongs to no outstanding offer is ignored", async () => {
  const { session, events } = await signedIn();
  session.makeOffer("1003");
  await settle();
  gateway.say(answerTo({ ...gateway.roap("OFFER")[0]!, seq: 9 }));
  await settle();
  expect(session.isEstablished()).toBe(false);
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  expect(gateway.roap("OK")).toHaveLength(1);
  expect(events.filter((event) => event === "answer received")).toHaveLength(1);
});

test("no ANSWER in time fires onPeerNoanswer and hangs up", async () => {
  const { session, events } = await signedIn({ noanswer_timeout: 18_000 });
  session.makeOffer("602");
  await vi.advanceTimersByTimeAsync(18_100);
  expect(events.slice(-2)).toEqual(["noanswer", "end noanswer 0"]);
  expect(gateway.sent.at(-1)).toMatchObject({ to: "602", body: "BYE" });
  expect(FakePeerConnection.newest.closed).toBe(true);
});

test("a call in: OFFER, acceptCall, ANSWER with the numbers of the offer", async () => {
  const { session, events } = await signedIn();
  gateway.say(offer(), "5002", 200, { "X-Wrtc-Peer-Name": "Alice", "X-Wrtc-Diversion": "4000", "X-Genesys-CallUUID": "0123" });
  await settle();
  expect(events.slice(1)).toEqual(["offer received", "incoming offer 5002"]);
  expect([session.peer, session.peerName, session.divertedFrom, session.callUuid]).toEqual(["5002", "Alice", "4000", "0123"]);
  expect(session.getData()).toEqual([{ key: "CustomerId", value: "42" }]);
  session.acceptCall();
  await settle();
  expect(gateway.roap("ANSWER")[0]).toMatchObject({ offererSessionId: 900, seq: 1, answererSessionId: expect.any(Number) });
  expect(gateway.sent[0]!.to).toBe("5002");
  gateway.say(`SDP {"messageType":"OK","offererSessionId":900,"answererSessionId":1,"seq":1}`, "5002");
  await settle();
  expect(session.isEstablished()).toBe(true);
  expect(events.at(-1)).toBe("answer sent");
  expect(FakePeerConnection.newest.transceivers[0]!.direction).toBe("sendrecv");
});

test("rejecting sends BYE to the caller; there is nothing to accept then", async () => {
  const { session, events } = await signedIn();
  gateway.say(offer(), "5002");
  await settle();
  session.rejectCall();
  await settle();
  expect(gateway.sent).toMatchObject([{ to: "5002", body: "BYE" }]);
  expect(events.at(-1)).toBe("end local 0");
  expect(() => session.acceptCall()).toThrowError(expect.objectContaining({ name: "INVALID_STATE_ERROR" }));
});

test("an INVITE without SDP is accepted with our OFFER", async () => {
  const { session, events } = await signedIn();
  gateway.say("INVITE", "5002");
  await settle();
  expect(events.slice(1)).toEqual(["invite received", "incoming invite 5002"]);
  session.acceptCall();
  await settle();
  expect(gateway.roap("OFFER")).toHaveLength(1);
  expect(gateway.sent[0]!.to).toBe("5002");
  gateway.say(answerTo(gateway.roap("OFFER")[0]!), "5002");
  await settle();
  expect(session.isEstablished()).toBe(true);
});

test("an INVITE without SDP in a call brings an OFFER at once", async () => {
  const { events } = await talking();
  gateway.say("INVITE");
  await settle();
  expect(gateway.roap("OFFER").map(({ seq }) => seq)).toEqual([1, 2]);
  expect(events).not.toContain("invite received");
});

test("BYE ends the call with the reason beside it; a local hang-up is no peer closing", async () => {
  const { session, events } = await talking();
  gateway.say("BYE", "1003", 200, { "X-Wrtc-Reason": "486 Busy Here" });
  await settle();
  expect(events.slice(-2)).toEqual(["end remote 486", "closing"]);
  session.makeOffer("1004");
  await settle();
  session.terminateCall();
  await settle();
  expect(events.filter((event) => event === "closing")).toHaveLength(1);
  expect(gateway.sent.at(-1)).toMatchObject({ to: "1004", body: "BYE" });
});

test("hold is an OFFER with inactive media, resume one with sendrecv, and the numbers count up", async () => {
  const { session, events } = await talking();
  session.holdCall();
  await settle();
  const hold = gateway.roap("OFFER")[1]!;
  expect(hold).toMatchObject({ seq: 2, answererSessionId: 77, offererSessionId: gateway.roap("OFFER")[0]!["offererSessionId"] });
  expect(hold["sdp"]).toContain("a=inactive");
  expect(session.heldHere).toBe(false);
  gateway.say(answerTo(hold, "inactive"));
  await settle();
  expect(session.heldHere).toBe(true);
  session.resumeCall();
  await settle();
  const resume = gateway.roap("OFFER")[2]!;
  expect(resume["seq"]).toBe(3);
  expect(resume["sdp"]).toContain("a=sendrecv");
  gateway.say(answerTo(resume));
  await settle();
  expect(events.filter((event) => event.startsWith("hold"))).toEqual(["hold true", "hold false"]);
});

test("a hold that is refused leaves the call as it was, and can be tried again", async () => {
  const { session, events } = await talking();
  session.holdCall();
  await settle();
  gateway.say(`SDP {"messageType":"ERROR","errorType":"FAILED"}`);
  await settle();
  expect(events.at(-1)).toBe("gateway FAILED");
  expect(session.isEstablished()).toBe(true);
  expect(FakePeerConnection.newest.signalingState).toBe("stable");
  session.holdCall();
  await settle();
  expect(gateway.roap("OFFER").map(({ seq }) => seq)).toEqual([1, 2, 3]);
});

test("the far end's hold is told apart from ours", async () => {
  const { session, events } = await talking();
  gateway.say(offer(2, "sendonly"));
  await settle();
  expect(gateway.roap("ANSWER")[0]).toMatchObject({ offererSessionId: 900, seq: 2 });
  expect([session.heldHere, session.heldByPeer]).toEqual([false, true]);
  gateway.say(offer(3));
  await settle();
  expect(session.heldByPeer).toBe(false);
  expect(events.filter((event) => event.startsWith("hold"))).toEqual(["hold true", "hold false"]);
  expect(events.filter((event) => event.startsWith("incoming"))).toEqual([]);
});

test("glare: an OFFER is ignored while one of ours is outstanding", async () => {
  const { session } = await talking();
  session.holdCall();
  await settle();
  gateway.say(offer(2));
  await settle();
  expect(gateway.roap("ANSWER")).toEqual([]);
  gateway.say(answerTo(gateway.roap("OFFER")[1]!, "inactive"));
  await settle();
  expect(session.heldHere).toBe(true);
});

test("EVENT-HOLD and EVENT-TALK hold and resume; EVENT-TALK accepts what rings", async () => {
  const { session, events } = await talking();
  gateway.say("EVENT-HOLD");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[1]!, "inactive"));
  await settle();
  gateway.say("EVENT-TALK");
  await settle();
  expect(gateway.roap("OFFER")[2]!["sdp"]).toContain("a=sendrecv");
  expect(events.filter((event) => event.startsWith("notify"))).toEqual(["notify hold 1003", "notify talk 1003"]);
  session.terminateCall();
  gateway.say(offer(), "5002");
  await settle();
  gateway.say("EVENT-TALK", "5002");
  await settle();
  expect(gateway.roap("ANSWER")).toHaveLength(1);
});

test("makeOffer() after ICE was lost restarts ICE on the same connection", async () => {
  const { session, events } = await talking();
  FakePeerConnection.newest.ice("disconnected");
  FakePeerConnection.newest.ice("failed");
  expect(events.filter((event) => event === "ice")).toHaveLength(1);
  session.makeOffer();
  await settle();
  expect(FakePeerConnection.all).toHaveLength(1);
  expect(FakePeerConnection.newest.offerOptions.map(({ iceRestart }) => iceRestart)).toEqual([false, true]);
  expect(gateway.roap("OFFER")[1]!["seq"]).toBe(2);
});

test("with setRenewSessionOnNeed a new connection takes over once it is answered", async () => {
  const { client, session } = await talking();
  client.setRenewSessionOnNeed(true);
  session.makeOffer();
  await settle();
  const [before, after] = FakePeerConnection.all;
  const [first, renewed] = gateway.roap("OFFER");
  expect(renewed).toMatchObject({ seq: 1, answererSessionId: null });
  expect(renewed!["offererSessionId"]).not.toBe(first!["offererSessionId"]);
  expect(before!.closed).toBe(false);
  gateway.say(answerTo(renewed!));
  await settle();
  expect([before!.closed, after!.closed]).toEqual([true, false]);
});

test("a renewal without an answer goes back to the old connection and its numbers", async () => {
  const { client, session, events } = await talking();
  client.setRenewSessionOnNeed(true);
  session.makeOffer();
  await vi.advanceTimersByTimeAsync(60_100);
  expect(events.at(-1)).toBe("noanswer");
  expect(FakePeerConnection.all.map(({ closed }) => closed)).toEqual([false, true]);
  session.holdCall();
  await settle();
  const [first, , hold] = gateway.roap("OFFER");
  expect(hold).toMatchObject({ offererSessionId: first!["offererSessionId"], answererSessionId: 77, seq: 2 });
});

test("an ANSWER that the browser cannot use ends the call and says so", async () => {
  const { session, events } = await signedIn();
  session.makeOffer("1003");
  await settle();
  FakePeerConnection.newest.failRemote = true;
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  expect(events.slice(-2)).toEqual(["webrtc", "end error 0"]);
  expect(gateway.sent.at(-1)!.body).toBe("BYE");
  expect(FakePeerConnection.newest.closed).toBe(true);
});

test("an offer that the gateway refuses ends the call", async () => {
  const { session, events } = await signedIn();
  gateway.messageAnswers.push({ status: 422, body: "no usable audio" });
  session.makeOffer("1003");
  await settle();
  expect(events.slice(-2)).toEqual(["gateway no usable audio", "end error 0"]);
  expect(gateway.sent).toHaveLength(2);
});

test("a BYE while the connection is being prepared leaves nothing behind", async () => {
  const { session } = await signedIn();
  session.makeOffer("1003");
  session.terminateCall();
  await settle();
  expect(gateway.roap("OFFER")).toEqual([]);
  expect(FakePeerConnection.all.every(({ closed }) => closed)).toBe(true);
  session.makeOffer("1004");
  await settle();
  expect(gateway.roap("OFFER")).toHaveLength(1);
});

test("DTMF is added to what is still being played, and refused without a call", async () => {
  const { session } = await talking();
  const dtmf = FakePeerConnection.newest.transceivers[0]!.sender.dtmf;
  expect(session.sendDTMF("12")).toBe(0);
  expect(session.sendDTMF("#", { duration: 200, tonegap: 70 })).toBe(0);
  expect(dtmf).toMatchObject({ toneBuffer: "12#", duration: 200, gap: 70 });
  expect(session.sendDTMF("x")).toBe(-1);
  session.terminateCall();
  expect(session.sendDTMF("1")).toBe(-1);
});

test("user data and statistics", async () => {
  const { client, session } = await talking();
  const statistics = vi.fn();
  client.onStatsFromServer.add(statistics);
  session.sendInfo({ a: "b c", d: "e&f" });
  session.sendInfo({ x: 1 }, false);
  session.getServerStats();
  await settle();
  expect(gateway.sent.slice(-3).map(({ body }) => body)).toEqual(["INFO-MAP a=b%20c&d=e%26f", "INFO-PEER x=1", "GET-STATS"]);
  gateway.say(`PUT-STATS {"duration":1200,"audio":{"rtt":3}}`);
  await settle();
  expect(statistics).toHaveBeenCalledWith({ duration: 1200, audio: { rtt: 3 } });
});

test("muting switches the track off", async () => {
  const { session } = await talking();
  expect(session.hasAudioEnabled()).toBe(true);
  session.updateCall(false);
  expect(session.hasAudioEnabled()).toBe(false);
  session.updateCall(true);
  expect(session.hasAudioEnabled()).toBe(true);
});

test("filterIceCandidates may leave none", async () => {
  const { client, session } = await signedIn();
  client.filterIceCandidates = () => [];
  session.makeOffer("1003");
  await settle();
  expect(gateway.roap("OFFER")[0]!["Candidates"]).toEqual([]);
});

test("signing out ends the call without a BYE: the gateway releases it", async () => {
  const { client, events } = await talking();
  client.disconnect();
  await settle();
  expect(events.slice(-2)).toEqual(["end local 0", "disconnect"]);
  expect(gateway.sent.map(({ body }) => body)).not.toContain("BYE");
  expect(FakePeerConnection.newest.closed).toBe(true);
});

test("garbage from the gateway is ignored", async () => {
  const { session, events } = await talking();
  const before = events.length;
  for (const body of ["SDP {", "SDP {}", "SDP []", `SDP {"messageType":"OFFER","seq":"x"}`, "WHAT", "PUT-STATS x", "{", " "]) {
    gateway.say(body);
    await settle();
  }
  expect(events.length).toBe(before);
  expect(session.isEstablished()).toBe(true);
});

test("the short form: newMediaSession, connect, and accept", async () => {
  const { client } = await signedIn();
  const out = client.newMediaSession({ destination: "1003", constraints: { audio: true, video: false } });
  const seen: string[] = [];
  out.on("offer", () => { seen.push("offer"); }).on("answer", () => { seen.push("answer"); });
  out.on("stream", () => { seen.push("stream"); }).on("end", () => { seen.push("end"); });
  out.connect();
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  gateway.say("BYE");
  await settle();
  expect(seen).toEqual(["offer", "stream", "answer", "end"]);

  client.on("incoming", (session: MediaSession) => session.accept());
  gateway.say(offer(), "5002");
  await settle();
  expect(gateway.roap("ANSWER")).toHaveLength(1);
});


test("a microphone asked for twice at once is opened once", async () => {
  const { client } = await signedIn();
  const opened = vi.spyOn(navigator.mediaDevices, "getUserMedia");
  client.disableMediaSource();
  const streams: unknown[] = [];
  client.onMediaSuccess.add(({ stream }) => streams.push(stream));
  client.enableMediaSource(true, false);
  client.enableMediaSource(true, false);
  await settle();
  expect(opened).toHaveBeenCalledTimes(1);
  expect(streams).toHaveLength(1);
  expect(client.localStream!.getAudioTracks()[0]!.readyState).toBe("live");
});

test("another microphone in a call takes over without an offer, and stays muted", async () => {
  const { client, session } = await talking();
  const old = client.localStream!.getAudioTracks()[0]!;
  session.updateCall(false);
  client.enableMediaSource(true, false);
  await settle();
  const sent = FakePeerConnection.newest.transceivers[0]!.sender.track!;
  expect([old.readyState, sent.readyState, sent.enabled]).toEqual(["ended", "live", false]);
  expect(sent).toBe(client.localStream!.getAudioTracks()[0]);
  expect(gateway.roap("OFFER")).toHaveLength(1);
});
