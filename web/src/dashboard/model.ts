// What the operations API tells, as types. Read once, at the edge: whatever is missing or odd becomes a value
// that can be shown, so that a newer or older gateway never leaves a blank page.

export interface Agent {
  dn: string;
  /** A guest has its id for a DN, and is registered nowhere. */
  guest: boolean;
  id: string;
  dialect: string;
  /** Unix ms of the sign-in. */
  since: number | null;
  /** Of its call, or `ready`, `absent`, `unregistered`. */
  state: string;
  /** What the SIP server says of the DN. */
  registration: { status: string; reason: string; server: string } | null;
  calls: number;
}

/** A DN whose SIP is traced. */
export interface Traced {
  dn: string;
  /** When it ends by itself. */
  until: number;
}

export interface LogLevel {
  level: string;
  /** What the configuration says. */
  configured: string;
  /** When it goes back to that; `null`: not by itself. */
  until: number | null;
}

export interface Server {
  name: string;
  /** `null` for a name that does not resolve. */
  address: string | null;
  /** Why it does not now; what it stood for before is used. */
  nameFault: string;
  /** `null` while nothing is known of it. */
  up: boolean | null;
  current: boolean;
  rttMs: number | null;
  reason: string;
  since: number | null;
}

export interface LiveCall {
  id: string;
  dn: string;
  remote: string;
  name: string;
  incoming: boolean;
  state: string;
  started: number | null;
  answered: number | null;
  /** Of the worst stream. */
  mos: number | null;
  /** Percent of what was to come from the browser, from the SIP side. */
  browserLoss: number | null;
  sipLoss: number | null;
}

export interface Alert {
  kind: string;
  critical: boolean;
  text: string;
  since: number | null;
  dn: string;
  call: string;
}

export interface HistoryItem {
  /** Counts up. */
  id: number;
  at: number;
  kind: string;
  text: string;
  dn: string;
  call: string;
}

export interface StreamFigures {
  packets: number;
  bytes: number;
  lost: number;
  jitterMs: number;
  mos: number | null;
  worstMos: number | null;
}

export interface LegFigures {
  rttMs: number | null;
  rx: StreamFigures;
  tx: StreamFigures;
}

/** A finished call, or as much of it as is known of one that still runs. */
export interface CallRecord {
  id: string;
  state: string;
  sipCallIds: string[];
  callUuid: string;
  dn: string;
  peer: string;
  peerName: string;
  divertedFrom: string;
  incoming: boolean;
  dialect: string;
  started: number;
  answered: number | null;
  ended: number | null;
  setupMs: number | null;
  talkedMs: number | null;
  endedBy: string;
  code: number;
  reason: string;
  sipReason: string;
  transfer: number | null;
  digits: number;
  holds: number;
  codec: string;
  encrypted: boolean;
  silent: string;
  concealed: number;
  browser: LegFigures;
  sip: LegFigures;
}

export type Side = "browser" | "gateway" | "sip";

export interface Step {
  at: number;
  kind: string;
  direction: "in" | "out" | null;
  from: Side | null;
  to: Side | null;
  title: string;
  detail: Record<string, unknown>;
  body: string | null;
}

export interface QualityPoint {
  at: number;
  browser: QualityLeg;
  sip: QualityLeg;
}

export interface QualityLeg {
  rttMs: number | null;
  rx: { mos: number | null; loss: number | null; jitterMs: number | null };
  tx: { mos: number | null; loss: number | null; jitterMs: number | null };
}

export interface CallStory {
  call: CallRecord;
  timeline: Step[];
  quality: QualityPoint[];
  /** What happened to the DN beside its calls. */
  agent: { at: number; text: string }[];
  /** Lines that the gateway had no room for. */
  leftOut: number;
}

export interface SeriesPoint {
  at: number;
  started: number;
  ended: number;
  failed: number;
  active: number;
  setupP50: number | null;
  setupP95: number | null;
  mos: number | null;
  loss: number | null;
}

export interface Series {
  stepSeconds: number;
  points: SeriesPoint[];
}

// -------------------------------------------------------------------- reading

type Raw = Record<string, unknown>;

export function raw(value: unknown): Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Raw : {};
}

export function listOf<T>(value: unknown, read: (item: Raw) => T): T[] {
  return Array.isArray(value) ? value.map((item) => read(raw(item))) : [];
}

