// Pages written for the old library, and pages in the short style, on grtc.js of another origin: examples/grtc-page.

import assert from "node:assert/strict";

import { serveExample } from "../lib/files.mjs";
import { dial, OLD_STYLE_AUDIO as OLD, oldStyle, state } from "../lib/old_style.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertReport, assertTone, digitsPlayed, hear } from "../lib/sound.mjs";

const address = serveExample("grtc-page");

browserTest("an old-style page calls: sound both ways, hold, resume, tones, hang up", async ({ demo, browser }) => {
  const page = await oldStyle(await (await browser(440)).page(address(demo)), demo, "5006");
  await dial(page, "#remoteDN", "600");
  await state(page, "talking");
  assertTone(await hear(page, OLD, 440, 3), 3, "the echo");
  await page.click("#hold");
  await state(page, "on hold");
  await page.click("#resume");
  await state(page, "talking");
  assertTone(await hear(page, OLD, 440, 3), 3, "the echo after the hold");
  await page.click("#dtmf");
  await digitsPlayed(page);
  await hear(page, OLD, 440, 1);
  await page.click("#hangup");
  await state(page, "registered");
  const report = await demo.report("600", "5006");
  assertReport(report, 440, 6);
  assert.equal(report.heard.digits, "1#");
  assert.deepEqual(page.faults, []);
});

browserTest("an old-style page is called by a short-style page: sound both ways, and the far end hangs up", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const called = await oldStyle(await low.page(address(demo)), demo, "5006");
  const caller = await high.page(address(demo, "short.html"));
  await caller.type("#dn", "5007");
  await caller.type("#password", demo.password);
  await caller.click("#sign-in");
  await state(caller, "ready");
  await dial(caller, "#number", "5006");
  await state(called, "call from 5007");
  await called.click("#answer");
  await Promise.all([state(called, "talking"), state(caller, "talking")]);
  const [atCalled, atCaller] = await Promise.all([hear(called, OLD, 620, 3), hear(caller, "#audio", 440, 3)]);
  assertTone(atCalled, 3, "620 Hz at the page that was called");
  assertTone(atCaller, 3, "440 Hz at the page that called");
  await caller.click("#hang-up");
  await state(called, "the far end has hung up");
  await state(caller, "ready, the last call ended by local");
  // The session is used again for the next call, and rejects it.
  await dial(caller, "#number", "5006");
  await state(called, "call from 5007");
  await called.click("#reject");
  await caller.waitForFunction(() => /ended by remote/.test(document.getElementById("state").value));
});

browserTest("a short-style page takes a call by itself", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const called = await high.page(address(demo, "short.html"));
  await called.type("#dn", "5007");
  await called.type("#password", demo.password);
  await called.click("#sign-in");
  await state(called, "ready");
  const caller = await oldStyle(await low.page(address(demo)), demo, "5006");
  await dial(caller, "#remoteDN", "5007");
  await Promise.all([state(called, "talking"), state(caller, "talking")]);
  assertTone(await hear(called, "#audio", 440, 3), 3, "440 Hz at the page that was called");
});
