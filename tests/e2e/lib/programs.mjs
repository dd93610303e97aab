// Finds the programs that the tests start, and lets go of browsers.

import { accessSync, constants } from "node:fs";
import { rm } from "node:fs/promises";
import { delimiter, join } from "node:path";

/** The first of the names that is in the PATH. */
export function onPath(names, debianPackage) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of names) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch { /* not this one */ }
    }
  }
  throw new Error(`there is no ${names[0]} in the PATH: apt-get install ${debianPackage}`);
}

/** Ends a browser, whether it still answers or not. */
export async function end(browser) {
  await browser?.close().catch(() => browser.process()?.kill("SIGKILL"));
}

/** Removes a folder of its own. What is left of a browser may write there for a while: a folder that stays fails no test. */
export async function removed(folder) {
  if (folder) await rm(folder, { recursive: true, force: true, maxRetries: 10 }).catch((fault) => console.log(`left behind: ${fault.message}`));
}