function word(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

function figure(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Unix ms, Unix seconds or RFC 3339, as Unix ms. */
export function moment(value: unknown): number | null {
  if (typeof value === "string") {
    const read = Date.parse(value);
    return Number.isNaN(read) ? null : read;
  }
  const number = figure(value);
  return number === null ? null : number < 1e11 ? number * 1000 : number;
}

export function readAgent(item: Raw): Agent {
  const registration = raw(item["registration"]);
  const { calls } = item;
  return {
    dn: word(item["dn"]), guest: item["guest"] === true, id: word(item["id"]), dialect: word(item["dialect"]), since: moment(item["registered_at"]),
    state: word(item["state"]),
    registration: item["registration"] === null || item["registration"] === undefined ? null
      : { status: word(registration["status"]), reason: word(registration["last_reason"]), server: word(registration["server"]) },
    calls: Array.isArray(calls) ? calls.length : figure(calls) ?? 0,
  };
}

export function readTraced(item: Raw): Traced {
  return { dn: word(item["dn"]), until: moment(item["until"]) ?? 0 };
}

export function readLogLevel(value: unknown): LogLevel {
  const log = raw(value);
  return { level: word(log["level"]), configured: word(log["configured"]), until: moment(log["until"]) };
}

export function readServer(item: Raw): Server {
  return {
    name: word(item["name"]), address: item["address"] === null ? null : word(item["address"]), nameFault: word(item["name_fault"]), up: typeof item["up"] === "boolean" ? item["up"] : null, current: item["current"] === true, rttMs: figure(item["rtt_ms"]),
    reason: word(item["reason"]), since: moment(item["since"]),
  };
}

export function readLiveCall(item: Raw): LiveCall {
  return {
    id: word(item["call_id"]), dn: word(item["dn"]) || word(item["agent_id"]), remote: word(item["remote"]), name: word(item["remote_name"]),
    incoming: /^in/i.test(word(item["direction"])), state: word(item["state"]), started: moment(item["started"]),
    answered: moment(item["answered"]), mos: figure(item["mos"]), browserLoss: figure(item["browser_loss_percent"]),
    sipLoss: figure(item["sip_loss_percent"]),
  };
}

export function readAlert(item: Raw): Alert {
  return { kind: word(item["kind"]), critical: item["severity"] !== "warning", text: word(item["text"]), since: moment(item["since"]), dn: word(item["dn"]), call: word(item["call"]) };
}

export function readHistory(item: Raw): HistoryItem {
  return { id: figure(item["id"]) ?? 0, at: moment(item["at"]) ?? 0, kind: word(item["kind"]), text: word(item["text"]), dn: word(item["dn"]), call: word(item["call"]) };
}

function readStream(item: Raw): StreamFigures {
  return {
    packets: figure(item["packets"]) ?? 0, bytes: figure(item["bytes"]) ?? 0, lost: figure(item["lost"]) ?? 0,
    jitterMs: figure(item["jitter_ms"]) ?? 0, mos: figure(item["mos"]), worstMos: figure(item["mos_worst"]),
  };
}

function readLeg(item: Raw): LegFigures {
  return { rttMs: figure(item["rtt_ms"]), rx: readStream(raw(item["rx"])), tx: readStream(raw(item["tx"])) };
}

export function readRecord(item: Raw): CallRecord {
  const ended = moment(item["ended"]);
  return {
    id: word(item["call"]), state: word(item["state"]) || (ended ? "ended" : ""),
    sipCallIds: Array.isArray(item["sip_call_ids"]) ? item["sip_call_ids"].map(word) : [],
    callUuid: word(item["call_uuid"]), dn: word(item["user"]), peer: word(item["peer"]), peerName: word(item["peer_name"]),
    divertedFrom: word(item["diverted_from"]), incoming: item["incoming"] === true, dialect: word(item["dialect"]),
    started: moment(item["started"]) ?? 0, answered: moment(item["answered"]), ended: ended === 0 ? null : ended,
    setupMs: figure(item["setup_ms"]), talkedMs: figure(item["talked_ms"]), endedBy: word(item["ended_by"]),
    code: figure(item["code"]) ?? 0, reason: word(item["reason"]), sipReason: word(item["sip_reason"]),
    transfer: figure(item["transfer"]), digits: figure(item["digits"]) ?? 0, holds: figure(item["holds"]) ?? 0,
    codec: word(item["codec"]), encrypted: item["sip_encrypted"] === true, silent: word(item["silent"]),
    concealed: figure(item["concealed"]) ?? 0, browser: readLeg(raw(item["browser"])), sip: readLeg(raw(item["sip"])),
  };
}

function side(value: unknown): Side | null {
  return value === "browser" || value === "gateway" || value === "sip" ? value : null;
}

function readStep(item: Raw): Step {
  const { direction, body } = item;
  return {
    at: moment(item["at"]) ?? 0, kind: word(item["kind"]), direction: direction === "in" || direction === "out" ? direction : null,
    from: side(item["from"]), to: side(item["to"]), title: word(item["title"]), detail: raw(item["detail"]),
    body: typeof body === "string" && body !== "" ? body : null,
  };
}

function readQualityLeg(item: Raw): QualityLeg {
  const stream = (of: Raw) => ({ mos: figure(of["mos"]), loss: figure(of["loss_percent"]), jitterMs: figure(of["jitter_ms"]) });
  return { rttMs: figure(item["rtt_ms"]), rx: stream(raw(item["rx"])), tx: stream(raw(item["tx"])) };
}

export function readStory(value: unknown): CallStory {
  const story = raw(value);
  return {
    call: readRecord(raw(story["call"])),
    timeline: listOf(story["timeline"], readStep),
    agent: listOf(story["agent"], (item) => ({ at: moment(item["at"]) ?? 0, text: word(item["text"]) })),
    leftOut: figure(story["left_out"]) ?? 0,
    quality: listOf(story["quality"], (item) => ({
      at: moment(item["at"]) ?? 0, browser: readQualityLeg(raw(item["browser"])), sip: readQualityLeg(raw(item["sip"])),
    })),
  };
}

export function readSeries(value: unknown): Series {
  const series = raw(value);
  return {
    stepSeconds: figure(series["step_seconds"]) ?? 60,
    points: listOf(series["points"], (item) => ({
      at: moment(item["at"]) ?? 0, started: figure(item["calls_started"]) ?? 0, ended: figure(item["calls_ended"]) ?? 0,
      failed: figure(item["failed"]) ?? 0, active: figure(item["active"]) ?? 0, setupP50: figure(item["setup_p50_ms"]),
      setupP95: figure(item["setup_p95_ms"]), mos: figure(item["mos"]), loss: figure(item["loss_percent"]),
    })),
  };
}
