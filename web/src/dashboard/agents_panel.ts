// Who is signed in, how each stands at the SIP server, and what it said last.

import { attribute, element, h, Rows, text } from "./dom";
import { count, stateWord } from "./format";
import { agentKey } from "./live";
import type { Agent } from "./model";

/** What one wants to see of an agent first. */
export type Standing = "problem" | "absent" | "talking" | "ringing" | "held" | "ready";

export function standing({ state, registration, calls }: Agent): Standing {
  if (registration !== null && /^(failing|refused)$/.test(registration.status)) return "problem";
  switch (state) {
    case "absent":
    case "unregistered":
      return "absent";
    case "ringing":
    case "waiting":
    case "calling":
      return "ringing";
    case "held":
      return "held";
    case "established":
    case "talking":
    case "busy":
      return "talking";
    default:
      return calls > 0 ? "talking" : "ready";
  }
}

const WORDS: Record<Standing, string> = { problem: "Problem", absent: "Away", talking: "Talking", ringing: "Set-up", held: "On hold", ready: "Ready" };
const BAR: readonly Standing[] = ["talking", "held", "ringing", "ready", "absent", "problem"];

type Filter = "all" | "calls" | "problems";

const byDn = new Intl.Collator("en", { numeric: true });

export class AgentsPanel {
  #filter: Filter = "all";
  #wanted = "";
  #agents: readonly Agent[] = [];
  readonly #rows = new Rows<Agent>(element("agents"), agentKey, agentRow);
  readonly #cells = new Rows<Agent>(element("matrix"), agentKey, agentCell);
  readonly #chips = new Map<Filter, HTMLElement>();

