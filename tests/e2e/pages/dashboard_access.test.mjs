// The dashboard for those who use a screen reader, or see little: axe's rules on each of its pages.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import { Dashboard } from "../lib/dashboard.mjs";
import { operationsTest } from "../lib/tests.mjs";

/** The rules that colours decide: dark, the others find what they have found in light. */
const COLOURS = { runOnly: { type: "rule", values: ["color-contrast", "link-in-text-block"] } };
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

operationsTest("no page of it breaks a rule of accessibility", async ({ operations, browser }) => {
  const started = await browser(440);
  const check = async (page, what) => {
    for (const value of ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }, { name: "prefers-reduced-motion", value: "reduce" }]);
      const found = await page.evaluate(async (options) => {
        const { violations } = await window.axe.run(document, options);
        return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`).join(" | ")}`);
      }, value === "light" ? {} : COLOURS);
      assert.deepEqual(found, [], `${what}, ${value}`);
    }
  };
  for (const [place, ready] of [["", "#calls tr"], ["?wall", "#matrix a"], ["#/calls/f1", "#call .ladder li"], ["#/calls", "#search tbody tr"], ["#/agents/5004", "#agent tbody tr, #agent .told"]]) {
    const { page } = await (await Dashboard.open(started, operations.url, place)).live();
    await page.waitForSelector(ready);
    await page.evaluate(AXE);
    await check(page, place);
    if (place === "") {
      await page.click("#calls button");
      await page.waitForSelector("#confirm[open]");
      await check(page, "the question");
    }
    await page.close();
  }
}, { agents: 20, calls: 6, everyMs: 0 });
