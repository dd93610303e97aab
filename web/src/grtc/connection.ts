import { CONNECTION_ERROR, GrtcError, messageOf } from "./errors";
import { IceServers } from "./ice_servers";
import { log } from "./logger";

/** A failed poll or POST is tried again after this time. */
const RETRY_MS = 3_000;
/** A poll whose connection breaks is tried again so soon the first time, give or take a quarter: a restart takes a second. */
const BROKEN_RETRY_MS = 1_000;
/** A minute of tries: what the gateway has not taken by then, nobody waits for any more. */
const MAX_TRIES = 20;
/** A gateway waits for its SIP server for up to 32 s (RFC 3261, timer F) before it answers. */
const SIGN_IN_MS = 35_000;
/** A poll that hangs for so long after one that failed is one that the gateway holds. */
const RECOVERED_MS = 4_000;

/** Refused or failed sign-in; `status` is 0 when no gateway could be reached. */
export class SignInFailure extends GrtcError {
  readonly status: number;
  /** When the gateway wants to be asked again, in ms; 0 where it does not say. */
  readonly retryAfter: number;
  constructor(status: number, message: string, retryAfter = 0) {
    super(CONNECTION_ERROR, message);
    this.status = status;
    this.retryAfter = retryAfter;
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
  /** Whom the caller had dialled before the call was diverted to us, where the gateway tells. */
  divertedFrom: string;
  /** The contact centre's id of the call, where the gateway tells. */
  callUuid: string;
}

export interface ConnectionEvents {
  onDelivery(delivery: Delivery): void;
  /** The hanging GET failed; it is tried again. */
  onPollFailed(status: number): void;
  /** After {@link onPollFailed}: the gateway answers, or holds our GET as it should. */
  onRecovered(): void;
  /** The gateway knows no such session: there is nothing to poll for any more. */
  onGone(status: number, text: string): void;
  /** The gateway ended the session with a 2xx other than 200. */
  onEnded(): void;
  /** We call when the gateway tells us to: so we tell it. */
  dials(): boolean;
}

/** Ends a {@link pause} before its time. */
export type Wake = () => void;

export function pause(ms: number, onWake: (wake: Wake | null) => void): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      onWake(null);
      resolve();
    };
    const timer = setTimeout(end, ms);
    onWake(end);
  });
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

export interface SignedIn {
  ssid: string;
  /** Which of the gateways it was. */
  index: number;
}

