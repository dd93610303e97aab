// The agent's phone without its face: what the library tells in, what it is told out, and what there is to show.

import { Client, MediaSession, type DataPair } from "../grtc/index";
import { QualityMeter, sampleOf, upstreamOf, type Judgement } from "./quality";
import type { Words } from "./words/index";

export type Phase = "out" | "signing-in" | "ready" | "calling" | "ringing" | "answering" | "talking";

/** Who signs in. The secret is the DN's password, or a one-time token of the gateway's in its place. */
export interface Credentials {
  dn: string;
  secret: string;
}

/** Everything there is to show. */
export interface Model {
  phase: Phase;
  dn: string;
  /** The gateway answers. */
  online: boolean;
  party: string;
  /** The caller's name, when it is known and more than the number. */
  name: string;
  /** Whom the caller had dialled before the call was diverted here. */
  divertedFrom: string;
  outgoing: boolean;
  /** Line above the party while there is no call. */
  rest: string;
  /** `performance.now()` of the answer. */
  talkingSince: number | null;
  /** Seconds that the last call took. */
  lastDuration: number | null;
  muted: boolean;
  held: boolean;
  heldByFarEnd: boolean;
  digitsSent: string;
  quality: Judgement;
  notice: { text: string; calm: boolean } | null;
}

export interface PhoneEvents {
  onChange(model: Readonly<Model>): void;
  onMicrophone(stream: MediaStream | null): void;
  onFarEnd(stream: MediaStream | null): void;
}

const UNMEASURED: Judgement = { quality: "none", loss: 0, jitter: 0, delay: null };
const SAMPLE_MS = 2_000;
/** The gateway is asked for its counters every so many samples. */
const SAMPLES_PER_QUESTION = 5;

export class AgentPhone {
  readonly model: Model = {
    phase: "out", dn: "", online: true, party: "", name: "", divertedFrom: "", outgoing: false, rest: "", talkingSince: null, lastDuration: null,
    muted: false, held: false, heldByFarEnd: false, digitsSent: "", quality: UNMEASURED, notice: null,
  };
  readonly #gateway: string;
  readonly #words: Words;
  readonly #events: PhoneEvents;
  readonly #player: HTMLAudioElement;
  #microphone: MediaTrackConstraints;
  #client: Client | null = null;
  #session: MediaSession | null = null;
  readonly #meter = new QualityMeter();
  #sampling: ReturnType<typeof setInterval> | undefined;
  #callWasLost = false;

  constructor(gateway: string, words: Words, player: HTMLAudioElement, microphone: MediaTrackConstraints, events: PhoneEvents) {
    this.#gateway = gateway;
    this.#words = words;
    this.#player = player;
    this.#microphone = microphone;
    this.#events = events;
  }

