// The dashboard on a real gateway: a call appears, is looked into, and is ended from there.

import assert from "node:assert/strict";

import { Dashboard } from "../lib/dashboard.mjs";
import { Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";

browserTest("an agent's call is seen with its quality, looked into, and hung up from the dashboard", async ({ demo, browser, note }) => {
  const chromium = await browser(440);
  const dashboard = await (await Dashboard.open(chromium, demo.url)).live();
  const { page } = dashboard;
  await dashboard.text("#no-agents", "Nobody is signed in");
  const phone = await Phone.open(chromium, demo, "5001");
  await page.bringToFront();
  await dashboard.text("#agents", "5001");
  await dashboard.text("#servers", "ms");
  await phone.page.bringToFront();
  await phone.call("600");
  await phone.phase("talking");
  await page.bringToFront();
  await dashboard.text("#calls .state", "Talking");
  // The first figures come with the first interval of 5 s.
  await page.waitForSelector('#calls td.grade[data-grade="good"]');
  const mos = Number(await dashboard.read("#calls td.grade"));
  note(`MOS ${mos}`);
  assert.ok(mos >= 4, `MOS ${mos}`);

  await page.click("#calls .party a");
  await dashboard.text("#call .sentence", "5001 calls 600: talking for");
  await dashboard.text("#call .ladder", "RTP from the SIP side");
  const labels = await dashboard.all("#call .ladder .label");
  for (const wanted of [/^OFFER/, /^INVITE sip:600@/, /^200 OK/, /^ICE connected/, /^DTLS connected/, /^RTP from the browser/]) {
    assert.ok(labels.some((label) => wanted.test(label)), `${wanted} in ${labels.join(" | ")}`);
  }
  await page.waitForSelector("#call .quality path.line");
  // A message is there when it is asked for, without what must stay secret.
  await page.evaluate(() => [...document.querySelectorAll("#call .ladder li.sip.arrow button")].find(({ textContent }) => textContent.includes("INVITE")).click());
  await dashboard.text("#call .ladder pre", "CSeq:");
  const message = await dashboard.read("#call .ladder pre");
  assert.match(message, /INVITE sip:600@/);
  assert.doesNotMatch(message, /response="[0-9a-f]+"/);

  await page.click("#call button.stop");
  await page.waitForSelector("#confirm[open]");
  await page.click("#confirm-yes");
  await phone.phase("ready");
  await dashboard.text("#call .sentence", "ended it after");
  await dashboard.text("#call .ladder", "BYE");
  await dashboard.go("#/");
  await dashboard.text("#live-count", "0");
  await dashboard.text("#history", "5001");
  assert.deepEqual(page.faults, []);
});
