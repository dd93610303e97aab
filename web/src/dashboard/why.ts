// The first look: one sentence that says how a call went and whose doing its end was, what each end said, and
// what in its timeline explains a fault.

import { party, span, stateWord } from "./format";
import { short } from "./ladder";
import type { CallRecord, CallStory, Step } from "./model";

export type Verdict = "live" | "good" | "fault";

export interface Why {
  verdict: Verdict;
  sentence: string;
  /** What each end said last, in its own words. */
  ends: { side: string; said: string }[];
  /** What is wrong, and what to look at; the worst first. */
  findings: string[];
}

/** ITU-T Q.850, the causes that voice engineers meet in a Reason header. */
const CAUSES: Record<number, string> = {
  1: "unallocated number", 3: "no route to destination", 16: "normal clearing", 17: "user busy", 18: "no user responding",
  19: "no answer from user", 20: "subscriber absent", 21: "call rejected", 22: "number changed", 26: "answered elsewhere",
  27: "destination out of order", 28: "invalid number format", 31: "normal, unspecified", 34: "no circuit available",
  38: "network out of order", 41: "temporary failure", 42: "switching equipment congestion", 47: "resource unavailable",
  58: "bearer capability not available", 65: "bearer capability not implemented", 79: "service not implemented",
  88: "incompatible destination", 102: "timer expired", 127: "interworking, unspecified",
};

/** `Q.850;cause=17` with its meaning, where it does not say that itself. */
export function reasonHeader(value: string): string {
  if (/text="[^"]/i.test(value)) return value;
  const cause = Number(/cause\s*=\s*(\d+)/i.exec(value)?.[1] ?? NaN);
  const meaning = /^\s*Q\.850/i.test(value) ? CAUSES[cause] : undefined;
  return meaning === undefined ? value : `${value} (${meaning})`;
}

const WHO: Record<string, string> = {
  browser: "the agent", peer: "the SIP side", sip: "the SIP side", network: "the network toward SIP", gateway: "the gateway",
};

export function why(story: CallStory, now: number): Why {
  const { call } = story;
  const live = call.ended === null && call.state !== "ended";
  const failed = !live && (call.answered === null ? call.code !== 487 && !givenUp(call) : call.endedBy === "gateway" || call.endedBy === "network");
  const findings = explain(story, live);
  return {
    verdict: live ? "live" : failed || (call.answered !== null && findings.length > 0) ? "fault" : "good",
    sentence: live ? liveSentence(call, now) : endSentence(call),
    ends: ends(story),
    findings,
  };
}

function parties(call: CallRecord): string {
  const peer = party(call.peer);
  return call.incoming ? `${peer} calls ${call.dn}` : `${call.dn} calls ${peer}`;
}

function liveSentence(call: CallRecord, now: number): string {
  if (call.answered === null) return `${parties(call)}: not answered yet, since ${span(now - call.started)}.`;
  const setup = call.setupMs ?? call.answered - call.started;
  const held = call.state === "held" ? " It is on hold." : "";
  return `${parties(call)}: ${stateWord(call.state).toLowerCase()} for ${span(now - call.answered)}, answered after ${span(setup)}.${held}`;
}

/** The caller hung up, or the callee said no: nothing is broken. */
function givenUp(call: CallRecord): boolean {
  return (call.endedBy === "browser" || call.endedBy === "peer") && (call.code === 487 || call.code === 200 || call.code === 603);
}

function endSentence(call: CallRecord): string {
  const who = WHO[call.endedBy] ?? (call.endedBy || "nobody known");
  const Who = who[0]!.toUpperCase() + who.slice(1);
  const tail = call.reason !== "" && call.code !== 200 ? `: ${call.code} ${call.reason}` : call.code !== 200 && call.code > 0 ? `: ${call.code}` : "";
  if (call.answered !== null) {
    const talked = span(call.talkedMs ?? (call.ended ?? call.answered) - call.answered);
    if (call.endedBy === "browser" || call.endedBy === "peer" || call.endedBy === "sip") return `${Who} hung up after ${talked}${tail}.`;
    return `${Who} ended it after ${talked}${tail || (call.reason ? `: ${call.reason}` : "")}.`;
  }
  const waited = span((call.ended ?? call.started) - call.started);
  const caller = call.incoming ? "peer" : "browser";
  if (call.endedBy === caller && (call.code === 487 || call.code === 200)) return `Not answered: ${who} gave up after ${waited}.`;
  if (call.endedBy === "browser") return `Not answered: the agent rejected it after ${waited}${tail}.`;
  if (call.endedBy === "peer" || call.endedBy === "sip") return `Not answered: the SIP side refused after ${waited}${tail}.`;
  if (call.endedBy === "network" && (call.code === 408 || call.code === 0)) return `Not answered: the SIP server did not reply within ${waited}${tail}.`;
  return `Not answered: ${who} ended it after ${waited}${tail || (call.reason ? `: ${call.reason}` : "")}.`;
}

