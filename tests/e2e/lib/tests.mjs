// Tests with a server and browsers. The server is each test's own; browsers are lent to it, see lend.mjs.

import { test } from "node:test";

import { Browser } from "./browser.mjs";
import { Demo, LIMIT_MS } from "./demo.mjs";
import { Firefox } from "./firefox.mjs";
import { dismiss, dismissUnshared, endAfterTests, lend, retry } from "./lend.mjs";
import { Operations } from "./operations.mjs";
import { connected } from "./wrote.mjs";

/** Longer than any command to a browser may take. Node's own limit would leave the server behind, and counts for a file too. */
const TEST_MS = 5 * LIMIT_MS;

/** `E2E_BROWSER=chromium` leaves out the tests with Firefox, `firefox` all others. */
function isWanted(name) {
  const only = process.env.E2E_BROWSER;
  return only === undefined || /Firefox/.test(name) === (only === "firefox");
}

/** States and counters of every peer connection there is: what a call without sound is explained by. */
async function connections(guests) {
  const lines = [];
  const pages = await Promise.all(guests.map((guest) => guest.pages().catch(() => [])));
  for (const frame of pages.flat().flatMap((page) => page.frames())) {
    const states = await within(LIMIT_MS, "asking the page", frame.evaluate(async () => {
      const found = [];
      for (const pc of window.e2e?.connections ?? []) {
        const counters = {};
        for (const { type, state, nominated, requestsSent, responsesReceived, packetsReceived, packetsSent, totalAudioEnergy } of (await pc.getStats()).values()) {
          if (/^(candidate-pair|inbound-rtp|outbound-rtp|media-source)$/.test(type)) {
            (counters[type] ??= []).push({ state, nominated, requestsSent, responsesReceived, packetsReceived, packetsSent, totalAudioEnergy });
          }
        }
        counters.tracks = [...pc.getSenders(), ...pc.getReceivers()].map(({ track }) => track && `${track.kind} ${track.label} ${track.readyState}${track.muted ? " muted" : ""}`);
        const dtls = pc.getSenders().map(({ transport }) => transport?.state);
        found.push({ signaling: pc.signalingState, ice: pc.iceConnectionState, connection: pc.connectionState, dtls, counters });
      }
      return found;
    })).catch((fault) => [String(fault)]);
    lines.push(`${frame.url()} ${JSON.stringify(states)}`);
  }
  return lines.join("\n");
}

/** What the gateway says of the calls that go on: which way there is sound. */
async function activeCalls({ url }) {
  return fetch(new URL("api/calls/active", url), { signal: AbortSignal.timeout(LIMIT_MS) }).then((answer) => answer.text(), String);
}

async function within(limit, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} takes longer than ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A fresh demo, started with `args` (or what a function of that name gives); `run` gets what lends Chromium (`browser`) and Firefox. */
export function browserTest(name, run, args = []) {
  served(name, () => Demo.start(typeof args === "function" ? args() : args), (demo, tools) => run({ demo, ...tools }));
}

/** The same with a made-up contact centre in place of the demo: see operations.mjs. */
export function operationsTest(name, run, options) {
  served(name, () => Operations.start(options), (operations, tools) => run({ operations, ...tools }));
}

/** With a server of its own. What fails is told, and tried once more with fresh browsers: see retry() of lend.mjs. */
function served(name, begin, run) {
  if (!isWanted(name)) return;
  endAfterTests();
  test(name, (context) => retry(`'${name}'`, () => attempt(context, begin, run)));
}

async function attempt(context, begin, run) {
  const server = await begin();
  const guests = [];
  const lends = (Kind) => async (hz, options) => {
    const guest = await lend(Kind, hz, options);
    guests.push(guest);
    return guest;
  };
  let isWell = false;
  try {
    const tools = { browser: lends(Browser), firefox: lends(Firefox), note: (text) => context.diagnostic(text) };
    await within(TEST_MS, "the test", run(server, tools));
    isWell = true;
  } catch (fault) {
    const log = `${server.log()}\n--- its calls:\n${await activeCalls(server)}\n--- the pages' connections:\n${await connections(guests)}`;
    throw new Error(`${fault.message}\n--- the server's side:\n${log}`, { cause: fault });
  } finally {
    for (const guest of guests) await guest.pages().then(connected).catch(() => undefined);
    const hasLeft = isWell && await Promise.all(guests.map((guest) => guest.leave())).then(() => true, () => false);
    // What follows gets a browser to which nothing has happened.
    if (!hasLeft) await dismiss();
    await dismissUnshared();
    await server.stop();
  }
}

/** The same in Chromium and in Firefox: `start` lends the one that is meant. */
export function everyBrowserTest(name, run, args = []) {
  browserTest(name, (tools) => run({ ...tools, start: tools.browser }), args);
  browserTest(`${name} (Firefox)`, (tools) => run({ ...tools, start: tools.firefox }), args);
}
