// The first page: cards with figures and charts, live calls, agents, events.

import { AgentsPanel } from "./agents_panel";
import { CallsPanel } from "./calls_panel";
import { Chart, type ChartData } from "./chart";
import { attribute, element, h, Rows, text } from "./dom";
import { ago, alertWord, count, dateTime, gradeLoss, gradeMos, millis, mosText, NOTHING, percent, timeOfDay, totalWord, type Grade } from "./format";
import type { Part, State } from "./live";
import { moment, type Alert, type HistoryItem, type Series, type Server, type Traced } from "./model";
import { serverWords } from "./server_words";

const HOUR_MS = 59 * 60_000;

export interface Doings {
  hangUp(call: { id: string; dn: string; remote: string }): void;
}

export class Overview {
  readonly #calls: CallsPanel;
  readonly #agents: AgentsPanel;
  readonly #charts = {
    calls: new Chart(), setup: new Chart(), mos: new Chart(), loss: new Chart(),
  };
  readonly #servers = new Rows<Server>(element("servers"), ({ name, address }) => `${name} ${address ?? ""}`, serverRow);
  readonly #history = new Rows<HistoryItem>(element("history"), ({ id }) => String(id), historyRow);
  readonly #alerts: AlertBar;
  #series: Series = { stepSeconds: 60, points: [] };

  constructor(private readonly state: State, doings: Doings, wall: boolean) {
    this.#calls = new CallsPanel(state, doings, wall);
    this.#agents = new AgentsPanel(wall);
    this.#alerts = new AlertBar(wall);
    for (const [name, chart] of Object.entries(this.#charts)) element(`c-${name}`).append(chart.node);
  }

  render(parts: ReadonlySet<Part>): void {
    const { state } = this;
    if (parts.has("alerts")) this.#alerts.show(state.alerts);
    if (parts.has("agents")) this.#agents.show(state.agents);
    if (parts.has("calls")) {
      this.#calls.show(state.calls);
      this.#figures();
    }
    if (parts.has("servers")) this.#servers.show(state.servers);
    if (parts.has("history")) {
      this.#history.show(state.history);
      element("no-history").hidden = state.history.length > 0;
    }
    if (parts.has("traces")) traces(state.traces);
    if (parts.has("totals")) totals(state.totals, state.version);
  }

  /** Once a second: what changes with the time alone. */
  tick(now: number): void {
    this.#calls.tick(now);
    this.#alerts.tick(now);
  }

  showSeries(series: Series): void {
    this.#series = series;
    const { points } = series;
    const times = points.map(({ at }) => at);
    const show = (chart: Chart, data: Omit<ChartData, "times">) => chart.show({ times, span: HOUR_MS, ...data });
    show(this.#charts.calls, {
      title: "Calls at a time and calls that failed, per minute", least: 0, most: 4, format: (value) => value === null ? NOTHING : String(value),
      lines: [
        { name: "at a time", colour: "c1", area: true, values: points.map(({ active }) => active) },
        { name: "failed", colour: "bad", values: points.map(({ failed }) => failed) },
      ],
    });
    show(this.#charts.setup, {
      title: "Set-up time in milliseconds", least: 0, most: 200, format: millis,
      lines: [
        { name: "p50", colour: "c2", area: true, values: points.map(({ setupP50 }) => setupP50) },
        { name: "p95", colour: "c2 thin", values: points.map(({ setupP95 }) => setupP95) },
      ],
    });
    show(this.#charts.mos, {
      title: "Mean opinion score", least: 3, most: 4.5, format: (value) => value === null ? NOTHING : value.toFixed(2),
      lines: [{ name: "MOS", colour: "c3", values: points.map(({ mos }) => mos) }],
    });
    show(this.#charts.loss, {
      title: "Packets lost in percent", least: 0, most: 2, format: percent,
      lines: [{ name: "loss", colour: "c4", area: true, values: points.map(({ loss }) => loss) }],
    });
    this.#figures();
  }

  #figures(): void {
    const { calls } = this.state;
    const { points } = this.#series;
    const talking = calls.filter(({ answered }) => answered !== null).length;
    text(element("n-calls"), count(calls.length));
    const started = points.reduce((sum, point) => sum + point.started, 0);
    const failed = points.reduce((sum, point) => sum + point.failed, 0);
    text(element("s-calls"), points.length > 0 ? `${count(started)}/h${failed > 0 ? `, ${count(failed)} failed` : ""}` : `${talking} talking`);
    const latest = points.filter(({ setupP50 }) => setupP50 !== null).at(-1);
    text(element("n-setup"), millis(latest?.setupP50 ?? null));
    text(element("s-setup"), latest ? `p95 ${millis(latest.setupP95)}` : "");
    const mean = (values: readonly (number | null)[]) => {
      const known = values.filter((value) => value !== null);
      return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
    };
    const mos = mean(calls.map((call) => call.mos)) ?? points.filter((point) => point.mos !== null).at(-1)?.mos ?? null;
    figure("mos", mosText(mos), gradeMos(mos));
    const poor = calls.filter((call) => call.mos !== null && gradeMos(call.mos) === "poor").length;
    text(element("s-mos"), poor > 0 ? `${count(poor)} below 3.6` : mos === null ? "" : "of 4.5");
    const loss = mean(calls.flatMap((call) => [call.browserLoss, call.sipLoss])) ?? points.filter((point) => point.loss !== null).at(-1)?.loss ?? null;
    figure("loss", percent(loss), gradeLoss(loss));
    const lossy = calls.filter((call) => Math.max(call.browserLoss ?? 0, call.sipLoss ?? 0) >= 5).length;
    text(element("s-loss"), lossy > 0 ? `${count(lossy)} ${lossy === 1 ? "call" : "calls"} over 5 %` : "");
  }
}