/** What ends a call that was answered, and one that was not; 401 and 407 are how digest begins. */
const HUNG_UP = /^BYE\b/;
const REFUSED = /^(BYE|CANCEL|(SIP\/2\.0 )?(?!40[17])[3-6]\d\d)\b/;

function ends({ call, timeline }: CallStory): Why["ends"] {
  const last = (kind: string, direction: "in" | "out", wanted: RegExp) => {
    for (let i = timeline.length - 1; i >= 0; i -= 1) {
      const step = timeline[i]!;
      if (step.kind === kind && step.direction === direction && wanted.test(step.title)) return short(step.title);
    }
    return null;
  };
  const live = call.ended === null && call.state !== "ended";
  const said: Why["ends"] = [];
  const browser = last("http", "in", /BYE|ERROR|SHUTDOWN|terminate|reject|sign_out/i);
  said.push({ side: "Browser", said: browser ?? (live ? "in the call" : "did not end it") });
  if (!live && call.endedBy !== "browser" && call.endedBy !== "peer") said.push({ side: "Gateway", said: `${WHO[call.endedBy] ?? call.endedBy} ended it${call.code > 0 ? `, ${call.code}` : ""} ${call.reason}`.trim() });
  const sip = last("sip", "in", call.answered === null ? REFUSED : HUNG_UP);
  const header = call.sipReason === "" ? "" : `Reason: ${reasonHeader(call.sipReason)}`;
  said.push({ side: "SIP side", said: [sip, header].filter(Boolean).join(", ") || (live ? "in the call" : "did not end it") });
  return said;
}

function explain({ call, timeline, quality }: CallStory, live: boolean): string[] {
  const found: string[] = [];
  const has = (kind: string, wanted: (step: Step) => boolean = () => true) => timeline.some((step) => step.kind === kind && wanted(step));
  const named = (pattern: RegExp) => (step: Step) => pattern.test(step.title);
  const answeredFor = call.answered === null ? 0 : (call.ended ?? timeline.at(-1)?.at ?? call.answered) - call.answered;
  // Only a timeline that has the beginning can be missed something in.
  const complete = timeline.length > 0 && has("sip");
  if (has("dtls", named(/fail|mismatch|timeout|timed out/i))) {
    found.push("The DTLS handshake with the browser failed: no sound could pass. See the DTLS line for whose certificate or profile it was.");
  }
  if (complete && answeredFor > 5000) {
    if (!has("ice", named(/connect/i))) {
      found.push("The browser never reached the gateway's media port (no ICE check). Look at its firewall, at media.advertise, or give it TCP or TURN.");
    } else if (!has("dtls", named(/connect/i))) {
      found.push("ICE came up, but no DTLS handshake was finished.");
    } else {
      for (const [from, name] of [["browser", "browser"], ["sip", "SIP side"]] as const) {
        if (!has("rtp", (step) => step.from === from && /^rtp/i.test(step.title))) found.push(`No RTP ever came from the ${name}.`);
      }
    }
  }
  if (has("ice", named(/lost/i))) found.push("The browser's consent checks stopped: it was closed, or its network went away.");
  if (call.silent === "sip" || has("rtp", (step) => /no rtp/i.test(step.title) && step.from === "sip")) {
    found.push("Nothing was heard of the SIP side for a while: look at its SDP address, and at NAT and firewall between it and the gateway.");
  }
  if (call.silent === "browser" || has("rtp", (step) => /no rtp/i.test(step.title) && step.from === "browser")) {
    found.push("Nothing was heard of the browser for a while: its microphone was taken away, or its network.");
  }
  const share = (stream: { packets: number; lost: number }) => {
    const all = stream.packets + stream.lost;
    return all < 250 ? 0 : (100 * stream.lost) / all;
  };
  const lossy: string[] = [];
  for (const [leg, name] of [["browser", "browser"], ["sip", "SIP side"]] as const) {
    const from = Math.max(share(call[leg].rx), 0);
    const to = Math.max(share(call[leg].tx), 0);
    if (from >= 1.5) lossy.push(`${from.toFixed(1)} % from the ${name}`);
    if (to >= 1.5) lossy.push(`${to.toFixed(1)} % toward the ${name}`);
  }
  if (lossy.length > 0) found.push(`Packets were lost: ${lossy.join(", ")}.`);
  const rtts = quality.map(({ browser }) => browser.rttMs ?? 0);
  if (rtts.length > 0 && Math.max(...rtts) >= 600) found.push(`The way to the browser and back took up to ${Math.round(Math.max(...rtts))} ms.`);
  if (!live && call.answered === null && call.code === 488) found.push("488: the two sides have no codec or no encryption in common. Compare the SDPs of the INVITE and of media.codecs, media.srtp.");
  if (!live && call.answered === null && (call.code === 401 || call.code === 403 || call.code === 407)) found.push("The SIP server refused the DN: look at its password and at what it may dial.");
  if (!live && call.answered === null && call.code === 404) found.push("The SIP server knows no such number.");
  if (!live && call.answered === null && call.code === 503) found.push("The SIP server is overloaded or has no route.");
  return found;
}
