// Starts `wrtc-gateway demo` and reads what it prints.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What is tested. */
export const BINARY = process.env.E2E_BIN
  ?? join(dirname(fileURLToPath(import.meta.url)), "../../../target/debug/wrtc-gateway");

/** Far longer than anything here takes: a test that meets it hangs. */
export const LIMIT_MS = 60_000;

export class Demo {
  #child;
  #lines = [];
  #listeners = new Set();
  /** Address of the page, with the slash. */
  url = "";
  password = "";

  static async start(args = []) {
    const demo = new Demo();
    demo.#child = spawn(
      BINARY,
      ["demo", "--json", "--set", "http.listen=127.0.0.1:0", ...args],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    const failed = new Promise((_, reject) => {
      demo.#child.once("error", reject);
      demo.#child.once("exit", (code, signal) => reject(new Error(`the demo ended: ${code ?? signal}\n${demo.log()}`)));
    });
    failed.catch(() => undefined);
    for (const stream of [demo.#child.stdout, demo.#child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => demo.#take(line));
    }
    demo.url = (await Promise.race([failed, demo.line(/https?:\/\/[^\s"]+/)]))[0];
    demo.password = (await Promise.race([failed, demo.line(/password (\S+)/)]))[1];
    return demo;
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

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LIMIT_MS);
    await exited;
    clearTimeout(timer);
  }
}
