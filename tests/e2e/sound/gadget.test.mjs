// The gadget by itself, and driven by a page of another origin: examples/embed-gadget.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";

import { serveExample } from "../lib/files.mjs";
import { call, GADGET_AUDIO as AUDIO, openGadget, phase, signIn, text } from "../lib/gadget.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertReport, assertTone, digitsPlayed, hear } from "../lib/sound.mjs";
import { secret } from "../lib/wrote.mjs";

const address = serveExample("embed-gadget");
const own = (demo, dn) => `${demo.url}gadget?audio=raw&lang=en&dn=${dn}`;

browserTest("two gadgets call each other: sound both ways, mute, hold, quality, hang up", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const [caller, called] = await Promise.all([
    low.page(own(demo, "5014")).then((page) => openGadget(page, demo, "5014")),
    high.page(own(demo, "5015")).then((page) => openGadget(page, demo, "5015")),
  ]);
  await call(caller, "5015");
  await phase(called, "ringing");
  assert.equal(await called.title(), "Call from 5014");
  await called.click("#answer");
  await Promise.all([phase(caller, "talking"), phase(called, "talking")]);
  const [atCaller, atCalled] = await Promise.all([hear(caller, AUDIO, 620, 3), hear(called, AUDIO, 440, 3)]);
  assertTone(atCaller, 3, "620 Hz at the caller");
  assertTone(atCalled, 3, "440 Hz at the called");
  await text(caller, "quality-text", "quality");
  await caller.click("#mute");
  await text(caller, "state", "muted");
  assert.equal(await caller.$eval("#mute", (button) => button.getAttribute("aria-pressed")), "true");
  await caller.click("#mute");
  await caller.click("#hold");
  await text(caller, "state", "On hold");
  await caller.click("#hold");
  await text(caller, "state", "Connected");
  assertTone(await hear(caller, AUDIO, 620, 2), 2, "620 Hz after the hold");
  await called.click("#hang-up");
  await phase(caller, "ready");
  assert.deepEqual([...caller.faults, ...called.faults], []);
});

browserTest("microphone and volume are chosen during a call, without an interruption, and remembered", async ({ demo, browser }) => {
  const page = await openGadget(await (await browser(440)).page(own(demo, "5014")), demo, "5014");
  await call(page, "600");
  await phase(page, "talking");
  assertTone(await hear(page, AUDIO, 440, 2), 2, "the echo of the first microphone");
  const sending = () => page.evaluate(() => window.e2e.connections.at(-1).getSenders()[0].track.getSettings().deviceId);
  const first = await sending();
  await page.click("#sound summary");
  const wanted = await page.$$eval("#microphone option", (options, first) => options.map(({ value }) => value).find((value) => value !== "" && value !== first), first);
  assert.ok(wanted, "Chromium has more than one microphone to pretend");
  await page.select("#microphone", wanted);
  await page.waitForFunction((wanted) => window.e2e.connections.at(-1).getSenders()[0].track.getSettings().deviceId === wanted, {}, wanted);
  assert.equal(await page.evaluate(() => window.e2e.connections.length), 1);
  assertTone(await hear(page, AUDIO, 440, 2), 2, "the echo of the second microphone");
  await page.$eval("#volume", (slider) => {
    slider.value = "35";
    slider.dispatchEvent(new Event("input"));
  });
  assert.equal(await page.$eval(AUDIO, (player) => player.volume), 0.35);
  await page.click("#sound summary");
  await page.click("#hang-up");
  await phase(page, "ready");
  await page.reload();
  await openGadget(page, demo, "5014");
  await page.waitForFunction((wanted) => document.getElementById("microphone").value === wanted, {}, wanted);
  assert.equal(await page.$eval(AUDIO, (player) => player.volume), 0.35);
  // One that is not there any more does not keep anybody from signing in.
  await page.evaluate(() => localStorage.setItem("gadget.microphone", "no such device"));
  await page.reload();
  await openGadget(page, demo, "5014");
});

/** The page around a gadget, and the gadget's frame. */
async function embedded(browser, demo, dn) {
  const page = await browser.page(address(demo));
  const frame = await page.waitForFrame((frame) => frame.url().includes("/gadget"));
  await page.waitForFunction(() => document.getElementById("state").value === "out");
  await signIn(frame, dn, demo.password);
  await page.waitForFunction(() => document.getElementById("state").value === "ready");
  return { page, frame };
}

async function answered(page, wanted) {
  await page.waitForFunction((wanted) => document.getElementById("answered").value === wanted, {}, wanted);
}

browserTest("a page around the gadget drives it: call, hold, resume, tones, hang up", async ({ demo, browser }) => {
  const { page, frame } = await embedded(await browser(440), demo, "5016");
  await page.click("#mute");
  await answered(page, "mute: wrong_state");
  await page.click('[data-number="600"]');
  await answered(page, "call: done");
  await phase(frame, "talking");
  await page.waitForFunction(() => document.getElementById("state").value === "talking 600");
  assertTone(await hear(frame, AUDIO, 440, 3), 3, "the echo in the frame");
  await page.click("#hold");
  await text(frame, "state", "On hold");
  await page.click("#resume");
  await text(frame, "state", "Connected");
  await page.click("#dtmf");
  await answered(page, "dtmf: done");
  await digitsPlayed(frame);
  assertTone(await hear(frame, AUDIO, 440, 2), 1, "the echo after the hold");
  await page.click("#hang-up");
  await page.waitForFunction(() => /call with 600 over, \d+ seconds/.test(document.getElementById("log").textContent));
  const report = await demo.report("600", "5016");
  assertReport(report, 440, 4);
  assert.equal(report.heard.digits, "1#");
});

browserTest("a page around the gadget hears of a call and answers it", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const { page, frame } = await embedded(low, demo, "5016");
  const caller = await openGadget(await high.page(own(demo, "5017")), demo, "5017");
  await call(caller, "5016");
  await page.waitForFunction(() => /call from 5017/.test(document.getElementById("log").textContent));
  await page.click("#answer");
  await Promise.all([phase(frame, "talking"), phase(caller, "talking")]);
  assertTone(await hear(frame, AUDIO, 620, 2), 2, "620 Hz in the frame");
});

const OPERATOR = "token-of-the-portal-Qm64";
browserTest("a page around the gadget signs it in with a one-time token, and once only", async ({ demo, browser }) => {
  const asked = await fetch(`${demo.url}api/tokens`, {
    method: "POST", headers: { Authorization: `Bearer ${OPERATOR}` }, body: JSON.stringify({ dn: "5016", password: demo.password }),
  });
  const { token } = await asked.json();
  secret("an operator's token", OPERATOR);
  secret("a token", token);
  const page = await (await browser(440)).page(address(demo));
  const frame = await page.waitForFrame((frame) => frame.url().includes("/gadget"));
  await page.waitForFunction(() => document.getElementById("state").value === "out");
  const signInWith = () => page.evaluate((token) => {
    const { contentWindow, src } = document.querySelector("iframe");
    contentWindow.postMessage({ to: "wrtc-gadget", action: "signIn", dn: "5016", token }, new URL(src).origin);
  }, token);
  await signInWith();
  await phase(frame, "ready");
  await call(frame, "600");
  await phase(frame, "talking");
  assertTone(await hear(frame, AUDIO, 440, 2), 2, "the echo in the frame");
  await frame.click("#hang-up");
  await phase(frame, "ready");
  await frame.click("#sign-out");
  await phase(frame, "out");
  await signInWith();
  await text(frame, "notice", "wrong");
}, ["--set", `http.operator_tokens=${createHash("sha256").update(OPERATOR).digest("hex")}`]);
