// Finished calls: search by what one knows of a call, page by page, and as CSV.

import type { Api } from "./api";
import { attempt, faultText } from "./dialogs";
import { attribute, h, text } from "./dom";
import { clock, dateTime, gradeLoss, gradeMos, mosText, NOTHING, party, percent } from "./format";
import { listOf, raw, readRecord, type CallRecord } from "./model";
import { save } from "./save";

const PAGE = 100;
const SPANS: readonly (readonly [hours: string, label: string])[] = [["1", "Last hour"], ["24", "Last 24 hours"], ["168", "Last 7 days"], ["", "Any time"]];
/** Below these, the worst direction of a call sounded so. */
const SOUND: readonly (readonly [mos: string, label: string])[] = [["", "Any sound"], ["4", "Below 4.0"], ["3.6", "Below 3.6"], ["3", "Below 3.0"]];
const ENDED_BY: readonly (readonly [value: string, label: string])[] = [
  ["", "Anybody"], ["browser", "Agent"], ["peer", "SIP side"], ["network", "Network"], ["gateway", "Gateway"],
];

export class SearchView {
  readonly #form = h("form", { class: "panel query", role: "search", "aria-label": "Finished calls" });
  readonly #words = h("input", { id: "q", type: "search", maxlength: "128", spellcheck: "false", autocomplete: "off", placeholder: "DN, number, Call-ID or CallUUID" });
  readonly #span = select("span", SPANS);
  readonly #endedBy = select("ended-by", ENDED_BY);
  readonly #sound = select("sound", SOUND);
  readonly #rows = h("tbody");
  readonly #more = h("button", { type: "button", class: "quiet" }, "More");
  readonly #told = h("p", { class: "told", role: "status" });
  #abort = new AbortController();
  #shown = 0;
  #next: string | null = null;
  #from: number | null = null;

  constructor(private readonly root: HTMLElement, private readonly api: Api, query: URLSearchParams) {
    this.#words.value = query.get("q") ?? "";
    this.#span.value = SPANS.some(([value]) => value === query.get("hours")) ? query.get("hours")! : "24";
    this.#endedBy.value = query.get("ended_by") ?? "";
    this.#sound.value = query.get("max_mos") ?? "";
    const csv = h("button", { type: "button", class: "quiet" }, "CSV");
    csv.addEventListener("click", () => void attempt("CSV was not fetched", () => save(api, this.#address({ format: "csv" }), "calls.csv")));
    this.#form.append(
      field("q", "Find", this.#words), field("span", "When", this.#span), field("ended-by", "Ended by", this.#endedBy), field("sound", "MOS", this.#sound),
      h("button", { type: "submit", class: "go" }, "Search"), csv);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = new URLSearchParams({ q: this.#words.value.trim(), hours: this.#span.value, ended_by: this.#endedBy.value, max_mos: this.#sound.value });
      const place = `#/calls?${wanted}`;
      if (location.hash === place) void this.#search();
      else location.hash = place;
    });
    for (const choice of [this.#span, this.#endedBy, this.#sound]) choice.addEventListener("change", () => this.#form.requestSubmit());
    this.#more.addEventListener("click", () => void this.#page());
    this.#more.hidden = true;
    const heads: [string, string][] = [["Began", ""], ["Agent", ""], ["Party", ""], ["Talked", "right"], ["MOS", "right"], ["Loss", "right"], ["Ended by", ""], ["Why", "wide"]];
    root.replaceChildren(this.#form, h("section", { class: "panel results", "aria-label": "Calls" },
      h("table", {}, h("thead", {}, h("tr", {}, ...heads.map(([name, of]) => h("th", { scope: "col", class: of }, name)))), this.#rows), this.#told, this.#more));
    document.title = "Finished calls · Gateway";
    void this.#search();
  }

  close(): void {
    this.#abort.abort();
    this.root.replaceChildren();
  }

  focus(): void {
    this.#words.focus();
  }

  #address(more: Readonly<Record<string, string>>): string {
    const query = new URLSearchParams(more);
    if (this.#words.value.trim() !== "") query.set("q", this.#words.value.trim());
    if (this.#from !== null) query.set("from", String(this.#from));
    if (this.#endedBy.value !== "") query.set("ended_by", this.#endedBy.value);
    if (this.#sound.value !== "") query.set("max_mos", this.#sound.value);
    return `/api/calls?${query}`;
  }

  async #search(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#next = null;
    this.#shown = 0;
    this.#from = this.#span.value === "" ? null : Date.now() - Number(this.#span.value) * 3_600_000;
    text(this.#told, "Searching…");
    await this.#page();
  }

  async #page(): Promise<void> {
    const { signal } = this.#abort;
    const more: Record<string, string> = { limit: String(PAGE) };
    if (this.#next !== null) more["before"] = this.#next;
    try {
      const answer = raw(await this.api.get(this.#address(more), signal));
      if (signal.aborted) return;
      const calls = listOf(answer["calls"], readRecord);
      const rows = calls.map(resultRow);
      if (this.#shown === 0) this.#rows.replaceChildren(...rows);
      else this.#rows.append(...rows);
      this.#shown += calls.length;
      this.#next = answer["next"] === null || answer["next"] === undefined ? null : String(answer["next"]);
      this.#more.hidden = this.#next === null;
      text(this.#told, this.#shown === 0 ? "No call was found." : `${this.#shown} ${this.#shown === 1 ? "call" : "calls"}${this.#next === null ? "" : ", and more"}`);
    } catch (fault) {
      if (signal.aborted) return;
      this.#rows.replaceChildren();
      this.#more.hidden = true;
      text(this.#told, faultText(fault));
    }
  }
}

export function resultRow(call: CallRecord): HTMLElement {
  const mosOf = [call.browser.rx.mos, call.sip.rx.mos].filter((mos) => mos !== null);
  const mos = mosOf.length > 0 ? Math.min(...mosOf) : null;
  const shares = [call.browser.rx, call.sip.rx].filter(({ packets }) => packets > 0).map(({ packets, lost }) => (100 * lost) / (packets + lost));
  const loss = shares.length > 0 ? Math.max(...shares) : null;
  const by: Record<string, string> = { browser: "Agent", peer: "SIP side", network: "Network", gateway: "Gateway" };
  const ordinary = call.code === 200 || call.code === 0;
  const failed = call.answered === null && call.code !== 487 && !ordinary;
  const cause = ordinary ? call.reason || "ordinary" : `${call.code} ${call.reason}`;
  const link = h("a", { class: "whole", href: `#/calls/${encodeURIComponent(call.id)}` }, dateTime(call.started));
  const row = h("tr", {}, h("td", { class: "time" }, link), h("td", {}, call.dn), h("td", {}, `${call.incoming ? "from" : "to"} ${party(call.peer) || "anonymous"}`),
    h("td", { class: "right" }, call.talkedMs === null ? NOTHING : clock(call.talkedMs)), h("td", { class: "right", "data-grade": gradeMos(mos) }, mosText(mos)),
    h("td", { class: "right", "data-grade": gradeLoss(loss) }, percent(loss)), h("td", {}, by[call.endedBy] ?? call.endedBy), h("td", { class: "wide" }, cause));
  attribute(row, "data-failed", failed ? "" : null);
  return row;
}

function select(id: string, options: readonly (readonly [string, string])[]): HTMLSelectElement {
  return h("select", { id }, ...options.map(([value, label]) => h("option", { value }, label)));
}

function field(id: string, label: string, control: HTMLElement): HTMLElement {
  return h("div", { class: "field" }, h("label", { for: id }, label), control);
}