  #change(part: Partial<Model>): void {
    Object.assign(this.model, part);
    this.#events.onChange(this.model);
  }

  #say(text: string, calm = false): void {
    this.#change({ notice: { text, calm } });
  }

  // ---------------------------------------------------------------- signing in and out

  /** The microphone first: a DN without one could not be talked to. */
  signIn({ dn, secret }: Credentials): void {
    if (this.model.phase !== "out") return;
    let client: Client;
    try {
      client = new Client({ webrtc_gateway: this.#gateway, sip_username: dn, sip_password: secret });
    } catch (thrown) {
      this.#say(typeof RTCPeerConnection === "function" ? this.#words.browserFault(String(thrown)) : this.#words.noWebrtc);
      return;
    }
    this.#client = client;
    this.#session = new MediaSession(client);
    this.#listen(client, this.#session);
    this.#change({ phase: "signing-in", dn, notice: null, online: true, rest: this.#words.openingMicrophone });
    client.enableMediaSource(this.#microphone, false);
  }

  #listen(client: Client, session: MediaSession): void {
    const words = this.#words;
    const current = () => this.#client === client;
    client.onMediaSuccess.add(({ stream }) => {
      if (!current()) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      this.#events.onMicrophone(stream);
      if (this.model.phase !== "signing-in") return;
      this.#change({ rest: words.signingIn });
      client.register();
    });
    client.onMediaFailure.add(({ name, message }) => {
      if (!current()) return;
      const { deviceId, ...any } = this.#microphone;
      if (name === "OverconstrainedError" && deviceId !== undefined) {
        // The chosen microphone is not there today.
        this.useMicrophone(any);
        return;
      }
      const framed = name === "NotAllowedError" && frameForbidsMicrophone();
      const text = framed ? words.microphoneInFrame : words.microphoneFailed(name, message);
      if (this.model.phase === "signing-in") this.signOut(text);
      else this.#say(text);
    });
    client.onRegister.add(() => this.#change({ phase: "ready", rest: words.ready, party: "", name: "", lastDuration: null }));
    client.onFailed.add(({ message, status }) => {
      if (current()) this.signOut(words.signInFailed(status, message));
    });
    client.onReplaced.add(() => {
      if (current()) this.signOut(words.replaced);
    });
    client.onConnectionError.add(({ status }) => {
      if (current() && status !== 410) this.#change({ online: false, notice: { text: words.gatewayLost, calm: false } });
    });
    client.onConnectionRestored.add(({ signedInAgain }) => {
      const text = this.#callWasLost ? words.callLost : words.signedInAgain;
      this.#callWasLost = false;
      this.#change({ online: true, notice: signedInAgain ? { text, calm: true } : null });
    });
    client.onDialRequest.add(({ peer }) => this.call(peer));
    client.onIncomingCall.add(({ peer }) => this.#begin("ringing", peer, session.peerName, session.divertedFrom));
    client.onCallEvent.add(({ event }) => {
      if (event === "answer received" || event === "answer sent") this.#connected();
    });
    client.onNotifyEvent.add(() => {
      if (this.model.phase === "ringing") this.#change({ phase: "answering" });
      this.#showHold(session);
    });
    client.onIceDisconnected.add(() => this.#say(words.iceLost));
    client.onDeviceChange.add(({ stream }) => {
      this.#events.onMicrophone(stream);
      this.#say(stream ? words.deviceReplaced : words.deviceMissing, stream !== null);
    });
    client.onPlayback.add(({ playing }) => {
      if (playing) this.#change({ notice: null });
      else this.#say(words.clickToHear);
    });
    client.onGatewayError.add(({ error }) => this.#say(words.gatewayFault(error)));
    client.onWebrtcError.add(({ error }) => this.#say(words.browserFault(error)));
    client.onStatsFromServer.add((statistics) => {
      const upstream = upstreamOf(statistics);
      if (upstream) this.#meter.handleUpstream(upstream);
    });
    session.onRemoteStream.add(({ stream }) => {
      client.setViewFromStream(this.#player, stream);
      this.#events.onFarEnd(stream);
    });
    session.onSessionHold.add(() => this.#showHold(session));
    session.on("end", (why) => {
      if (!current()) return;
      const { party, outgoing, talkingSince } = this.model;
      const talked = talkingSince !== null;
      this.#callWasLost = why.by === "error" && !this.model.online;
      const text = this.#callWasLost ? null : words.callEnded(why, party, outgoing, talked);
      this.#over(talked ? (why.by === "remote" ? words.farEndHungUp : words.ended) : text ? words.notConnected : words.ready);
      if (text) this.#say(text, why.by !== "error");
    });
  }

  /** `why` is told when it was not the agent's wish. */
  signOut(why: string | null = null): void {
    const client = this.#client;
    this.#client = this.#session = null;
    client?.disconnect();
    client?.disableMediaSource();
    this.#events.onMicrophone(null);
    this.#over(this.#words.ready);
    this.#change({
      phase: "out", dn: "", party: "", name: "", lastDuration: null, online: true, notice: why === null ? null : { text: why, calm: false },
    });
  }

  // ---------------------------------------------------------------- calls

  #begin(phase: "calling" | "ringing", party: string, name = "", divertedFrom = ""): void {
    this.#change({
      phase, party, name: name === party ? "" : name, divertedFrom, outgoing: phase === "calling", notice: null, talkingSince: null,
      lastDuration: null, muted: false, held: false, heldByFarEnd: false, digitsSent: "", quality: UNMEASURED,
    });
  }

  /** False when there is nobody to call with: a call is there already, or we are not signed in. */
  call(party: string, data: DataPair[] = []): boolean {
    if (this.model.phase !== "ready" || party === "" || !this.#session) return false;
    this.#begin("calling", party);
    this.#session.setData(data);
    this.#session.makeOffer(party, true, false);
    return true;
  }

  answer(): boolean {
    if (this.model.phase !== "ringing") return false;
    this.#change({ phase: "answering" });
    this.#session?.acceptCall(true, false);
    return true;
  }

  reject(): boolean {
    if (this.model.phase !== "ringing") return false;
    this.#session?.rejectCall();
    return true;
  }

  hangUp(): boolean {
    if (!["calling", "answering", "talking"].includes(this.model.phase)) return false;
    this.#session?.terminateCall();
    return true;
  }

  setMuted(muted: boolean): boolean {
    if (this.model.phase !== "talking" || !this.#session) return false;
    if (this.model.muted === muted) return true;
    this.#session.updateCall(!muted);
    this.#change({ muted });
    return true;
  }

  setHeld(held: boolean): boolean {
    if (this.model.phase !== "talking" || !this.#session) return false;
    if (held) this.#session.holdCall();
    else this.#session.resumeCall();
    return true;
  }

  sendKeys(keys: string): boolean {
    if (this.model.phase !== "talking" || !this.#session) return false;
    if (this.#session.sendDTMF(keys) !== 0) {
      this.#say(this.#words.noKeys);
      return false;
    }
    this.#change({ digitsSent: (this.model.digitsSent + keys).slice(-32) });
    return true;
  }

  /** The contact centre's id of the call, `""` where none is known. */
  callUuid(): string {
    return this.#session?.callUuid ?? "";
  }

  /** Data that came with the call. */
  data(): DataPair[] {
    return this.#session?.getData() ?? [];
  }

  /** From now on, in a call too. */
  useMicrophone(constraints: MediaTrackConstraints): void {
    this.#microphone = constraints;
    this.#client?.enableMediaSource(constraints, false);
  }

  #connected(): void {
    if (this.model.phase === "talking") {
      // An answer to a renegotiation: what was interrupted is there again.
      this.#change({ notice: null });
      return;
    }
    this.#session?.updateCall(true);
    this.#meter.reset();
    this.#change({
      phase: "talking", talkingSince: performance.now(), notice: null, quality: { ...UNMEASURED, quality: "measuring" },
    });
    let samples = 0;
    clearInterval(this.#sampling);
    this.#sampling = setInterval(() => {
      samples += 1;
      if (samples % SAMPLES_PER_QUESTION === 0) this.#session?.getServerStats();
      void this.#sample();
    }, SAMPLE_MS);
  }

  async #sample(): Promise<void> {
    const report = await this.#session?.getStats();
    const sample = report && sampleOf(report);
    if (!sample || this.model.phase !== "talking") return;
    this.#change({ quality: this.#meter.judge(sample, this.model.held || this.model.heldByFarEnd) });
  }

  #showHold(session: MediaSession): void {
    this.#change({ held: session.heldHere, heldByFarEnd: session.heldByPeer });
  }

  #over(rest: string): void {
    clearInterval(this.#sampling);
    this.#events.onFarEnd(null);
    this.#player.srcObject = null;
    const { talkingSince } = this.model;
    this.#change({
      phase: "ready", rest, talkingSince: null, lastDuration: talkingSince === null ? null : (performance.now() - talkingSince) / 1000,
      muted: false, held: false, heldByFarEnd: false, quality: UNMEASURED,
    });
  }
}

/** A frame may use the microphone only when the page around it lets it. */
function frameForbidsMicrophone(): boolean {
  if (window.parent === window) return false;
  const policy = (document as { featurePolicy?: { allowsFeature(name: string): boolean } }).featurePolicy;
  return policy ? !policy.allowsFeature("microphone") : true;
}