function figure(name: string, value: string, grade: Grade): void {
  const target = element(`n-${name}`);
  text(target, value);
  attribute(target, "data-grade", grade === "good" || grade === "none" ? null : grade);
}

function serverRow() {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  const name = h("span", { class: "name" });
  const told = h("span", { class: "told" });
  const node = h("li", {}, dot, name, told);
  const update = (server: Server) => {
    const words = serverWords(server);
    attribute(node, "data-grade", words.grade);
    node.classList.toggle("current", server.current);
    text(name, words.name);
    text(told, words.told);
    attribute(node, "title", words.title);
    attribute(node, "aria-label", words.label);
  };
  return { node, update };
}

/** Whether it is bad news. */
export function historyTone(kind: string, said: string): "bad" | "good" | "plain" {
  if (kind === "alert" || kind === "sign_in_refused") return "bad";
  if (kind === "alert_over") return "good";
  if (kind === "sign_in") return "good";
  return /\b(is down|not registered|refused|failed|failing|no rtp)\b/i.test(said) ? "bad" : "plain";
}

export function historyRow() {
  const time = h("time");
  const dn = h("b");
  const words = h("span");
  const said = h("a", { class: "said whole" }, dn, words);
  const node = h("li", {}, time, h("span", { class: "dot", "aria-hidden": "true" }), said);
  const update = (item: HistoryItem) => {
    text(time, timeOfDay(item.at));
    attribute(node, "data-tone", historyTone(item.kind, item.text));
    const named = item.dn !== "" && !item.text.includes(item.dn);
    text(dn, named ? `${item.dn} ` : "");
    text(words, item.text);
    attribute(said, "title", named ? `${item.dn} ${item.text}` : item.text);
    const place = item.call !== "" ? `#/calls/${encodeURIComponent(item.call)}` : item.dn !== "" ? `#/agents/${encodeURIComponent(item.dn)}` : null;
    attribute(said, "href", place);
  };
  return { node, update };
}

/** Always of one height, so that nothing moves when something goes wrong; as many alerts side by side as fit. */
class AlertBar {
  readonly #list = element("alerts");
  readonly #room: number;
  #shown = "";
  #since: { node: HTMLElement; at: number }[] = [];

