// A call whose path is lost, and devices that come and go.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { VideoConstraints } from "../src/grtc/index";
import { answerTo, FakePeerConnection, FakeStream, install, settle, signedIn, type FakeGateway } from "./fakes";

let gateway: FakeGateway;
beforeEach(() => { gateway = install(); });
afterEach(() => { vi.useRealTimers(); });

async function talking() {
  const all = await signedIn();
  all.session.makeOffer("1003");
  await settle();
  gateway.say(answerTo(gateway.roap("OFFER")[0]!));
  await settle();
  FakePeerConnection.newest.ice("connected");
  return all;
}

const restarts = () => FakePeerConnection.newest.offerOptions.filter(({ iceRestart }) => iceRestart).length;

async function answerNewest(): Promise<void> {
  gateway.say(answerTo(gateway.roap("OFFER").at(-1)!));
  await settle();
}

test("ICE that failed is restarted at once", async () => {
  await talking();
  FakePeerConnection.newest.ice("failed");
  await settle();
  expect(restarts()).toBe(1);
});

test("ICE that is disconnected is given time to mend itself", async () => {
  await talking();
  FakePeerConnection.newest.ice("disconnected");
  await vi.advanceTimersByTimeAsync(1_500);
  FakePeerConnection.newest.ice("connected");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(restarts()).toBe(0);
  FakePeerConnection.newest.ice("disconnected");
  await vi.advanceTimersByTimeAsync(2_100);
  expect(restarts()).toBe(1);
});

test("a restart that does not help is done again, and no more once ICE is there", async () => {
  await talking();
  FakePeerConnection.newest.ice("failed");
  await settle();
  await answerNewest();
  FakePeerConnection.newest.ice("checking");
  await vi.advanceTimersByTimeAsync(5_100);
  expect(restarts()).toBe(2);
  await answerNewest();
  FakePeerConnection.newest.ice("connected");
  await vi.advanceTimersByTimeAsync(120_000);
  expect(restarts()).toBe(2);
});

test("an application that restarts ICE itself is not interfered with", async () => {
  const { client, session } = await talking();
  client.onIceDisconnected.add(() => session.makeOffer());
  FakePeerConnection.newest.ice("failed");
  await settle();
  await answerNewest();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(restarts()).toBe(1);
});

test("another network restarts ICE once, although the old path has not failed yet", async () => {
  await talking();
  window.dispatchEvent(new Event("online"));
  await settle();
  expect(restarts()).toBe(1);
  await answerNewest();
  await vi.advanceTimersByTimeAsync(120_000);
  expect(restarts()).toBe(1);
  expect(gateway.roap("OFFER")).toHaveLength(2);
});

test("the kind of network counts, its speed does not", async () => {
  const connection = Object.assign(new EventTarget(), { type: "wifi", downlink: 10 });
  Object.assign(navigator, { connection });
  await talking();
  connection.downlink = 1;
  connection.dispatchEvent(new Event("change"));
  await settle();
  expect(restarts()).toBe(0);
  connection.type = "ethernet";
  connection.dispatchEvent(new Event("change"));
  await settle();
  expect(restarts()).toBe(1);
});

test("without a network no offer is made; with it, at once", async () => {
  await talking();
  Object.assign(navigator, { onLine: false });
  FakePeerConnection.newest.ice("failed");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(restarts()).toBe(0);
  Object.assign(navigator, { onLine: true });
  window.dispatchEvent(new Event("online"));
  await settle();
  expect(restarts()).toBe(1);
});

test("a call that ends while ICE is lost is not restarted", async () => {
  const { session } = await talking();
  FakePeerConnection.newest.ice("disconnected");
  session.terminateCall();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(restarts()).toBe(0);
});

test("an unplugged microphone is replaced by the default one, without an offer, muted as before", async () => {
  const { client, session, events } = await talking();
  client.enableMediaSource({ deviceId: { exact: "headset" }, echoCancellation: true }, false);
  await settle();
  session.updateCall(false);
  const asked = vi.spyOn(navigator.mediaDevices, "getUserMedia");
  const [lost] = (client.localStream as unknown as FakeStream).tracks;
  lost!.unplug();
  await settle();
  expect(asked).toHaveBeenCalledExactlyOnceWith({ audio: { echoCancellation: true }, video: false });
  expect(events.at(-1)).toBe("device");
  const { track } = FakePeerConnection.newest.transceivers[0]!.sender;
  expect(track).not.toBe(lost);
  expect(track).toMatchObject({ readyState: "live", enabled: false });
  expect(gateway.roap("OFFER")).toHaveLength(1);
});

test("without another microphone it waits for one to be plugged in", async () => {
  const { client, session, events } = await signedIn();
  session.updateLocalStream(false);
  const asked = vi.spyOn(navigator.mediaDevices, "getUserMedia");
  asked.mockRejectedValueOnce(new DOMException("none", "NotFoundError"));
  (client.localStream as unknown as FakeStream).tracks[0]!.unplug();
  await settle();
  expect(events.at(-1)).toBe("no device");
  navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
  await settle();
  expect(events.at(-1)).toBe("device");
  expect(client.localStream!.getAudioTracks()[0]!.enabled).toBe(false);
  navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
  await settle();
  expect(asked).toHaveBeenCalledTimes(2);
});

test("devices that were given back are not opened again", async () => {
  const { client } = await signedIn();
  const asked = vi.spyOn(navigator.mediaDevices, "getUserMedia");
  client.disableMediaSource();
  navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
  await settle();
  expect(asked).not.toHaveBeenCalled();
});

test("a screen is asked for as a screen, with the microphone beside it", async () => {
  const { client } = await signedIn();
  const screen = Object.assign(new FakeStream(), { addTrack(this: FakeStream, track: never) { this.tracks.push(track); } });
  const getDisplayMedia = vi.fn(() => Promise.resolve(screen));
  Object.assign(navigator.mediaDevices, { getDisplayMedia });
  client.enableMediaSource(true, VideoConstraints.screen(1280, 720));
  await settle();
  expect(getDisplayMedia).toHaveBeenCalledWith({ video: { displaySurface: "monitor", width: { max: 1280 }, height: { max: 720 } } });
  expect(client.localStream!.getAudioTracks()).toHaveLength(1);
});

test("sound that the browser refuses begins with the next gesture", async () => {
  class FakeElement {
    srcObject: unknown = null;
    refuse = true;
    play = () => this.refuse ? Promise.reject(new DOMException("not allowed", "NotAllowedError")) : Promise.resolve();
  }
  vi.stubGlobal("HTMLMediaElement", FakeElement);
  const { client } = await signedIn();
  const told: boolean[] = [];
  client.onPlayback.add(({ playing }) => { told.push(playing); });
  const element = new FakeElement();
  client.setViewFromStream(element as never, new FakeStream() as never);
  await settle();
  expect(told).toEqual([false]);
  document.dispatchEvent(new Event("pointerdown"));
  await settle();
  expect(told).toEqual([false]);
  element.refuse = false;
  document.dispatchEvent(new Event("keydown"));
  await settle();
  document.dispatchEvent(new Event("keydown"));
  await settle();
  expect(told).toEqual([false, true]);
});
