import type { MediaWish } from "./client";
import type { IceKeeper } from "./ice_keeper";
import type { Flow, Peer } from "./peer";
import type { RoapDescription, RoapIds } from "./roap";

/** Options of the short form. */
export interface SessionOptions {
  destination?: string | number;
  constraints?: { audio?: MediaWish; video?: MediaWish };
}

/** Why a call ended. */
export interface EndReason {
  /** Who ended it: this page, the far end, or a fault. */
  by: "local" | "remote" | "noanswer" | "error";
  /** SIP status where the gateway tells, otherwise 0. */
  code: number;
  reason: string;
}

/** An offer of ours that has no answer yet. */
export interface Outstanding {
  ids: RoapIds;
  peer: Peer;
  timer: ReturnType<typeof setTimeout>;
  /** What to go back to when nothing comes of it. */
  before: Pick<Call, "myId" | "theirId" | "seq" | "flow">;
}

/** Everything that lives as long as one call. */
export interface Call {
  /** DN or number of the other party. */
  party: string;
  /** The caller's display name, `""` where none is known. */
  partyName: string;
  /** Whom the caller had dialled before, `""` where nobody diverted the call. */
  divertedFrom: string;
  /** `""` where none is known. */
  uuid: string;
  phase: "dialling" | "ringing" | "answering" | "established";
  /** What rings: an offer to be answered, or an INVITE without one, which our offer answers. */
  waiting: RoapDescription | "invite" | null;
  peer: Peer | null;
  ice: IceKeeper;
  myId: number;
  theirId: number | null;
  seq: number;
  outstanding: Outstanding | null;
  flow: Flow;
  /** As agreed with the gateway; `flow` is what we ask for. */
  heldHere: boolean;
  heldByPeer: boolean;
}
