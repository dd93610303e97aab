// Keeps what gateways of these tests have written, and the secrets that they were used with, for `bash tests/run.sh secrets`:
// see tests/wrote/keep.rs. Without the variable GATEWAYS_WROTE nothing is kept.

import { appendFileSync, createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";

const FOLDER = process.env.GATEWAYS_WROTE;
/** Bytes of one file: a test that floods must not fill the disk. */
const MOST = 16 * 1024 * 1024;
let number = 0;

export const isKept = Boolean(FOLDER);
if (isKept) mkdirSync(FOLDER, { recursive: true });

/** For the gateway's command line: all there is to be told. Packets are not logged. */
export const LOG = isKept ? ["--set", "log.level=wrtc_gateway=trace,hyper=trace,info"] : [];

/** No gateway may write or show this from now on. */
export function secret(kind, value) {
  if (!isKept || !value) return;
  const lines = value.split("\n").filter((line) => line && !line.startsWith("--")).map((line) => `${kind}\t${line}\n`);
  appendFileSync(join(FOLDER, `e2e-${process.pid}.secrets`), lines.join(""));
}

/** The keys of descriptions. */
export function descriptions(texts) {
  for (const text of texts) for (const [, password] of text.matchAll(/a=ice-pwd:(\S+)/g)) secret("an ICE password", password);
}

/** The secrets that an answer of the gateway's has handed out. */
export function handedOut(text) {
  secret("an SSID", /^SSID=(\S+)/.exec(text)?.[1]);
  for (const [, token] of text.matchAll(/"token":"([^"]+)"/g)) secret("a token", token);
  for (const [, credential] of text.matchAll(/"credential":"([^"]+)"/g)) secret("a TURN credential", credential);
}

/** Learns what a page is handed out, as far as its browser tells. */
export function listen(page) {
  if (!isKept) return;
  page.on("response", (response) => {
    if (!/\/(sign_in|api\/tokens|api\/connector\/token|api\/ice)\b/.test(response.url())) return;
    response.text().then(handedOut).catch(() => undefined);
  });
}

/** The same of the connections that a page has made (sound.mjs). */
export async function connected(pages) {
  if (!isKept) return;
  for (const frame of pages.flatMap((page) => page.frames())) {
    const texts = await frame.evaluate(() => (window.e2e?.connections ?? [])
      .flatMap((pc) => [pc.localDescription?.sdp, pc.remoteDescription?.sdp]).filter(Boolean)).catch(() => []);
    descriptions(texts);
  }
}

/** A file of what one gateway writes. */
export class Written {
  #stream = null;
  #left = MOST;

  constructor(name) {
    number += 1;
    if (isKept) this.#stream = createWriteStream(join(FOLDER, `e2e-${process.pid}-${number}.${name}`));
  }

  take(text) {
    if (this.#stream === null || text.length > this.#left) return;
    this.#left -= text.length;
    this.#stream.write(text);
  }

  /** What operators and collectors are shown, while it still runs. */
  async ask(url) {
    if (!isKept) return;
    const get = async (path) => {
      const answer = await fetch(new URL(path, url), { signal: AbortSignal.timeout(5000) }).catch(() => null);
      if (!answer?.ok) return "";
      const text = await answer.text();
      this.take(`${path}: ${text}\n`);
      return text;
    };
    for (const path of ["metrics", "api/agents", "api/history", "api/calls?format=csv"]) await get(path);
    const { calls } = JSON.parse(await get("api/calls") || '{"calls":[]}');
    for (const { call } of calls) await get(`api/calls/${encodeURIComponent(call.call ?? call)}?bodies=1`);
  }

  end() {
    this.#stream?.end();
    this.#stream = null;
  }
}
