// A browser that knows nothing but Opus calls SIP phones that know nothing of it: the gateway translates.

import assert from "node:assert/strict";

import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertReport, assertTone, digitsPlayed, hear } from "../lib/sound.mjs";

const SECONDS = 5;

async function open({ demo, browser }) {
  return Phone.open(await browser(440), demo, "5001", { codec: "opus" });
}

/** What the page sends and gets, by its own counters, in a call that goes on. */
function codecs(page) {
  return page.evaluate(async () => {
    const stats = await window.e2e.connections.at(-1).getStats();
    const streams = [...stats.values()].filter(({ type }) => /^(inbound|outbound)-rtp$/.test(type));
    return Object.fromEntries(streams.map(({ type, codecId }) => [type, stats.get(codecId)?.mimeType]));
  });
}

/** The offer or answer of the page names no codec of the phones. What Chromium sends may be what our offer began with all the same. */
async function assertOpusOnly(page, sends = "audio/opus") {
  const local = await page.evaluate(() => window.e2e.connections.at(-1).localDescription.sdp);
  assert.match(local, /opus\/48000/);
  assert.doesNotMatch(local, /PCM[AU]|G722/);
  assert.deepEqual(await codecs(page), { "inbound-rtp": "audio/opus", "outbound-rtp": sends });
}

browserTest("600: an Opus browser's tone is heard at a PCMU phone, and its echo in the browser", async (tools) => {
  const phone = await open(tools);
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  const heard = await hear(phone.page, FAR_END, 440, SECONDS + 1);
  assertTone(heard, SECONDS, "the echo in the browser");
  await assertOpusOnly(phone.page);
  const packets = await assertLoss(phone.page, "the echo in the browser");
  await phone.hangUp();
  const report = await tools.demo.report("600", "5001");
  const tone = assertReport(report, 440, SECONDS);
  tools.note(`to the SIP side: ${report.heard.packets} packets, ${report.heard.lost} lost, ${tone.seconds} s of ${tone.hz} Hz`);
  tools.note(`to the browser: ${packets.received} packets, ${packets.lost} lost, ${JSON.stringify(heard)}`);
  assert.deepEqual(phone.page.faults, []);
});

browserTest("601: a PCMU phone's 1 kHz tone is heard in an Opus browser without holes", async (tools) => {
  const phone = await open(tools);
  await phone.call("601");
  await phone.phase("talking");
  await phone.hasSound();
  const heard = await hear(phone.page, FAR_END, 1000, SECONDS + 1);
  assertTone(heard, SECONDS, "the tone in the browser");
  await assertOpusOnly(phone.page);
  await assertLoss(phone.page, "the tone in the browser");
  await phone.hangUp();
  assertReport(await tools.demo.report("601", "5001"), 440, SECONDS);
  tools.note(`to the browser: ${JSON.stringify(heard)}`);
});

browserTest("604 calls a browser that answers with Opus, and sends the first codec of the offer", async (tools) => {
  const phone = await open(tools);
  await phone.call("604");
  await phone.phase("talking");
  await phone.hangUp();
  await phone.phase("ringing");
  await phone.click("answer");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 440, 4), 3, "the call-back's echo");
  await assertOpusOnly(phone.page, "audio/PCMU");
  await phone.hangUp();
});

browserTest("digits of an Opus browser are digits at a PCMU phone", async (tools) => {
  const phone = await open(tools);
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  await hear(phone.page, FAR_END, 440, 1);
  await phone.page.keyboard.type("12#");
  await digitsPlayed(phone.page);
  assertTone(await hear(phone.page, FAR_END, 440, 3), 3, "the echo after the digits");
  await phone.hangUp();
  assert.equal((await tools.demo.report("600", "5001")).heard.digits, "12#");
});
