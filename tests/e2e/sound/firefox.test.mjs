// The library's main calls in Firefox, with sound: examples/grtc-page. The other end is the demo, or Chromium.

import assert from "node:assert/strict";

import { serveExample } from "../lib/files.mjs";
import { call, GADGET_AUDIO, openGadget, phase, text } from "../lib/gadget.mjs";
import { dial, OLD_STYLE_AUDIO as AUDIO, oldStyle, state } from "../lib/old_style.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertReport, assertTone, digitsPlayed, hear } from "../lib/sound.mjs";

const address = serveExample("grtc-page");

browserTest("Firefox calls out: sound both ways, hold, resume, tones, hang up", async ({ demo, firefox }) => {
  const page = await oldStyle(await (await firefox(440)).page(address(demo)), demo, "5008");
  await dial(page, "#remoteDN", "600");
  await state(page, "talking");
  assertTone(await hear(page, AUDIO, 440, 3), 3, "the echo");
  await assertLoss(page, "the echo");
  await page.click("#hold");
  await state(page, "on hold");
  await page.click("#resume");
  await state(page, "talking");
  assertTone(await hear(page, AUDIO, 440, 3), 3, "the echo after the hold");
  await page.click("#dtmf");
  await digitsPlayed(page);
  await hear(page, AUDIO, 440, 1);
  await page.click("#hangup");
  await state(page, "registered");
  const report = await demo.report("600", "5008");
  assertReport(report, 440, 6);
  assert.equal(report.heard.digits, "1#");
  assert.deepEqual(page.faults, []);
});

browserTest("Firefox hears 1 kHz without holes", async ({ demo, firefox }) => {
  const page = await oldStyle(await (await firefox(440)).page(address(demo)), demo, "5008");
  await dial(page, "#remoteDN", "601");
  await state(page, "talking");
  assertTone(await hear(page, AUDIO, 1000, 6), 5, "the tone in Firefox");
  await assertLoss(page, "the tone in Firefox");
  await page.click("#hangup");
  assertReport(await demo.report("601", "5008"), 440, 5);
});

browserTest("Firefox is called by Chromium: sound both ways, and Chromium hangs up", async ({ demo, browser, firefox }) => {
  const [fox, chromium] = await Promise.all([firefox(440), browser(620)]);
  const called = await oldStyle(await fox.page(address(demo)), demo, "5008");
  const caller = await oldStyle(await chromium.page(address(demo)), demo, "5009");
  await dial(caller, "#remoteDN", "5008");
  await state(called, "call from 5009");
  await called.click("#answer");
  await Promise.all([state(called, "talking"), state(caller, "talking")]);
  const [atFox, atChromium] = await Promise.all([hear(called, AUDIO, 620, 3), hear(caller, AUDIO, 440, 3)]);
  assertTone(atFox, 3, "620 Hz in Firefox");
  assertTone(atChromium, 3, "440 Hz in Chromium");
  await caller.click("#hangup");
  await state(called, "the far end has hung up");
});

browserTest("the gadget calls out in Firefox, under the gateway's own content security policy", async ({ demo, firefox }) => {
  const page = await (await firefox(440)).page(`${demo.url}gadget?audio=raw&lang=en&dn=5008`);
  await openGadget(page, demo, "5008");
  await call(page, "600");
  await phase(page, "talking");
  assertTone(await hear(page, GADGET_AUDIO, 440, 3), 3, "the echo");
  await text(page, "quality-text", "quality");
  await page.click("#hang-up");
  await phase(page, "ready");
  assertReport(await demo.report("600", "5008"), 440, 3);
  assert.deepEqual(page.faults, []);
});
