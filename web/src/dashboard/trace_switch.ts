// The SIP trace of a DN: on for ten minutes, or off. Whoever has switched it, the gateway tells.

import type { Api } from "./api";
import { attempt, tell } from "./dialogs";
import { attribute, h, text } from "./dom";
import { timeOfDay } from "./format";
import type { State } from "./live";

const SECONDS = 600;

/** When the DN's trace ends; `null` where there is none. */
export function tracedUntil({ traces }: Pick<State, "traces">, dn: string): number | null {
  return traces.find((traced) => traced.dn === dn)?.until ?? null;
}

export class TraceSwitch {
  readonly node = h("button", { type: "button", class: "quiet act-only", "aria-pressed": "false" }, "SIP trace");
  #dn = "";

  constructor(private readonly api: Api, private readonly state: State) {
    this.node.addEventListener("click", () => void this.#flip());
  }

  show(dn: string): void {
    this.#dn = dn;
    this.render();
  }

  /** After the gateway has told of traces. */
  render(): void {
    const dn = this.#dn;
    const until = tracedUntil(this.state, dn);
    this.node.hidden = dn === "";
    attribute(this.node, "aria-pressed", String(until !== null));
    attribute(this.node, "title", until !== null ? `SIP messages of ${dn} are in the log until ${timeOfDay(until)}`
      : `Write the SIP messages of ${dn} to the log for ten minutes`);
    text(this.node, until !== null ? "SIP trace on" : "SIP trace");
  }

  async #flip(): Promise<void> {
    const { state } = this;
    const dn = this.#dn;
    const on = tracedUntil(state, dn) === null;
    const done = await attempt("The trace was not switched", () =>
      this.api.send("PUT", `/api/trace/${encodeURIComponent(dn)}`, on ? { on, seconds: SECONDS } : { on }));
    if (!done) return;
    // What the stream says within a second, said at once.
    const others = state.traces.filter((traced) => traced.dn !== dn);
    state.traces = on ? [...others, { dn, until: Date.now() + SECONDS * 1000 }] : others;
    tell(on ? `The SIP messages of ${dn} are traced for ten minutes.` : `The SIP trace of ${dn} is off.`);
    this.render();
  }
}
