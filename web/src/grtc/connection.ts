import { CONNECTION_ERROR, GrtcError, messageOf } from "./errors";
import { log } from "./logger";

/** A failed poll or POST is tried again after this time. */
const RETRY_MS = 3_000;
/** A minute of tries: what the gateway has not taken by then, nobody waits for any more. */
const MAX_TRIES = 20;

/** Refused or failed sign-in; `status` is 0 when no gateway could be reached. */
export class SignInFailure extends GrtcError {
  readonly status: number;
  constructor(status: number, message: string) {
    super(CONNECTION_ERROR, message);
    this.status = status;
  }
}

/** One message from `/wait`. */
export interface Delivery {
  body: string;
  /** The other party, from the `Pragma` header. */
  peer: string;
  /** `486 Busy Here` and the like beside a BYE, where the gateway tells. */
  reason: string;
  /** The caller's display name, where the gateway tells. */
  peerName: string;
}

export interface ConnectionEvents {
  onDelivery(delivery: Delivery): void;
  /** The hanging GET failed; it is tried again after 3 s. */
  onPollFailed(status: number): void;
  /** The gateway ended the session with a 2xx other than 200. */
  onEnded(): void;
}

/** How a message fares. */
export interface Fate {
  /** False once nobody needs it any more: it is not sent (again) then. */
  wanted(): boolean;
  /** The gateway refused it for good. */
  refused(status: number, message: string): void;
}

interface Outgoing extends Fate {
  peer: string;
  body: string;
}

const UNCONDITIONAL: Fate = {
  wanted: () => true,
  refused: (status, message) => log.warn(`the gateway refused a message with ${status}: ${message}`),
};

/** Tries the gateways in order; one that answers with anything but a 5xx has the last word. */
export async function signIn(
  gateways: readonly string[],
  publicId: string,
  password: string | null,
  pollingTimeout: number,
  events: ConnectionEvents,
  signal: AbortSignal,
): Promise<Connection> {
  let failure = new SignInFailure(0, "no gateway could be reached");
  for (const gateway of gateways) {
    let response: Response;
    let text: string;
    try {
      // The body is no form: what stands behind the first colon is the password, unescaped.
      response = await (password === null
        ? fetch(`${gateway}/sign_in?${encodeURIComponent(publicId)}`, { credentials: "include", cache: "no-store", signal })
        : fetch(`${gateway}/sign_in`, {
            method: "POST",
            credentials: "include",
            cache: "no-store",
            headers: { "Content-Type": "application/x-www-form-urlencoded" },
            body: `${publicId}:${password}`,
            signal,
          }));
      text = await response.text();
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      failure = new SignInFailure(0, `the gateway could not be reached: ${messageOf(thrown)}`);
      continue;
    }
    if (response.ok) {
      const ssid = text.split("\n", 1)[0]?.trim().split("=")[1];
      if (ssid) return new Connection(gateway, ssid, pollingTimeout, events);
      failure = new SignInFailure(response.status, "the gateway's answer to the sign-in has no session in it");
      continue;
    }
    failure = new SignInFailure(response.status, text.trim() || `the gateway answered ${response.status}`);
    if (response.status < 500) break;
  }
  throw failure;
}

/** A signed-in session: the hanging GET and the messages that go out. */
export class Connection {
  readonly #gateway: string;
  readonly #ssid: string;
  readonly #pollingTimeout: number;
  readonly #events: ConnectionEvents;
  readonly #queue: Outgoing[] = [];
  #sending = false;
  #closed = false;
  #hanging: AbortController | null = null;
  #wakeSender: (() => void) | null = null;

  constructor(gateway: string, ssid: string, pollingTimeout: number, events: ConnectionEvents) {
    this.#gateway = gateway;
    this.#ssid = ssid;
    this.#pollingTimeout = pollingTimeout;
    this.#events = events;
  }

  /** Opens the hanging GET and keeps one open until {@link close}. */
  start(): void {
    void this.#poll();
  }

