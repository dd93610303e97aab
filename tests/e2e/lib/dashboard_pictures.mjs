// Pictures of the dashboard with a made-up contact centre of five hundred agents behind it.

import { join } from "node:path";

import { Dashboard } from "./dashboard.mjs";
import { Operations } from "./operations.mjs";

const LAPTOP = { width: 1366, height: 768 };
const WALL = { width: 1920, height: 1080 };

const PAGES = [
  { name: "now-laptop", place: "", size: LAPTOP, ready: "#calls tr" },
  { name: "now-wall", place: "?wall", size: WALL, ready: "#matrix a" },
  { name: "call-laptop", place: "#/calls/f1", size: LAPTOP, ready: "#call .ladder li" },
  { name: "call-wall", place: "#/calls/f1", size: WALL, ready: "#call .ladder li" },
  { name: "poor-call-laptop", place: "#/calls/POOR", size: LAPTOP, ready: "#call .ladder li" },
  { name: "busy-laptop", place: "#/calls/BUSY", size: LAPTOP, ready: "#call .ladder li" },
  { name: "search-laptop", place: "#/calls", size: LAPTOP, ready: "#search tbody tr" },
  { name: "agent-laptop", place: "#/agents/5004", size: LAPTOP, ready: "#agent .panel" },
];

/** The few that the documents show. */
const SHOWN = new Map([["now-laptop-light", "dashboard"], ["now-wall-dark", "dashboard-wall"], ["poor-call-laptop-light", "dashboard-call"]]);

/** All of them as PNG; with `documents`, those for docs/pictures, small. */
export async function dashboardPictures(browser, folder, { documents = false } = {}) {
  const operations = await Operations.start({ agents: 500, calls: 200, everyMs: 0 });
  try {
    const of = (wanted) => operations.finished().find(wanted).call;
    const named = { POOR: of(({ browser: { rx } }) => rx.mos !== null && rx.mos < 3.6), BUSY: of(({ code }) => code === 486) };
    for (const { name, place, size, ready } of PAGES) {
      for (const scheme of ["light", "dark"]) {
        const picture = `${name}-${scheme}`;
        if (documents && !SHOWN.has(picture)) continue;
        const at = place.replace(/POOR|BUSY/, (word) => named[word]);
        const { page } = await (await Dashboard.open(browser, operations.url, `${at.startsWith("?") ? `${at}&` : "?"}theme=${scheme}${at.startsWith("#") ? at : ""}`, size)).live();
        await page.bringToFront();
        await page.waitForSelector(ready);
        if (place === "" || place === "?wall") await page.waitForSelector("#c-mos path.line");
        // Charts are drawn anew when their places have their size.
        await new Promise((resume) => setTimeout(resume, 500));
        const path = documents ? join(folder, `${SHOWN.get(picture)}.webp`) : join(folder, `dashboard-${picture}.png`);
        await page.screenshot(documents ? { path, type: "webp", quality: 82 } : { path });
        await page.close();
      }
    }
  } finally {
    await operations.stop();
  }
}
