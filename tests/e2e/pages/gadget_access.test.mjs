// The gadget for those who use keys or a screen reader: axe's rules in each state, and a call by keys alone.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { call, openGadget, phase, signIn, text } from "../lib/gadget.mjs";
import { browserTest } from "../lib/tests.mjs";

/** The rules that colours decide: dark, the others find what they have found in light. */
const COLOURS = { runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] } };
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const address = (demo) => `${demo.url}gadget?audio=raw&lang=en&dn=5018`;

/** No rule of WCAG 2.2 AA or of good practice is broken, in light and in dark. */
async function assertAccess(page, what) {
  for (const value of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }, { name: "prefers-reduced-motion", value: "reduce" }]);
    const found = await page.evaluate(async (options) => {
      const { violations } = await window.axe.run(document, options);
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html.slice(0, 120)} ${any[0]?.message ?? ""}`).join(" | ")}`);
    }, value === "light" ? {} : COLOURS);
    assert.deepEqual(found, [], `${what}, ${value}`);
  }
}

browserTest("no state of the gadget breaks a rule of accessibility", async ({ demo, browser }) => {
  const page = await (await browser(440)).page(address(demo));
  await page.setViewport({ width: 320, height: 560 });
  await page.evaluate(AXE);
  await assertAccess(page, "signed out");
  await signIn(page, "5018", "wrong");
  await text(page, "notice", "wrong");
  await assertAccess(page, "refused");
  await openGadget(page, demo, "5018");
  await page.click("#sound summary");
  await assertAccess(page, "ready");
  await call(page, "604");
  await phase(page, "talking");
  await text(page, "quality-text", "quality");
  await assertAccess(page, "talking");
  await page.click("#mute");
  await page.click("#hold");
  await text(page, "state", "On hold");
  await assertAccess(page, "muted and on hold");
  await page.click("#hang-up");
  await phase(page, "ringing");
  await assertAccess(page, "ringing");
});

browserTest("the gadget works from the keyboard alone", async ({ demo, browser }) => {
  const page = await (await browser(440)).page(address(demo));
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  // With a DN in the address, the secret is what is asked for.
  await page.keyboard.type(demo.password);
  await press("Enter");
  await phase(page, "ready");
  assert.equal(await page.evaluate(() => document.activeElement.id), "number");
  await page.keyboard.type("604");
  await press("Enter");
  await phase(page, "talking");
  await page.waitForFunction(() => window.e2e.connections.at(-1).getSenders()[0].dtmf.canInsertDTMF);
  await page.keyboard.type("5");
  await page.waitForFunction(() => document.getElementById("number").value === "5");
  await page.keyboard.down("Shift");
  await press("Tab");
  await page.keyboard.up("Shift");
  assert.equal(await page.evaluate(() => document.activeElement.id), "hang-up");
  await press("Enter");
  await phase(page, "ringing");
  // A key that was meant for something else must not answer: the focus is on a button that rings only by choice.
  const focus = await page.evaluate(() => document.activeElement.id);
  assert.notEqual(focus, "reject");
  await page.focus("#answer");
  await press("Enter");
  await phase(page, "talking");
  assert.equal(await page.evaluate(() => document.activeElement.id), "hang-up");
});
