// Browsers that see only the gateway's TCP candidates, as behind a firewall that lets no UDP through.

import assert from "node:assert/strict";

import { serveExample } from "../lib/files.mjs";
import { dial, OLD_STYLE_AUDIO, oldStyle, state } from "../lib/old_style.mjs";
import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertReport, assertTone, hear, selectedPair } from "../lib/sound.mjs";

const SECONDS = 3;
const LISTEN = ["--set", "media.tcp_listen=127.0.0.1:0"];
const address = serveExample("grtc-page");

/** From now on in this page, the gateway's UDP candidates are taken out of what it sends. */
function withoutUdp(page) {
  return page.evaluate(() => {
    const udp = /^(a=)?candidate:\S+ \d+ udp /i;
    const { setRemoteDescription, addIceCandidate } = RTCPeerConnection.prototype;
    window.taken = 0;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
      const lines = description.sdp.split("\r\n");
      const left = lines.filter((line) => !udp.test(line));
      window.taken += lines.length - left.length;
      return setRemoteDescription.call(this, { type: description.type, sdp: left.join("\r\n") });
    };
    RTCPeerConnection.prototype.addIceCandidate = function (candidate) {
      return udp.test(candidate?.candidate ?? "") ? Promise.resolve() : addIceCandidate.call(this, candidate);
    };
  });
}

/** The protocols of both ends of the pair in use. */
async function protocols(page) {
  const { local, remote } = await selectedPair(page);
  return [local.protocol, remote.protocol];
}

/** That withoutUdp() had something to do. */
async function assertTaken(page) {
  assert.ok(await page.evaluate(() => window.taken > 0), "no UDP candidate came: nothing was taken out");
}

browserTest("a call over TCP: sound both ways", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5016");
  await withoutUdp(phone.page);
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 440, SECONDS + 1), SECONDS, "the echo over TCP");
  await assertLoss(phone.page, "the echo over TCP");
  await assertTaken(phone.page);
  assert.deepEqual(await protocols(phone.page), ["tcp", "tcp"]);
  await phone.hangUp();
  assertReport(await demo.report("600", "5016"), 440, SECONDS);
  assert.deepEqual(phone.page.faults, []);
}, LISTEN);

browserTest("beside it UDP is what a browser takes", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5016");
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 440, 2), 2, "the echo over UDP");
  assert.deepEqual(await protocols(phone.page), ["udp", "udp"]);
  await phone.hangUp();
}, LISTEN);

browserTest("Firefox calls over TCP", async ({ demo, firefox }) => {
  const page = await oldStyle(await (await firefox(440)).page(address(demo)), demo, "5017");
  await withoutUdp(page);
  await dial(page, "#remoteDN", "600");
  await state(page, "talking");
  const heard = await hear(page, OLD_STYLE_AUDIO, 440, SECONDS + 1);
  await assertTaken(page);
  assert.deepEqual(await protocols(page), ["tcp", "tcp"]);
  assertTone(heard, SECONDS, "the echo in Firefox");
  await page.click("#hangup");
  assertReport(await demo.report("600", "5017"), 440, SECONDS);
}, LISTEN);
