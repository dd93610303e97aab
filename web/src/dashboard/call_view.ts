// One call: why it went as it did in one sentence, then its ladder, its sound over time, its figures.

import type { Api } from "./api";
import { Chart } from "./chart";
import { attempt, faultText } from "./dialogs";
import { attribute, h, text } from "./dom";
import { count, dateTime, gradeLoss, gradeMos, gradeRtt, millis, mosText, NOTHING, party, percent, span, stateWord, timeOfDay, type Grade } from "./format";
import { LadderView } from "./ladder_view";
import type { Part, State } from "./live";
import type { CallRecord, CallStory, LegFigures, QualityPoint } from "./model";
import { readStory } from "./model";
import type { Doings } from "./overview";
import { save } from "./save";
import { TraceSwitch } from "./trace_switch";
import { reasonHeader, why } from "./why";

/** A call under way is asked for as often as its figures change. */
const REFRESH_MS = 2000;

export class CallView {
  readonly #path: string;
  readonly #title = h("h2", { class: "who" });
  readonly #badge = h("span", { class: "badge" });
  readonly #sentence = h("p", { class: "sentence", role: "status" });
  readonly #ends = h("dl", { class: "ends" });
  readonly #findings = h("ul", { class: "findings" });
  readonly #why = h("section", { class: "panel why", "aria-label": "Why" }, this.#sentence, this.#findings, this.#ends);
  readonly #facts = h("dl", { class: "facts" });
  readonly #legs = h("tbody");
  readonly #streamsPanel = h("section", { class: "panel", "aria-labelledby": "t-legs" });
  readonly #around = h("section", { class: "panel", "aria-labelledby": "t-around", hidden: true });
  readonly #events = h("dl", { class: "facts" });
  readonly #mos = new Chart();
  readonly #loss = new Chart();
  readonly #quality: HTMLElement;
  readonly #ladder: LadderView;
  readonly #hangUp = h("button", { type: "button", class: "stop act-only" }, "Hang up");
  readonly #trace: TraceSwitch;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #story: CallStory | null = null;

