// Headless Chromium with a tone for a microphone.

import "./clicks.mjs";
import puppeteer from "puppeteer-core";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { LIMIT_MS } from "./demo.mjs";
import { end, onPath, removed } from "./programs.mjs";
import { SOUND, onlyCodec } from "./sound.mjs";
import { listen } from "./wrote.mjs";

/** One second of a sine, 48 kHz, mono, 16 bit. With whole periods in it, it loops without a click. */
function tone(hz) {
  const rate = 48_000;
  const wav = Buffer.alloc(44 + rate * 2);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + rate * 2, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(rate, 24);
  wav.writeUInt32LE(rate * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(rate * 2, 40);
  for (let i = 0; i < rate; i += 1) wav.writeInt16LE(Math.round(12_000 * Math.sin((2 * Math.PI * hz * i) / rate)), 44 + 2 * i);
  return wav;
}

export class Browser {
  #browser;
  #profile;
  #hasExtension = false;
  /** The origin of the extension that it was started with. */
  extension;

  /** `hz` is what its microphone hears; `extension` a folder; `switches` more of its command line. */
  static async start(hz, options = {}) {
    const browser = new Browser();
    try {
      await browser.#start(hz, options);
    } catch (fault) {
      await browser.stop();
      throw fault;
    }
    return browser;
  }

  async #start(hz, { extension, switches = [] }) {
    this.#profile = await mkdtemp(join(tmpdir(), "wrtc-e2e-"));
    this.#hasExtension = extension !== undefined;
    const file = join(this.#profile, "tone.wav");
    await writeFile(file, tone(hz));
    this.#browser = await puppeteer.launch({
      executablePath: onPath(["chromium", "chromium-browser", "google-chrome"], "chromium"),
      userDataDir: join(this.#profile, "profile"),
      timeout: 2 * LIMIT_MS,
      // Several pages in a call at a time, on a machine that is busy with the rest of them.
      protocolTimeout: 3 * LIMIT_MS,
      pipe: this.#hasExtension,
      enableExtensions: extension ? [extension] : false,
      args: [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        `--use-file-for-fake-audio-capture=${file}`, "--allow-loopback-in-peer-connection", ...switches,
      ],
    });
    if (this.#hasExtension) {
      const worker = await this.#browser.waitForTarget((target) => target.type() === "service_worker", { timeout: LIMIT_MS });
      // Node knows no origin of this scheme.
      this.extension = `chrome-extension://${new URL(worker.url()).host}`;
    }
  }

  /**
   * One user of it: pages in windows of their own that share cookies and storage with each other and with nobody else's.
   * Extensions are only where a browser's own profile is, so there the guest has that.
   */
  async guest() {
    const context = this.#hasExtension ? this.#browser.defaultBrowserContext() : await this.#browser.createBrowserContext();
    return {
      extension: this.extension,
      page: (url, options) => this.#open(context, url, options),
      pages: () => context.pages(),
      leave: async () => { if (!this.#hasExtension) await context.close(); },
    };
  }

  /**
   * A new page with what the tests look at: see sound.mjs. Their audio worklet needs more than the page's own CSP allows.
   * `codec`: the only one that its connections offer or take, such as "opus".
   */
  page(url, options) {
    return this.#open(this.#browser.defaultBrowserContext(), url, options);
  }

  async #open(context, url, { ownPolicy = false, codec } = {}) {
    const page = await context.newPage();
    await page.setBypassCSP(!ownPolicy);
    page.setDefaultTimeout(LIMIT_MS);
    page.faults = [];
    page.on("pageerror", (fault) => page.faults.push(String(fault)));
    page.on("console", (message) => {
      if (/Content.Security.Policy/i.test(message.text())) page.faults.push(message.text());
    });
    listen(page);
    await page.evaluateOnNewDocument(SOUND);
    if (codec) await page.evaluateOnNewDocument(onlyCodec(codec));
    await page.goto(url);
    return page;
  }

  async stop() {
    await end(this.#browser);
    await removed(this.#profile);
  }
}
