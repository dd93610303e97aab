// Calls that are under way, with how they sound.

import { attribute, element, h, Rows, svg, text } from "./dom";
import { clock, count, gradeLoss, gradeMos, mosText, NOTHING, party, percent, stateWord, worse, type Grade } from "./format";
import type { State } from "./live";
import type { LiveCall } from "./model";
import type { Doings } from "./overview";

type Order = "newest" | "longest" | "worst";

const ORDERS: readonly (readonly [order: Order, label: string])[] = [["newest", "Newest"], ["longest", "Longest"], ["worst", "Worst first"]];
const RANK: Record<Grade, number> = { poor: 0, fair: 1, good: 2, none: 3 };

export function gradeCall(call: LiveCall): Grade {
  return worse(gradeMos(call.mos), gradeLoss(call.browserLoss === null && call.sipLoss === null ? null : Math.max(call.browserLoss ?? 0, call.sipLoss ?? 0)));
}

export function ordered(calls: readonly LiveCall[], order: Order): LiveCall[] {
  const began = (call: LiveCall) => call.started ?? 0;
  const byAge = [...calls].sort((a, b) => began(a) - began(b) || a.id.localeCompare(b.id));
  if (order === "newest") return byAge.reverse();
  return order === "longest" ? byAge : byAge.sort((a, b) => RANK[gradeCall(a)] - RANK[gradeCall(b)]);
}

export class CallsPanel {
  #order: Order;
  #calls: readonly LiveCall[] = [];
  readonly #clocks = new Map<string, { node: HTMLElement; since: number }>();
  readonly #rows: Rows<LiveCall>;

  constructor(private readonly state: State, private readonly doings: Doings, wall: boolean) {
    this.#order = wall ? "worst" : "newest";
    this.#rows = new Rows(element("calls"), ({ id }) => id, (call) => this.#row(call));
    const chips = ORDERS.map(([order, label]) => {
      const chip = h("button", { type: "button", "aria-pressed": String(order === this.#order) }, label);
      chip.addEventListener("click", () => {
        this.#order = order;
        for (const other of chips) attribute(other, "aria-pressed", String(other === chip));
        this.show(this.#calls);
      });
      return chip;
    });
    element("calls-sort").append(...chips);
  }

  show(calls: readonly LiveCall[]): void {
    this.#calls = calls;
    attribute(element("calls"), "data-act", this.state.mayAct ? "" : null);
    this.#rows.show(ordered(calls, this.#order));
    const known = new Set(calls.map(({ id }) => id));
    for (const id of this.#clocks.keys()) if (!known.has(id)) this.#clocks.delete(id);
    text(element("live-count"), count(calls.length));
    element("no-calls").hidden = calls.length > 0;
    this.tick(Date.now());
  }

  tick(now: number): void {
    for (const { node, since } of this.#clocks.values()) text(node, clock(now - since));
  }

  #row(first: LiveCall) {
    const time = h("td", { class: "right time" });
    const dn = h("a", { class: "dn" });
    const arrow = svg("path");
    const way = svg("svg", { viewBox: "0 0 16 16", class: "way", "aria-hidden": "true" }, arrow);
    const remote = h("a", { class: "whole" });
    const state = h("td", { class: "state" }, h("span"));
    const mos = h("td", { class: "right grade" }, h("span"));
    const browser = h("span", { class: "loss" });
    const sip = h("span", { class: "loss" });
    const hangUp = h("button", { type: "button", class: "icon stop" }, handset());
    const node = h("tr", {}, time, h("td", {}, dn), h("td", { class: "party" }, h("div", {}, way, remote)), state, mos,
      h("td", { class: "right losses" }, browser, sip), h("td", { class: "act" }, hangUp));
    let now = first;
    hangUp.addEventListener("click", () => this.doings.hangUp(now));
    const update = (call: LiveCall) => {
      now = call;
      const since = call.answered ?? call.started;
      if (since === null) {
        this.#clocks.delete(call.id);
        text(time, NOTHING);
      } else this.#clocks.set(call.id, { node: time, since });
      text(dn, call.dn);
      attribute(dn, "href", `#/agents/${encodeURIComponent(call.dn)}`);
      attribute(arrow, "d", call.incoming ? "M12.5 3.5l-9 9M4 6v6.5h6.5" : "M3.5 12.5l9-9M6 3.5h6.5V10");
      node.classList.toggle("incoming", call.incoming);
      const who = party(call.remote);
      text(remote, call.name !== "" && call.name !== who ? `${call.name} (${who})` : who === "" ? "anonymous" : who);
      attribute(remote, "href", `#/calls/${encodeURIComponent(call.id)}`);
      attribute(remote, "aria-label", `${call.incoming ? "from" : "to"} ${who}: open the call`);
      attribute(state, "data-state", call.state);
      text(state.firstElementChild!, stateWord(call.state));
      attribute(mos, "data-grade", gradeMos(call.mos));
      text(mos.firstElementChild!, mosText(call.mos));
      for (const [target, loss] of [[browser, call.browserLoss], [sip, call.sipLoss]] as const) {
        attribute(target, "data-grade", gradeLoss(loss));
        text(target, percent(loss).replace(" %", ""));
      }
      attribute(hangUp, "aria-label", `Hang up ${call.dn} and ${who}`);
      attribute(hangUp, "title", "Hang up");
    };
    return { node, update };
  }
}

export function handset(): SVGElement {
  return svg("svg", { viewBox: "0 0 24 24", class: "handset", "aria-hidden": "true" },
    svg("path", { d: "M4.2 14.2C5.6 11.4 8.6 10 12 10s6.4 1.4 7.8 4.2" }), svg("path", { class: "ends", d: "M3.8 15.2l3.4-1.5M20.2 15.2l-3.4-1.5" }));
}
