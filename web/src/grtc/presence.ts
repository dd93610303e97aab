// Being signed in, for as long as the application wants to be: what a gateway's restart or loss asks for.

import { Connection, pause, SignInFailure, signIn, type Delivery, type Wake } from "./connection";
import type { Settings } from "./config";
import { messageOf } from "./errors";
import { log } from "./logger";

/** The first sign-in after a loss waits for up to this long, each at its own time: a gateway that is back meets all its browsers at once. */
const SPREAD_MS = 1_000;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 30_000;
/** So many polls that fail in a row, seconds apart, and the next gateway of the list is tried. */
const POLLS_BEFORE_MOVING = 3;
/** A session that is lost so soon after it was signed in again was taken by somebody else, who would take it again. */
const FIGHT_MS = 30_000;

export interface PresenceEvents {
  onDelivery(delivery: Delivery): void;
  /** A poll, or a sign-in after a loss, failed; it is tried again. */
  onTrouble(status: number): void;
  /** The poll works again; nothing was lost. */
  onRecovered(gateway: string): void;
  /** The gateway has no session of ours any more, and no call either. Signing in again has begun. */
  onLost(): void;
  onRestored(gateway: string): void;
  /** Over: another sign-in has the DN, or the gateway does not take us back. `failure` is null in the first case. */
  onOver(failure: SignInFailure | null): void;
  /** The gateway ended the session in an orderly way. */
  onEnded(): void;
  /** The application calls when the gateway tells it to. */
  dials(): boolean;
  /** Media still flow through this gateway: it is not left for another one then. */
  mediaFlow(): boolean;
}

/** One wish to be signed in, over all the connections that it takes. */
export class Presence {
  readonly #settings: Settings;
  readonly #publicId: string;
  readonly #password: string | null;
  readonly #events: PresenceEvents;
  readonly #abort = new AbortController();
  #connection: Connection | null = null;
  #at = 0;
  #failures = 0;
  #restoredAt = -Infinity;
  #retry: Wake | null = null;

  constructor(settings: Settings, publicId: string, password: string | null, events: PresenceEvents) {
    this.#settings = settings;
    this.#publicId = publicId;
    this.#password = password;
    this.#events = events;
  }

  /** `null` while we are not signed in. */
  get connection(): Connection | null {
    return this.#connection;
  }

  get over(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Signs in. Throws a {@link SignInFailure}; whoever calls looks at {@link over} first. */
  async open(): Promise<void> {
    const { gateways, pollingTimeout } = this.#settings;
    const { ssid, index } = await signIn(gateways, this.#at, this.#publicId, this.#password, this.#abort.signal);
    this.#at = index;
    const connection = new Connection(gateways[index]!, ssid, pollingTimeout, {
      onDelivery: (delivery) => this.#events.onDelivery(delivery),
      onPollFailed: (status) => this.#pollFailed(status),
      onRecovered: () => {
        this.#failures = 0;
        this.#events.onRecovered(this.#settings.gateways[this.#at]!);
      },
      onGone: (status, text) => this.#gone(status, text),
      onEnded: () => this.#events.onEnded(),
      dials: () => this.#events.dials(),
    });
    if (this.over) {
      // close() came while the answer was on its way: do not leave the session behind.
      void connection.close();
      return;
    }
    this.#connection = connection;
    if (this.#settings.iceServers.length === 0) connection.iceServers.prepare();
    this.#failures = 0;
  }

  /** Begins to poll. Apart from {@link open}, so that the application hears of the sign-in before of a call. */
  start(): void {
    this.#connection?.start();
  }

  /** Signs out and gives up what is under way. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#retry?.();
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close();
  }

  /** The page is being left. */
  leave(): void {
    this.#connection?.signOutInPassing();
  }

  /** The network is back, or the page is: what waits for its next try need not wait any longer. */
  wake(): void {
    this.#retry?.();
    this.#connection?.wake();
  }

  #pollFailed(status: number): void {
    this.#failures += 1;
    this.#events.onTrouble(status);
    if (this.over || this.#failures < POLLS_BEFORE_MOVING || this.#settings.gateways.length < 2 || this.#events.mediaFlow()) return;
    log.warn("the gateway does not come back: on to the next one");
    this.#at = (this.#at + 1) % this.#settings.gateways.length;
    void this.#restore();
  }

  #gone(status: number, text: string): void {
    this.#events.onTrouble(status);
    if (this.over) return;
    // A gateway that drains, perhaps the second one in a row, wants us elsewhere and not gone.
    const moved = /stopping/i.test(text);
    const fight = !moved && this.#failures === 0 && performance.now() - this.#restoredAt < FIGHT_MS;
    const taken = status === 410 || /another sign-in|replaced/i.test(text) || fight;
    if (taken) this.#finish(null);
    else void this.#restore();
  }

  #finish(failure: SignInFailure | null): void {
    void this.close();
    this.#events.onOver(failure);
  }

  async #restore(): Promise<void> {
    void this.#connection?.close();
    this.#connection = null;
    this.#events.onLost();
    let wait = Math.random() * SPREAD_MS;
    let next = FIRST_RETRY_MS;
    while (!this.over) {
      await pause(wait, (wake) => { this.#retry = wake; });
      if (this.over) return;
      try {
        await this.open();
        if (this.over) return;
        this.#restoredAt = performance.now();
        this.#events.onRestored(this.#settings.gateways[this.#at]!);
        this.start();
        return;
      } catch (thrown) {
        if (this.over) return;
        const failure = thrown instanceof SignInFailure ? thrown : new SignInFailure(0, messageOf(thrown));
        log.warn(`signing in again failed: ${failure.message}`);
        if (failure.status >= 400 && failure.status < 500 && failure.status !== 408 && failure.status !== 429) {
          this.#finish(failure);
          return;
        }
        this.#events.onTrouble(failure.status);
        // One that says when is asked then, and as soon again: it waits for calls to end, or for its restart.
        wait = Math.min(failure.retryAfter || next, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
        if (failure.retryAfter === 0) next = Math.min(next * 2, LONGEST_RETRY_MS);
      }
    }
  }
}
