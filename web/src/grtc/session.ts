import type { Call, EndReason, Outstanding, SessionOptions } from "./call";
import type { Client } from "./client";
import type { Delivery } from "./connection";
import { GrtcError, INVALID_STATE_ERROR, messageOf, NOT_READY_ERROR } from "./errors";
import { Emitter, Event } from "./events";
import { log } from "./logger";
import { IceKeeper } from "./ice_keeper";
import { Peer, type Flow, type PeerOptions } from "./peer";
import {
  answerBody, errorBody, infoBody, newSessionId, offerBody, okBody,
  type DataPair, type Incoming, type RoapDescription, type RoapIds,
} from "./roap";
import { holdsUs, offers } from "./sdp";

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
  #call: Call | null = null;
  /** Steps of the negotiation, one after the other. */
  #steps: Promise<void> = Promise.resolve();
  #dataOut: DataPair[] = [];
  #dataIn: DataPair[] = [];

  constructor(client: Client, options: SessionOptions = {}) {
    super();
    this.#client = client;
    this.#options = options;
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
      this.#renegotiate(call, { audio, video, hold }, this.#client.renewSession);
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
    this.#step(started, () => this.#firstOffer(started));
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

  async #firstOffer(call: Call): Promise<void> {
    const peer = await this.#newPeer(call);
    if (!peer) return;
    call.peer = peer;
    await this.#sendOffer(call, peer, true, false, call);
  }

  /** Renegotiates: hold, resume, other media, ICE restart, a whole new peer connection. */
  #renegotiate(call: Call, wish: { audio?: boolean | undefined; video?: boolean | undefined; hold?: boolean | undefined }, renew: boolean): void {
    this.#step(call, async () => {
      if (call.outstanding) {
        log.warn("an offer is on its way already");
        return;
      }
      const { myId, theirId, seq, flow } = call;
      const before = { myId, theirId, seq, flow };
      call.flow = {
        audio: wish.audio ?? call.flow.audio,
        video: wish.video ?? call.flow.video,
        hold: wish.hold ?? call.flow.hold,
      };
      const wait = !this.#client.settings.iceOptimization;
      if (renew) {
        const peer = await this.#newPeer(call);
        if (!peer) return;
        // The old connection carries the call until the answer to this offer is there.
        call.myId = newSessionId();
        call.theirId = null;
        call.seq = 0;
        await this.#sendOffer(call, peer, wait, false, before);
      } else if (call.peer) {
        const restart = call.peer.needsRestart;
        await this.#sendOffer(call, call.peer, wait || restart, restart, before);
        if (restart && this.#call === call) call.ice.handleRestart();
      }
    });
  }

  async #sendOffer(call: Call, peer: Peer, wait: boolean, iceRestart: boolean, before: Outstanding["before"]): Promise<void> {
    peer.prepareOffer(this.#client.localStream, call.flow);
    const { sdp, candidates } = await peer.offer(iceRestart, wait);
    if (this.#call !== call) {
      peer.close();
      return;
    }
    call.seq += 1;
    const ids: RoapIds = { offererSessionId: call.myId, answererSessionId: call.theirId, seq: call.seq };
    const timer = setTimeout(() => this.#noAnswer(call), this.#client.settings.noanswerTimeout);
    const outstanding: Outstanding = { ids, peer, timer, before };
    call.outstanding = outstanding;
    const list = this.#client.filterIceCandidates(candidates);
    this.#send(call, offerBody(ids, sdp, list, this.#dataOut), () => call.outstanding === outstanding, true);
    this.emit("offer", sdp);
    this.#client.onCallEvent.fire({ event: "offer sent" });
  }

  #noAnswer(call: Call): void {
    const outstanding = call.outstanding;
    if (this.#call !== call || !outstanding) return;
    this.#settle(call);
    this.#client.onPeerNoanswer.fire();
    if (this.#call !== call) return;
    if (call.phase === "established") this.#takeBack(call, outstanding);
    else this.#hangUp(call, { by: "noanswer", code: 0, reason: "" });
  }

  /** Our offer in an established call came to nothing: on with what was agreed before. */
  #takeBack(call: Call, { peer, before }: Outstanding): void {
    if (peer !== call.peer) peer.close();
    this.#step(call, async () => {
      const { myId, theirId, flow } = before;
      // The sequence number is used up, unless a renewal counted from 1 again.
      Object.assign(call, { myId, theirId, flow, seq: myId === call.myId ? call.seq : before.seq });
      await call.peer?.rollback();
    });
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
      this.#step(call, () => this.#firstOffer(call));
      return;
    }
    call.phase = "answering";
    call.flow = this.#flow("answer", audio, video, hold, waiting.sdp);
    this.#step(call, async () => {
      const newPeer = await this.#newPeer(call);
      if (!newPeer) return;
      call.peer = newPeer;
      await newPeer.takeOffer(waiting.sdp, waiting.candidates);
      await this.#sendAnswer(call, newPeer, waiting, true);
      if (this.#call !== call) return;
      call.phase = "established";
      this.#showHold(call);
    });
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

  async #sendAnswer(call: Call, peer: Peer, offer: RoapDescription, wait: boolean): Promise<void> {
    const { sdp, candidates } = await peer.answer(this.#client.localStream, call.flow, wait);
    if (this.#call !== call) return;
    const ids: RoapIds = { offererSessionId: offer.offererSessionId, answererSessionId: call.myId, seq: offer.seq };
    const list = this.#client.filterIceCandidates(candidates);
    this.#send(call, answerBody(ids, sdp, list, this.#dataOut), () => this.#call === call, true);
    this.emit("answer", sdp);
    this.#client.onCallEvent.fire({ event: "answer sent" });
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
    if (this.#call === call && call.peer?.needsRestart) this.#renegotiate(call, {}, false);
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
    if (call?.phase === "established") this.#renegotiate(call, { hold }, false);
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
    this.#dataOut = Array.isArray(data) ? data.map(({ key, value }) => ({ key: String(key), value: String(value) })) : [];
  }

  /** User data that came with the newest OFFER or ANSWER. */
  getData(): DataPair[] {
    return this.#dataIn.map((pair) => ({ ...pair }));
  }

  /** Data for the SIP server (`mapped`) or for the far end. */
  sendInfo(data: Record<string, unknown>, mapped = true): void {
    const call = this.#call;
    if (call) this.#send(call, infoBody(data, mapped));
    else log.error("sendInfo: there is no call");
  }

  /** Asks the gateway for its statistics; `onStatsFromServer` brings them. */
  getServerStats(): void {
    const call = this.#call;
    if (call) this.#send(call, "GET-STATS");
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
        if (call && call.phase !== "ringing") this.#step(call, () => this.#answerOffer(call, message));
        else this.#ring(delivery, message);
        return;
      case "INVITE":
        if (call?.phase === "established") this.#renegotiate(call, {}, false);
        else if (!call || call.phase === "ringing") this.#ring(delivery, "invite");
        else log.warn("an INVITE was ignored: a call is being set up");
        return;
      case "ANSWER":
        if (call) this.#step(call, () => this.#takeAnswer(call, message));
        else log.warn("an ANSWER without a call was ignored");
        return;
      case "OK":
        if (call?.phase !== "established" && call?.phase !== "answering") log.warn("an OK without an established call was ignored");
        return;
      case "ERROR":
        this.#client.onGatewayError.fire({ error: message.errorType });
        this.messageRefused();
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
      this.#dataIn = waiting.attachedData;
    }
    this.#client.onCallEvent.fire({ event: waiting === "invite" ? "invite received" : "offer received" });
    if (!again && this.#call === call) this.#client.incoming(this, party, waiting === "invite" ? "invite" : "offer");
  }

  /** An OFFER in a call: the gateway renegotiates. */
  async #answerOffer(call: Call, offer: RoapDescription): Promise<void> {
    if (call.outstanding || !call.peer) {
      log.warn("an OFFER was ignored: one of ours is outstanding");
      return;
    }
    call.seq = Math.max(call.seq, offer.seq);
    call.theirId = offer.offererSessionId;
    this.#dataIn = offer.attachedData;
    this.#client.onCallEvent.fire({ event: "offer received" });
    try {
      await call.peer.takeOffer(offer.sdp, offer.candidates);
    } catch (thrown) {
      const ids = { offererSessionId: offer.offererSessionId, answererSessionId: call.myId, seq: offer.seq };
      this.#send(call, errorBody(ids, "FAILED"));
      throw thrown;
    }
    await this.#sendAnswer(call, call.peer, offer, !this.#client.settings.iceOptimization);
    if (this.#call === call) this.#showHold(call);
  }

  async #takeAnswer(call: Call, answer: RoapDescription): Promise<void> {
    const outstanding = call.outstanding;
    if (!outstanding || outstanding.ids.offererSessionId !== answer.offererSessionId || outstanding.ids.seq !== answer.seq) {
      log.error("an ANSWER that belongs to no offer of ours was ignored");
      return;
    }
    this.#settle(call);
    const ids: RoapIds = {
      offererSessionId: answer.offererSessionId, answererSessionId: answer.answererSessionId, seq: answer.seq,
    };
    try {
      await outstanding.peer.takeAnswer(answer.sdp, answer.candidates);
    } catch (thrown) {
      if (this.#call !== call) return;
      this.#send(call, errorBody(ids, "FAILED"));
      if (outstanding.peer !== call.peer) outstanding.peer.close();
      throw thrown;
    }
    if (this.#call !== call) return;
    if (outstanding.peer !== call.peer) {
      call.peer?.close();
      call.peer = outstanding.peer;
    }
    call.theirId = answer.answererSessionId;
    call.phase = "established";
    if (answer.attachedData.length > 0) this.#dataIn = answer.attachedData;
    this.#send(call, okBody(ids));
    this.emit("answer", answer.sdp);
    this.#client.onCallEvent.fire({ event: "answer received" });
    if (this.#call === call) this.#showHold(call);
  }

  /** @internal The far end, or the gateway, ended the call. */
  peerClosed(reason: string): void {
    const call = this.#call;
    if (!call) return;
    this.#end(call, { by: "remote", code: Number(/^\d{3}/.exec(reason)?.[0] ?? 0), reason: reason.replace(/^\d{3}\s*/, "") });
    this.#client.onPeerClosing.fire();
  }

  /** @internal The gateway could not use our last message. */
  messageRefused(): void {
    const call = this.#call;
    if (!call) return;
    const outstanding = call.outstanding;
    if (outstanding && call.phase === "established") {
      this.#settle(call);
      this.#takeBack(call, outstanding);
    } else if (outstanding || call.phase === "answering") {
      this.#hangUp(call, { by: "error", code: 0, reason: "the gateway could not use our description" });
    }
  }

  // ---------------------------------------------------------------- common parts

  #begin(party: string, phase: Call["phase"], flow: Flow): Call {
    this.#dataIn = [];
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

  /** With the servers that the page has configured, or else with those of the gateway. */
  async #peerOptions(): Promise<PeerOptions> {
    const { iceServers, iceTimeout, useRsaCertificate } = this.#client.settings;
    const options = { iceServers, iceTimeout, useRsaCertificate, videoBandwidth: this.#client.videoBandwidth };
    if (iceServers.length > 0) return options;
    const offered = await this.#client.connection?.iceServers.get() ?? [];
    // A gateway that hands them out is found from wherever we are: it need not hear of a relay before it answers.
    return offered.length > 0 ? { ...options, iceServers: offered, iceTimeout: 0 } : options;
  }

  async #newPeer(call: Call): Promise<Peer | null> {
    const options = await this.#peerOptions();
    if (this.#call !== call) return null;
    const peer = await Peer.create(options, {
      onStream: (stream) => {
        if (this.#call !== call) return;
        this.onRemoteStream.fire({ stream });
        this.emit("stream", stream);
      },
      onIceLost: (state) => {
        if (this.#call === call && call.peer === peer) this.#client.onIceDisconnected.fire({ state });
      },
      onIceState: (state) => {
        if (this.#call === call && call.peer === peer && call.phase === "established") call.ice.handleState(state);
      },
    });
    if (this.#call === call) return peer;
    peer.close();
    return null;
  }

  /** Runs a step of the negotiation after the ones before it, unless the call is over by then. */
  #step(call: Call, step: () => Promise<void>): void {
    this.#steps = this.#steps.then(async () => {
      if (this.#call !== call) return;
      try {
        await step();
      } catch (thrown) {
        if (this.#call !== call) return;
        this.#client.onWebrtcError.fire({ error: messageOf(thrown) });
        if (this.#call === call && call.phase !== "established") {
          this.#hangUp(call, { by: "error", code: 0, reason: messageOf(thrown) });
        }
      }
    });
  }

  #settle(call: Call): void {
    if (call.outstanding) clearTimeout(call.outstanding.timer);
    call.outstanding = null;
  }

  #showHold(call: Call): void {
    const heldHere = call.flow.hold;
    const heldByPeer = !heldHere && holdsUs(call.peer?.remoteSdp ?? "");
    if (heldHere === call.heldHere && heldByPeer === call.heldByPeer) return;
    Object.assign(call, { heldHere, heldByPeer });
    this.onSessionHold.fire(heldHere || heldByPeer);
  }

  #send(call: Call, body: string, wanted: () => boolean = () => this.#call === call, description = false): void {
    const refused = (status: number, message: string) => {
      log.error(`the gateway refused a message with ${status}: ${message}`);
      if (!wanted()) return;
      this.#client.onGatewayError.fire({ error: message || `the gateway answered ${status}` });
      if (description && wanted()) this.messageRefused();
    };
    this.#client.connection?.send(call.party, body, { wanted, refused });
  }

  #hangUp(call: Call, why: EndReason): void {
    const party = call.party;
    this.#end(call, why);
    this.#client.connection?.send(party, "BYE");
  }

  #end(call: Call, why: EndReason): void {
    if (this.#call !== call) return;
    const renewed = call.outstanding?.peer;
    this.#settle(call);
    call.ice.end();
    this.#call = null;
    renewed?.close();
    call.peer?.close();
    this.#dataOut = [];
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
