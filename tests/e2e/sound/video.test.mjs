// Video from page to page: the frames of a fake camera, decoded at the other end, and the tone beside them.

import assert from "node:assert/strict";

import { LIMIT_MS } from "../lib/demo.mjs";
import { answered } from "../lib/library.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertQuiet, assertTone, hear } from "../lib/sound.mjs";

const AUDIO = "#audio";
const SIZE = { width: 320, height: 240 };
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const ON = ["--set", "media.video=VP8,H264"];

/** A page with a client that is signed in, and a session that takes what rings with the video that it asks for. */
async function open(browser, demo, dn, camera = true) {
  const page = await browser.page(demo.url);
  await page.addScriptTag({ url: new URL("grtc.js", demo.url).href });
  await page.evaluate(async (dn, password, camera, microphone) => {
    document.body.innerHTML = '<audio id="audio" autoplay></audio>';
    const client = new Grtc.Client({
      webrtc_gateway: location.href.replace(/\/[^/]*$/, ""), sip_username: dn, sip_password: password,
    });
    const session = new Grtc.MediaSession(client);
    session.onRemoteStream.add(({ stream }) => { client.setViewFromStream("audio", stream); });
    client.onIncomingCall.add(() => { session.acceptCall(true, camera !== false); });
    Object.assign(window, { client, session });
    const media = new Promise((resolve) => { client.onMediaSuccess.add(resolve); });
    client.enableMediaSource(microphone, camera);
    await media;
    const signedIn = new Promise((resolve, reject) => {
      client.onRegister.add(resolve);
      client.onFailed.add(({ message }) => reject(new Error(message)));
    });
    client.register();
    await signedIn;
  }, dn, demo.password, camera && SIZE, RAW);
  return page;
}

/** What the newest connection says of the video that comes: nothing where none does. */
function shown(page) {
  return page.evaluate(async () => {
    const pc = window.e2e.connections.at(-1);
    for (const stats of (await pc?.getStats())?.values() ?? []) {
      if (stats.type === "inbound-rtp" && stats.kind === "video") {
        const { framesDecoded = 0, frameWidth = 0, frameHeight = 0, packetsLost = 0 } = stats;
        return { framesDecoded, frameWidth, frameHeight, packetsLost };
      }
    }
    return { framesDecoded: 0 };
  });
}

async function frames(page, count, what) {
  const until = Date.now() + LIMIT_MS;
  for (;;) {
    const seen = await shown(page);
    if (seen.framesDecoded >= count) return seen;
    assert.ok(Date.now() < until, `${what}: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => { setTimeout(resolve, 250); });
  }
}

async function assertVideo(page, what) {
  const { framesDecoded } = await frames(page, 1, what);
  const { frameWidth, frameHeight } = await frames(page, framesDecoded + 30, what);
  assert.equal(frameWidth * SIZE.height, frameHeight * SIZE.width, `${what}: ${frameWidth} by ${frameHeight}`);
  assert.ok(frameWidth > 0 && frameWidth <= SIZE.width, `${what}: ${frameWidth} by ${frameHeight}`);
}

async function pair({ demo, browser }, cameras = [true, true]) {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  return Promise.all([open(low, demo, "5004", cameras[0]), open(high, demo, "5005", cameras[1])]);
}

async function assertTones(caller, callee) {
  const [atCaller, atCallee] = await Promise.all([hear(caller, AUDIO, 620, 3), hear(callee, AUDIO, 440, 3)]);
  assertTone(atCaller, 3, "620 Hz at the caller");
  assertTone(atCallee, 3, "440 Hz at the callee");
}

browserTest("two pages see and hear each other, before and after a hold", async (tools) => {
  const [caller, callee] = await pair(tools);
  await caller.evaluate(() => window.session.makeCall("5005", true, true));
  for (const [page, what] of [[caller, "at the caller"], [callee, "at the callee"]]) await assertVideo(page, what);
  await assertTones(caller, callee);
  await answered(caller, "session.holdCall()");
  await Promise.all([assertQuiet(caller, AUDIO, 620, 1, "620 Hz on hold"), assertQuiet(callee, AUDIO, 440, 1, "440 Hz on hold")]);
  await answered(caller, "session.resumeCall()");
  for (const [page, what] of [[caller, "again at the caller"], [callee, "again at the callee"]]) await assertVideo(page, what);
  assertTone(await hear(caller, AUDIO, 620, 3), 3, "620 Hz at the caller after the hold");
  assert.deepEqual([...caller.faults, ...callee.faults], []);
}, ON);

browserTest("the echo has no video: the call goes on with sound", async ({ demo, browser }) => {
  const page = await open(await browser(440), demo, "5004");
  await page.evaluate(() => window.session.makeCall("600", true, true));
  assertTone(await hear(page, AUDIO, 440, 3), 3, "the echo");
  assert.equal((await shown(page)).framesDecoded, 0);
}, ON);

browserTest("where video is off it is refused, and the sound passes", async (tools) => {
  const [caller, callee] = await pair(tools);
  await caller.evaluate(() => window.session.makeCall("5005", true, true));
  await assertTones(caller, callee);
  const answer = await caller.evaluate(() => window.e2e.connections.at(-1).remoteDescription.sdp);
  assert.match(answer, /m=video 0 /);
});
