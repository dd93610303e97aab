// The softphone page, as far as it can be seen: signing in, calls that come to nothing, ends of calls.

import assert from "node:assert/strict";

import { pair, Phone, talking } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";

browserTest("603 is busy, and the page says so", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  await phone.call("603");
  await phone.notice("603 is busy.");
  await phone.phase("ready");
});

browserTest("602 rings for ever; hanging up cancels the call", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  await phone.call("602");
  await phone.phase("calling");
  // The far end has the call once it rings there: give up only then.
  const { calls: [{ call_id: id }] } = await demo.until("api/calls/active", ({ calls }) => calls.length > 0);
  await demo.until(`api/calls/${id}`, ({ timeline }) => timeline.some(({ title }) => title.startsWith("180 ")));
  await phone.hangUp();
  const report = await demo.report("602", "5001");
  assert.equal(report.talked, null);
  assert.deepEqual([report.end.by, report.end.code], ["caller", 487]);
});

browserTest("the page works under the gateway's own content security policy", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001", { ownPolicy: true });
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  await phone.page.waitForFunction(() => {
    const bar = document.querySelector("#meter-far .level");
    return /scaleX\(0\.[1-9]/.test(bar.style.transform);
  });
  await phone.hangUp();
  assert.deepEqual(phone.page.faults, []);
});

browserTest("a wrong password is told as such, and the right one works after it", async ({ demo, browser }) => {
  const phone = new Phone(await (await browser(440)).page(`${demo.url}?audio=raw`), "5001");
  await phone.signIn(`${demo.password}x`);
  await phone.notice("The DN or the password is wrong");
  await phone.signIn(demo.password);
  await phone.phase("ready");
});

browserTest("a second sign-in of the DN ends the first one's session, and its page says so", async ({ demo, browser }) => {
  const chromium = await browser(440);
  const first = await Phone.open(chromium, demo, "5001");
  const second = await Phone.open(chromium, demo, "5001");
  await first.phase("out");
  await first.notice("Signed out");
  await second.page.bringToFront();
  await second.call("600");
  await second.phase("talking");
  await second.hangUp();
});

browserTest("a gateway that goes away is told, when signed in and when signing in", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  await demo.stop();
  await phone.notice("The connection to the gateway is lost");
  await phone.click("sign-out");
  await phone.signIn(demo.password);
  await phone.notice("The gateway cannot be reached");
});

browserTest("a rejected call is told to the caller", async (tools) => {
  const [caller, callee] = await pair(tools);
  await caller.call("5002");
  await callee.phase("ringing");
  await callee.click("reject");
  await callee.phase("ready");
  await caller.phase("ready");
  await caller.notice("5002 ");
  assert.match(await caller.page.$eval("#notice", (element) => element.textContent), /is busy|declined/);
});

browserTest("a caller who gives up leaves a missed call", async (tools) => {
  const [caller, callee] = await pair(tools);
  await caller.call("5002");
  await callee.phase("ringing");
  await caller.hangUp();
  await callee.phase("ready");
  await callee.notice("You missed a call from 5001.");
});

browserTest("a page that is closed in a call ends the call", async (tools) => {
  const [caller, callee] = await talking(tools);
  await caller.page.close({ runBeforeUnload: true });
  await callee.phase("ready");
  await callee.state("The far end hung up");
});
