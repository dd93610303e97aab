import { messageOf } from "./errors";
import { log } from "./logger";
import { withoutCandidates, type RoapCandidate } from "./roap";
import { withVideoBandwidth } from "./sdp";

/** How a peer connection is made. */
export interface PeerOptions {
  iceServers: readonly RTCIceServer[];
  iceTimeout: number;
  useRsaCertificate: boolean;
  videoBandwidth: number;
}

export interface PeerEvents {
  onStream(stream: MediaStream): void;
  /** ICE was lost: told once until it is connected again. */
  onIceLost(state: RTCIceConnectionState): void;
  /** Every change, after {@link onIceLost}. */
  onIceState(state: RTCIceConnectionState): void;
}

/** Which media go which way in an offer or answer. */
export interface Flow {
  audio: boolean;
  video: boolean;
  hold: boolean;
}

/** A local description as it goes on the wire. */
export interface Described {
  sdp: string;
  candidates: RoapCandidate[];
}

/** One RTCPeerConnection: made for a call, or anew when a call is renewed. */
export class Peer {
  readonly #pc: RTCPeerConnection;
  readonly #options: PeerOptions;
  readonly #candidates: RoapCandidate[] = [];
  #firstCandidate: (() => void) | null = null;
  #iceLost = false;
  #restartWanted = false;
  #closed = false;

