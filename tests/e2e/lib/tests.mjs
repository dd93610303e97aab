// Browsers fail to start now and then on a loaded machine: a test may be tried once more. It is never silent.

import { after, test } from "node:test";

import { Browser } from "./browser.mjs";
import { Demo } from "./demo.mjs";
import { Firefox } from "./firefox.mjs";
import { Operations } from "./operations.mjs";
import { connected } from "./wrote.mjs";

/** `E2E_BROWSER=chromium` leaves out the tests with Firefox, `firefox` all others. */
function isWanted(name) {
  const only = process.env.E2E_BROWSER;
  return only === undefined || /Firefox/.test(name) === (only === "firefox");
}

let retries = 0;
let isCounted = false;

/** With the first test: node waits for ever at a hook of a file without tests. */
function countRetries() {
  if (isCounted) return;
  isCounted = true;
  after(() => console.log(`retries: ${retries}`));
}

/** States and counters of every peer connection there is: what a call without sound is explained by. */
async function connections(browsers) {
  const lines = [];
  for (const page of (await Promise.all(browsers.map((started) => started.pages()))).flat()) {
    const states = await page.evaluate(async () => {
      const found = [];
      for (const pc of window.e2e?.connections ?? []) {
        const counters = {};
        for (const { type, state, nominated, requestsSent, responsesReceived, packetsReceived, packetsSent } of (await pc.getStats()).values()) {
          if (/^(candidate-pair|inbound-rtp|outbound-rtp)$/.test(type)) {
            (counters[type] ??= []).push({ state, nominated, requestsSent, responsesReceived, packetsReceived, packetsSent });
          }
        }
        const dtls = pc.getSenders().map(({ transport }) => transport?.state);
        found.push({ signaling: pc.signalingState, ice: pc.iceConnectionState, connection: pc.connectionState, dtls, counters });
      }
      return found;
    }).catch((fault) => [String(fault)]);
    lines.push(`${page.url()} ${JSON.stringify(states)}`);
  }
  return lines.join("\n");
}

/** A fresh demo, started with `args` (or what a function of that name gives), and fresh browsers for each try; `run` gets what starts Chromium (`browser`) and Firefox. */
export function browserTest(name, run, args = []) {
  retried(name, () => Demo.start(typeof args === "function" ? args() : args), (demo, tools) => run({ demo, ...tools }));
}

/** The same with a made-up contact centre in place of the demo: see operations.mjs. */
export function operationsTest(name, run, options) {
  retried(name, () => Operations.start(options), (operations, tools) => run({ operations, ...tools }));
}

function retried(name, begin, run) {
  if (!isWanted(name)) return;
  countRetries();
  test(name, async (context) => {
    for (let tries = 1; ; tries += 1) {
      const browsers = [];
      const server = await begin();
      const starts = (Kind) => async (hz, options) => {
        const started = await Kind.start(hz, options);
        browsers.push(started);
        return started;
      };
      try {
        await run(server, { browser: starts(Browser), firefox: starts(Firefox), note: (text) => context.diagnostic(text) });
        return;
      } catch (fault) {
        const log = `${server.log()}\n--- the pages' connections:\n${await connections(browsers)}`;
        if (tries > 1) throw new Error(`${fault.message}\n--- the server's side:\n${log}`, { cause: fault });
        retries += 1;
        console.log(`RETRY of '${name}': ${fault.stack}\n--- the server's side:\n${log}`);
      } finally {
        for (const started of browsers) await started.pages().then(connected).catch(() => undefined);
        for (const started of browsers) await started.stop();
        await server.stop();
      }
    }
  });
}

/** The same in Chromium and in Firefox: `start` starts the one that is meant. */
export function everyBrowserTest(name, run, args = []) {
  browserTest(name, (tools) => run({ ...tools, start: tools.browser }), args);
  browserTest(`${name} (Firefox)`, (tools) => run({ ...tools, start: tools.firefox }), args);
}