/** Tries the gateways in order from `first` on; one that answers with anything but a 5xx has the last word. */
export async function signIn(
  gateways: readonly string[],
  first: number,
  publicId: string,
  password: string | null,
  signal: AbortSignal,
): Promise<SignedIn> {
  let failure = new SignInFailure(0, "no gateway could be reached");
  for (let tried = 0; tried < gateways.length; tried += 1) {
    const index = (first + tried) % gateways.length;
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    // A gateway that swallows packets must not keep us from the next one; the last one may take its time.
    const timer = tried + 1 < gateways.length ? setTimeout(abort, SIGN_IN_MS) : undefined;
    let response: Response;
    let text: string;
    try {
      // The body is no form: what stands behind the first colon is the password, unescaped.
      response = await (password === null
        ? fetch(`${gateways[index]}/sign_in?${encodeURIComponent(publicId)}`, { credentials: "include", cache: "no-store", signal: attempt.signal })
        : fetch(`${gateways[index]}/sign_in`, {
            method: "POST",
            credentials: "include",
            cache: "no-store",
            headers: { "Content-Type": "application/x-www-form-urlencoded" },
            body: `${publicId}:${password}`,
            signal: attempt.signal,
          }));
      text = await response.text();
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      failure = new SignInFailure(0, `the gateway could not be reached: ${messageOf(thrown)}`);
      continue;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
    if (response.ok) {
      const ssid = text.split("\n", 1)[0]?.trim().split("=")[1];
      if (ssid) return { ssid, index };
      failure = new SignInFailure(response.status, "the gateway's answer to the sign-in has no session in it");
      continue;
    }
    const seconds = Number(response.headers.get("Retry-After") ?? 0);
    const retryAfter = Number.isFinite(seconds) ? seconds * 1_000 : 0;
    failure = new SignInFailure(response.status, text.trim() || `the gateway answered ${response.status}`, retryAfter);
    if (response.status < 500) break;
  }
  throw failure;
}

/** A signed-in session: the hanging GET and the messages that go out. */
export class Connection {
  /** What this gateway tells of STUN and TURN servers. */
  readonly iceServers: IceServers;
  readonly #gateway: string;
  readonly #ssid: string;
  readonly #pollingTimeout: number;
  readonly #events: ConnectionEvents;
  readonly #queue: Outgoing[] = [];
  #sending = false;
  #current: Outgoing | null = null;
  #closed = false;
  #hanging: AbortController | null = null;
  #hangingSince = 0;
  #wakeSender: Wake | null = null;
  #wakePoll: Wake | null = null;

  constructor(gateway: string, ssid: string, pollingTimeout: number, events: ConnectionEvents) {
    this.#gateway = gateway;
    this.#ssid = ssid;
    this.#pollingTimeout = pollingTimeout;
    this.#events = events;
    this.iceServers = new IceServers(`${gateway}/api/ice?id=${ssid}`);
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
    if (this.#current && !this.#current.wanted()) this.#wakeSender?.();
    if (!this.#sending) void this.#drain();
  }

  /** Signs out. The gateway releases the call. Resolves when it has answered or cannot be reached. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#stop();
    try {
      // keepalive: the request outlives a page that is being left.
      await fetch(`${this.#gateway}/sign_out?id=${this.#ssid}`, { credentials: "include", cache: "no-store", keepalive: true });
    } catch (thrown) {
      log.warn(`sign-out did not reach the gateway: ${messageOf(thrown)}`);
    }
  }

  #stop(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#hanging?.abort();
    this.#wakeSender?.();
    this.#wakePoll?.();
  }

  /** The page is going away, and nobody waits for the answer. */
  signOutInPassing(): void {
    const url = `${this.#gateway}/sign_out?id=${this.#ssid}`;
    if ("keepalive" in Request.prototype) {
      void fetch(url, { credentials: "include", cache: "no-store", keepalive: true }).catch(() => undefined);
    } else {
      navigator.sendBeacon(url);
    }
  }

  /** Tries at once what waits for its next try; a GET that has hung for too long is asked anew. */
  wake(): void {
    this.#wakePoll?.();
    this.#wakeSender?.();
    const overdue = this.#pollingTimeout > 0 && performance.now() - this.#hangingSince > this.#pollingTimeout;
    if (overdue) this.#hanging?.abort();
  }

  async #poll(): Promise<void> {
    let failed = false;
    let failuresInARow = 0;
    const recovered = () => {
      if (failed && !this.#closed) this.#events.onRecovered();
      failed = false;
      failuresInARow = 0;
    };
    while (!this.#closed) {
      const hanging = new AbortController();
      let broken = false;
      this.#hanging = hanging;
      this.#hangingSince = performance.now();
      const timer = this.#pollingTimeout > 0 ? setTimeout(() => hanging.abort(), this.#pollingTimeout) : undefined;
      const settled = failed ? setTimeout(recovered, RECOVERED_MS) : undefined;
      try {
        const response = await fetch(`${this.#gateway}/wait?id=${this.#ssid}${this.#events.dials() ? "&dial=1" : ""}`, {
          credentials: "include",
          cache: "no-store",
          signal: hanging.signal,
        });
        // From here on a message may be on its way: giving up now would lose it.
        clearTimeout(timer);
        this.#hanging = null;
        const body = await response.text();
        if (this.#closed) return;
        if (response.status === 200) {
          recovered();
          if (body !== "") {
            this.#events.onDelivery({
              body,
              peer: response.headers.get("Pragma") ?? "",
              reason: response.headers.get("X-Wrtc-Reason") ?? "",
              peerName: response.headers.get("X-Wrtc-Peer-Name") ?? "",
              divertedFrom: response.headers.get("X-Wrtc-Diversion") ?? "",
              callUuid: response.headers.get("X-Genesys-CallUUID") ?? "",
            });
          }
          continue;
        }
        if (response.ok) {
          this.#events.onEnded();
          return;
        }
        if (response.status === 404 || response.status === 410) {
          this.#stop();
          this.#events.onGone(response.status, body.trim());
          return;
        }
        failed = true;
        this.#events.onPollFailed(response.status);
      } catch (thrown) {
        if (this.#closed) return;
        if (hanging.signal.aborted) continue;
        log.warn(`the hanging GET broke: ${messageOf(thrown)}`);
        broken = true;
        failed = true;
        this.#events.onPollFailed(0);
      } finally {
        clearTimeout(timer);
        clearTimeout(settled);
      }
      const wait = broken && failuresInARow === 0 ? BROKEN_RETRY_MS * (0.75 + Math.random() / 2) : RETRY_MS;
      failuresInARow += 1;
      if (!this.#closed) await pause(wait, (wake) => { this.#wakePoll = wake; });
    }
  }

  async #drain(): Promise<void> {
    this.#sending = true;
    for (let next = this.#queue.shift(); next && !this.#closed; next = this.#queue.shift()) {
      this.#current = next;
      await this.#deliver(next);
    }
    this.#current = null;
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
      if (!this.#closed && message.wanted()) await pause(RETRY_MS, (wake) => { this.#wakeSender = wake; });
    }
  }
}
