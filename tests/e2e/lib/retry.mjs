// Browsers fail to start now and then on a loaded machine: a test may be tried once more. It is never silent.

import { after, test } from "node:test";

import { Browser } from "./browser.mjs";
import { Demo } from "./demo.mjs";

let retries = 0;
after(() => console.log(`retries: ${retries}`));

/** A fresh demo and fresh browsers for each try; `run` gets what starts browsers. */
export function browserTest(name, run) {
  test(name, async (context) => {
    for (let tries = 1; ; tries += 1) {
      const browsers = [];
      const demo = await Demo.start();
      const browser = async (hz) => {
        const started = await Browser.start(hz);
        browsers.push(started);
        return started;
      };
      try {
        await run({ demo, browser, note: (text) => context.diagnostic(text) });
        return;
      } catch (fault) {
        const log = demo.log();
        if (tries > 1) throw new Error(`${fault.message}\n--- the demo printed:\n${log}`, { cause: fault });
        retries += 1;
        console.log(`RETRY of '${name}': ${fault.stack}\n--- the demo printed:\n${log}`);
      } finally {
        for (const started of browsers) await started.stop();
        await demo.stop();
      }
    }
  });
}
