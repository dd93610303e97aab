// ROAP messages and the other bodies of the message path, as text and as types.

/** `{key, value}` of `attacheddata`: user data of a call. */
export interface DataPair {
  key: string;
  value: string;
}

export interface RoapCandidate {
  candidate: string;
  sdpMid: string | null;
  sdpMLineIndex: number | null;
  usernameFragment?: string | null;
}

/** The numbers that say which offer a message belongs to. */
export interface RoapIds {
  offererSessionId: number;
  answererSessionId: number | null;
  seq: number;
}

export interface RoapDescription extends RoapIds {
  sdp: string;
  candidates: RoapCandidate[];
  attachedData: DataPair[];
}

/** What the gateway says through `/wait`. */
export type Incoming =
  | ({ type: "OFFER" } & RoapDescription)
  | ({ type: "ANSWER" } & RoapDescription)
  | ({ type: "OK" } & RoapIds)
  | { type: "ERROR"; errorType: string }
  | { type: "BYE" }
  | { type: "INVITE" }
  | { type: "TALK" }
  | { type: "HOLD" }
  | { type: "INFO"; data: Record<string, string> }
  | { type: "STATS"; statistics: unknown }
  | { type: "DIAL"; number: string }
  | { type: "UNKNOWN"; word: string };

/** Never throws: what cannot be understood is `UNKNOWN` with its first word. */
export function parseMessage(body: string): Incoming {
  const word = /^\s*([A-Za-z-]*)/.exec(body)?.[1] ?? "";
  const unknown: Incoming = { type: "UNKNOWN", word: word.slice(0, 20) };
  switch (word) {
    case "BYE":
      return { type: "BYE" };
    case "INVITE":
      return { type: "INVITE" };
    case "EVENT-TALK":
      return { type: "TALK" };
    case "EVENT-HOLD":
      return { type: "HOLD" };
    case "INFO-PEER":
      return { type: "INFO", data: deparam(body.slice(body.indexOf(word) + word.length).trim()) };
    case "DIAL": {
      const number = body.slice(body.indexOf(word) + word.length).trim();
      return number === "" ? unknown : { type: "DIAL", number };
    }
    case "PUT-STATS": {
      const statistics = json(body);
      return statistics ? { type: "STATS", statistics } : unknown;
    }
    case "SDP":
      return roap(json(body)) ?? unknown;
    default:
      return unknown;
  }
}

/** Everything before the first `{` is a prefix. */
function json(body: string): Record<string, unknown> | null {
  const start = body.indexOf("{");
  if (start < 0) return null;
  try {
    const value: unknown = JSON.parse(body.slice(start));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function roap(message: Record<string, unknown> | null): Incoming | null {
  if (!message) return null;
  const { messageType, offererSessionId, answererSessionId, seq, sdp, errorType } = message;
  if (messageType === "ERROR") {
    return { type: "ERROR", errorType: typeof errorType === "string" ? errorType : "FAILED" };
  }
  if (typeof offererSessionId !== "number" || typeof seq !== "number") return null;
  const ids: RoapIds = {
    offererSessionId,
    answererSessionId: typeof answererSessionId === "number" ? answererSessionId : null,
    seq,
  };
  if (messageType === "OK") return { type: "OK", ...ids };
  if ((messageType !== "OFFER" && messageType !== "ANSWER") || typeof sdp !== "string") return null;
  return {
    type: messageType,
    ...ids,
    sdp,
    candidates: candidates(message["Candidates"]),
    attachedData: pairs(message["attacheddata"]),
  };
}

function candidates(list: unknown): RoapCandidate[] {
  if (!Array.isArray(list)) return [];
  const found: RoapCandidate[] = [];
  for (const item of list as unknown[]) {
    if (typeof item !== "object" || item === null) continue;
    const { candidate, sdpMid, sdpMLineIndex } = item as Record<string, unknown>;
    if (typeof candidate !== "string" || candidate === "") continue;
    found.push({
      candidate: candidate.replace(/^a=/, ""),
      sdpMid: typeof sdpMid === "string" ? sdpMid : null,
      sdpMLineIndex: typeof sdpMLineIndex === "number" ? sdpMLineIndex : null,
    });
  }
  return found;
}

function pairs(list: unknown): DataPair[] {
  if (!Array.isArray(list)) return [];
  const found: DataPair[] = [];
  for (const item of list as unknown[]) {
    if (typeof item !== "object" || item === null) continue;
    const { key, value } = item as Record<string, unknown>;
    if (typeof key === "string") found.push({ key, value: value === undefined ? "" : String(value) });
  }
  return found;
}

export function offerBody(
  ids: RoapIds, sdp: string, list: RoapCandidate[], data: readonly DataPair[],
): string {
  const message = { messageType: "OFFER", sdp, Candidates: list, ...ids, tiebreaker: tiebreaker() };
  return `RSMP ${JSON.stringify(data.length ? { ...message, attacheddata: data } : message)}`;
}

export function answerBody(
  ids: RoapIds, sdp: string, list: RoapCandidate[], data: readonly DataPair[],
): string {
  const message = { messageType: "ANSWER", sdp, Candidates: list, ...ids };
  return `RSMP ${JSON.stringify(data.length ? { ...message, attacheddata: data } : message)}`;
}

export function okBody(ids: RoapIds): string {
  return `RSMP ${JSON.stringify({ messageType: "OK", ...ids })}`;
}

export function errorBody(ids: RoapIds, errorType: string): string {
  return `RSMP ${JSON.stringify({ messageType: "ERROR", ...ids, errorType })}`;
}

/** `mapped`: for the SIP server; otherwise for the far end. */
export function infoBody(data: Record<string, unknown>, mapped: boolean): string {
  return `${mapped ? "INFO-MAP" : "INFO-PEER"} ${param(data)}`;
}

/** A session number: any positive one that fits 31 bits. */
export function newSessionId(): number {
  return 1 + (random32() % 0x7ffffffe);
}

/** Random 32 bits, neither 0 nor the maximum: those two are reserved. */
function tiebreaker(): number {
  for (;;) {
    const value = random32();
    if (value !== 0 && value !== 0xffffffff) return value;
  }
}

function random32(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
}

export function param(data: Record<string, unknown>): string {
  return Object.entries(data)
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`)
    .join("&");
}

/** `"a=b&c=d"` (a leading `?` is fine) as an object. */
export function deparam(query: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const part of query.replace(/^\?/, "").split("&")) {
    if (part === "") continue;
    const at = part.indexOf("=");
    const key = decode(at < 0 ? part : part.slice(0, at));
    found[key] = at < 0 ? "" : decode(part.slice(at + 1));
  }
  return found;
}

function decode(text: string): string {
  const spaced = text.replace(/\+/g, " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

/** Candidates go beside the SDP, so that an application can filter them. */
export function withoutCandidates(sdp: string): string {
  return sdp.replace(/^a=(?:candidate:.*|end-of-candidates)\r?\n/gm, "");
}
