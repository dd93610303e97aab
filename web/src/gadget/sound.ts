// Which microphone and speaker, how loud, and remembering it.

import type { Words } from "./words/index";
import { element } from "./view";

const microphone = element<HTMLSelectElement>("microphone");
const speaker = element<HTMLSelectElement>("speaker");
const volume = element<HTMLInputElement>("volume");
const volumeValue = element<HTMLOutputElement>("volume-value");

type SinkElement = HTMLAudioElement & { setSinkId?(id: string): Promise<void> };

export interface SoundOptions {
  words: Words;
  player: SinkElement;
  /** What the microphone is asked for beside the device. */
  processing: MediaTrackConstraints;
  onMicrophone(constraints: MediaTrackConstraints): void;
}

export class Sound {
  readonly #options: SoundOptions;

  constructor(options: SoundOptions) {
    this.#options = options;
    const { player } = options;
    const canChoose = typeof player.setSinkId === "function";
    speaker.hidden = !canChoose;
    document.querySelector<HTMLElement>('label[for="speaker"]')!.hidden = !canChoose;
    microphone.addEventListener("change", () => {
      remember("microphone", microphone.value);
      options.onMicrophone(this.constraints());
    });
    speaker.addEventListener("change", () => {
      remember("speaker", speaker.value);
      this.#useSpeaker();
    });
    volume.addEventListener("input", () => this.setVolume(Number(volume.value) / 100));
    const stored = Number(remembered("volume") || "1");
    this.setVolume(stored >= 0 && stored <= 1 ? stored : 1);
    navigator.mediaDevices?.addEventListener("devicechange", () => { void this.list(); });
  }

  /** For getUserMedia. `exact`, because Chromium pays no heed to an ideal device. */
  constraints(): MediaTrackConstraints {
    const id = remembered("microphone");
    return id === "" ? this.#options.processing : { ...this.#options.processing, deviceId: { exact: id } };
  }

  setVolume(value: number): void {
    this.#options.player.volume = value;
    volume.value = String(Math.round(value * 100));
    volumeValue.value = `${volume.value} %`;
    volume.setAttribute("aria-valuetext", volumeValue.value);
    remember("volume", String(value));
  }

  /** Fills the lists. Devices have names only once the microphone is allowed. */
  async list(): Promise<void> {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    this.#fill(microphone, devices.filter(({ kind }) => kind === "audioinput"), remembered("microphone"));
    this.#fill(speaker, devices.filter(({ kind }) => kind === "audiooutput"), remembered("speaker"));
    this.#useSpeaker();
  }

  #fill(list: HTMLSelectElement, devices: MediaDeviceInfo[], chosen: string): void {
    const { words } = this.#options;
    const named = devices.filter(({ deviceId }) => deviceId !== "" && deviceId !== "default");
    list.replaceChildren(
      new Option(words.defaultDevice, ""),
      ...named.map(({ label, deviceId }, index) => new Option(label || words.device(index + 1), deviceId)),
    );
    list.value = named.some(({ deviceId }) => deviceId === chosen) ? chosen : "";
  }

  #useSpeaker(): void {
    void this.#options.player.setSinkId?.(speaker.value).catch(() => undefined);
  }
}

/** Storage may be switched off, in frames of other sites above all. */
export function remembered(name: string): string {
  try {
    return localStorage.getItem(`gadget.${name}`) ?? "";
  } catch {
    return "";
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(`gadget.${name}`, value);
  } catch { /* then it is asked again next time */ }
}
