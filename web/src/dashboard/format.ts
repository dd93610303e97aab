// Numbers, times and words as people read them.

export type Grade = "good" | "fair" | "poor" | "none";

/** G.107, Annex B: from 4.03 on users are satisfied, below 3.6 many are not. */
export function gradeMos(mos: number | null): Grade {
  return mos === null ? "none" : mos >= 4.0 ? "good" : mos >= 3.6 ? "fair" : "poor";
}

/** Percent; the bounds of the agents' gadget. */
export function gradeLoss(loss: number | null): Grade {
  return loss === null ? "none" : loss < 1.5 ? "good" : loss < 5 ? "fair" : "poor";
}

/** There and back, ms: G.114. */
export function gradeRtt(ms: number | null): Grade {
  return ms === null ? "none" : ms < 300 ? "good" : ms < 600 ? "fair" : "poor";
}

export function worse(a: Grade, b: Grade): Grade {
  const order: Grade[] = ["none", "good", "fair", "poor"];
  return order.indexOf(a) > order.indexOf(b) ? a : b;
}

export const NOTHING = "–";

/** `0:07`, `12:03`, `1:02:03`. */
export function clock(ms: number): string {
  const all = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const hours = Math.floor(all / 3600);
  const minutes = Math.floor(all / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}

/** In a sentence: `0.4 s`, `12 s`, `3 min 12 s`, `2 h 5 min`. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const all = Math.round(ms / 1000);
  if (all < 60) return `${all} s`;
  if (all < 3600) return all % 60 === 0 ? `${all / 60} min` : `${Math.floor(all / 60)} min ${all % 60} s`;
  const minutes = Math.round(all / 60);
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long ago, in one unit. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** `14:03:22`, and with `ms` `14:03:22.412`. In the page's time zone, 24 hours. */
export function timeOfDay(at: number, withMs = false): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMs ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

/** `2026-11-21 14:03:22`. */
export function dateTime(at: number): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${timeOfDay(at)}`;
}

export function mosText(mos: number | null): string {
  return mos === null ? NOTHING : mos.toFixed(1);
}

export function percent(value: number | null): string {
  if (value === null) return NOTHING;
  return value > 0 && value < 0.05 ? "<0.1 %" : `${value.toFixed(value < 9.95 ? 1 : 0)} %`;
}

export function millis(value: number | null): string {
  if (value === null) return NOTHING;
  return value < 9.95 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

export function count(value: number): string {
  return value.toLocaleString("en-GB").replaceAll(",", "\u202f");
}

/** `sip:600@10.0.0.5` is 600 to people. */
export function party(address: string): string {
  const user = /^(?:sips?|tel):([^@;?]*)/i.exec(address)?.[1];
  return user === undefined || user === "" ? address : user;
}

const STATES: Record<string, string> = {
  calling: "Calling", ringing: "Ringing", waiting: "Waiting", early: "Ringing", established: "Talking", talking: "Talking",
  held: "On hold", hold: "On hold", ended: "Ended", ready: "Ready", idle: "Ready", registered: "Ready", busy: "In a call",
  absent: "Away", failing: "Failing", refused: "Refused", signed_out: "Signed out", unregistered: "Signing in", registering: "Registering", failed: "Failed", offline: "Offline", answering: "Answering",
};

export function stateWord(state: string): string {
  const known = STATES[state];
  if (known !== undefined) return known;
  const words = state.replaceAll("_", " ").trim();
  return words === "" ? NOTHING : words[0]!.toUpperCase() + words.slice(1);
}

const ALERTS: Record<string, string> = {
  registration: "Registration", no_rtp: "No RTP", ports: "Ports", sip_server: "SIP server",
  certificate: "Certificate", turn: "TURN", store: "Store", clock: "Clock", sign_in: "Sign-ins",
};

export function alertWord(kind: string): string {
  return ALERTS[kind] ?? kind.replaceAll("_", " ");
}

/** For one, and for any other number. */
const TOTALS = {
  calls_started: ["call", "calls"], calls_answered: ["answered", "answered"], calls_failed: ["failed", "failed"],
  sign_ins: ["sign-in", "sign-ins"], sign_ins_refused: ["sign-in refused", "sign-ins refused"],
} as const;

/** What stands beside a number of the foot. */
export function totalWord(name: keyof typeof TOTALS, value: number): string {
  return TOTALS[name][value === 1 ? 0 : 1];
}
