// Starts `wrtc-gateway demo` and reads what it prints.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { LOG, Written, secret } from "./wrote.mjs";

/** What is tested. */
export const BINARY = process.env.E2E_BIN
  ?? join(dirname(fileURLToPath(import.meta.url)), "../../../target/debug/wrtc-gateway");

/** Far longer than anything here takes: a test that meets it hangs. */
export const LIMIT_MS = 60_000;

/** The secrets of its command line. */
function learn(args) {
  for (const [, tokens] of args.join("\n").matchAll(/^connector\.tokens=(.*)$/gm)) {
    for (const token of tokens.split(",")) secret("connector.tokens", token.split("=")[0]);
  }
  secret("turn.secret", /^turn\.secret=(.*)$/m.exec(args.join("\n"))?.[1]);
}

export class Demo {
  #child;
  #written;
  #lines = [];
  #listeners = new Set();
  /** Address of the page, with the slash. */
  url = "";
  password = "";

  #args = [];

  static async start(args = []) {
    const demo = new Demo();
    demo.#args = args;
    await demo.#spawn(["--set", "http.listen=127.0.0.1:0", ...args]);
    return demo;
  }

  /** Killed without a word, and started again at the same address. */
  async restart() {
    // Until what it has printed is read, too: none of it is of the next one.
    const closed = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await closed;
    this.#lines.length = 0;
    await this.#spawn(["--set", `http.listen=${new URL(this.url).host}`, "--password", this.password, ...this.#args]);
  }

  async #spawn(args) {
    this.#child = spawn(BINARY, ["demo", "--json", ...LOG, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    const written = this.#written = new Written("demo");
    this.#child.once("close", () => written.end());
    learn(args);
    const failed = new Promise((_, reject) => {
      this.#child.once("error", reject);
      this.#child.once("exit", (code, signal) => reject(new Error(`the demo ended: ${code ?? signal}\n${this.log()}`)));
    });
    failed.catch(() => undefined);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      // There it tells the password.
      if (!/^(sign in|try) /.test(line)) written.take(`${line}\n`);
      this.#take(line);
    });
    createInterface({ input: this.#child.stderr }).on("line", (line) => {
      written.take(`${line}\n`);
      if (!/^\S+ +(TRACE|DEBUG) /.test(line)) this.#take(line);
    });
    this.url = (await Promise.race([failed, this.line(/https?:\/\/[^\s"]+/)]))[0];
    this.password = (await Promise.race([failed, this.line(/sign in .*(?:no password|password (\S+))/)]))[1] ?? "";
    secret("a DN's password", this.password);
  }

  #take(line) {
    this.#lines.push(line);
    for (const listener of [...this.#listeners]) listener(line);
  }

  /** Everything it has printed. */
  log() {
    return this.#lines.join("\n");
  }

  /** The first line, printed already or yet to come, for which `pick` gives something. */
  #first(pick, what) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#listeners.delete(listener);
        reject(new Error(`the demo did not print ${what}; it printed:\n${this.log()}`));
      }, LIMIT_MS);
      const listener = (line) => {
        const found = pick(line);
        if (!found) return;
        clearTimeout(timer);
        this.#listeners.delete(listener);
        resolve(found);
      };
      this.#listeners.add(listener);
      for (const line of this.#lines) if (this.#listeners.has(listener)) listener(line);
    });
  }

  line(pattern) {
    return this.#first((line) => pattern.exec(line), pattern);
  }

  /** A bookmark for {@link report}: only calls that end from now on. */
  mark() {
    return this.#lines.length;
  }

  /** What the SIP side heard of the next finished call from `caller` to `number`. */
  report(number, caller, since = 0) {
    const before = new Set(this.#lines.slice(0, since));
    return this.#first((line) => {
      if (!line.startsWith("{") || before.has(line)) return null;
      const report = JSON.parse(line);
      return report.number === number && report.caller === caller ? report : null;
    }, `a report of a call from ${caller} to ${number}`);
  }

  /** Asks the gateway's API until it `holds`. */
  async until(path, holds) {
    let seen;
    for (const deadline = performance.now() + LIMIT_MS; performance.now() < deadline;) {
      seen = await (await fetch(new URL(path, this.url))).json();
      if (holds(seen)) return seen;
      await new Promise((resume) => setTimeout(resume, 50));
    }
    throw new Error(`${path} stays ${JSON.stringify(seen)}`);
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await this.#written.ask(this.url).catch(() => undefined);
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LIMIT_MS);
    await exited;
    clearTimeout(timer);
  }
}
