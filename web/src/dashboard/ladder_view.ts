// The ladder on the page: one row per entry, its message when somebody opens it.

import { attribute, h, Rows, text } from "./dom";
import { span, timeOfDay } from "./format";
import { ladder, type Group, type Row } from "./ladder";
import type { Side, Step } from "./model";

const GROUPS: readonly (readonly [group: Group, label: string])[] = [
  ["http", "HTTP"], ["sip", "SIP"], ["media", "Media"], ["call", "States"],
];

const NAMES: Record<Side, string> = { browser: "Browser", gateway: "Gateway", sip: "SIP side" };

export class LadderView {
  readonly node = h("section", { class: "panel ladder", "aria-labelledby": "t-ladder" });
  readonly #hidden = new Set<Group>();
  readonly #list = h("ol");
  readonly #rows = new Rows<Row>(this.#list, ({ key }) => key, (row) => this.#row(row));
  readonly #empty = h("p", { class: "empty" }, "Nothing is known of it");
  readonly #left = h("p", { class: "left" });
  #timeline: readonly Step[] = [];
  #bodies: readonly Step[] | null = null;
  #started = 0;

  /** `fetchBodies` is asked once, when the first message is opened. */
  constructor(private readonly fetchBodies: () => Promise<readonly Step[]>, title = "Ladder") {
    const chips = GROUPS.map(([group, label]) => {
      const chip = h("button", { type: "button", "aria-pressed": String(!this.#hidden.has(group)) }, label);
      chip.addEventListener("click", () => {
        if (!this.#hidden.delete(group)) this.#hidden.add(group);
        attribute(chip, "aria-pressed", String(!this.#hidden.has(group)));
        this.#render();
      });
      return chip;
    });
    const lanes = h("div", { class: "lanes-head", "aria-hidden": "true" }, h("span"), h("div", { class: "names" }, h("b", {}, "Browser"), h("b", {}, "Gateway"), h("b", {}, "SIP side")));
    this.node.append(
      h("div", { class: "head" }, h("h2", { id: "t-ladder" }, title), h("div", { class: "chips", role: "group", "aria-label": "What the ladder shows" }, ...chips)),
      lanes, this.#list, this.#empty, this.#left,
    );
  }

  show(timeline: readonly Step[], started: number, leftOut = 0): void {
    text(this.#left, leftOut > 0 ? `${leftOut} ${leftOut === 1 ? "line of the middle was" : "lines of the middle were"} left out` : "");
    if (timeline.length !== this.#timeline.length) this.#bodies = null;
    this.#timeline = timeline;
    this.#started = started;
    this.#render();
  }

  #render(): void {
    const rows = ladder(this.#timeline, this.#started, this.#hidden);
    this.#rows.show(rows);
    this.#empty.hidden = rows.length > 0;
  }

  #row(first: Row) {
    const moment = h("time");
    const words = h("span", { class: "label" });
    const lanes = h("span", { class: "lanes" }, h("span", { class: "mark" }, words));
    if (first.step === null) {
      const node = h("li", { class: "gap", "data-lanes": "0-2" }, moment, lanes);
      return { node, update: (row: Row) => {
        text(words, row.label);
        holds(node, row);
      } };
    }
    const readers = h("span", { class: "for-readers" });
    const head = h("button", { type: "button", class: "step", "aria-expanded": "false" }, moment, readers, lanes);
    const body = h("div", { class: "body", hidden: true });
    const node = h("li", {}, head, body);
    let now = first;
    head.addEventListener("click", () => {
      const open = head.getAttribute("aria-expanded") === "true";
      attribute(head, "aria-expanded", String(!open));
      body.hidden = open;
      if (!open) void this.#fill(body, now);
    });
    const update = (row: Row) => {
      now = row;
      const { step, from, to } = row;
      node.className = `${row.shape} ${row.kind} ${row.tone}`;
      attribute(node, "data-lanes", `${from}-${to}`);
      holds(node, row);
      text(moment, row.after < -9999 ? `-${span(-row.after)}` : `${row.after < 0 ? "-" : "+"}${(Math.abs(row.after) / 1000).toFixed(3)}`);
      attribute(moment, "title", `${timeOfDay(step!.at, true)}, ${span(row.since)} after the line above`);
      text(words, row.label);
      attribute(words, "title", row.label);
      text(readers, row.shape === "arrow" ? `${["Browser", "Gateway", "SIP side"][from]} to ${["browser", "gateway", "SIP side"][to]}: ` : "");
    };
    return { node, update };
  }

  async #fill(target: HTMLElement, row: Row): Promise<void> {
    const step = row.step!;
    target.replaceChildren(facts(step));
    if (step.kind !== "http" && step.kind !== "sip") return;
    let text = step.body;
    if (text === null) {
      const wait = h("p", { class: "soft" }, "Fetching the message…");
      target.append(wait);
      try {
        this.#bodies ??= await this.fetchBodies();
        text = this.#bodies[Number(row.key)]?.body ?? null;
      } catch {
        wait.textContent = "The message could not be fetched.";
        return;
      }
      wait.remove();
    }
    target.append(text === null ? h("p", { class: "soft" }, "The gateway has not kept the text of it.") : h("pre", { tabindex: "0" }, text));
  }
}

function holds(node: HTMLElement, { held }: Row): void {
  node.dataset["held"] = held.browser && held.sip ? "both" : held.browser ? "browser" : held.sip ? "sip" : "";
}

function facts(step: Step): HTMLElement {
  const list = h("dl", { class: "facts" });
  const add = (name: string, value: string) => list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  add("at", timeOfDay(step.at, true));
  if (step.from !== null && step.to !== null) add("way", `${NAMES[step.from]} → ${NAMES[step.to]}`);
  for (const [name, value] of Object.entries(step.detail)) {
    if (value === null || value === "") continue;
    add(name.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return list;
}
