// What the gadget shows, by itself and in a page of another origin.

import assert from "node:assert/strict";

import { serveExample } from "../lib/files.mjs";
import { call, openGadget, phase, signIn, text } from "../lib/gadget.mjs";
import { browserTest } from "../lib/tests.mjs";

const address = serveExample("embed-gadget");
const own = (demo, dn) => `${demo.url}gadget?audio=raw&lang=en&dn=${dn}`;

browserTest("the gadget works under the gateway's own content security policy", async ({ demo, browser }) => {
  const page = await openGadget(await (await browser(440)).page(own(demo, "5014"), { ownPolicy: true }), demo, "5014");
  await call(page, "600");
  await phase(page, "talking");
  await page.waitForFunction(() => /scaleX\(0\.[1-9]/.test(document.querySelector("#meter-far .level").style.transform));
  await page.click("#hang-up");
  await phase(page, "ready");
  assert.deepEqual(page.faults, []);
});

browserTest("the gadget says what is wrong, and the secret is asked for again", async ({ demo, browser }) => {
  const page = await (await browser(440)).page(own(demo, "5014"));
  await signIn(page, "5014", `${demo.password}x`);
  await text(page, "notice", "The DN or the password is wrong");
  await openGadget(page, demo, "5014");
  assert.equal(await page.$eval("#secret", (element) => element.value), "");
  assert.ok(!page.url().includes(demo.password));
  await call(page, "603");
  await text(page, "notice", "603 is busy");
  await demo.stop();
  await text(page, "notice", "The connection to the gateway is lost");
  await text(page, "account-text", "Offline");
});

browserTest("a call rings with a tone, a notification and a title, and all of them end with the answer", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const called = await low.page("about:blank");
  // The operating system's notifications cannot be seen from here, and a headless page always has the focus.
  await called.evaluateOnNewDocument(() => {
    window.told = [];
    window.tones = 0;
    window.Notification = class {
      static permission = "granted";
      constructor(title, { body }) { window.told.push(`${title}: ${body}`); }
      close() { window.told.push("closed"); }
    };
    document.hasFocus = () => false;
    const { start, stop } = OscillatorNode.prototype;
    OscillatorNode.prototype.start = function (...when) { window.tones += 1; start.apply(this, when); };
    OscillatorNode.prototype.stop = function (...when) { window.tones -= 1; stop.apply(this, when); };
  });
  await called.goto(own(demo, "5014"));
  await openGadget(called, demo, "5014");
  const caller = await openGadget(await high.page(own(demo, "5015")), demo, "5015");
  await call(caller, "5014");
  await phase(called, "ringing");
  assert.deepEqual(await called.evaluate(() => [window.told, window.tones, document.title]), [["Incoming call: 5015"], 2, "Call from 5015"]);
  await called.click("#answer");
  await phase(called, "talking");
  assert.deepEqual(await called.evaluate(() => [window.told, window.tones]), [["Incoming call: 5015", "closed"], 0]);
});

browserTest("in WWE, a call is toasted and the agent's state is shown", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const page = await low.page("about:blank");
  // As much of WWE's Service Client API as the gadget speaks.
  await page.evaluateOnNewDocument(() => {
    if (window.parent !== window) return;
    window.asked = [];
    window.addEventListener("message", ({ data, origin, source }) => {
      if (data?.event && data.data === "subscribe") window.asked.push(`subscribe ${data.event}`);
      if (!data?.request) return;
      window.asked.push(data.request);
      const answers = { "system.getAllowedServices": ["system.popupToast", "agent.get"], "agent.get": { agentState: "Not Ready" } };
      source.postMessage({ referenceId: data.referenceId, data: answers[data.request] ?? null }, origin);
    });
  });
  await page.goto(address(demo));
  const frame = await page.waitForFrame((frame) => frame.url().includes("/gadget"));
  await page.waitForFunction(() => window.asked.includes("agent.get"));
  await signIn(frame, "5016", demo.password);
  await text(frame, "state", "Not Ready");
  const caller = await openGadget(await high.page(own(demo, "5017")), demo, "5017");
  await call(caller, "5016");
  await phase(frame, "ringing");
  await page.waitForFunction(() => window.asked.includes("system.popupToast"));
  assert.ok((await page.evaluate(() => window.asked)).includes("subscribe agent"));
});

browserTest("a page of an origin that is not allowed cannot drive the gadget", async ({ demo, browser }) => {
  const page = await openGadget(await (await browser(440)).page(own(demo, "5016")), demo, "5016");
  const opened = await page.evaluate(async () => {
    // As if a page of another origin had opened this window: only the origin differs from an allowed one.
    window.opener = window;
    const say = (origin) => window.dispatchEvent(new MessageEvent("message", {
      data: { to: "wrtc-gadget", action: "call", number: "602" }, origin, source: window,
    }));
    say("https://elsewhere.example");
    const refused = document.getElementById("app").dataset.phase;
    say(location.origin);
    return [refused, document.getElementById("app").dataset.phase];
  });
  assert.deepEqual(opened, ["ready", "calling"]);
});