  constructor(private readonly wall: boolean) {
    const matrix = element("matrix");
    matrix.hidden = !wall;
    new ResizeObserver(() => this.#fit(this.#agents.length)).observe(matrix);
    for (const [filter, label] of [["all", "All"], ["calls", "In call"], ["problems", "Problems"]] as const) {
      const chip = h("button", { type: "button", "aria-pressed": String(filter === "all") }, label, h("span", { class: "number" }));
      chip.addEventListener("click", () => {
        this.#filter = filter;
        for (const [other, node] of this.#chips) attribute(node, "aria-pressed", String(other === filter));
        this.show(this.#agents);
      });
      this.#chips.set(filter, chip);
      element("agents-filter").append(chip);
    }
    element("agents-text").addEventListener("input", ({ target }) => {
      this.#wanted = (target as HTMLInputElement).value.trim().toLowerCase();
      this.show(this.#agents);
    });
  }

  /** Cells as large as lets everybody be seen. */
  #fit(all: number): void {
    const matrix = element("matrix");
    const { clientWidth: width, clientHeight: height } = matrix;
    if (!this.wall || all === 0 || width === 0) return;
    const { cell, row } = cells(all, width, height);
    matrix.style.setProperty("--cell", `${cell}px`);
    matrix.style.setProperty("--row", `${row}px`);
    const type = Math.min(22, Math.floor(Math.min(cell / 3.1, row * 0.62)));
    // Smaller, it would only be noise.
    matrix.style.setProperty("--type", `${type < 9 ? 0 : type}px`);
  }

  show(agents: readonly Agent[]): void {
    this.#agents = agents;
    const stands = new Map(agents.map((agent) => [agent, standing(agent)]));
    const counts: Record<Standing, number> = { problem: 0, absent: 0, talking: 0, ringing: 0, held: 0, ready: 0 };
    for (const stand of stands.values()) counts[stand] += 1;
    const sorted = [...agents].sort((a, b) =>
      Number(stands.get(b) === "problem") - Number(stands.get(a) === "problem") || byDn.compare(a.dn || a.id, b.dn || b.id));
    if (this.wall) {
      // Problems by name, everybody as a cell that stays where it is.
      const problems = sorted.filter((agent) => stands.get(agent) === "problem");
      this.#rows.show(problems.slice(0, 5));
      const cells = sorted.slice().sort((a, b) => byDn.compare(a.dn || a.id, b.dn || b.id));
      this.#fit(cells.length);
      this.#cells.show(cells);
    } else {
      const shown = sorted.filter((agent) => {
        const stand = stands.get(agent)!;
        if (this.#filter === "problems" && stand !== "problem") return false;
        if (this.#filter === "calls" && agent.calls === 0) return false;
        return this.#wanted === "" || agent.dn.toLowerCase().includes(this.#wanted) || agent.id.toLowerCase().includes(this.#wanted);
      });
      this.#rows.show(shown);
      text(element("no-agents"), agents.length === 0 ? "Nobody is signed in" : "No such agent");
      element("no-agents").hidden = shown.length > 0;
    }
    if (this.wall) element("no-agents").hidden = agents.length > 0;
    const inCalls = agents.filter(({ calls }) => calls > 0).length;
    for (const [filter, n] of [["all", agents.length], ["calls", inCalls], ["problems", counts.problem]] as const) {
      const chip = this.#chips.get(filter)!;
      text(chip.lastElementChild!, count(n));
      chip.classList.toggle("bad", filter === "problems" && n > 0);
    }
    text(element("agents-count"), this.wall ? count(agents.length) : "");
    summary(agents.length, counts);
  }
}

const GAP = 3;

/** The largest cells, wider than high, of which `all` fit. */
export function cells(all: number, width: number, height: number): { cell: number; row: number } {
  for (let columns = 1; ; columns += 1) {
    const cell = Math.min(110, Math.floor((width + GAP) / columns) - GAP);
    const row = Math.floor(cell / 1.75);
    if (cell <= 8 || Math.ceil(all / columns) * (row + GAP) - GAP <= height) return { cell: Math.max(cell, 8), row: Math.max(row, 6) };
  }
}

function summary(all: number, counts: Readonly<Record<Standing, number>>): void {
  const online = all - counts.problem - counts.absent;
  text(element("n-agents"), count(online));
  text(element("s-agents"), online < all ? `of ${count(all)}` : "");
  const shown = BAR.filter((stand) => counts[stand] > 0);
  element("agents-bar").replaceChildren(...shown.map((stand) => {
    const part = h("span", { "data-stand": stand });
    part.style.flexGrow = String(counts[stand]);
    return part;
  }));
  element("agents-legend").replaceChildren(...shown.map((stand) =>
    h("li", { "data-stand": stand }, h("span", { class: "dot", "aria-hidden": "true" }), `${WORDS[stand]} `, h("b", {}, count(counts[stand])))));
}

/** Who calls does not ring: of calls that are being set up one wants to know which way they go. */
function said({ state }: Agent, stand: Standing): string {
  return stand === "ringing" ? stateWord(state) : WORDS[stand];
}

function agentRow() {
  const dn = h("a", { class: "dn whole" });
  const state = h("span", { class: "word" });
  const told = h("span", { class: "told" });
  const node = h("li", {}, h("span", { class: "dot", "aria-hidden": "true" }), dn, state, told);
  const update = (agent: Agent) => {
    const stand = standing(agent);
    attribute(node, "data-stand", stand);
    text(dn, agent.dn || agent.id);
    attribute(dn, "href", `#/agents/${encodeURIComponent(agent.dn || agent.id)}`);
    const { registration } = agent;
    text(state, stand === "problem" ? stateWord(registration!.status)
      : stand === "absent" ? stateWord(agent.state) : agent.calls > 1 ? `${said(agent, stand)} (${agent.calls})` : said(agent, stand));
    text(told, registration === null ? "guest" : registration.reason || stateWord(registration.status));
    attribute(told, "title", registration === null ? null : [registration.reason, registration.server].filter(Boolean).join(", "));
  };
  return { node, update };
}

function agentCell() {
  const node = h("a");
  const update = (agent: Agent) => {
    const stand = standing(agent);
    const name = agent.dn || agent.id;
    attribute(node, "data-stand", stand);
    attribute(node, "href", `#/agents/${encodeURIComponent(name)}`);
    attribute(node, "title", `${name}: ${stand === "problem" ? agent.registration?.reason || "not registered" : said(agent, stand)}`);
    attribute(node, "aria-label", `${name}: ${said(agent, stand)}`);
    text(node, name);
  };
  return { node, update };
}
