// What is heard in a page. SOUND runs in every page before its own scripts: it keeps the peer connections within
// reach and defines `e2e.listen`, which measures a tone on each sample of an audio element's stream.

import assert from "node:assert/strict";

/** Runs in the page. */
function install() {
  const connections = [];
  const Original = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    constructor(...args) {
      super(...args);
      connections.push(this);
    }
  };

  // Digits that are asked for are played one after the other, and told of when the last one is over.
  const playing = new Map();
  const { insertDTMF } = RTCDTMFSender.prototype;
  RTCDTMFSender.prototype.insertDTMF = function (...args) {
    if (!playing.has(this)) this.addEventListener("tonechange", ({ tone }) => { if (tone === "") playing.set(this, false); });
    insertDTMF.apply(this, args);
    playing.set(this, true);
  };

  // Frames of 20 ms; "tone" is one with most of its energy at the frequency (Goertzel).
  const worklet = `registerProcessor("tone", class extends AudioWorkletProcessor {
    constructor({ processorOptions: { hz, stretch } }) {
      super();
      this.last = new Uint8Array(stretch);
      this.lastTone = 0;
      this.coefficient = 2 * Math.cos((2 * Math.PI * hz) / sampleRate);
      this.size = Math.round(sampleRate / 50);
      this.nothing = 0;
      this.heard = { frames: 0, tone: 0, silent: 0, before: 0, settling: 0, gap: 0, longestGap: 0, quiet: 0, best: 0 };
      this.start();
      this.port.onmessage = () => this.port.postMessage(this.heard);
    }
    start() { this.n = this.energy = this.s1 = this.s2 = 0; }
    process([[samples]]) {
      // Firefox gives nothing at all for a stream that has fallen silent.
      if (!samples) {
        this.nothing += 128;
        if (this.nothing >= this.size) {
          this.nothing = 0;
          this.heard.quiet += 1;
        }
      }
      for (const x of samples ?? []) {
        const s = x + this.coefficient * this.s1 - this.s2;
        this.s2 = this.s1;
        this.s1 = s;
        this.energy += x * x;
        this.n += 1;
        if (this.n === this.size) this.frame();
      }
      return true;
    }
    frame() {
      const power = this.s1 * this.s1 + this.s2 * this.s2 - this.coefficient * this.s1 * this.s2;
      const level = this.energy / this.size;
      const heard = this.heard;
      const tone = level >= 1e-6 && (2 * power) / (this.size * this.energy) > 0.7;
      this.start();
      heard.quiet = tone ? 0 : heard.quiet + 1;
      // The jitter buffer stretches and cuts while it learns: what counts begins half a second after the tone has.
      if (heard.settling === 0 && !tone) return void (heard.before += 1);
      if (heard.settling < 25) return void (heard.settling += 1);
      const at = heard.frames % this.last.length;
      this.lastTone += Number(tone) - this.last[at];
      this.last[at] = Number(tone);
      heard.frames += 1;
      if (heard.frames >= this.last.length) heard.best = Math.max(heard.best, this.lastTone);
      if (level < 1e-6) heard.silent += 1;
      if (tone) {
        heard.tone += 1;
        heard.gap = 0;
      } else {
        heard.gap += 1;
        heard.longestGap = Math.max(heard.longestGap, heard.gap);
      }
    }
  });`;

  let context;
  window.e2e = {
    connections,
    isPlaying: () => [...playing.values()].includes(true),
    /**
     * Starts to measure `hz` in the stream of the element, or, on hold, when browsers take the track out of it, in the
     * newest connection's own tracks; `stretch`: see hear(). Waits for either: whoever has just asked for a call has
     * neither yet, and what the element has may be of the call before.
     */
    async listen(selector, hz, stretch = 1) {
      const audible = () => {
        const tracks = (connections.at(-1)?.getReceivers() ?? []).map(({ track }) => track).filter(({ kind, readyState }) => kind === "audio" && readyState === "live");
        if (tracks.length === 0) return null;
        const shown = document.querySelector(selector)?.srcObject;
        if (!shown?.getAudioTracks().length) return new MediaStream(tracks);
        return shown.getAudioTracks().some(({ id }) => tracks.some((track) => track.id === id)) ? shown : null;
      };
      const deadline = performance.now() + 60_000;
      let stream;
      while (!(stream = audible())) {
        if (performance.now() > deadline) throw new Error(`nothing to listen to in ${selector}`);
        await new Promise((resume) => setTimeout(resume, 20));
      }
      if (!context) {
        context = new AudioContext();
        await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: "text/javascript" })));
      }
      await context.resume();
      const source = context.createMediaStreamSource(stream);
      const node = new AudioWorkletNode(context, "tone", { processorOptions: { hz, stretch } });
      source.connect(node).connect(context.destination);
      return {
        read: () => new Promise((resolve) => {
          node.port.onmessage = ({ data }) => resolve(data);
          node.port.postMessage("read");
        }),
        stop: () => {
          source.disconnect();
          node.disconnect();
        },
      };
    },
    /** Packets that came in, were lost, and went out, over all connections of the page that still live. */
    async packets() {
      const sum = { received: 0, lost: 0, sent: 0 };
      for (const pc of connections) {
        if (pc.connectionState === "closed") continue;
        for (const item of (await pc.getStats()).values()) {
          if (item.type === "inbound-rtp" && item.kind === "audio") {
            sum.received += item.packetsReceived;
            sum.lost += item.packetsLost;
          }
          if (item.type === "outbound-rtp" && item.kind === "audio") sum.sent += item.packetsSent;
        }
      }
      return sum;
    },
  };
}

