// STUN and TURN servers that the gateway hands out, with credentials that last for a while.

import { log } from "./logger";
import { messageOf } from "./errors";

/** A call waits no longer for them: they are for the few whose network lets no UDP out. */
const LIMIT_MS = 2_000;
/** A gateway that has none, or does not know the question, is not asked again at each call. */
const AGAIN_MS = 60_000;

interface Known {
  servers: readonly RTCIceServer[];
  at: number;
  /** How long they are good for. */
  ms: number;
}

/** Of one session with a gateway. */
export class IceServers {
  readonly #url: string;
  #known: Known | null = null;
  #asking: Promise<void> | null = null;

  constructor(url: string) {
    this.#url = url;
  }

  /** Asks ahead of the first call. */
  prepare(): void {
    void this.#ask();
  }

  /** Empty where there are none. Credentials are renewed at half their time, and waited for when that is over. */
  async get(): Promise<readonly RTCIceServer[]> {
    const known = this.#known;
    const age = known ? performance.now() - known.at : 0;
    if (!known || age > known.ms) await this.#ask();
    else if (age > known.ms / 2) this.prepare();
    return this.#known?.servers ?? [];
  }

  #ask(): Promise<void> {
    this.#asking ??= this.#fetch().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  async #fetch(): Promise<void> {
    const at = performance.now();
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), LIMIT_MS);
    try {
      const response = await fetch(this.#url, { credentials: "include", cache: "no-store", signal: giveUp.signal });
      if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
      const { iceServers, ttl } = await response.json() as { iceServers: RTCIceServer[]; ttl: number };
      const servers = iceServers.map(({ urls, username, credential }): RTCIceServer => (
        username === undefined || credential === undefined ? { urls } : { urls, username, credential }
      ));
      this.#known = { servers, at, ms: ttl > 0 ? ttl * 1000 : Infinity };
    } catch (thrown) {
      log.debug(`no ICE servers from the gateway: ${messageOf(thrown)}`);
      this.#known = { servers: [], at, ms: AGAIN_MS };
    } finally {
      clearTimeout(timer);
    }
  }
}
