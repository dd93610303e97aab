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

  // Frames of 20 ms; "tone" is one with most of its energy at the frequency (Goertzel).
  const worklet = `registerProcessor("tone", class extends AudioWorkletProcessor {
    constructor({ processorOptions: { hz } }) {
      super();
      this.coefficient = 2 * Math.cos((2 * Math.PI * hz) / sampleRate);
      this.size = Math.round(sampleRate / 50);
      this.nothing = 0;
      this.heard = { frames: 0, tone: 0, silent: 0, before: 0, settling: 0, gap: 0, longestGap: 0, quiet: 0 };
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
      heard.frames += 1;
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
    /**
     * Starts to measure `hz` in the stream of the element, or, on hold, when browsers take the track out of it, in the
     * newest connection's own tracks. Waits for either: whoever has just asked for a call has neither yet.
     */
    async listen(selector, hz) {
      const audible = () => {
        const shown = document.querySelector(selector).srcObject;
        if (shown?.getAudioTracks().length) return shown;
        const tracks = (connections.at(-1)?.getReceivers() ?? []).map(({ track }) => track);
        return tracks.some(({ kind }) => kind === "audio") ? new MediaStream(tracks) : null;
      };
      const deadline = performance.now() + 30_000;
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
      const node = new AudioWorkletNode(context, "tone", { processorOptions: { hz } });
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

/**
 * Listens until `seconds` of the tone were heard (20 ms frames are counted, so this is sound, not time), and gives
 * all that was heard. Fails when twice the time and some more has not brought it.
 */
export async function hear(page, selector, hz, seconds) {
  return page.evaluate(async (selector, hz, seconds) => {
    const ear = await window.e2e.listen(selector, hz);
    const deadline = performance.now() + 2000 * seconds + 20_000;
    for (;;) {
      await new Promise((resume) => setTimeout(resume, 200));
      const heard = await ear.read();
      if (heard.tone < seconds * 50 && performance.now() < deadline) continue;
      ear.stop();
      return { ...heard, seconds: heard.tone / 50, share: heard.tone / Math.max(1, heard.frames) };
    }
  }, selector, hz, seconds);
}

/** The tone was there for that long, and once it had begun there was nothing else for more than moments. */
export function assertTone(heard, seconds, what) {
  const text = `${what}: ${JSON.stringify(heard)}`;
  assert.ok(heard.seconds >= seconds, `not enough of the tone; ${text}`);
  assert.ok(heard.share > 0.97, `the tone has holes; ${text}`);
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
