// When to restart ICE in a call whose path is lost.

import { log } from "./logger";

/** "disconnected" often mends itself within this time. */
const GRACE_MS = 2_000;
/** How long a restart may take before it is done again; twice as long after each. */
const FIRST_TRY_MS = 5_000;
const LONGEST_TRY_MS = 20_000;
/** Some two minutes. Nobody is there any more then. */
const MAX_TRIES = 8;

/** Watches the path of one call. `restart` looks whether there is still a need, and calls {@link IceKeeper.end} when not. */
export class IceKeeper {
  readonly #restart: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #tries = 0;

  constructor(restart: () => void) {
    this.#restart = restart;
  }

  handleState(state: RTCIceConnectionState): void {
    if (state === "connected" || state === "completed") {
      this.end();
      this.#tries = 0;
    } else if (this.#tries > 0) {
      // A restart that is under way has its own time.
    } else if (state === "failed") this.#in(0);
    else if (state === "disconnected" && this.#timer === undefined) this.#in(GRACE_MS);
  }

  /** Another network: the path that we have will not last. */
  handleNetwork(): void {
    this.#tries = 0;
    this.#in(0);
  }

  /** A restart was sent, whoever asked for it. */
  handleRestart(): void {
    this.#tries += 1;
    if (this.#tries < MAX_TRIES) this.#in(Math.min(FIRST_TRY_MS * 2 ** (this.#tries - 1), LONGEST_TRY_MS));
    else this.end();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #in(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // Candidates gathered now would be of no use; `online` brings us back here.
      if (navigator.onLine === false) return;
      log.info("restarting ICE");
      // Another offer may be on its way: then again a little later.
      this.#in(FIRST_TRY_MS);
      this.#restart();
    }, ms);
  }
}
