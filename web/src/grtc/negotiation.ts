import type { Call, EndReason, Outstanding } from "./call";
import type { Client } from "./client";
import { messageOf } from "./errors";
import { log } from "./logger";
import { Peer, type PeerOptions } from "./peer";
import {
  answerBody, errorBody, newSessionId, offerBody, okBody, type DataPair, type RoapDescription, type RoapIds,
} from "./roap";
import { holdsUs } from "./sdp";

/** Whose calls are negotiated. */
export interface CallOwner {
  /** It goes on: what was begun for another one comes to nothing. */
  has(call: Call): boolean;
  hangUp(call: Call, why: EndReason): void;
  onOfferSent(sdp: string): void;
  /** The answer of either side. */
  onAnswer(sdp: string): void;
  onStream(stream: MediaStream): void;
  onHold(held: boolean): void;
}

/** What a renegotiation changes; what is not named stays. */
export interface FlowWish {
  audio?: boolean | undefined;
  video?: boolean | undefined;
  hold?: boolean | undefined;
}

/** OFFER and ANSWER of the calls of one session, one step after the other. */
export class Negotiation {
  /** User data for the next OFFER or ANSWER. */
  dataOut: DataPair[] = [];
  /** User data that came with the newest one. */
  dataIn: DataPair[] = [];

  readonly #client: Client;
  readonly #owner: CallOwner;
  #steps: Promise<void> = Promise.resolve();

  constructor(client: Client, owner: CallOwner) {
    this.#client = client;
    this.#owner = owner;
  }

  // ---------------------------------------------------------------- ours

  /** The first OFFER: we call, or the INVITE had none. */
  offer(call: Call): void {
    this.#step(call, () => this.#firstOffer(call));
  }