  static async create(options: PeerOptions, events: PeerEvents): Promise<Peer> {
    const configuration: RTCConfiguration = { iceServers: [...options.iceServers], bundlePolicy: "max-bundle" };
    if (options.useRsaCertificate) {
      const rsa = {
        name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]),
      };
      configuration.certificates = [await RTCPeerConnection.generateCertificate(rsa)];
    }
    return new Peer(new RTCPeerConnection(configuration), options, events);
  }

  private constructor(pc: RTCPeerConnection, options: PeerOptions, events: PeerEvents) {
    this.#pc = pc;
    this.#options = options;
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate || candidate.candidate === "") return;
      const { sdpMid, sdpMLineIndex, usernameFragment } = candidate;
      this.#candidates.push({ candidate: candidate.candidate, sdpMid, sdpMLineIndex, usernameFragment });
      this.#firstCandidate?.();
    };
    pc.ontrack = ({ streams, track }) => {
      if (!this.#closed) events.onStream(streams[0] ?? new MediaStream([track]));
    };
    pc.oniceconnectionstatechange = () => {
      const state = pc.iceConnectionState;
      if (state === "connected" || state === "completed") this.#iceLost = false;
      if ((state === "disconnected" || state === "failed") && !this.#iceLost && !this.#closed) {
        this.#iceLost = true;
        events.onIceLost(state);
      }
      if (!this.#closed) events.onIceState(state);
    };
  }

  /** Our next offer has to restart ICE. */
  get needsRestart(): boolean {
    return this.#iceLost || this.#restartWanted;
  }

  /** The network is another one than when the candidates were gathered. */
  wantRestart(): void {
    this.#restartWanted = true;
  }

  get connected(): boolean {
    return this.#pc.iceConnectionState === "connected" || this.#pc.iceConnectionState === "completed";
  }

  get remoteSdp(): string {
    return this.#pc.remoteDescription?.sdp ?? "";
  }

  /** The sender of the local audio track, for DTMF and for exchanging the track. */
  get audioSender(): RTCRtpSender | null {
    return this.#pc.getSenders().find((sender) => sender.track?.kind === "audio") ?? null;
  }

  /** What an `RTCPeerConnection` counts, for those who want to look. */
  getStats(): Promise<RTCStatsReport> {
    return this.#pc.getStats();
  }

  /** Sets tracks and directions for our own next offer. */
  prepareOffer(local: MediaStream | null, flow: Flow): void {
    this.#prepare("audio", local?.getAudioTracks()[0] ?? null, flow.audio, flow.hold, local);
    this.#prepare("video", local?.getVideoTracks()[0] ?? null, flow.video, flow.hold, local);
  }

  #prepare(kind: "audio" | "video", track: MediaStreamTrack | null, wanted: boolean, hold: boolean, local: MediaStream | null): void {
    const there = this.#pc.getTransceivers().find((item) => item.receiver.track.kind === kind && !stopped(item));
    const direction: RTCRtpTransceiverDirection = hold ? "inactive" : track ? "sendrecv" : "recvonly";
    if (there) {
      there.direction = wanted ? direction : "inactive";
      if (wanted && track && there.sender.track !== track) void there.sender.replaceTrack(track).catch(ignored);
    } else if (wanted) {
      this.#pc.addTransceiver(track ?? kind, local && track ? { direction, streams: [local] } : { direction });
    }
  }

  /** Sends another microphone or camera from now on; that takes no new offer. What was muted stays so. */
  useStream(local: MediaStream): void {
    for (const { sender } of this.#pc.getTransceivers()) {
      const old = sender.track;
      const track = local.getTracks().find(({ kind }) => kind === old?.kind);
      if (!old || !track || track === old) continue;
      track.enabled = old.enabled;
      void sender.replaceTrack(track).catch(ignored);
    }
  }

  async offer(iceRestart: boolean, wait: boolean): Promise<Described> {
    if (iceRestart) {
      this.#candidates.length = 0;
      this.#restartWanted = false;
    }
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart }));
    if (wait) await this.#gathered();
    return this.#described();
  }

  async takeOffer(sdp: string, candidates: readonly RoapCandidate[]): Promise<void> {
    await this.#pc.setRemoteDescription({ type: "offer", sdp });
    await this.#addCandidates(candidates);
  }

  /** After {@link takeOffer}. */
  async answer(local: MediaStream | null, flow: Flow, wait: boolean): Promise<Described> {
    for (const transceiver of this.#pc.getTransceivers()) {
      if (stopped(transceiver)) continue;
      const audio = transceiver.receiver.track.kind === "audio";
      const track = (audio ? local?.getAudioTracks() : local?.getVideoTracks())?.[0] ?? null;
      const wanted = audio ? flow.audio : flow.video;
      if (wanted && track && transceiver.sender.track !== track) {
        await transceiver.sender.replaceTrack(track);
        if (local) transceiver.sender.setStreams?.(local);
      }
      transceiver.direction = !wanted || flow.hold ? "inactive" : transceiver.sender.track ? "sendrecv" : "recvonly";
    }
    await this.#pc.setLocalDescription(await this.#pc.createAnswer());
    if (wait) await this.#gathered();
    return this.#described();
  }

  async takeAnswer(sdp: string, candidates: readonly RoapCandidate[]): Promise<void> {
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    await this.#addCandidates(candidates);
  }

  /** Takes our own unanswered offer back. */
  async rollback(): Promise<void> {
    if (this.#pc.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#firstCandidate?.();
    this.#pc.close();
  }

  async #addCandidates(candidates: readonly RoapCandidate[]): Promise<void> {
    for (const { candidate, sdpMid, sdpMLineIndex } of candidates) {
      try {
        const place = sdpMid === null && sdpMLineIndex === null ? { sdpMLineIndex: 0 } : { sdpMid, sdpMLineIndex };
        await this.#pc.addIceCandidate({ candidate, ...place });
      } catch (thrown) {
        // One that the browser cannot use (IPv6 switched off, TCP) does not spoil the others.
        log.warn(`a candidate of the gateway's was not taken: ${messageOf(thrown)}`);
      }
    }
  }

  #described(): Described {
    const sdp = this.#pc.localDescription?.sdp ?? "";
    return {
      sdp: withVideoBandwidth(withoutCandidates(sdp), this.#options.videoBandwidth),
      candidates: [...this.#candidates],
    };
  }

  /** Until gathering is complete, or the timeout has passed since there was one candidate. */
  #gathered(): Promise<void> {
    const pc = this.#pc;
    if (pc.iceGatheringState === "complete" || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const end = () => {
        clearTimeout(timer);
        this.#firstCandidate = null;
        pc.removeEventListener("icegatheringstatechange", changed);
        resolve();
      };
      const changed = () => {
        if (pc.iceGatheringState === "complete") end();
      };
      const started = () => {
        if (this.#closed) end();
        else timer ??= setTimeout(end, this.#options.iceTimeout);
      };
      this.#firstCandidate = started;
      pc.addEventListener("icegatheringstatechange", changed);
      if (this.#candidates.length > 0) started();
    });
  }
}

function stopped(transceiver: RTCRtpTransceiver): boolean {
  return transceiver.currentDirection === "stopped";
}

function ignored(thrown: unknown): void {
  log.warn(`a track could not be exchanged: ${messageOf(thrown)}`);
}
