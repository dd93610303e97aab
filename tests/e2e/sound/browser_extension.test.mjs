// examples/browser-extension in Chromium: it adds the phone to a page that knows nothing of it.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

import { GADGET_AUDIO as AUDIO, openGadget, phase } from "../lib/gadget.mjs";
import { LIMIT_MS } from "../lib/demo.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertReport, assertTone, hear } from "../lib/sound.mjs";

const EXTENSION = fileURLToPath(new URL("../../../examples/browser-extension", import.meta.url));

let server;
before(async () => {
  server = createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" })
      .end('<!doctype html><title>Workspace</title><p>Customer: <a href="tel:6-01">One Kilohertz Ltd.</a>');
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
});
after(() => server.close());

/** Writes the settings as a user does. */
async function configure(started, gateway, pages) {
  const options = await started.page(`${started.extension}/options.html`);
  await options.waitForFunction(() => document.getElementById("gateway").value !== "");
  await options.$eval("#gateway", (field, value) => { field.value = value; }, gateway);
  await options.$eval("#pages", (field, value) => { field.value = value; }, pages);
  await options.click("button");
  await options.waitForFunction(() => document.getElementById("said").value !== "");
  return options;
}

const barSays = (page, wanted) => page.waitForFunction(
  (wanted) => document.querySelector("wrtc-phone")?.shadowRoot.getElementById("bar").textContent.includes(wanted), { timeout: LIMIT_MS }, wanted);
const isOpen = (page) => page.evaluate(() => !document.querySelector("wrtc-phone").hasAttribute("closed"));
const bar = (page) => page.click("wrtc-phone >>> #bar");

browserTest("the extension adds the phone to a page: click to call, sound, a call that opens it", async ({ demo, browser }) => {
  const started = await browser(440, { extension: EXTENSION });
  const options = await configure(started, demo.url, "http://127.0.0.1/ui/ad/v1/*");
  assert.equal(await options.$eval("#said", (output) => output.value), "Saved. Load the pages again.");

  const origin = `http://127.0.0.1:${server.address().port}`;
  const other = await started.page(`${origin}/elsewhere`);
  const page = await started.page(`${origin}/ui/ad/v1/index.html`);
  await barSays(page, "signed out");
  assert.equal(await other.$("wrtc-phone"), null, "a page that the settings do not name");

  const frame = await page.waitForFrame((frame) => frame.url().startsWith(`${demo.url}gadget`), { timeout: LIMIT_MS });
  await frame.waitForSelector("#sign-in-button", { visible: true });
  await openGadget(frame, demo, "5016");
  await barSays(page, "ready");
  const since = demo.mark();
  await page.click("a");
  assert.equal(page.url(), `${origin}/ui/ad/v1/index.html`, "the link leads nowhere else");
  await phase(frame, "talking");
  await barSays(page, "In a call with 601");
  assertTone(await hear(frame, AUDIO, 1000, 2), 2, "1 kHz in the page's corner");
  await frame.click("#hang-up");
  await barSays(page, "ready");
  assertReport(await demo.report("601", "5016", since), 440, 1);

  await bar(page);
  assert.equal(await isOpen(page), false);
  const caller = await openGadget(await (await browser(620)).page(`${demo.url}gadget?audio=raw&lang=en`), demo, "5017");
  await caller.type("#number", "5016");
  await caller.click("#call");
  await barSays(page, "Call from");
  assert.equal(await isOpen(page), true, "a call opens the panel");
  await frame.click("#answer");
  await Promise.all([phase(frame, "talking"), phase(caller, "talking")]);
  assertTone(await hear(caller, AUDIO, 440, 2), 2, "the page's microphone at the caller");
  assert.deepEqual([...page.faults, ...options.faults], []);
});

browserTest("the extension's options say what is wrong with them", async ({ browser }) => {
  const started = await browser(440, { extension: EXTENSION });
  const said = async (gateway, pages) => (await configure(started, gateway, pages)).$eval("#said", (output) => output.value);
  assert.match(await said("webrtc.example", "https://wwe.example/*"), /begin with https/);
  assert.match(await said("https://webrtc.example", "wwe.example"), /no match pattern/);
});
