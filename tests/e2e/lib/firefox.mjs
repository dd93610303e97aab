// Headless Firefox over WebDriver BiDi. Its microphone is a tone of a PulseAudio of its own.

import "./clicks.mjs";
import puppeteer from "puppeteer-core";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { LIMIT_MS } from "./demo.mjs";
import { end, onPath, removed } from "./programs.mjs";
import { SOUND } from "./sound.mjs";
import { listen } from "./wrote.mjs";

const PREFERENCES = {
  // The gateway of the tests is on loopback.
  "media.peerconnection.ice.loopback": true,
  "media.navigator.permission.disabled": true,
  "media.devices.insecure.enabled": true,
  "media.getusermedia.insecure.enabled": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "media.cubeb.backend": "pulse-rust",
  "app.update.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
};

/** Without a sound card there is neither a sink to play to nor a source to open. */
async function soundServer(folder, hz) {
  const socket = join(folder, "sound.sock");
  const child = spawn(onPath(["pulseaudio"], "pulseaudio"), [
    "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "--log-target=stderr", "--log-level=error",
    "-L", `module-native-protocol-unix socket=${socket} auth-anonymous=1`,
    "-L", "module-null-sink sink_name=speakers rate=48000",
    // module-sine-source comes in blocks of two seconds, a sink's monitor as soon as it is wanted.
    "-L", "module-null-sink sink_name=microphone rate=48000",
    "-L", `module-sine sink=microphone frequency=${hz}`,
    "-L", "module-remap-source source_name=tone master=microphone.monitor",
  ], { env: { ...process.env, HOME: folder, XDG_RUNTIME_DIR: folder }, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (data) => { said += data; });
  child.once("error", (fault) => { said += fault; });
  for (const deadline = performance.now() + LIMIT_MS; ;) {
    if (await access(socket).then(() => true, () => false)) return { child, socket };
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill();
      throw new Error(`pulseaudio did not start: ${said}`);
    }
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

export class Firefox {
  #browser;
  #folder;
  #pulse;

  /** `hz` is what its microphone hears. */
  static async start(hz) {
    const firefox = new Firefox();
    try {
      await firefox.#start(hz);
    } catch (fault) {
      await firefox.stop();
      throw fault;
    }
    return firefox;
  }

  async #start(hz) {
    this.#folder = await mkdtemp(join(tmpdir(), "wrtc-e2e-firefox-"));
    this.#pulse = await soundServer(this.#folder, hz);
    this.#browser = await puppeteer.launch({
      browser: "firefox",
      headless: true,
      executablePath: onPath(["firefox-esr", "firefox"], "firefox-esr"),
      protocolTimeout: 3 * LIMIT_MS,
      timeout: 2 * LIMIT_MS,
      extraPrefsFirefox: PREFERENCES,
      env: { ...process.env, HOME: this.#folder, PULSE_SERVER: `unix:${this.#pulse.socket}`, PULSE_LATENCY_MSEC: "20" },
    });
  }

  /** One user of it: pages that share cookies and storage with each other and with nobody else's. */
  async guest() {
    const context = await this.#browser.createBrowserContext();
    return { page: (url) => this.#open(context, url), pages: () => context.pages(), leave: () => context.close() };
  }

  /** A new page with what the tests look at: see sound.mjs. It has to be one without a policy against worklets of theirs. */
  async #open(context, url) {
    const page = await context.newPage();
    page.setDefaultTimeout(LIMIT_MS);
    page.faults = [];
    page.on("pageerror", (fault) => page.faults.push(String(fault)));
    listen(page);
    await page.evaluateOnNewDocument(SOUND);
    await page.goto(url);
    return page;
  }

  async stop() {
    await end(this.#browser);
    const child = this.#pulse?.child;
    if (child && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill();
      await exited;
    }
    await removed(this.#folder);
  }
}
