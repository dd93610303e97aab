import type { Call, EndReason, SessionOptions } from "./call";
import type { Client } from "./client";
import type { Delivery } from "./connection";
import { GrtcError, INVALID_STATE_ERROR, messageOf, NOT_READY_ERROR } from "./errors";
import { Emitter, Event } from "./events";
import { log } from "./logger";
import { IceKeeper } from "./ice_keeper";
import { Negotiation } from "./negotiation";
import type { Flow } from "./peer";
import { infoBody, newSessionId, type DataPair, type Incoming, type RoapDescription } from "./roap";
import { offers } from "./sdp";

interface SessionEmits {
  /** Our offer, as it is sent. */
  offer: string;
  /** The SDP answer, ours or the gateway's. */
  answer: string;
  stream: MediaStream;
  end: EndReason;
}

type SessionMessage = Exclude<Incoming, { type: "INFO" | "STATS" | "DIAL" | "UNKNOWN" }>;

/** One call at a time; the object can be used again for the next. */
export class MediaSession extends Emitter<SessionEmits> {
  readonly onRemoteStream = new Event<{ stream: MediaStream }>();
  readonly onSessionHold = new Event<boolean>();

  readonly #client: Client;
  readonly #options: SessionOptions;
  readonly #negotiation: Negotiation;
  #call: Call | null = null;

