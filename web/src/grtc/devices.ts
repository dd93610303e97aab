// A microphone or camera that is unplugged: the page goes on with what is left.

import type { MediaWish } from "./client";
import { messageOf } from "./errors";
import { log } from "./logger";

export interface DevicesEvents {
  /** Another device has taken over. */
  onReplaced(stream: MediaStream): void;
  /** There is none to take over. It is tried again when one is plugged in. */
  onMissing(message: string): void;
}

/** Watches the devices of one stream. */
export class Devices {
  readonly #events: DevicesEvents;
  #stream: MediaStream | null = null;
  #wish: { audio: MediaWish; video: MediaWish } = { audio: false, video: false };
  #opening = false;
  #stop: AbortController | null = null;

  constructor(events: DevicesEvents) {
    this.#events = events;
  }

  watch(stream: MediaStream, audio: MediaWish, video: MediaWish): void {
    this.forget();
    this.#stream = stream;
    this.#wish = { audio: withoutDevice(audio), video: withoutDevice(video) };
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const look = () => { void this.#look(); };
    // `ended` is not fired for tracks that the page stops itself.
    for (const track of stream.getTracks()) track.addEventListener("ended", look, { signal });
    navigator.mediaDevices.addEventListener?.("devicechange", look, { signal });
  }

  forget(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.#stream = null;
  }

  async #look(): Promise<void> {
    const lost = this.#stream;
    if (!lost || this.#opening || !lost.getTracks().some(({ readyState }) => readyState === "ended")) return;
    this.#opening = true;
    try {
      const stream = await navigator.mediaDevices.getUserMedia(this.#wish);
      if (this.#stream !== lost) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      for (const track of stream.getTracks()) {
        track.enabled = lost.getTracks().find(({ kind }) => kind === track.kind)?.enabled ?? true;
      }
      this.watch(stream, this.#wish.audio, this.#wish.video);
      this.#events.onReplaced(stream);
    } catch (thrown) {
      if (this.#stream !== lost) return;
      log.warn(`no other device takes over: ${messageOf(thrown)}`);
      this.#events.onMissing(messageOf(thrown));
    } finally {
      this.#opening = false;
    }
  }
}

/** The same wish for whatever device the browser picks. */
function withoutDevice(wish: MediaWish): MediaWish {
  if (typeof wish === "boolean") return wish;
  const { deviceId: _device, groupId: _group, ...rest } = wish;
  return rest;
}
