// WWE's Service Client API, spoken from a frame or tab inside WWE. The phone works without it.

import type { Host } from "./host";

/** Services and events by the names that WWE has for them. */
const ALLOWED_SERVICES = "system.getAllowedServices";
const TOAST = "system.popupToast";
const AGENT = "agent.get";
const EVENTS = ["agent", "media", "interaction", "system"] as const;
const ANSWER_MS = 5_000;

export interface WweEvents {
  /** What WWE calls the agent's state, `""` when it does not tell. */
  onAgentState(state: string): void;
  onMuted(muted: boolean): void;
}

/** One WWE around us. */
export class Wwe {
  readonly #host: Host;
  readonly #origin: string;
  readonly #events: WweEvents;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(fault: Error): void }>();
  #reference = 0;
  #allowed: ReadonlySet<string> | null = null;

  constructor(host: Host, origin: string, events: WweEvents) {
    this.#host = host;
    this.#origin = origin;
    this.#events = events;
  }

  /** False when the page around us is no WWE, or does not speak with us. */
  async connect(): Promise<boolean> {
    try {
      const services = await this.#request(ALLOWED_SERVICES, {});
      const list = Array.isArray(services) ? services : (services as { services?: unknown } | null)?.services;
      this.#allowed = new Set((Array.isArray(list) ? list : []).map((item) => String((item as { name?: unknown } | null)?.name ?? item)));
    } catch {
      return false;
    }
    for (const event of EVENTS) this.#host.postMessage({ event, data: "subscribe" }, this.#origin);
    if (this.#may(AGENT)) void this.#request(AGENT, {}).then((agent) => this.#agent(agent), () => undefined);
    return true;
  }

  /** Shows a toast in WWE, where it lets us. */
  toast(title: string, text: string): void {
    if (this.#may(TOAST)) void this.#request(TOAST, { titleParameters: [title], messageParameters: [text], title, message: text }).catch(() => undefined);
  }

  /** A `message` event of the window and origin that we were made for. */
  handle(data: unknown): void {
    if (typeof data !== "object" || data === null) return;
    const { referenceId, errorMessage, event } = data as Record<string, unknown>;
    const waiting = typeof referenceId === "number" ? this.#waiting.get(referenceId) : undefined;
    if (waiting) {
      this.#waiting.delete(referenceId as number);
      if (errorMessage === undefined) waiting.resolve((data as Record<string, unknown>)["data"] ?? (data as Record<string, unknown>)["result"] ?? null);
      else waiting.reject(new Error(String(errorMessage)));
      return;
    }
    const payload = (data as Record<string, unknown>)["data"];
    if (event === "agent") this.#agent(payload);
    if (event === "media" || event === "interaction") {
      const muted = mutedIn(payload);
      if (muted !== null) this.#events.onMuted(muted);
    }
  }

  #may(service: string): boolean {
    return this.#allowed?.has(service) ?? false;
  }

  #request(request: string, parameters: object): Promise<unknown> {
    const referenceId = (this.#reference += 1);
    return new Promise((resolve, reject) => {
      this.#waiting.set(referenceId, { resolve, reject });
      setTimeout(() => {
        if (this.#waiting.delete(referenceId)) reject(new Error("no answer"));
      }, ANSWER_MS);
      this.#host.postMessage({ request, parameters, referenceId, userAgent: "WWE Client", protocolVersion: 2 }, this.#origin);
    });
  }

  #agent(payload: unknown): void {
    const agent = payload as { agentState?: unknown; state?: unknown } | null;
    const state = agent?.agentState ?? agent?.state;
    const name = typeof state === "string" ? state : (state as { displayName?: unknown; name?: unknown } | null | undefined)?.displayName
      ?? (state as { name?: unknown } | null | undefined)?.name;
    this.#events.onAgentState(typeof name === "string" ? name : "");
  }
}

/** A mute that WWE tells of, at the top or one level down. */
function mutedIn(payload: unknown): boolean | null {
  if (typeof payload !== "object" || payload === null) return null;
  for (const place of [payload, ...Object.values(payload as object)] as unknown[]) {
    if (typeof place !== "object" || place === null) continue;
    const { isMuted, muted } = place as Record<string, unknown>;
    if (typeof isMuted === "boolean") return isMuted;
    if (typeof muted === "boolean") return muted;
  }
  return null;
}

/** Origin of the page around us, `null` where the browser does not tell. */
export function originAround(): string | null {
  if (window.parent === window) return null;
  const told = (location as { ancestorOrigins?: DOMStringList }).ancestorOrigins?.[0];
  if (told !== undefined) return told;
  try {
    return new URL(document.referrer).origin;
  } catch {
    return null;
  }
}
