// The SIP trace of a DN: on for ten minutes, or off.

import type { Api } from "./api";
import { attempt, tell } from "./dialogs";
import { attribute, h, text } from "./dom";

const SECONDS = 600;

/** What this page has switched on, and until when; the gateway ends it by itself. */
const until = new Map<string, number>();

export class TraceSwitch {
  readonly node = h("button", { type: "button", class: "quiet act-only", "aria-pressed": "false" }, "SIP trace");
  #dn = "";

  constructor(private readonly api: Api) {
    this.node.addEventListener("click", () => void this.#flip());
  }

  show(dn: string): void {
    this.#dn = dn;
    this.node.hidden = dn === "";
    const on = this.#isOn();
    attribute(this.node, "aria-pressed", String(on));
    attribute(this.node, "title", on ? `SIP messages of ${dn} are in the log` : `Write the SIP messages of ${dn} to the log for ten minutes`);
    text(this.node, on ? "SIP trace on" : "SIP trace");
  }

  #isOn(): boolean {
    return (until.get(this.#dn) ?? 0) > Date.now();
  }

  async #flip(): Promise<void> {
    const dn = this.#dn;
    const on = !this.#isOn();
    const done = await attempt("The trace was not switched", () =>
      this.api.send("PUT", `/api/trace/${encodeURIComponent(dn)}`, on ? { on, seconds: SECONDS } : { on }));
    if (!done) return;
    if (on) until.set(dn, Date.now() + SECONDS * 1000);
    else until.delete(dn);
    tell(on ? `The SIP messages of ${dn} are traced for ten minutes.` : `The SIP trace of ${dn} is off.`);
    this.show(this.#dn);
  }
}