  constructor(client: Client, options: SessionOptions = {}) {
    super();
    this.#client = client;
    this.#options = options;
    this.#negotiation = new Negotiation(client, {
      has: (call) => this.#call === call,
      hangUp: (call, why) => this.#hangUp(call, why),
      onOfferSent: (sdp) => this.emit("offer", sdp),
      onAnswer: (sdp) => this.emit("answer", sdp),
      onStream: (stream) => {
        this.onRemoteStream.fire({ stream });
        this.emit("stream", stream);
      },
      onHold: (held) => this.onSessionHold.fire(held),
    });
    client.attach(this);
  }

  /** @internal */
  get busy(): boolean {
    return this.#call !== null;
  }

  /** The other party's DN or number, `""` without a call. */
  get peer(): string {
    return this.#call?.party ?? "";
  }

  /** The caller's display name where the gateway tells, otherwise `""`. */
  get peerName(): string {
    return this.#call?.partyName ?? "";
  }

  /** Whom the caller had dialled before the call was diverted here; `""` when nobody was, or the gateway does not tell. */
  get divertedFrom(): string {
    return this.#call?.divertedFrom ?? "";
  }

  /** The contact centre's id of the call, `""` where none is known. */
  get callUuid(): string {
    return this.#call?.uuid ?? "";
  }

  isEstablished(): boolean {
    return this.#call?.phase === "established";
  }

  hasAudioEnabled(): boolean {
    return this.#hasEnabled("audio");
  }

  hasVideoEnabled(): boolean {
    return this.#hasEnabled("video");
  }

  #hasEnabled(kind: "audio" | "video"): boolean {
    const tracks = this.#client.localStream?.getTracks() ?? [];
    return this.#call !== null && this.#call.flow[kind] && tracks.some((track) => track.kind === kind && track.enabled);
  }

  // ---------------------------------------------------------------- calling out

  /**
   * Calls `dn`; in an established call renegotiates it (`dn` 0 or none), and after `onIceDisconnected`
   * restarts ICE. `onCallEvent` tells how it goes on.
   */
  makeOffer(dn?: string | number | boolean, audio?: boolean, video?: boolean, hold?: boolean): void {
    if (typeof dn === "boolean") [dn, audio, video, hold] = [0, dn, audio, video];
    const call = this.#call;
    if (call?.phase === "established") {
      this.#negotiation.renegotiate(call, { audio, video, hold }, this.#client.renewSession);
      return;
    }
    if (call) {
      log.error("makeOffer: there is a call in progress");
      return;
    }
    const party = dn === undefined || dn === 0 ? "" : String(dn).trim();
    if (party === "") {
      log.error("makeOffer: whom to call?");
      return;
    }
    if (!this.#client.connection) {
      log.error("makeOffer: not signed in");
      return;
    }
    if (!this.#client.claim(this)) {
      log.error("makeOffer: another session has a call");
      return;
    }
    const started = this.#begin(party, "dialling", this.#flow("offer", audio, video, hold));
    this.#negotiation.offer(started);
  }

  /** The older name of {@link makeOffer}. */
  makeCall(dn: string | number, audio?: boolean, video?: boolean): void {
    this.makeOffer(dn, audio, video);
  }

  /** The short form: opens the media that the options ask for and calls the destination. */
  connect(): void {
    const { destination } = this.#options;
    if (destination === undefined) throw new GrtcError(INVALID_STATE_ERROR, "the session has no destination");
    void this.#withMedia(() => this.makeOffer(String(destination)));
  }

  // ---------------------------------------------------------------- being called

  /**
   * Accepts the call that rings: with an ANSWER, or with our OFFER where the INVITE had none. Throws
   * `INVALID_STATE_ERROR` when none rings.
   */
  acceptCall(audio?: boolean | string, video?: boolean, peer?: string, hold?: boolean): void {
    if (typeof audio === "string") [audio, peer] = [undefined, audio];
    const call = this.#call;
    if (call?.phase !== "ringing" || !call.waiting) throw new GrtcError(INVALID_STATE_ERROR, "no call rings");
    if (typeof peer === "string" && peer !== "" && peer !== call.party) {
      log.warn(`acceptCall: it is ${call.party} that calls`);
    }
    const waiting = call.waiting;
    call.waiting = null;
    if (waiting === "invite") {
      call.phase = "dialling";
      call.flow = this.#flow("offer", audio, video, hold);
      this.#negotiation.offer(call);
      return;
    }
    call.phase = "answering";
    call.flow = this.#flow("answer", audio, video, hold, waiting.sdp);
    this.#negotiation.answer(call, waiting);
  }

  /** The short form: opens the media that the options ask for and accepts. */
  accept(): void {
    void this.#withMedia(() => this.acceptCall());
  }

  rejectCall(peer?: string): void {
    const call = this.#call;
    if (call?.phase !== "ringing") {
      log.error("rejectCall: no call rings");
      return;
    }
    if (peer) call.party = peer;
    this.#hangUp(call, { by: "local", code: 0, reason: "" });
  }

  // ---------------------------------------------------------------- in a call

  /** Puts the call on hold with an OFFER whose media are inactive. */
  holdCall(): void {
    this.#changeHold(true);
  }

  resumeCall(): void {
    this.#changeHold(false);
  }

  #restartIce(call: Call): void {
    if (this.#call === call && call.peer?.needsRestart) this.#negotiation.renegotiate(call, {}, false);
    else call.ice.end();
  }

  /** @internal The browser has another network than before, or one again. */
  networkChanged(): void {
    const call = this.#call;
    if (call?.phase !== "established" || !call.peer) return;
    call.peer.wantRestart();
    call.ice.handleNetwork();
  }

  /** @internal Sound passes, as far as the browser can tell. */
  get mediaFlow(): boolean {
    return this.#call?.phase === "established" && (this.#call.peer?.connected ?? false);
  }

  /** @internal The gateway has forgotten the call. */
  lost(): void {
    const call = this.#call;
    if (!call) return;
    this.#end(call, { by: "error", code: 0, reason: "the connection to the gateway was lost" });
    this.#client.onPeerClosing.fire();
  }

  #changeHold(hold: boolean): void {
    const call = this.#call;
    if (call?.phase === "established") this.#negotiation.renegotiate(call, { hold }, false);
    else log.error(`${hold ? "holdCall" : "resumeCall"}: there is no established call`);
  }

  /** This side has put the call on hold. */
  get heldHere(): boolean {
    return this.#call?.heldHere ?? false;
  }

  /** The far end has put the call on hold. */
  get heldByPeer(): boolean {
    return this.#call?.heldByPeer ?? false;
  }

  /** Mutes (`false`) and unmutes (`true`) what is sent. */
  updateCall(audio: boolean, video: boolean = audio): void {
    this.updateLocalStream(audio, video);
  }

  updateLocalStream(audio: boolean, video: boolean = audio): void {
    for (const track of this.#client.localStream?.getTracks() ?? []) {
      track.enabled = track.kind === "audio" ? audio : video;
    }
  }

  /** @internal Another microphone or camera takes over in the call there is. */
  useStream(stream: MediaStream): void {
    this.#call?.peer?.useStream(stream);
  }

  /** Ends the call; with `sendBye` the far end hears of it. */
  closeSession(sendBye = false): void {
    const call = this.#call;
    if (!call) return;
    const why: EndReason = { by: "local", code: 0, reason: "" };
    if (sendBye) this.#hangUp(call, why);
    else this.#end(call, why);
  }

  terminateCall(): void {
    this.closeSession(true);
  }

  /** 0-9, A-D, `#`, `*` and `,` (a pause). 0 when they are on their way, -1 when they cannot be sent. */
  sendDTMF(tones: string | number, options: { duration?: number; tonegap?: number } = {}): 0 | -1 {
    const dtmf = this.#call?.peer?.audioSender?.dtmf;
    const wanted = String(tones);
    if (!dtmf?.canInsertDTMF || this.#call?.phase !== "established" || !/^[0-9A-D#*,]+$/i.test(wanted)) return -1;
    // insertDTMF replaces what is still waiting to be played.
    dtmf.insertDTMF(dtmf.toneBuffer + wanted, options.duration ?? 100, options.tonegap ?? 50);
    return 0;
  }

  /** User data for the next OFFER or ANSWER. */
  setData(data: DataPair[]): void {
    this.#negotiation.dataOut = Array.isArray(data) ? data.map(({ key, value }) => ({ key: String(key), value: String(value) })) : [];
  }

  /** User data that came with the newest OFFER or ANSWER. */
  getData(): DataPair[] {
    return this.#negotiation.dataIn.map((pair) => ({ ...pair }));
  }

  /** Data for the SIP server (`mapped`) or for the far end. */
  sendInfo(data: Record<string, unknown>, mapped = true): void {
    const call = this.#call;
    if (call) this.#negotiation.send(call, infoBody(data, mapped));
    else log.error("sendInfo: there is no call");
  }

  /** Asks the gateway for its statistics; `onStatsFromServer` brings them. */
  getServerStats(): void {
    const call = this.#call;
    if (call) this.#negotiation.send(call, "GET-STATS");
    else log.error("getServerStats: there is no call");
  }

  /** The browser's own statistics of the call; `null` without one. */
  async getStats(): Promise<RTCStatsReport | null> {
    return (await this.#call?.peer?.getStats()) ?? null;
  }

  // ---------------------------------------------------------------- what comes in

  /** @internal */
  deliver(message: SessionMessage, delivery: Delivery): void {
    const { peer, reason } = delivery;
    const call = this.#call;
    if (call && delivery.callUuid !== "") call.uuid = delivery.callUuid;
    switch (message.type) {
      case "BYE":
        this.peerClosed(reason);
        return;
      case "OFFER":
        if (call && call.phase !== "ringing") this.#negotiation.handleOffer(call, message);
        else this.#ring(delivery, message);
        return;
      case "INVITE":
        if (call?.phase === "established") this.#negotiation.renegotiate(call, {}, false);
        else if (!call || call.phase === "ringing") this.#ring(delivery, "invite");
        else log.warn("an INVITE was ignored: a call is being set up");
        return;
      case "ANSWER":
        if (call) this.#negotiation.handleAnswer(call, message);
        else log.warn("an ANSWER without a call was ignored");
        return;
      case "OK":
        if (call?.phase !== "established" && call?.phase !== "answering") log.warn("an OK without an established call was ignored");
        return;
      case "ERROR":
        this.#client.onGatewayError.fire({ error: message.errorType });
        if (this.#call) this.#negotiation.handleRefused(this.#call);
        return;
      case "TALK":
        this.#talk(call);
        this.#client.onNotifyEvent.fire({ event: "talk", peer });
        return;
      case "HOLD":
        if (call?.phase === "established") this.holdCall();
        else log.warn("EVENT-HOLD without an established call");
        this.#client.onNotifyEvent.fire({ event: "hold", peer });
    }
  }

  #talk(call: Call | null): void {
    if (call?.phase === "ringing") this.acceptCall();
    else if (call?.phase === "established" && call.flow.hold) this.resumeCall();
    else log.warn("EVENT-TALK: nothing rings and nothing is on hold");
  }

  #ring({ peer: party, peerName, divertedFrom, callUuid }: Delivery, waiting: RoapDescription | "invite"): void {
    const again = this.#call?.phase === "ringing" && this.#call.party === party;
    const call = this.#begin(party, "ringing", { audio: true, video: false, hold: false });
    Object.assign(call, { partyName: peerName, divertedFrom, uuid: callUuid, waiting });
    if (waiting !== "invite") {
      call.theirId = waiting.offererSessionId;
      call.seq = waiting.seq;
      this.#negotiation.dataIn = waiting.attachedData;
    }
    this.#client.onCallEvent.fire({ event: waiting === "invite" ? "invite received" : "offer received" });
    if (!again && this.#call === call) this.#client.incoming(this, party, waiting === "invite" ? "invite" : "offer");
  }

  /** @internal The far end, or the gateway, ended the call. */
  peerClosed(reason: string): void {
    const call = this.#call;
    if (!call) return;
    this.#end(call, { by: "remote", code: Number(/^\d{3}/.exec(reason)?.[0] ?? 0), reason: reason.replace(/^\d{3}\s*/, "") });
    this.#client.onPeerClosing.fire();
  }

  // ---------------------------------------------------------------- common parts

  #begin(party: string, phase: Call["phase"], flow: Flow): Call {
    this.#negotiation.dataIn = [];
    const call: Call = {
      party, partyName: "", divertedFrom: "", uuid: "", phase, flow, waiting: null, peer: null, ice: new IceKeeper(() => this.#restartIce(call)), myId: newSessionId(), theirId: null, seq: 0, outstanding: null,
      heldHere: false, heldByPeer: false,
    };
    this.#call = call;
    return call;
  }

  #flow(side: "offer" | "answer", audio?: boolean, video?: boolean, hold?: boolean, remoteSdp?: string): Flow {
    const wishes = this.#client.wishes[side];
    const camera = (this.#client.localStream?.getVideoTracks().length ?? 0) > 0;
    const flow = { audio: audio ?? wishes.audio, video: video ?? wishes.video ?? camera, hold: hold ?? false };
    if (remoteSdp === undefined) return flow;
    return { ...flow, audio: flow.audio && offers(remoteSdp, "audio"), video: flow.video && offers(remoteSdp, "video") };
  }

  #hangUp(call: Call, why: EndReason): void {
    const party = call.party;
    this.#end(call, why);
    this.#client.connection?.send(party, "BYE");
  }

  #end(call: Call, why: EndReason): void {
    if (this.#call !== call) return;
    this.#call = null;
    this.#negotiation.end(call);
    this.emit("end", why);
  }

  async #withMedia(then: () => void): Promise<void> {
    const { audio = true, video = false } = this.#options.constraints ?? {};
    try {
      if (!this.#client.localStream) await this.#client.openMedia(audio, video);
    } catch {
      log.error(`${NOT_READY_ERROR}: no microphone`);
      return;
    }
    try {
      then();
    } catch (thrown) {
      log.error(messageOf(thrown));
    }
  }
}
