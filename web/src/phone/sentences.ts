// What the page says to a person when something is not as it should be.

import type { EndReason } from "../grtc/index";

export function signInFailed(status: number, message: string): string {
  if (status === 0) return "The gateway cannot be reached. Is it running?";
  if (status === 401) return "The DN or the password is wrong.";
  if (status === 403) return "The DN or the password is wrong, or this DN may not sign in.";
  if (status === 404) return "The telephone system does not know this DN.";
  if (status === 400) return `This DN cannot be used: ${message}`;
  if (status === 429) return "Too many tries. Wait a minute and try again.";
  if (status === 503 || status === 504) return "The gateway is running, but the telephone system behind it does not answer.";
  return `Signing in failed: ${message}`;
}

export function microphoneFailed(name: string, message: string): string {
  switch (name) {
    case "NotAllowedError":
      return "The microphone is blocked. Allow it in the address bar, then call again.";
    case "NotFoundError":
      return "No microphone was found. Plug one in, then call again.";
    case "NotReadableError":
      return "The microphone cannot be opened. Another program may be using it.";
    case "SecurityError":
      return "Browsers give the microphone only to https:// pages and to localhost.";
    default:
      return `The microphone cannot be opened: ${message}`;
  }
}

/** `null` when an ordinary end needs no sentence. */
export function callEnded(why: EndReason, party: string, outgoing: boolean, talked: boolean): string | null {
  if (why.by === "local") return null;
  if (why.by === "noanswer") return `${party} did not answer.`;
  if (why.by === "error") return `The call failed: ${why.reason}.`;
  if (talked) return null;
  if (!outgoing) return `You missed a call from ${party}.`;
  switch (why.code) {
    case 486:
    case 600:
      return `${party} is busy.`;
    case 408:
    case 480:
      return `${party} did not answer.`;
    case 404:
    case 410:
    case 484:
    case 604:
      return `There is no number ${party}.`;
    case 403:
    case 603:
      return `${party} declined the call.`;
    case 488:
    case 606:
      return `${party} cannot take this kind of call.`;
    case 0:
      return `${party} did not take the call: busy, not there, or no such number.`;
    default:
      return `The call to ${party} was not put through: ${why.code} ${why.reason}`.trimEnd() + ".";
  }
}

/** 65 -> "1:05", 3605 -> "1:00:05". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
