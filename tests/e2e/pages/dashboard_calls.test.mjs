// The dashboard on a real gateway, where there is nothing to hear.

import assert from "node:assert/strict";

import { Dashboard } from "../lib/dashboard.mjs";
import { Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";

browserTest("a call that is refused says whose word that was", async ({ demo, browser }) => {
  const chromium = await browser(440);
  const phone = await Phone.open(chromium, demo, "5002");
  await phone.call("603");
  await phone.notice("busy");
  // It is found once the store has it.
  await demo.until("api/calls", ({ calls }) => calls.length > 0);
  const dashboard = await (await Dashboard.open(chromium, demo.url, "#/calls")).live();
  const { page } = dashboard;
  await dashboard.text("#search tbody tr", "486");
  await page.click("#search tbody a");
  await dashboard.text("#call .sentence", "Not answered: the SIP side refused after");
  await dashboard.text("#call .ends", "486 Busy Here");
  await dashboard.text("#call .why", "486");
});

browserTest("sign-out of a DN ends the agent's session", async ({ demo, browser }) => {
  const chromium = await browser(440);
  const phone = await Phone.open(chromium, demo, "5003");
  const dashboard = await (await Dashboard.open(chromium, demo.url, "#/agents/5003")).live();
  const { page } = dashboard;
  await dashboard.text("#agent .sentence", "Registered at");
  await page.click("#agent .doings .stop");
  await page.waitForSelector("#confirm[open]");
  await page.click("#confirm-yes");
  await dashboard.text("#toast", "5003 is signed out");
  // The page may sign in anew by itself: what is asserted is that its old session was ended.
  await dashboard.text("#agent .side ol", "5003");
  assert.ok(phone);
});
