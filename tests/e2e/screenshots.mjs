// Pictures of the pages in each of their states, to be looked at: `npm run screenshots [FOLDER]`.
// `npm run screenshots -- --dashboard [FOLDER]`: those of the dashboard alone. `-- --documents`: the few in docs/pictures.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { Browser } from "./lib/browser.mjs";
import { dashboardPictures } from "./lib/dashboard_pictures.mjs";
import { Demo } from "./lib/demo.mjs";
import { call, openGadget, phase, signIn, text } from "./lib/gadget.mjs";
import { Phone } from "./lib/phone.mjs";

const { values: only, positionals } = parseArgs({ options: { dashboard: { type: "boolean" }, documents: { type: "boolean" } }, allowPositionals: true });
const folder = positionals[0] ?? fileURLToPath(new URL(only.documents ? "../../docs/pictures" : "../../test-results/screenshots", import.meta.url));
await mkdir(folder, { recursive: true });
if (only.dashboard || only.documents) {
  const alone = await Browser.start(440);
  await dashboardPictures(alone, folder, only).finally(() => alone.stop());
  process.exit();
}

const SIZES = { small: [320, 560], frame: [400, 640], tab: [1000, 640] };
const demo = await Demo.start();
const browser = await Browser.start(440);
const other = await Browser.start(620);
let page;

async function shoot(name, sizes = Object.keys(SIZES)) {
  for (const size of sizes) {
    const [width, height] = SIZES[size];
    await page.setViewport({ width, height });
    for (const scheme of size === "frame" ? ["light", "dark"] : ["light"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      // The meters move, and the page is laid out anew.
      await new Promise((resume) => setTimeout(resume, 300));
      await page.screenshot({ path: join(folder, `${name}-${size}-${scheme}.png`), fullPage: true });
    }
  }
}

const gadget = (dn) => `${demo.url}gadget?audio=raw&dn=${dn}&lang=en`;
try {
  page = await browser.page(`${demo.url}?audio=raw`);
  await shoot("phone-1-signed-out");
  await page.close();
  const phone = await Phone.open(browser, demo, "5003");
  ({ page } = phone);
  await shoot("phone-2-ready");
  await phone.call("601");
  await phone.phase("talking");
  await shoot("phone-3-talking");
  await page.close();

  const second = await openGadget(await other.page(gadget("5002")), demo, "5002");
  page = await browser.page(gadget("5001"));
  await shoot("gadget-1-signed-out");
  await signIn(page, "5001", `${demo.password}x`);
  await text(page, "notice", "wrong");
  await shoot("gadget-2-refused", ["small", "frame"]);
  await openGadget(page, demo, "5001");
  await shoot("gadget-3-ready");
  await call(page, "602");
  await phase(page, "calling");
  await shoot("gadget-4-calling", ["frame"]);
  await page.click("#hang-up");
  await phase(page, "ready");
  await call(second, "5001");
  await phase(page, "ringing");
  await shoot("gadget-5-ringing");
  await page.click("#answer");
  await phase(page, "talking");
  await text(page, "quality-text", "Good");
  await shoot("gadget-6-talking");
  await page.click("#mute");
  await shoot("gadget-7-muted", ["frame"]);
  await page.click("#mute");
  await page.click("#hold");
  await text(page, "state", "On hold");
  await shoot("gadget-8-held", ["frame"]);
  await page.click("#hold");
  await text(page, "state", "Connected");
  await page.click("#sound summary");
  await page.click("#keypad summary");
  await shoot("gadget-9-sound");
  await page.click("#sound summary");
  await page.click("#keypad summary");
  await second.click("#hang-up");
  await text(page, "state", "hung up");
  await shoot("gadget-a-hung-up", ["frame"]);
  await call(page, "603");
  await text(page, "notice", "busy");
  await shoot("gadget-b-busy", ["small", "frame"]);
  await demo.stop();
  await text(page, "notice", "is lost");
  await shoot("gadget-c-gateway-lost");
  await dashboardPictures(browser, folder);
} finally {
  await browser.stop();
  await other.stop();
  await demo.stop();
}