  constructor(wall: boolean) {
    this.#room = wall ? 3 : 2;
    addEventListener("resize", () => this.#fit());
  }

  #alerts: readonly Alert[] = [];

  #fit(): void {
    this.#shown = "";
    this.show(this.#alerts);
  }

  show(alerts: readonly Alert[]): void {
    this.#alerts = alerts;
    const wanted = JSON.stringify(alerts);
    if (wanted === this.#shown) return;
    const told = alerts.length === 0 ? "" : `${alerts.length} ${alerts.length === 1 ? "alert" : "alerts"}: ${alerts.map((alert) => alert.text).join("; ")}`;
    if (this.#shown !== "") text(element("alerts-told"), told);
    this.#shown = wanted;
    this.#since = [];
    attribute(document.body, "data-alerts", alerts.length > 0 ? String(alerts.length) : null);
    if (alerts.length === 0) {
      this.#list.replaceChildren(h("li", { class: "calm" }, h("span", { class: "dot", "aria-hidden": "true" }), "No alerts"));
      return;
    }
    const room = innerWidth < 900 ? 1 : this.#room;
    const shown = alerts.slice(0, room);
    const rest = alerts.slice(room);
    const rows = shown.map((alert) => this.#row(alert));
    if (rest.length > 0) {
      const all = h("ul", {}, ...rest.map((alert) => this.#row(alert)));
      rows.push(h("li", { class: "more" }, h("details", {}, h("summary", {}, `${rest.length} more`), all)));
    }
    this.#list.replaceChildren(...rows);
    this.tick(Date.now());
  }

  #row(alert: Alert): HTMLElement {
    const since = h("span", { class: "since" });
    if (alert.since !== null) this.#since.push({ node: since, at: alert.since });
    const place = alert.call !== "" ? `#/calls/${encodeURIComponent(alert.call)}` : alert.dn !== "" ? `#/agents/${encodeURIComponent(alert.dn)}` : null;
    const words = h("span", { class: "words", title: alert.text }, alert.text);
    return h("li", { class: alert.critical ? "alert" : "alert warning" }, h("b", {}, alertWord(alert.kind)),
      place === null ? words : h("a", { href: place, class: "words", title: alert.text }, alert.text), since);
  }

  tick(now: number): void {
    for (const { node, at } of this.#since) text(node, ago(now - at));
  }
}

function traces(all: readonly Traced[]): void {
  const links = all.flatMap(({ dn, until }, at) =>
    [at > 0 ? ", " : "", h("a", { href: `#/agents/${encodeURIComponent(dn)}`, title: `until ${timeOfDay(until)}` }, dn)]);
  element("traced").hidden = all.length === 0;
  element("traced").replaceChildren("SIP trace of ", ...links);
}

const TOTALS = ["calls_started", "calls_answered", "calls_failed", "sign_ins", "sign_ins_refused"] as const;

function totals(all: Readonly<Record<string, unknown>>, version: string): void {
  const row = (name: string, value: string) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const number = (name: string) => typeof all[name] === "number" ? all[name] : null;
  const rows: HTMLElement[] = [];
  for (const name of TOTALS) {
    const value = number(name);
    if (value !== null) rows.push(row(totalWord(name, value), count(value)));
  }
  const [free, ports] = [number("free_ports"), number("ports")];
  if (free !== null && ports !== null) rows.push(row("pairs of RTP ports free", `${count(free)} of ${count(ports)}`));
  const started = moment(all["started"]);
  const named = (name: string, value: string) => h("div", { class: "named" }, h("dt", {}, name), h("dd", {}, value));
  if (started !== null) rows.push(named("since", dateTime(started)));
  if (version !== "") rows.push(named("version", version));
  if (all["draining"] === true) rows.push(h("div", { class: "draining" }, h("dt", {}, "new sign-ins are refused"), h("dd", {}, "Draining:")));
  element("totals").replaceChildren(...rows);
}