export const SOUND = `(${install})();`;

/** A script for a page whose connections are to know no other audio codec; digits stay possible. */
export function onlyCodec(codec) {
  const install = (codec) => {
    const Original = window.RTCPeerConnection;
    const wanted = [`audio/${codec}`, "audio/telephone-event"];
    window.RTCPeerConnection = class extends Original {
      #leave() {
        const known = RTCRtpReceiver.getCapabilities("audio").codecs;
        const left = known.filter(({ mimeType }) => wanted.includes(mimeType.toLowerCase()));
        for (const transceiver of this.getTransceivers()) transceiver.setCodecPreferences(left);
      }
      createOffer(...args) {
        this.#leave();
        return super.createOffer(...args);
      }
      createAnswer(...args) {
        this.#leave();
        return super.createAnswer(...args);
      }
    };
  };
  return `(${install})(${JSON.stringify(codec)});`;
}

/** Of the frames in a stretch of tone; the holes are those that the jitter buffer makes, and pauses of a machine that is busy. */
const CLEAN = 0.97;

/**
 * Listens until `seconds` of the tone were heard (20 ms frames are counted, so this is sound, not time), and gives
 * all that was heard; `share` is that of the tone in the best stretch of that length. Where there is none without holes
 * it listens on, and says so: a machine that stood still for a moment makes one hole, a fault of ours makes more.
 */
export async function hear(page, selector, hz, seconds) {
  const heard = await page.evaluate(async (selector, hz, seconds, clean) => {
    const stretch = seconds * 50;
    const ear = await window.e2e.listen(selector, hz, stretch);
    const deadline = performance.now() + 2000 * seconds + 20_000;
    for (;;) {
      await new Promise((resume) => setTimeout(resume, 100));
      const heard = await ear.read();
      if ((heard.tone < stretch || heard.best <= clean * stretch) && performance.now() < deadline) continue;
      ear.stop();
      return { ...heard, seconds: heard.tone / 50, share: heard.best / stretch };
    }
  }, selector, hz, seconds, CLEAN);
  if (heard.tone <= CLEAN * heard.frames) console.log(`HOLES: ${JSON.stringify(heard)}`);
  return heard;
}

/** Until the digits that the page was asked for have been played. */
export function digitsPlayed(page) {
  return page.waitForFunction(() => !window.e2e.isPlaying());
}

/** Both candidates of the pair that the newest connection uses. */
export function selectedPair(page) {
  return page.evaluate(async () => {
    const statistics = await window.e2e.connections.at(-1).getStats();
    const all = [...statistics.values()];
    const wanted = all.find(({ type }) => type === "transport")?.selectedCandidatePairId;
    const { localCandidateId, remoteCandidateId } = all.find(({ type, id, selected }) => type === "candidate-pair" && (selected || id === wanted));
    return { local: statistics.get(localCandidateId), remote: statistics.get(remoteCandidateId) };
  });
}

/** The tone was there for that long, and in as long a stretch of it there was nothing else for more than moments. */
export function assertTone(heard, seconds, what) {
  const text = `${what}: ${JSON.stringify(heard)}`;
  assert.ok(heard.seconds >= seconds, `not enough of the tone; ${text}`);
  assert.ok(heard.share > CLEAN, `the tone has holes; ${text}`);
}

/** So many seconds without a single frame of that tone; what is still in the jitter buffer may come before them. */
export async function assertQuiet(page, selector, hz, seconds, what) {
  const heard = await page.evaluate(async (selector, hz, seconds) => {
    const ear = await window.e2e.listen(selector, hz);
    const deadline = performance.now() + 1000 * seconds + 10_000;
    let heard;
    do {
      await new Promise((resume) => setTimeout(resume, 100));
      heard = await ear.read();
    } while (heard.quiet < seconds * 50 && performance.now() < deadline);
    ear.stop();
    return heard;
  }, selector, hz, seconds);
  assert.ok(heard.quiet >= seconds * 50, `it does not become quiet; ${what}: ${JSON.stringify(heard)}`);
}

/** Less than 1 % of the packets lost on the way to the browser. */
export async function assertLoss(page, what) {
  const { received, lost, sent } = await page.evaluate(() => window.e2e.packets());
  assert.ok(received > 0 && sent > 0, `${what}: ${received} packets received, ${sent} sent`);
  const share = lost / (received + lost);
  assert.ok(share < 0.01, `${what}: ${lost} of ${received + lost} packets lost`);
  return { received, lost, sent };
}

/** What the SIP side reports: so many seconds of the tone, less than 1 % lost. */
export function assertReport(report, hz, seconds) {
  const text = JSON.stringify(report);
  assert.ok(report.heard, `nothing was heard: ${text}`);
  assert.ok(report.heard.loss < 0.01, `loss at the SIP side: ${text}`);
  const near = report.heard.tones.find((tone) => Math.abs(tone.hz - hz) <= 8);
  assert.ok(near, `no ${hz} Hz at the SIP side: ${text}`);
  assert.ok(near.seconds >= seconds, `less than ${seconds} s of ${hz} Hz at the SIP side: ${text}`);
  return near;
}
