// Drives examples/grtc-page/index.html.

import assert from "node:assert/strict";

import { LIMIT_MS } from "./demo.mjs";

export const OLD_STYLE_AUDIO = "#remoteAudio";

export async function state(page, wanted) {
  try {
    await page.waitForFunction((wanted) => document.getElementById("state").value === wanted, { timeout: LIMIT_MS }, wanted);
  } catch {
    assert.equal(await page.$eval("#state", (element) => element.value), wanted);
  }
}

/** The page, registered. */
export async function oldStyle(page, demo, dn) {
  await page.type("#dn", dn);
  await page.type("#password", demo.password);
  await page.click("#register");
  await state(page, "registered");
  return page;
}

export async function dial(page, selector, number) {
  await page.click(selector, { count: 3 });
  await page.keyboard.type(number);
  await page.click("#call");
}