  /**
   * Queues a message; they go out one after the other. One that fails is sent again after 3 s with the
   * same body, as long as it is `wanted`.
   */
  send(peer: string, body: string, fate: Fate = UNCONDITIONAL): void {
    if (this.#closed) return;
    this.#queue.push({ ...fate, peer: peer === "" ? "null" : peer, body });
    // What stands in line before this one may not be wanted any more.
    this.#wakeSender?.();
    if (!this.#sending) void this.#drain();
  }

  /** Signs out. The gateway releases the call. Resolves when it has answered or cannot be reached. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.length = 0;
    this.#hanging?.abort();
    this.#wakeSender?.();
    try {
      // keepalive: the request outlives a page that is being left.
      await fetch(`${this.#gateway}/sign_out?id=${this.#ssid}`, { credentials: "include", cache: "no-store", keepalive: true });
    } catch (thrown) {
      log.warn(`sign-out did not reach the gateway: ${messageOf(thrown)}`);
    }
  }

  async #poll(): Promise<void> {
    while (!this.#closed) {
      const hanging = new AbortController();
      this.#hanging = hanging;
      let gaveUp = false;
      const timer = this.#pollingTimeout > 0
        ? setTimeout(() => { gaveUp = true; hanging.abort(); }, this.#pollingTimeout)
        : undefined;
      try {
        const response = await fetch(`${this.#gateway}/wait?id=${this.#ssid}`, {
          credentials: "include",
          cache: "no-store",
          signal: hanging.signal,
        });
        // From here on a message may be on its way: giving up now would lose it.
        clearTimeout(timer);
        const body = await response.text();
        if (this.#closed) return;
        if (response.status === 200) {
          if (body !== "") {
            this.#events.onDelivery({
              body,
              peer: response.headers.get("Pragma") ?? "",
              reason: response.headers.get("X-Wrtc-Reason") ?? "",
              peerName: response.headers.get("X-Wrtc-Peer-Name") ?? "",
            });
          }
          continue;
        }
        if (response.ok) {
          this.#events.onEnded();
          return;
        }
        this.#events.onPollFailed(response.status);
      } catch (thrown) {
        clearTimeout(timer);
        if (this.#closed) return;
        if (gaveUp) continue;
        log.warn(`the hanging GET broke: ${messageOf(thrown)}`);
        this.#events.onPollFailed(0);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async #drain(): Promise<void> {
    this.#sending = true;
    for (let next = this.#queue.shift(); next && !this.#closed; next = this.#queue.shift()) {
      await this.#deliver(next);
    }
    this.#sending = false;
  }

  async #deliver(message: Outgoing): Promise<void> {
    const url = `${this.#gateway}/message?from=${this.#ssid}&to=${encodeURIComponent(message.peer)}`;
    for (let tries = 0; tries < MAX_TRIES && !this.#closed && message.wanted(); tries += 1) {
      try {
        const response = await fetch(url, {
          method: "POST",
          credentials: "include",
          headers: { "Content-Type": "text/plain;charset=UTF-8" },
          body: message.body,
        });
        const text = await response.text();
        if (response.ok) return;
        // A 4xx says that this very message is at fault: it would be refused again.
        if (response.status < 500 && response.status !== 408 && response.status !== 429) {
          message.refused(response.status, text.trim());
          return;
        }
        log.warn(`the gateway answered ${response.status} to a message; it is sent again`);
      } catch (thrown) {
        log.warn(`a message did not reach the gateway, it is sent again: ${messageOf(thrown)}`);
      }
      await this.#pause(message);
    }
  }

  /** Until the next try, or until something newer has made this message unwanted. */
  #pause(message: Outgoing): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wakeSender = null;
        resolve();
      };
      const timer = setTimeout(end, RETRY_MS);
      this.#wakeSender = () => {
        if (this.#closed || !message.wanted()) end();
      };
    });
  }
}
