// Level meters and the ringing tone.

/** Below this nothing is shown: the noise of a quiet room. */
const FLOOR_DB = -60;

let context: AudioContext | null = null;

/** Call it from a click: browsers start audio only after one. */
export function audioContext(): AudioContext {
  context ??= new AudioContext();
  if (context.state === "suspended") void context.resume().catch(() => undefined);
  return context;
}

/** Shows the level of a stream as the length of a bar. */
export class Meter {
  readonly #bar: HTMLElement;
  #source: MediaStreamAudioSourceNode | null = null;
  #analyser: AnalyserNode | null = null;
  #samples = new Float32Array(1024);
  #shown = 0;

  constructor(element: HTMLElement) {
    this.#bar = element.querySelector<HTMLElement>(".level")!;
  }

  show(stream: MediaStream | null): void {
    this.#source?.disconnect();
    this.#source = this.#analyser = null;
    if (stream && stream.getAudioTracks().length > 0) {
      const audio = audioContext();
      this.#source = audio.createMediaStreamSource(stream);
      this.#analyser = audio.createAnalyser();
      this.#analyser.fftSize = this.#samples.length;
      this.#source.connect(this.#analyser);
    }
  }

  /** Once per picture. Rises at once, falls gently. */
  draw(): void {
    let level = 0;
    if (this.#analyser) {
      this.#analyser.getFloatTimeDomainData(this.#samples);
      let sum = 0;
      for (const sample of this.#samples) sum += sample * sample;
      const db = 10 * Math.log10(sum / this.#samples.length + 1e-12);
      level = Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
    }
    const next = Math.max(level, this.#shown * 0.9 - 0.002, 0);
    if (Math.abs(next - this.#shown) < 0.001 && next !== 0) return;
    if (next === 0 && this.#shown === 0) return;
    this.#shown = next;
    this.#bar.style.transform = `scaleX(${next.toFixed(3)})`;
  }
}

/** A soft double tone, one second in three, until it is stopped. */
export class Ringer {
  #stop: (() => void) | null = null;

  start(): void {
    if (this.#stop) return;
    const audio = audioContext();
    const gain = audio.createGain();
    gain.gain.value = 0;
    gain.connect(audio.destination);
    const tones = [400, 450].map((frequency) => {
      const tone = audio.createOscillator();
      tone.frequency.value = frequency;
      tone.connect(gain);
      tone.start();
      return tone;
    });
    const ring = () => {
      const now = audio.currentTime;
      gain.gain.setTargetAtTime(0.06, now, 0.02);
      gain.gain.setTargetAtTime(0, now + 1, 0.02);
    };
    ring();
    const timer = setInterval(ring, 3000);
    this.#stop = () => {
      clearInterval(timer);
      for (const tone of tones) tone.stop();
      gain.disconnect();
    };
  }

  stop(): void {
    this.#stop?.();
    this.#stop = null;
  }
}
