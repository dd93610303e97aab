// The log's level: another one for ten minutes, or back to what is configured.

import type { Api } from "./api";
import { attempt, tell } from "./dialogs";
import { element, h, text } from "./dom";
import { timeOfDay } from "./format";
import { readLogLevel, type LogLevel } from "./model";

const SECONDS = 600;

/** What one wants of a gateway that runs; more can be said by `PUT /api/log`. */
const LEVELS = ["error", "warn", "info", "info,wrtc_gateway::sip=debug", "debug", "trace"] as const;

const LABELS: Record<string, string> = { "info,wrtc_gateway::sip=debug": "SIP at debug" };

/** What may be chosen: what is configured first, what is in use among it. */
export function levels({ level, configured }: LogLevel): [value: string, label: string][] {
  const rest = [...LEVELS, level].filter((one, at, all) => one !== "" && one !== configured && all.indexOf(one) === at);
  return [[configured, `${LABELS[configured] ?? configured} (configured)`], ...rest.map((one): [string, string] => [one, LABELS[one] ?? one])];
}

export class LogSwitch {
  readonly #select = element<HTMLSelectElement>("log-level");
  #shown = "";

  constructor(private readonly api: Api) {
    this.#select.addEventListener("change", () => void this.#set(this.#select.value));
  }

  /** Asks how it is. Where there is no log there is nothing to choose. */
  async look(): Promise<void> {
    const log = await this.api.get("/api/log").then(readLogLevel, () => null);
    element("log").hidden = log === null;
    if (log === null) return;
    const shown = JSON.stringify(log);
    // An open list is not to be changed under somebody's hand.
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#select.replaceChildren(...levels(log).map(([value, label]) => h("option", { value, selected: value === log.level }, label)));
    text(element("log-until"), log.until === null ? "" : `until ${timeOfDay(log.until)}`);
  }

  async #set(level: string): Promise<void> {
    const configured = (JSON.parse(this.#shown) as LogLevel).configured;
    const back = level === configured;
    const done = await attempt("The log's level was not changed", () =>
      this.api.send("PUT", "/api/log", back ? { level } : { level, seconds: SECONDS }));
    if (done) tell(back ? "The log is as configured again." : `The log has the level ${LABELS[level] ?? level} for ten minutes.`);
    // Also what was refused is to be seen no longer.
    this.#shown = "";
    await this.look();
  }
}
