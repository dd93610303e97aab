// The page's elements, and how its state is shown on them.

import { duration } from "./sentences";

export type Phase = "out" | "signing-in" | "ready" | "calling" | "ringing" | "answering" | "talking";

/** Everything that the page shows. */
export interface Model {
  phase: Phase;
  dn: string;
  party: string;
  /** The caller's name, when it is known and more than the number. */
  name: string;
  /** Line above the party when no call is there: "Ready", "Call ended". */
  rest: string;
  talkingSince: number | null;
  lastDuration: number | null;
  muted: boolean;
  /** What this page wants; the far end's hold is `heldByFarEnd`. */
  held: boolean;
  heldByFarEnd: boolean;
  digitsSent: string;
  notice: { text: string; calm: boolean } | null;
}

export function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const app = element("app");
const accountLead = element("account-lead");
const accountText = element("account-text");
const signOut = element<HTMLButtonElement>("sign-out");
const signIn = element<HTMLFormElement>("sign-in");
const signInButton = element<HTMLButtonElement>("sign-in-button");
const phone = element("phone");
const notice = element("notice");
const state = element("state");
const party = element("party");
const clock = element("clock");
const mute = element<HTMLButtonElement>("mute");
const hold = element<HTMLButtonElement>("hold");
const hangUp = element<HTMLButtonElement>("hang-up");
const answer = element<HTMLButtonElement>("answer");
const actionsCall = element("actions-call");
const actionsRinging = element("actions-ringing");
const number = element<HTMLInputElement>("number");
const numberLabel = element("number-label");
const keys = element("keys");
const call = element<HTMLButtonElement>("call");

export function render(model: Model): void {
  const { phase } = model;
  const out = phase === "out" || phase === "signing-in";
  const inCall = phase === "calling" || phase === "answering" || phase === "talking";
  const focused = document.activeElement;

  app.dataset["phase"] = phase;
  app.classList.toggle("held", model.held || model.heldByFarEnd);
  text(accountLead, out ? "" : "Signed in as\u00a0");
  text(accountText, out ? (phase === "signing-in" ? "Signing in…" : "Not signed in") : model.dn);
  signOut.hidden = out;
  signIn.hidden = !out;
  phone.hidden = out;
  signInButton.disabled = phase === "signing-in";
  text(signInButton, phase === "signing-in" ? "Signing in…" : "Sign in");

  notice.classList.toggle("shown", model.notice !== null);
  notice.classList.toggle("calm", model.notice?.calm ?? false);
  text(notice, model.notice?.text ?? "");

  text(state, stateLine(model));
  text(party, model.party || "No call");
  party.classList.toggle("none", model.party === "");
  renderClock(model);

  actionsCall.hidden = phase === "ringing";
  actionsRinging.hidden = phase !== "ringing";
  mute.disabled = hold.disabled = phase !== "talking";
  hangUp.disabled = !inCall;
  pressed(mute, model.muted, "Unmute", "Mute");
  pressed(hold, model.held, "Resume", "Hold");

  const idle = phase === "ready";
  call.disabled = !idle;
  number.readOnly = !idle;
  text(numberLabel, phase === "talking" ? "Keys pressed in this call" : "Number");
  if (phase === "talking") number.value = model.digitsSent;
  for (const key of keys.children) (key as HTMLButtonElement).disabled = !idle && phase !== "talking";

  document.title = phase === "ringing" ? `Call from ${model.name || model.party}` : inCall ? `${model.party} · Phone` : "Phone";
  keepFocus(focused, phase);
}

/** Only what changes with the time. */
export function renderClock(model: Model): void {
  if (model.talkingSince !== null) text(clock, duration((performance.now() - model.talkingSince) / 1000));
  else text(clock, model.lastDuration !== null ? duration(model.lastDuration) : "");
}

function stateLine(model: Model): string {
  switch (model.phase) {
    case "calling":
      return "Calling…";
    case "ringing":
      return model.name ? `Incoming call from ${model.name}` : "Incoming call";
    case "answering":
      return "Answering…";
    case "talking":
      if (model.held) return "On hold";
      if (model.heldByFarEnd) return "The far end has put you on hold";
      return model.muted ? "Connected, microphone muted" : "Connected";
    default:
      return model.rest;
  }
}

/** A button that went away or was switched off leaves the focus to the one that takes its place. */
function keepFocus(before: Element | null, phase: Phase): void {
  if (!(before instanceof HTMLElement) || before === document.body) return;
  const lost = before.closest("[hidden]") !== null || (before instanceof HTMLButtonElement && before.disabled);
  if (!lost) return;
  if (phase === "ready") number.focus();
  else if (phase === "ringing") answer.focus();
  else if (!hangUp.disabled) hangUp.focus();
}

/** Only a change is written: a live region would be read out again. */
function text(target: HTMLElement, value: string): void {
  if (target.textContent !== value) target.textContent = value;
}

function pressed(button: HTMLButtonElement, on: boolean, whenOn: string, whenOff: string): void {
  button.setAttribute("aria-pressed", String(on));
  text(button.querySelector("span")!, on ? whenOn : whenOff);
}