  async #firstOffer(call: Call): Promise<void> {
    const peer = await this.#newPeer(call);
    if (!peer) return;
    call.peer = peer;
    await this.#sendOffer(call, peer, true, false, call);
  }

  /** Renegotiates: hold, resume, other media, ICE restart, a whole new peer connection. */
  renegotiate(call: Call, wish: FlowWish, renew: boolean): void {
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
        if (restart && this.#owner.has(call)) call.ice.handleRestart();
      }
    });
  }

  async #sendOffer(call: Call, peer: Peer, wait: boolean, iceRestart: boolean, before: Outstanding["before"]): Promise<void> {
    peer.prepareOffer(this.#client.localStream, call.flow);
    const { sdp, candidates } = await peer.offer(iceRestart, wait);
    if (!this.#owner.has(call)) {
      peer.close();
      return;
    }
    call.seq += 1;
    const ids: RoapIds = { offererSessionId: call.myId, answererSessionId: call.theirId, seq: call.seq };
    const timer = setTimeout(() => this.#noAnswer(call), this.#client.settings.noanswerTimeout);
    const outstanding: Outstanding = { ids, peer, timer, before };
    call.outstanding = outstanding;
    const list = this.#client.filterIceCandidates(candidates);
    this.send(call, offerBody(ids, sdp, list, this.dataOut), () => call.outstanding === outstanding, true);
    this.#owner.onOfferSent(sdp);
    this.#client.onCallEvent.fire({ event: "offer sent" });
  }

  #noAnswer(call: Call): void {
    const outstanding = call.outstanding;
    if (!this.#owner.has(call) || !outstanding) return;
    this.#settle(call);
    this.#client.onPeerNoanswer.fire();
    if (!this.#owner.has(call)) return;
    if (call.phase === "established") this.#takeBack(call, outstanding);
    else this.#owner.hangUp(call, { by: "noanswer", code: 0, reason: "" });
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

  /** The gateway could not use our last message. */
  handleRefused(call: Call): void {
    const outstanding = call.outstanding;
    if (outstanding && call.phase === "established") {
      this.#settle(call);
      this.#takeBack(call, outstanding);
    } else if (outstanding || call.phase === "answering") {
      this.#owner.hangUp(call, { by: "error", code: 0, reason: "the gateway could not use our description" });
    }
  }

  // ---------------------------------------------------------------- theirs

  /** The first ANSWER, to the OFFER of a call that rang. */
  answer(call: Call, offer: RoapDescription): void {
    this.#step(call, async () => {
      const newPeer = await this.#newPeer(call);
      if (!newPeer) return;
      call.peer = newPeer;
      await newPeer.takeOffer(offer.sdp, offer.candidates);
      await this.#sendAnswer(call, newPeer, offer, true);
      if (!this.#owner.has(call)) return;
      call.phase = "established";
      this.#showHold(call);
    });
  }

  /** An OFFER in a call: the gateway renegotiates. */
  handleOffer(call: Call, offer: RoapDescription): void {
    this.#step(call, () => this.#answerOffer(call, offer));
  }

  handleAnswer(call: Call, answer: RoapDescription): void {
    this.#step(call, () => this.#takeAnswer(call, answer));
  }

  async #answerOffer(call: Call, offer: RoapDescription): Promise<void> {
    if (call.outstanding || !call.peer) {
      log.warn("an OFFER was ignored: one of ours is outstanding");
      return;
    }
    call.seq = Math.max(call.seq, offer.seq);
    call.theirId = offer.offererSessionId;
    this.dataIn = offer.attachedData;
    this.#client.onCallEvent.fire({ event: "offer received" });
    try {
      await call.peer.takeOffer(offer.sdp, offer.candidates);
    } catch (thrown) {
      const ids = { offererSessionId: offer.offererSessionId, answererSessionId: call.myId, seq: offer.seq };
      this.send(call, errorBody(ids, "FAILED"));
      throw thrown;
    }
    await this.#sendAnswer(call, call.peer, offer, !this.#client.settings.iceOptimization);
    if (this.#owner.has(call)) this.#showHold(call);
  }

  async #sendAnswer(call: Call, peer: Peer, offer: RoapDescription, wait: boolean): Promise<void> {
    const { sdp, candidates } = await peer.answer(this.#client.localStream, call.flow, wait);
    if (!this.#owner.has(call)) return;
    const ids: RoapIds = { offererSessionId: offer.offererSessionId, answererSessionId: call.myId, seq: offer.seq };
    const list = this.#client.filterIceCandidates(candidates);
    this.send(call, answerBody(ids, sdp, list, this.dataOut), () => this.#owner.has(call), true);
    this.#owner.onAnswer(sdp);
    this.#client.onCallEvent.fire({ event: "answer sent" });
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
      if (!this.#owner.has(call)) return;
      this.send(call, errorBody(ids, "FAILED"));
      if (outstanding.peer !== call.peer) outstanding.peer.close();
      throw thrown;
    }
    if (!this.#owner.has(call)) return;
    if (outstanding.peer !== call.peer) {
      call.peer?.close();
      call.peer = outstanding.peer;
    }
    call.theirId = answer.answererSessionId;
    call.phase = "established";
    if (answer.attachedData.length > 0) this.dataIn = answer.attachedData;
    this.send(call, okBody(ids));
    this.#owner.onAnswer(answer.sdp);
    this.#client.onCallEvent.fire({ event: "answer received" });
    if (this.#owner.has(call)) this.#showHold(call);
  }

  // ---------------------------------------------------------------- common parts

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
    if (!this.#owner.has(call)) return null;
    const peer = await Peer.create(options, {
      onStream: (stream) => {
        if (!this.#owner.has(call)) return;
        this.#owner.onStream(stream);
      },
      onIceLost: (state) => {
        if (this.#owner.has(call) && call.peer === peer) this.#client.onIceDisconnected.fire({ state });
      },
      onIceState: (state) => {
        if (this.#owner.has(call) && call.peer === peer && call.phase === "established") call.ice.handleState(state);
      },
    });
    if (this.#owner.has(call)) return peer;
    peer.close();
    return null;
  }

  /** Runs a step of the negotiation after the ones before it, unless the call is over by then. */
  #step(call: Call, step: () => Promise<void>): void {
    this.#steps = this.#steps.then(async () => {
      if (!this.#owner.has(call)) return;
      try {
        await step();
      } catch (thrown) {
        if (!this.#owner.has(call)) return;
        this.#client.onWebrtcError.fire({ error: messageOf(thrown) });
        if (this.#owner.has(call) && call.phase !== "established") {
          this.#owner.hangUp(call, { by: "error", code: 0, reason: messageOf(thrown) });
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
    this.#owner.onHold(heldHere || heldByPeer);
  }

  send(call: Call, body: string, wanted: () => boolean = () => this.#owner.has(call), description = false): void {
    const refused = (status: number, message: string) => {
      log.error(`the gateway refused a message with ${status}: ${message}`);
      if (!wanted()) return;
      this.#client.onGatewayError.fire({ error: message || `the gateway answered ${status}` });
      if (description && wanted()) this.handleRefused(call);
    };
    this.#client.connection?.send(call.party, body, { wanted, refused });
  }

  /** Lets go of all that the call had. */
  end(call: Call): void {
    const renewed = call.outstanding?.peer;
    this.#settle(call);
    call.ice.end();
    renewed?.close();
    call.peer?.close();
    this.dataOut = [];
  }
}
