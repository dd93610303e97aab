// The browsers of a process of tests, each started when it is first asked for. A test is lent them: it gets cookies, storage and
// windows of its own. A test is tried once more where it fails, and that is never silent.

import { after } from "node:test";

/** What was asked for, and the browser that starts or has started for it. */
const running = new Map();
/** Those that are for one test alone. */
const unshared = new Set();
let retries = 0;
let isEnding = false;

/** With the first test: node waits for ever at a hook of a file without tests. */
export function endAfterTests() {
  if (isEnding) return;
  isEnding = true;
  after(async () => {
    await dismiss();
    console.log(`retries: ${retries}`);
  });
}

/** What needs a browser is tried once more where it fails: a machine that is busy does not always let one start, or work, in time. */
export async function retry(what, run) {
  try {
    return await run();
  } catch (fault) {
    retries += 1;
    console.log(`RETRY of ${what}: ${fault.stack}`);
    return run();
  }
}

/** A guest (see browser.mjs) of a browser whose microphone hears `hz`. */
export async function lend(Kind, hz, options = {}) {
  if (options.extension) {
    const browser = await Kind.start(hz, options);
    unshared.add(browser);
    return browser.guest();
  }
  const key = JSON.stringify([Kind.name, hz, options]);
  if (!running.has(key)) {
    const starting = Kind.start(hz, options);
    running.set(key, starting);
    starting.catch(() => running.delete(key));
  }
  return (await running.get(key)).guest();
}

/** Ends all of them: the next test gets others. */
export async function dismiss() {
  const shared = await Promise.allSettled(running.values());
  running.clear();
  await dismissUnshared();
  for (const { value } of shared) await value?.stop();
}

/** Ends those that no other test can use. */
export async function dismissUnshared() {
  const browsers = [...unshared];
  unshared.clear();
  for (const browser of browsers) await browser.stop();
}
