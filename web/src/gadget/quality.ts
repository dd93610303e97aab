// How good a call sounds, from what the browser and the gateway count.

export type Quality = "none" | "measuring" | "good" | "fair" | "poor" | "silent";

/** Counters at one moment. */
export interface Sample {
  received: number;
  lost: number;
  /** ms */
  jitter: number;
  /** ms there and back, `null` while nobody has measured it. */
  delay: number | null;
}

/** What the gateway has counted of what we sent. */
export interface Upstream {
  packets: number;
  lost: number;
}

export interface Judgement {
  quality: Quality;
  /** Percent, the worse of both directions. */
  loss: number;
  jitter: number;
  delay: number | null;
}

/** From where on a listener notices (ITU-T G.113 and G.114, with an Opus- or PCM-like concealment). */
const FAIR = { loss: 1.5, jitter: 30, delay: 300 };
const POOR = { loss: 5, jitter: 60, delay: 600 };
/** Two samples without a packet, and something is broken. */
const SILENT_SAMPLES = 2;
/** Too few packets to speak of a share. */
const LEAST_PACKETS = 25;

/** Takes a sample every two seconds or so. */
export class QualityMeter {
  #last: Sample | null = null;
  #silent = 0;
  #up: Upstream | null = null;
  #upLoss = 0;

  reset(): void {
    this.#last = this.#up = null;
    this.#silent = this.#upLoss = 0;
  }

  /** The gateway's counters, whenever they come. */
  handleUpstream(now: Upstream): void {
    const before = this.#up ?? { packets: 0, lost: 0 };
    this.#upLoss = share(now.packets - before.packets, now.lost - before.lost) ?? this.#upLoss;
    this.#up = now;
  }

  /** `held`: silence is as it should be. */
  judge(now: Sample, held: boolean): Judgement {
    const before = this.#last;
    this.#last = now;
    const { jitter, delay } = now;
    if (!before) return { quality: "measuring", loss: 0, jitter, delay };
    const received = now.received - before.received;
    this.#silent = received > 0 || held ? 0 : this.#silent + 1;
    const loss = Math.max(share(received, now.lost - before.lost) ?? 0, this.#upLoss);
    const over = (limit: typeof FAIR) => loss >= limit.loss || jitter >= limit.jitter || (delay ?? 0) >= limit.delay;
    const quality = this.#silent >= SILENT_SAMPLES ? "silent" : over(POOR) ? "poor" : over(FAIR) ? "fair" : "good";
    return { quality, loss, jitter, delay };
  }
}

function share(received: number, lost: number): number | null {
  const all = received + Math.max(0, lost);
  return all < LEAST_PACKETS ? null : (100 * Math.max(0, lost)) / all;
}

/** The audio counters of a peer connection's statistics. */
export function sampleOf(report: RTCStatsReport): Sample | null {
  let sample: Sample | null = null;
  let delay: number | null = null;
  for (const item of report.values() as IterableIterator<Record<string, unknown>>) {
    const number = (name: string) => (typeof item[name] === "number" ? item[name] : 0);
    if (item["type"] === "inbound-rtp" && item["kind"] === "audio") {
      sample = { received: number("packetsReceived"), lost: number("packetsLost"), jitter: number("jitter") * 1000, delay: null };
    } else if (item["type"] === "remote-inbound-rtp" && item["kind"] === "audio" && typeof item["roundTripTime"] === "number") {
      delay = item["roundTripTime"] * 1000;
    } else if (item["type"] === "candidate-pair" && item["nominated"] === true && typeof item["currentRoundTripTime"] === "number") {
      delay ??= item["currentRoundTripTime"] * 1000;
    }
  }
  return sample && { ...sample, delay };
}

/** `audio.rx` of the gateway's statistics: what it got from us. */
export function upstreamOf(statistics: unknown): Upstream | null {
  const rx = (statistics as { audio?: { rx?: { packets?: unknown; lost?: unknown } } } | null)?.audio?.rx;
  return typeof rx?.packets === "number" && typeof rx.lost === "number" ? { packets: rx.packets, lost: rx.lost } : null;
}