  constructor(private readonly root: HTMLElement, private readonly api: Api, state: State, id: string, doings: Doings) {
    this.#path = `/api/calls/${encodeURIComponent(id)}`;
    this.#ladder = new LadderView(async () => readStory(await api.get(`${this.#path}?bodies=1`)).timeline);
    this.#trace = new TraceSwitch(api, state);
    this.#hangUp.hidden = true;
    this.#hangUp.addEventListener("click", () => {
      const call = this.#story?.call;
      if (call) doings.hangUp({ id: call.id, dn: call.dn, remote: call.peer });
    });
    const download = (label: string, path: string, name: string) => {
      const button = h("button", { type: "button", class: "quiet" }, label);
      button.addEventListener("click", () => void attempt(`${label} was not fetched`, () => save(api, path, name)));
      return button;
    };
    const legend = h("p", { class: "keys" }, h("span", { class: "c3" }, "from the browser"), h("span", { class: "c1" }, "from the SIP side"));
    this.#quality = h("section", { class: "panel quality", "aria-labelledby": "t-quality" },
      h("div", { class: "head" }, h("h2", { id: "t-quality" }, "Sound over time"), legend),
      h("h3", {}, "MOS"), h("div", { class: "slot" }, this.#mos.node), h("h3", {}, "Loss, percent"), h("div", { class: "slot" }, this.#loss.node));
    this.#streamsPanel.append(h("div", { class: "head" }, h("h2", { id: "t-legs" }, "Streams")),
      h("div", { class: "of-legs" }, h("table", { class: "legs" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Stream"),
        ...["Packets", "Loss", "Jitter", "MOS", "Worst"].map((name) => h("th", { scope: "col", class: "right" }, name)))), this.#legs)));
    const facts = h("section", { class: "panel", "aria-labelledby": "t-facts" }, h("div", { class: "head" }, h("h2", { id: "t-facts" }, "Call")), this.#facts);
    root.replaceChildren(
      h("div", { class: "title" }, h("a", { class: "back", href: "#/", "aria-label": "Back" }, "←"), this.#title, this.#badge,
        h("div", { class: "doings" }, this.#hangUp, this.#trace.node, download("pcap", `${this.#path}/pcap`, `call-${id}.pcapng`),
          download("CSV", `/api/calls?call_id=${encodeURIComponent(id)}&format=csv`, `call-${id}.csv`),
          download("JSON", `${this.#path}?bodies=1`, `call-${id}.json`))),
      this.#why, h("div", { class: "columns" }, this.#ladder.node, h("div", { class: "side" }, this.#quality, this.#streamsPanel, facts, this.#around)));
    root.querySelector(".back")!.addEventListener("click", (event) => {
      if (history.length < 2) return;
      event.preventDefault();
      history.back();
    });
    this.#around.append(h("div", { class: "head" }, h("h2", { id: "t-around" }, "The agent meanwhile")), this.#events);
    void this.#load();
  }

  close(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
    this.root.replaceChildren();
  }

  render(parts: ReadonlySet<Part>): void {
    if (parts.has("traces")) this.#trace.render();
  }

  /** After something was done to it. */
  refresh(): void {
    clearTimeout(this.#timer);
    void this.#load();
  }

  async #load(): Promise<void> {
    try {
      const story = readStory(await this.api.get(this.#path, this.#abort.signal));
      this.#story = story;
      this.#show(story);
      if (story.call.ended === null && story.call.state !== "ended") this.#timer = setTimeout(() => void this.#load(), REFRESH_MS);
    } catch (fault) {
      if (this.#abort.signal.aborted) return;
      if (this.#story === null) {
        text(this.#title, "This call cannot be shown");
        text(this.#sentence, faultText(fault));
        attribute(this.#why, "data-verdict", "fault");
      }
      // The stream says when the gateway is back; a call that is unknown stays so.
      if (!(fault instanceof Error && fault.name === "Refused")) this.#timer = setTimeout(() => void this.#load(), 2 * REFRESH_MS);
    }
  }

  #show(story: CallStory): void {
    const { call } = story;
    const live = call.ended === null && call.state !== "ended";
    const peer = party(call.peer) || "anonymous";
    text(this.#title, call.incoming ? `${peer} → ${call.dn}` : `${call.dn} → ${peer}`);
    document.title = `${this.#title.textContent} · Gateway`;
    const { verdict, sentence, ends, findings } = why(story, Date.now());
    text(this.#badge, live ? stateWord(call.state) : call.answered === null ? "Not answered" : "Ended");
    attribute(this.#badge, "data-verdict", verdict);
    attribute(this.#why, "data-verdict", verdict);
    text(this.#sentence, sentence);
    attribute(this.#sentence, "aria-live", live ? "off" : "polite");
    list(this.#findings, findings);
    define(this.#ends, ends.map(({ side, said }) => [side, said]));
    this.#hangUp.hidden = !live;
    this.#trace.show(call.dn);
    this.#ladder.show(story.timeline, call.started, story.leftOut);
    // Of a call that never had sound there is nothing to show.
    this.#quality.hidden = !live && story.quality.length === 0;
    this.#streamsPanel.hidden = !live && call.browser.rx.packets + call.sip.rx.packets + call.browser.tx.packets === 0;
    this.#charts(story.quality);
    this.#streams(call, story.quality);
    define(this.#facts, facts(call));
    this.#around.hidden = story.agent.length === 0;
    define(this.#events, story.agent.map(({ at, text: said }) => [timeOfDay(at), said]));
  }

  #charts(quality: readonly QualityPoint[]): void {
    const times = quality.map(({ at }) => at);
    this.#quality.classList.toggle("none", quality.length < 2);
    this.#mos.show({
      times, title: "Mean opinion score over the call", least: 3, most: 4.5, format: (value) => value === null ? NOTHING : value.toFixed(2),
      lines: [
        { name: "from the browser", colour: "c3", values: quality.map(({ browser }) => browser.rx.mos) },
        { name: "from the SIP side", colour: "c1", values: quality.map(({ sip }) => sip.rx.mos) },
      ],
    });
    this.#loss.show({
      times, title: "Loss over the call in percent", least: 0, most: 2, format: percent,
      lines: [
        { name: "from the browser", colour: "c3", values: quality.map(({ browser }) => browser.rx.loss) },
        { name: "from the SIP side", colour: "c1", values: quality.map(({ sip }) => sip.rx.loss) },
      ],
    });
  }

  #streams(call: CallRecord, quality: readonly QualityPoint[]): void {
    const rows: HTMLElement[] = [];
    const last = quality.at(-1);
    for (const [leg, name] of [["browser", "Browser"], ["sip", "SIP side"]] as const) {
      const figures: LegFigures = call[leg];
      const rtt = figures.rttMs ?? last?.[leg].rttMs ?? null;
      for (const way of ["rx", "tx"] as const) {
        const stream = figures[way];
        const now = last?.[leg][way];
        const all = stream.packets + stream.lost;
        const loss = all > 0 ? (100 * stream.lost) / all : now?.loss ?? null;
        const mos = stream.mos ?? now?.mos ?? null;
        const cell = (value: string, grade: Grade) => h("td", { class: "right", "data-grade": grade }, value);
        rows.push(h("tr", {},
          h("th", { scope: "row" }, way === "rx" ? `from ${name === "Browser" ? "browser" : name}` : `to ${name === "Browser" ? "browser" : name}`),
          cell(stream.packets > 0 ? count(stream.packets) : NOTHING, "none"), cell(percent(loss), gradeLoss(loss)),
          cell(stream.packets > 0 ? millis(stream.jitterMs) : millis(now?.jitterMs ?? null), "none"),
          cell(mosText(mos), gradeMos(mos)), cell(mosText(stream.worstMos), gradeMos(stream.worstMos))));
      }
      rows.push(h("tr", { class: "rtt" }, h("th", { scope: "row", colspan: "4" }, `${name}: there and back`), h("td", { colspan: "2", class: "right", "data-grade": gradeRtt(rtt) }, millis(rtt))));
    }
    this.#legs.replaceChildren(...rows);
  }
}

function facts(call: CallRecord): [string, string][] {
  const all: [string, string | null][] = [
    ["Agent", call.dn], ["Party", call.peerName ? `${call.peerName}, ${call.peer}` : call.peer], ["Diverted from", call.divertedFrom],
    ["Began", call.started > 0 ? dateTime(call.started) : null], ["Answered after", call.answered === null ? null : span(call.setupMs ?? call.answered - call.started)],
    ["Talked", call.talkedMs === null ? null : span(call.talkedMs)], ["Codec toward SIP", call.codec ? `${call.codec}${call.encrypted ? ", SRTP" : ", RTP"}` : null],
    ["Holds", call.holds > 0 ? String(call.holds) : null], ["Digits sent", call.digits > 0 ? String(call.digits) : null],
    ["Transfer", call.transfer === null ? null : String(call.transfer)], ["Frames made up", call.concealed > 0 ? count(call.concealed) : null],
    ["Silent", call.silent || null], ["Reason header", call.sipReason ? reasonHeader(call.sipReason) : null], ["Signed in by", call.dialect],
    ["Call", call.id], ["Call-ID", call.sipCallIds.join(", ")], ["CallUUID", call.callUuid],
  ];
  return all.filter((fact): fact is [string, string] => fact[1] !== null && fact[1] !== "");
}

/** Written anew only when it differs, so that a selection in it stays. */
function define(target: HTMLElement, pairs: readonly (readonly [string, string])[]): void {
  const wanted = JSON.stringify(pairs);
  if (target.dataset["shown"] === wanted) return;
  target.dataset["shown"] = wanted;
  target.replaceChildren(...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function list(target: HTMLElement, lines: readonly string[]): void {
  const wanted = JSON.stringify(lines);
  if (target.dataset["shown"] === wanted) return;
  target.dataset["shown"] = wanted;
  target.hidden = lines.length === 0;
  target.replaceChildren(...lines.map((line) => h("li", {}, line)));
}
