// A timeline as the rows of a ladder: which lanes an entry joins, how it is drawn, who holds meanwhile. Pure.

import { span } from "./format";
import type { Side, Step } from "./model";

/** How a row is drawn: a message between two lanes, a mark on a stretch, a line across, a pause. */
export type Shape = "arrow" | "mark" | "band" | "gap";

export type Tone = "plain" | "reply" | "good" | "bad" | "quiet";

export interface Row {
  key: string;
  shape: Shape;
  /** Lanes 0 (browser), 1 (gateway), 2 (SIP); of a mark on one lane both are the same. */
  from: number;
  to: number;
  kind: string;
  tone: Tone;
  label: string;
  /** ms since the call began, and since the row before. */
  after: number;
  since: number;
  held: { browser: boolean; sip: boolean };
  step: Step | null;
}

/** A longer silence in the ladder gets a row that says so. */
const GAP_MS = 5000;

/** A message that waited longer for a poll is worth a word. */
const SLOW_MS = 200;

const LANE: Record<Side, number> = { browser: 0, gateway: 1, sip: 2 };

/** Rows whose kind `hidden` has are left out; what they mean for holds counts nevertheless. */
export function ladder(timeline: readonly Step[], started: number, hidden: ReadonlySet<string>): Row[] {
  const steps = timeline.map((step, index) => ({ step, index })).sort((a, b) => a.step.at - b.step.at || a.index - b.index);
  const held = { browser: false, sip: false };
  const rows: Row[] = [];
  const lastFetched = steps.reduce((last, { step }, order) => step.kind === "http" && step.direction === "out" && step.detail["fetched"] !== false ? order : last, -1);
  let before: number | null = null;
  for (const [order, { step, index }] of steps.entries()) {
    if (step.kind === "hold") {
      const { by, on } = holdOf(step);
      held[by] = on;
    }
    if (step.kind === "end") held.browser = held.sip = false;
    if (hidden.has(groupOf(step.kind))) continue;
    const since = before === null ? 0 : step.at - before;
    if (since >= GAP_MS) {
      rows.push({
        key: `gap-${index}`, shape: "gap", from: 0, to: 2, kind: "gap", tone: "quiet", label: `${span(since)} later`, after: step.at - started,
        since, held: { ...(rows.at(-1)?.held ?? held) }, step: null,
      });
    }
    before = step.at;
    const { shape, from, to } = place(step);
    rows.push({
      key: `${index}`, shape, from, to, kind: step.kind, tone: toneOf(step), label: label(step, order < lastFetched), after: step.at - started, since,
      held: { ...held }, step,
    });
  }
  return rows;
}

export type Group = "http" | "sip" | "media" | "call";

/** What the filter above the ladder switches together. */
export function groupOf(kind: string): Group {
  switch (kind) {
    case "http":
    case "sip":
      return kind;
    case "ice":
    case "dtls":
    case "rtp":
    case "media":
    case "dtmf":
      return "media";
    default:
      return "call";
  }
}

function place(step: Step): { shape: Shape; from: number; to: number } {
  if (step.from !== null && step.to !== null && step.from !== step.to && (step.kind === "http" || step.kind === "sip" || step.kind === "dtmf")) {
    return { shape: "arrow", from: LANE[step.from], to: LANE[step.to] };
  }
  switch (step.kind) {
    case "http":
      return step.direction === "out" ? { shape: "arrow", from: 1, to: 0 } : { shape: "arrow", from: 0, to: 1 };
    case "sip":
      return step.direction === "out" ? { shape: "arrow", from: 1, to: 2 } : { shape: "arrow", from: 2, to: 1 };
    case "ice":
    case "dtls":
      return { shape: "mark", from: 0, to: 1 };
    case "rtp":
    case "media":
    case "dtmf":
      return step.from === "sip" || step.to === "sip" ? { shape: "mark", from: 1, to: 2 } : { shape: "mark", from: 0, to: 1 };
    case "hold":
      return holdOf(step).by === "browser" ? { shape: "mark", from: 0, to: 1 } : { shape: "mark", from: 1, to: 2 };
    default:
      return { shape: "band", from: 0, to: 2 };
  }
}

function holdOf(step: Step): { by: "browser" | "sip"; on: boolean } {
  const { detail } = step;
  const by = step.from === "sip" || detail["by"] === "sip" || detail["by_browser"] === false ? "sip" : "browser";
  const on = typeof detail["held"] === "boolean" ? detail["held"] : !/resum|retriev|off hold|no longer/i.test(step.title);
  return { by, on };
}

/** `180 Ringing` of `180 Ringing (INVITE)`: of other requests the method is worth its room. */
export function short(title: string): string {
  return title.replace(/^SIP\/2\.0 /, "").replace(/ \(INVITE\)$/, "");
}

/** What is said, and what of the details one wants to see at once. */
function label({ kind, title, detail }: Step, fetchedAfter: boolean): string {
  const words = short(title) || kind.toUpperCase();
  const text = (name: string) => typeof detail[name] === "string" ? detail[name] : null;
  switch (kind) {
    case "http":
      if (text("fault") !== null) return `${words}: ${text("fault")}`;
      // One that a later message has taken the place of was not missed.
      if (detail["fetched"] === false && !fetchedAfter) return `${words}, not fetched`;
      return typeof detail["waited_ms"] === "number" && detail["waited_ms"] >= SLOW_MS ? `${words}, waited ${span(detail["waited_ms"])}` : words;
    case "ice":
    case "rtp":
      return text("remote") === null ? words : `${words}, ${text("remote")}`;
    case "dtls":
      return text("profile") === null ? words : `${words}, ${text("profile")}`;
    case "dtmf":
      return typeof detail["digits"] === "number" ? `${words}, ${detail["digits"]} ${detail["digits"] === 1 ? "digit" : "digits"}` : words;
    default:
      return words;
  }
}

function toneOf(step: Step): Tone {
  if (step.kind === "http") return typeof step.detail["fault"] === "string" ? "bad" : "plain";
  if (step.kind === "end") return step.detail["ended_by"] === "gateway" || step.detail["ended_by"] === "network" ? "bad" : "plain";
  const status = /^(?:SIP\/2\.0 )?([1-6])\d\d\b/.exec(step.title)?.[1];
  if (step.kind === "sip" && status !== undefined) return status >= "4" ? challenge(step.title) ? "reply" : "bad" : "reply";
  if (/fail|lost|error|mismatch|timed? ?out|no rtp|refus/i.test(step.title)) return "bad";
  switch (step.kind) {
    case "ice":
    case "dtls":
    case "rtp":
    case "media":
      return "good";
    default:
      return "plain";
  }
}

/** 401 and 407 are how digest begins, not how it fails. */
function challenge(title: string): boolean {
  return /\b40[17]\b/.test(title);
}
