// The postMessage API for the page around the gadget (its frame's parent, or the page that opened its window).

import type { AgentPhone, Model } from "./agent_phone";
import type { OriginCheck } from "./origins";

/** Marks our messages: a page may get others as well. */
const NAME = "wrtc-gadget";

/** As much of `Window` as a host is. */
export interface Host {
  postMessage(message: unknown, targetOrigin: string): void;
}

interface Command {
  to: typeof NAME;
  id?: unknown;
  action: string;
  number?: unknown;
  digits?: unknown;
  data?: unknown;
  dn?: unknown;
  password?: unknown;
  token?: unknown;
  volume?: unknown;
}

export type Drives = Pick<AgentPhone, "model" | "call" | "answer" | "reject" | "hangUp" | "setMuted" | "setHeld" | "sendKeys" | "data" | "callUuid" | "signIn" | "signOut">;

export interface HostOptions {
  phone: Drives;
  allowed: OriginCheck;
  setVolume(volume: number): void;
}

/** What a host gets to see. */
export function stateOf(model: Readonly<Model>) {
  const { phase, dn, online, party, name, divertedFrom, outgoing, muted, held, heldByFarEnd, quality, notice, talkingSince } = model;
  const seconds = talkingSince === null ? null : Math.floor((performance.now() - talkingSince) / 1000);
  return {
    phase, dn, online, party, name, divertedFrom, outgoing, muted, held, heldByFarEnd, seconds, quality: quality.quality, notice: notice?.text ?? null,
  };
}

export class HostLink {
  readonly #options: HostOptions;
  readonly #subscribers = new Map<Host, string>();
  #last = "";
  #phase = "out";

  constructor(options: HostOptions) {
    this.#options = options;
  }

  /** A `message` event from a window that may be a host. */
  handle(data: unknown, origin: string, source: Host): void {
    const command = data as Partial<Command> | null;
    if (typeof command !== "object" || command?.to !== NAME || typeof command.action !== "string") return;
    if (!this.#options.allowed(origin)) return;
    const error = this.#perform(command as Command, origin, source);
    const id = command.id === undefined ? {} : { id: command.id };
    const state = stateOf(this.#options.phone.model);
    source.postMessage(error === null ? { from: NAME, ...id, ok: true, state } : { from: NAME, ...id, ok: false, error }, origin);
  }

  /** Nothing is wrong, or a word for it. */
  #perform(command: Command, origin: string, source: Host): null | "unknown_action" | "bad_argument" | "wrong_state" {
    const { phone, setVolume } = this.#options;
    const done = (worked: boolean) => (worked ? null : "wrong_state");
    switch (command.action) {
      case "subscribe":
        this.#subscribers.set(source, origin);
        return null;
      case "unsubscribe":
        this.#subscribers.delete(source);
        return null;
      case "state":
        return null;
      case "signIn": {
        const { dn, password, token } = command;
        const secret = token ?? password;
        if (typeof dn !== "string" || dn === "" || typeof secret !== "string") return "bad_argument";
        if (phone.model.phase !== "out") return "wrong_state";
        phone.signIn({ dn, secret });
        return null;
      }
      case "signOut":
        if (phone.model.phase === "out") return "wrong_state";
        phone.signOut();
        return null;
      case "call": {
        const { number, data } = command;
        if (typeof number !== "string" || number.trim() === "" || number.length > 64) return "bad_argument";
        const pairs = data === undefined ? [] : pairsOf(data);
        return pairs ? done(phone.call(number.trim(), pairs)) : "bad_argument";
      }
      case "answer":
        return done(phone.answer());
      case "reject":
        return done(phone.reject());
      case "hangUp":
        return done(phone.hangUp());
      case "hold":
        return done(phone.setHeld(true));
      case "resume":
        return done(phone.setHeld(false));
      case "mute":
        return done(phone.setMuted(true));
      case "unmute":
        return done(phone.setMuted(false));
      case "dtmf":
        if (typeof command.digits !== "string" || !/^[0-9A-D#*,]{1,32}$/i.test(command.digits)) return "bad_argument";
        return done(phone.sendKeys(command.digits));
      case "volume":
        if (typeof command.volume !== "number" || !(command.volume >= 0 && command.volume <= 1)) return "bad_argument";
        setVolume(command.volume);
        return null;
      default:
        return "unknown_action";
    }
  }

  /** Tells the subscribers of a change, each state once. */
  tell(model: Readonly<Model>): void {
    const { seconds: _seconds, ...rest } = stateOf(model);
    const now = JSON.stringify(rest);
    if (now === this.#last) return;
    this.#last = now;
    this.#send({ event: "state", state: stateOf(model) });
    const before = this.#phase;
    this.#phase = model.phase;
    if (model.phase === "ringing" && before !== "ringing") {
      const { phone } = this.#options;
      const { party, name, divertedFrom } = model;
      this.#send({ event: "incoming", party, name, divertedFrom, callUuid: phone.callUuid(), data: phone.data() });
    }
    const inCall = ["calling", "ringing", "answering", "talking"];
    if (inCall.includes(before) && !inCall.includes(model.phase)) {
      this.#send({ event: "ended", party: model.party, seconds: model.lastDuration === null ? null : Math.floor(model.lastDuration) });
    }
  }

  #send(message: object): void {
    for (const [host, origin] of this.#subscribers) host.postMessage({ from: NAME, ...message }, origin);
  }
}

function pairsOf(data: unknown): { key: string; value: string }[] | null {
  if (!Array.isArray(data) || data.length > 64) return null;
  const pairs: { key: string; value: string }[] = [];
  for (const item of data as unknown[]) {
    const { key, value } = (item ?? {}) as Record<string, unknown>;
    if (typeof key !== "string" || typeof value !== "string") return null;
    pairs.push({ key, value });
  }
  return pairs;
}

/** Whether the window is one that may be a host at all: the frame's parent, or who opened the window. */
export function isHost(source: unknown): source is Host {
  return (source === window.parent && window.parent !== window) || (source !== null && source === window.opener);
}

/** Tells hosts that there is something to talk to. It says nothing else, so that it may go to anybody. */
export function announce(): void {
  for (const host of [window.parent === window ? null : window.parent, window.opener as Host | null]) {
    host?.postMessage({ from: NAME, event: "loaded" }, "*");
  }
}
