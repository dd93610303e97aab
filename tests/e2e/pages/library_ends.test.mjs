// How calls and sessions of the grtc library end when nobody ends them.

import assert from "node:assert/strict";

import { open } from "../lib/library.mjs";
import { browserTest, everyBrowserTest } from "../lib/tests.mjs";

everyBrowserTest("a call that is not answered in time is given up", async ({ demo, start }) => {
  const page = await open(await start(440), demo, "5004", { noanswer_timeout: 18_000 });
  const waited = await page.evaluate(async () => {
    const began = performance.now();
    const noanswer = window.next(window.client.onPeerNoanswer);
    window.session.makeOffer("602");
    await noanswer;
    return performance.now() - began;
  });
  assert.ok(waited >= 18_000, `${waited} ms`);
  const report = await demo.report("602", "5004");
  assert.equal(report.end.code, 487);
  assert.equal(report.talked, null);
});

browserTest("a page that is left is signed out at once", async ({ demo, browser }) => {
  const chromium = await browser(440);
  const page = await open(chromium, demo, "5004");
  const callee = await open(chromium, demo, "5005");
  await page.close({ runBeforeUnload: true });
  // A DN that is not registered is refused at once; one that is would ring.
  await callee.evaluate(() => {
    const closing = window.next(window.client.onPeerClosing);
    window.session.makeOffer("5004");
    return closing;
  });
});
