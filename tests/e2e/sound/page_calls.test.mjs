// The softphone page calls the demo's numbers.

import assert from "node:assert/strict";

import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertReport, assertTone, digitsPlayed, hear } from "../lib/sound.mjs";

const SECONDS = 10;

/** From the click to the answer, and to the first packet of sound; both in ms. */
async function timeCall(phone, number) {
  await phone.type("#number", number);
  await phone.page.evaluate(() => {
    const times = { clicked: 0, connected: 0, sound: 0 };
    window.times = times;
    const app = document.getElementById("app");
    document.getElementById("call").addEventListener("click", () => { times.clicked = performance.now(); }, { capture: true });
    new MutationObserver(() => {
      if (app.dataset.phase === "talking") times.connected ||= performance.now();
    }).observe(app, { attributes: true });
    const look = async () => {
      if (times.clicked && (await window.e2e.packets()).received > 0) times.sound = performance.now();
      else setTimeout(look, 5);
    };
    void look();
  });
  await phone.click("call");
  await phone.page.waitForFunction(() => window.times.connected > 0 && window.times.sound > 0);
  return phone.page.evaluate(() => ({
    connected: Math.round(window.times.connected - window.times.clicked),
    sound: Math.round(window.times.sound - window.times.clicked),
  }));
}

/** Until the echo is heard again after the last digit. */
async function digitsSent(page) {
  await digitsPlayed(page);
  await hear(page, FAR_END, 440, 1);
}

browserTest("600: what the browser says is heard at the SIP side and comes back", async ({ demo, browser, note }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  const { connected, sound } = await timeCall(phone, "600");
  await phone.phase("talking");
  const heard = await hear(phone.page, FAR_END, 440, SECONDS + 1);
  assertTone(heard, SECONDS, "the echo in the browser");
  const packets = await assertLoss(phone.page, "the echo in the browser");
  await phone.hangUp();
  const report = await demo.report("600", "5001");
  const tone = assertReport(report, 440, SECONDS);
  note(`call setup: ${connected} ms from the click to the answer, ${sound} ms to the first sound`);
  note(`to the SIP side: ${report.heard.packets} packets, ${report.heard.lost} lost, ${tone.seconds} s of ${tone.hz} Hz`);
  note(`to the browser: ${packets.received} packets, ${packets.lost} lost, ${heard.seconds} s of 440 Hz`);
  assert.deepEqual(phone.page.faults, []);
});

browserTest("601: the 1 kHz tone is heard in the browser without holes", async ({ demo, browser, note }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  const { connected, sound } = await timeCall(phone, "601");
  const heard = await hear(phone.page, FAR_END, 1000, SECONDS + 1);
  assertTone(heard, SECONDS, "the tone in the browser");
  const packets = await assertLoss(phone.page, "the tone in the browser");
  await phone.hangUp();
  assertReport(await demo.report("601", "5001"), 440, SECONDS);
  note(`call setup: ${connected} ms from the click to the answer, ${sound} ms to the first sound`);
  note(`to the browser: ${packets.received} packets, ${packets.lost} lost, ${heard.seconds} s of 1 kHz`);
});

browserTest("1003 rings, answers by itself and echoes", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5003");
  await phone.call("1003");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 440, 3), 3, "the echo of 1003");
  await phone.hangUp();
});

browserTest("keys pressed in a call arrive as digits at the SIP side", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  await hear(phone.page, FAR_END, 440, 1);
  await phone.page.keyboard.type("1234");
  for (const key of ["5", "#", "0", "*"]) await phone.page.click(`[data-key="${key}"]`);
  await digitsSent(phone.page);
  await phone.hangUp();
  assert.equal((await demo.report("600", "5001")).heard.digits, "12345#0*");
});

browserTest("604 calls back after hanging up", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  await phone.call("604");
  await phone.phase("talking");
  await phone.hangUp();
  await phone.phase("ringing");
  assert.equal(await phone.party(), "604");
  await phone.click("answer");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 440, 3), 3, "the call-back's echo");
  await phone.hangUp();
});

browserTest("the page works from the keyboard alone", async ({ demo, browser }) => {
  const page = await (await browser(440)).page(`${demo.url}?audio=raw`);
  const phone = new Phone(page, "5001");
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.keyboard.type("5001");
  await press("Tab");
  await page.keyboard.type(demo.password);
  await press("Enter");
  await phone.phase("ready");
  await page.keyboard.type("600");
  await press("Enter");
  await phone.phase("talking");
  await phone.hasSound();
  await hear(page, FAR_END, 440, 1);
  await page.keyboard.type("7");
  await digitsSent(page);
  await page.keyboard.down("Shift");
  await press("Tab", "Tab");
  await page.keyboard.up("Shift");
  await press("Space");
  await phone.state("On hold");
  await press("Space");
  await phone.state("Connected");
  await press("Tab", "Enter");
  await phone.phase("ready");
  assert.equal(await page.evaluate(() => document.activeElement.id), "number", "the focus goes back to the number");
  assert.equal((await demo.report("600", "5001")).heard.digits, "7");
});
