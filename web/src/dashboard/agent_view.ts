// One DN: how it stands at the SIP server, its calls now and before, what happened around it.

import type { Api } from "./api";
import { standing } from "./agents_panel";
import { attempt, confirmed, tell } from "./dialogs";
import { attribute, h, Rows, text } from "./dom";
import { clock, dateTime, party, stateWord } from "./format";
import type { Part, State } from "./live";
import { listOf, raw, readRecord, type HistoryItem, type LiveCall } from "./model";
import { historyRow } from "./overview";
import { resultRow } from "./search_view";
import { TraceSwitch } from "./trace_switch";

export class AgentView {
  readonly #badge = h("span", { class: "badge" });
  readonly #sentence = h("p", { class: "sentence" });
  readonly #why = h("section", { class: "panel why", "aria-label": "State" }, this.#sentence);
  readonly #live = h("ul", { class: "live" });
  readonly #noLive = h("p", { class: "empty" }, "No call");
  readonly #rows = new Rows<LiveCall>(this.#live, ({ id }) => id, liveRow);
  readonly #finished = h("tbody");
  readonly #told = h("p", { class: "told", role: "status" });
  readonly #history = h("ol");
  readonly #events = new Rows<HistoryItem>(this.#history, ({ id }) => String(id), historyRow);
  readonly #noEvents = h("p", { class: "empty" }, "Nothing lately");
  readonly #signOut = h("button", { type: "button", class: "stop act-only" }, "Sign out");
  readonly #trace: TraceSwitch;
  readonly #abort = new AbortController();
  #calls = -1;

  constructor(private readonly root: HTMLElement, private readonly api: Api, private readonly state: State, private readonly dn: string) {
    const trace = new TraceSwitch(api, state);
    trace.show(dn);
    this.#trace = trace;
    this.#signOut.addEventListener("click", () => void this.#end());
    const panel = (id: string, title: string, ...inside: HTMLElement[]) =>
      h("section", { class: "panel", "aria-labelledby": id }, h("div", { class: "head" }, h("h2", { id }, title)), ...inside);
    const heads = ["Began", "Agent", "Party", "Talked", "MOS", "Loss", "Ended by", "Why"];
    root.replaceChildren(
      h("div", { class: "title" }, h("a", { class: "back", href: "#/", "aria-label": "Back to all agents" }, "←"), h("h2", { class: "who" }, dn), this.#badge,
        h("div", { class: "doings" }, this.#signOut, trace.node)),
      this.#why,
      h("div", { class: "columns" },
        h("section", { class: "panel results own", "aria-labelledby": "t-before" }, h("div", { class: "head" }, h("h2", { id: "t-before" }, "Finished calls")),
          h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col", class: /Talked|MOS|Loss/.test(name) ? "right" : name === "Why" ? "wide" : "" }, name)))), this.#finished), this.#told),
        h("div", { class: "side" }, panel("t-now", "Now", this.#live, this.#noLive), panel("t-around", "Events", this.#history, this.#noEvents))));
    document.title = `${dn} · Gateway`;
    this.render();
  }

  close(): void {
    this.#abort.abort();
    this.root.replaceChildren();
  }

  render(parts?: ReadonlySet<Part>): void {
    const { state, dn } = this;
    if (parts?.has("traces")) this.#trace.render();
    if (parts && !parts.has("agents") && !parts.has("calls") && !parts.has("history")) return;
    const agent = state.agents.find((candidate) => candidate.dn === dn);
    if (agent === undefined) {
      text(this.#badge, "Signed out");
      attribute(this.#badge, "data-verdict", "none");
      attribute(this.#why, "data-verdict", "none");
      text(this.#sentence, `${dn} is not signed in.`);
    } else {
      const { registration } = agent;
      const bad = standing(agent) === "problem";
      text(this.#badge, bad ? stateWord(registration!.status) : stateWord(agent.state));
      for (const target of [this.#badge, this.#why]) attribute(target, "data-verdict", bad ? "fault" : "good");
      text(this.#sentence, registration === null ? "A guest, registered nowhere." : registered(registration, agent.since));
    }
    this.#signOut.hidden = agent === undefined;
    const calls = state.calls.filter((call) => call.dn === dn);
    this.#rows.show(calls);
    this.#noLive.hidden = calls.length > 0;
    const events = state.history.filter((item) => item.dn === dn).slice(0, 50);
    this.#events.show(events);
    this.#noEvents.hidden = events.length > 0;
    if (calls.length !== this.#calls) {
      this.#calls = calls.length;
      void this.#before();
    }
  }

  async #before(): Promise<void> {
    await attempt("The finished calls were not fetched", async () => {
      const answer = raw(await this.api.get(`/api/calls?dn=${encodeURIComponent(this.dn)}&limit=50`, this.#abort.signal).catch((fault: unknown) => {
        if (this.#abort.signal.aborted) return {};
        throw fault;
      }));
      const calls = listOf(answer["calls"], readRecord);
      this.#finished.replaceChildren(...calls.map(resultRow));
      text(this.#told, calls.length === 0 ? "No finished call is kept." : "");
    });
  }

  async #end(): Promise<void> {
    const busy = this.state.calls.some((call) => call.dn === this.dn);
    const yes = await confirmed({
      title: `Sign out ${this.dn}?`, yes: "Sign out",
      text: busy ? "The agent's call is cut off, and the DN is unregistered. The page may sign in again." : "The DN is unregistered. The agent's page may sign in again.",
    });
    if (!yes) return;
    if (await attempt(`${this.dn} was not signed out`, () => this.api.send("POST", `/api/agents/${encodeURIComponent(this.dn)}/sign_out`))) {
      tell(`${this.dn} is signed out.`);
    }
  }
}

function registered({ status, reason, server }: { status: string; reason: string; server: string }, since: number | null): string {
  const at = server === "" ? "the SIP server" : server;
  const said = reason === "" ? "" : `: ${reason}`;
  if (status === "registered") return `Registered at ${at}${since === null ? "" : ` since ${dateTime(since)}`}, which said last${said || " nothing"}.`;
  if (status === "failing") return `Not registered at ${at}${said}. The gateway tries again.`;
  return `${stateWord(status)} at ${at}${said}.`;
}

function liveRow() {
  const link = h("a", { class: "whole" });
  const state = h("span", { class: "word" });
  const time = h("span", { class: "told" });
  const node = h("li", {}, link, state, time);
  const update = (call: LiveCall) => {
    text(link, `${call.incoming ? "from" : "to"} ${party(call.remote) || "anonymous"}`);
    attribute(link, "href", `#/calls/${encodeURIComponent(call.id)}`);
    text(state, stateWord(call.state));
    text(time, call.started === null ? "" : clock(Date.now() - call.started));
  };
  return { node, update };
}
