// The gadget's elements, and how the phone's state is shown on them.

import type { Model, Phase } from "./agent_phone";
import type { Words } from "./words/index";

export function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const app = element("app");
const accountLead = element("account-lead");
const accountText = element("account-text");
const notice = element("notice");
const state = element("state");
const party = element("party");
const clock = element("clock");
const quality = element("quality");
const qualityText = element("quality-text");
const mute = element<HTMLButtonElement>("mute");
const hold = element<HTMLButtonElement>("hold");
const hangUp = element<HTMLButtonElement>("hang-up");
const answer = element<HTMLButtonElement>("answer");
const number = element<HTMLInputElement>("number");
const call = element<HTMLButtonElement>("call");
const signInButton = element<HTMLButtonElement>("sign-in-button");

/** Words that do not change: `data-text` names the text of an element, `data-label` its name for readers. */
export function translate(words: Words): void {
  const word = (name: string | undefined) => {
    const found = words[name as keyof Words];
    return typeof found === "string" ? found : "";
  };
  for (const target of document.querySelectorAll<HTMLElement>("[data-text]")) target.textContent = word(target.dataset["text"]);
  for (const target of document.querySelectorAll<HTMLElement>("[data-label]")) {
    target.setAttribute("aria-label", word(target.dataset["label"]));
  }
}

export function render(model: Readonly<Model>, words: Words): void {
  const { phase } = model;
  const out = phase === "out" || phase === "signing-in";
  const inCall = phase === "calling" || phase === "answering" || phase === "talking";
  const focused = document.activeElement;

  app.dataset["phase"] = phase;
  app.classList.toggle("held", model.held || model.heldByFarEnd);
  app.classList.toggle("offline", !out && !model.online);
  text(accountLead, out ? "" : `${words.signedInAs}\u00a0`);
  text(accountText, out ? words.notSignedIn : model.online ? model.dn : `${model.dn} · ${words.connectionLost}`);
  element("sign-out").hidden = out;
  element("sign-in").hidden = !out;
  element("phone").hidden = out;
  signInButton.disabled = phase === "signing-in";
  text(signInButton, phase === "signing-in" ? model.rest : words.signIn);

  notice.classList.toggle("shown", model.notice !== null);
  notice.classList.toggle("calm", model.notice?.calm ?? false);
  text(notice, model.notice?.text ?? "");

  text(state, stateLine(model, words));
  const named = model.phase === "ringing" && model.divertedFrom !== "" && model.name !== "";
  text(party, named ? model.name : model.party || words.noCall);
  party.classList.toggle("none", model.party === "");
  renderClock(model, words);

  const { loss, jitter, delay } = model.quality;
  // A call on hold is as silent as it should be: there is nothing to judge.
  const shown = model.held || model.heldByFarEnd ? "none" : model.quality.quality;
  quality.dataset["quality"] = shown;
  quality.title = shown === "none" || shown === "measuring" ? "" : words.qualityFigures(loss, jitter, delay);
  text(qualityText, shown === "none" ? "" : words.quality[shown]);

  element("actions-call").hidden = phase === "ringing";
  element("actions-ringing").hidden = phase !== "ringing";
  mute.disabled = hold.disabled = phase !== "talking";
  hangUp.disabled = !inCall;
  pressed(mute, model.muted, words.unmute, words.mute);
  pressed(hold, model.held, words.resume, words.hold);

  const idle = phase === "ready";
  call.disabled = !idle;
  number.readOnly = !idle;
  text(element("number-label"), phase === "talking" ? words.keysSent : words.number);
  if (phase === "talking") number.value = model.digitsSent;
  for (const key of element("keys").children) (key as HTMLButtonElement).disabled = !idle && phase !== "talking";

  document.title = phase === "ringing" ? words.callTitle(model.name || model.party)
    : inCall ? `${model.party} · ${words.title}` : words.title;
  keepFocus(focused, phase);
}

/** Only what changes with the time. */
export function renderClock(model: Readonly<Model>, words: Words): void {
  if (model.talkingSince !== null) text(clock, words.duration((performance.now() - model.talkingSince) / 1000));
  else text(clock, model.lastDuration === null ? "" : words.duration(model.lastDuration));
}

function stateLine(model: Readonly<Model>, words: Words): string {
  switch (model.phase) {
    case "calling":
      return words.calling;
    case "ringing":
      if (model.divertedFrom !== "") return words.incomingFor(model.divertedFrom);
      return model.name ? words.incomingFrom(model.name) : words.incoming;
    case "answering":
      return words.answering;
    case "talking":
      if (model.held) return words.held;
      if (model.heldByFarEnd) return words.heldByFarEnd;
      return model.muted ? words.muted : words.connected;
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
  else if (phase === "out") element("secret").focus();
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
