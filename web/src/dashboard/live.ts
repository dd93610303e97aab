// The gateway's state as it streams in: one connection, kept up, and what it last said.

import { Refused, type Api } from "./api";
import {
  listOf, raw, readAgent, readAlert, readHistory, readLiveCall, readServer, readTraced,
  type Agent, type Alert, type HistoryItem, type LiveCall, type Server, type Traced,
} from "./model";
import { EventParser, type ServerEvent } from "./sse";

export interface State {
  agents: Agent[];
  servers: Server[];
  calls: LiveCall[];
  alerts: Alert[];
  /** By DN, whoever has switched it on. */
  traces: Traced[];
  totals: Record<string, unknown>;
  /** The newest first. */
  history: HistoryItem[];
  /** Whether this operator may hang up, sign out and trace. */
  mayAct: boolean;
  version: string;
}

export type Part = "agents" | "servers" | "calls" | "alerts" | "traces" | "totals" | "history";
export const PARTS: readonly Part[] = ["agents", "servers", "calls", "alerts", "traces", "totals", "history"];

/** As many as somebody scrolls through; the rest is in the store. */
const MAX_HISTORY = 300;

export function emptyState(): State {
  return { agents: [], servers: [], calls: [], alerts: [], traces: [], totals: {}, history: [], mayAct: false, version: "" };
}

/** Takes one event in and names what it changed. Events of other names are for newer pages. */
export function apply(state: State, { event, data }: ServerEvent): Part[] {
  const value: unknown = JSON.parse(data);
  const said = raw(value);
  switch (event) {
    case "snapshot":
      state.agents = listOf(said["agents"], readAgent);
      state.servers = listOf(said["servers"], readServer);
      state.calls = listOf(said["calls"], readLiveCall);
      state.alerts = listOf(said["alerts"], readAlert);
      state.traces = listOf(said["traces"], readTraced);
      state.totals = raw(said["totals"]);
      state.history = listOf(said["history"], readHistory).sort((a, b) => b.id - a.id).slice(0, MAX_HISTORY);
      state.version = typeof said["version"] === "string" ? said["version"] : "";
      return [...PARTS];
    case "agents":
      state.agents = listOf(value, readAgent);
      return ["agents"];
    case "agent":
      state.agents = merged(state.agents, listOf(said["changed"], readAgent), listOf(said["gone"], readAgent), agentKey);
      return ["agents"];
    case "servers":
      state.servers = listOf(value, readServer);
      return ["servers"];
    case "calls":
      state.calls = listOf(value, readLiveCall);
      return ["calls"];
    case "call": {
      const gone = Array.isArray(said["gone"]) ? said["gone"].map((id) => ({ id: String(id) })) : [];
      state.calls = merged(state.calls, listOf(said["changed"], readLiveCall), gone, ({ id }) => id);
      return ["calls"];
    }
    case "alerts":
      state.alerts = listOf(value, readAlert);
      return ["alerts"];
    case "traces":
      state.traces = listOf(value, readTraced);
      return ["traces"];
    case "totals":
      state.totals = said;
      return ["totals"];
    case "history": {
      const item = readHistory(said);
      if (state.history.some(({ id }) => id === item.id)) return [];
      state.history = [item, ...state.history].slice(0, MAX_HISTORY);
      return ["history"];
    }
    default:
      return [];
  }
}

export function agentKey({ dn, guest }: Pick<Agent, "dn" | "guest">): string {
  return `${guest ? "guest " : ""}${dn}`;
}

/** What has changed takes the place of what was there, or comes last; what is gone goes. */
function merged<T extends K, K>(old: readonly T[], changed: readonly T[], gone: readonly K[], keyOf: (item: K) => string): T[] {
  const all = new Map(old.map((item) => [keyOf(item), item]));
  for (const item of gone) all.delete(keyOf(item));
  for (const item of changed) all.set(keyOf(item), item);
  return [...all.values()];
}

/** `connecting` until the first snapshot; `stale` when what is shown is no longer told anew. */
export type Link = "connecting" | "live" | "stale" | "locked";

export interface Listener {
  onParts(parts: Part[]): void;
  onLink(link: Link, why: string): void;
}

/** What the token may, in the answer's headers; the same stream is sent to all. */
const ROLE = "Operator-Role";

/** The gateway says something at least this often (a comment, if nothing else), with a good margin. */
const SILENCE_MS = 40_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export class Live {
  readonly state = emptyState();
  link: Link = "connecting";
  /** When something was last heard, on the page's clock. */
  heardAt: number | null = null;
  /** When the next try begins; `null` while one is under way. */
  retryAt: number | null = null;
  #pause = FIRST_PAUSE_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #abort: AbortController | null = null;

  constructor(private readonly api: Api, private readonly listener: Listener) {}

  /** Connects now, whatever was planned. */
  start(): void {
    this.stop();
    this.#pause = FIRST_PAUSE_MS;
    void this.#run();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.retryAt = null;
  }

  async #run(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.retryAt = null;
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    let why = "the gateway closed the connection";
    let pause: number | null = null;
    try {
      heard();
      const response = await this.api.fetch("/api/events", { headers: { Accept: "text/event-stream" }, signal: abort.signal });
      this.state.mayAct = response.headers.get(ROLE) === "act";
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        heard();
        this.heardAt = Date.now();
        for (const event of parser.push(value)) this.#take(event);
      }
    } catch (fault) {
      if (this.#abort !== abort) return;
      if (fault instanceof Refused) {
        why = fault.message;
        if (fault.status === 401 || fault.status === 403) {
          this.#become("locked", why);
          return;
        }
        pause = fault.retryAfter === null ? null : fault.retryAfter * 1000;
      } else {
        why = abort.signal.aborted ? "nothing was heard of the gateway" : "the gateway cannot be reached";
      }
    } finally {
      clearTimeout(watchdog);
    }
    if (this.#abort !== abort) return;
    // Many dashboards must not come back in the same instant.
    pause ??= this.#pause * (0.75 + 0.5 * Math.random());
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS);
    this.retryAt = Date.now() + pause;
    this.#timer = setTimeout(() => void this.#run(), pause);
    this.#become(this.heardAt === null ? "connecting" : "stale", why);
  }

  #take(event: ServerEvent): void {
    const parts = apply(this.state, event);
    if (event.event === "snapshot") {
      this.#pause = FIRST_PAUSE_MS;
      this.#become("live", "");
    }
    if (parts.length > 0) this.listener.onParts(parts);
  }

  #become(link: Link, why: string): void {
    this.link = link;
    this.listener.onLink(link, why);
  }
}
