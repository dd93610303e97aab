// The gadget: an agent's phone in a tab or frame of WWE, or in a window of its own.

import { audioContext, Meter, Ringer } from "../phone/audio";
import { AgentPhone, type Model } from "./agent_phone";
import { announce, HostLink, isHost } from "./host";
import { allowedOrigins } from "./origins";
import { remember, remembered, Sound } from "./sound";
import { element, render, renderClock, translate } from "./view";
import { originAround, Wwe } from "./wwe";
import { pick } from "./words/index";

const KEYS: readonly (readonly [key: string, letters: string])[] = [
  ["1", ""], ["2", "ABC"], ["3", "DEF"], ["4", "GHI"], ["5", "JKL"], ["6", "MNO"],
  ["7", "PQRS"], ["8", "TUV"], ["9", "WXYZ"], ["*", ""], ["0", "+"], ["#", ""],
];

const query = new URLSearchParams(location.search);
const { tag, words } = pick([query.get("lang") ?? "", ...navigator.languages]);
document.documentElement.lang = tag;
// Tests need tones, which noise suppression takes away.
const processed = query.get("audio") !== "raw";
const processing = { echoCancellation: processed, noiseSuppression: processed, autoGainControl: processed };
// The page lies in the gateway's base path; another gateway, or a list of them, may be named.
const gateway = query.get("gateway") ?? new URL(".", location.href).href.replace(/\/$/, "");

const number = element<HTMLInputElement>("number");
const dn = element<HTMLInputElement>("dn");
const secret = element<HTMLInputElement>("secret");
const player = element<HTMLAudioElement>("far-end");
const micMeter = new Meter(element("meter-mic"));
const farMeter = new Meter(element("meter-far"));
const ringer = new Ringer();
let notification: Notification | null = null;
let link: HostLink | null = null;
let wwe: Wwe | null = null;
let before: Model["phase"] = "out";
/** The agent's state in WWE, where it tells. */
let agentState = "";

translate(words);

const phone = new AgentPhone(gateway, words, player, processing, {
  onChange: changed,
  onMicrophone: (stream) => {
    micMeter.show(stream);
    if (stream) void sound.list();
  },
  onFarEnd: (stream) => farMeter.show(stream),
});
const sound = new Sound({ words, player, processing, onMicrophone: (constraints) => phone.useMicrophone(constraints) });
phone.useMicrophone(sound.constraints());

function changed(model: Readonly<Model>): void {
  const { phase } = model;
  if (phase !== before) {
    const was = before;
    before = phase;
    if (phase === "ringing") ring(model);
    else if (was === "ringing") stopRinging();
    if (was === "signing-in" && phase === "ready") {
      remember("dn", model.dn);
      secret.value = "";
    }
    if (phase === "ready") number.value = model.outgoing ? model.party : "";
    if (phase === "calling") number.value = model.party;
    if (phase === "ringing") number.value = "";
  }
  show();
  link?.tell(model);
}

function show(): void {
  const { model } = phone;
  // What WWE calls the agent's state stands where there is nothing else to say.
  const rested = agentState !== "" && model.phase === "ready" && model.rest === words.ready;
  render(rested ? { ...model, rest: agentState } : model, words);
}

function ring(model: Readonly<Model>): void {
  ringer.start();
  const who = model.name ? `${model.name} (${model.party})` : model.party;
  wwe?.toast(words.incoming, who);
  // Nobody needs to be told of what is in front of them.
  if (!("Notification" in window) || Notification.permission !== "granted" || document.hasFocus()) return;
  try {
    const shown = new Notification(words.incoming, { body: who, icon: "favicon.svg", tag: "wrtc-gadget", requireInteraction: true });
    shown.onclick = () => {
      window.focus();
      shown.close();
    };
    notification = shown;
  } catch { /* some mobile browsers want a service worker for it */ }
}

function stopRinging(): void {
  ringer.stop();
  notification?.close();
  notification = null;
}

// -------------------------------------------------------------------- what a person does

function dial(): void {
  const party = number.value.trim();
  if (phone.model.phase !== "ready") return;
  if (party === "") number.focus();
  else phone.call(party);
}

/** A key of the pad or the keyboard: part of the number, or a tone in a call. */
function press(key: string): void {
  if (phone.model.phase === "ready") number.value += key;
  else phone.sendKeys(key);
}

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  if (phone.model.phase !== "out" || dn.value.trim() === "") return;
  // Both want to be asked for in a click.
  audioContext();
  if ("Notification" in window && Notification.permission === "default") void Notification.requestPermission().catch(() => undefined);
  phone.signIn({ dn: dn.value.trim(), secret: secret.value });
});
element("sign-out").addEventListener("click", () => phone.signOut());
element("dial").addEventListener("submit", (event) => {
  event.preventDefault();
  dial();
});
element("answer").addEventListener("click", () => phone.answer());
element("reject").addEventListener("click", () => phone.reject());
element("hang-up").addEventListener("click", () => phone.hangUp());
element("mute").addEventListener("click", () => phone.setMuted(!phone.model.muted));
element("hold").addEventListener("click", () => phone.setHeld(!phone.model.held));
for (const [key, letters] of KEYS) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset["key"] = key;
  const small = document.createElement("small");
  small.textContent = letters;
  small.setAttribute("aria-hidden", "true");
  button.append(key, small);
  button.addEventListener("click", () => press(key));
  element("keys").append(button);
}
const keypad = element<HTMLDetailsElement>("keypad");
keypad.open = remembered("keypad") !== "closed";
keypad.addEventListener("toggle", () => remember("keypad", keypad.open ? "open" : "closed"));
document.addEventListener("keydown", (event) => {
  const { phase } = phone.model;
  if (event.ctrlKey || event.altKey || event.metaKey || phase === "out" || phase === "signing-in") return;
  if (!/^[0-9*#]$/.test(event.key)) return;
  // While a number is being typed, the field takes the keys itself; so do lists and sliders.
  if (event.target === number && !number.readOnly) return;
  if (event.target instanceof HTMLElement && event.target.closest("select, input[type=range]")) return;
  event.preventDefault();
  press(event.key);
  if (phase === "ready") number.focus();
});

// A window that is closed ends the call in it; in a frame, that is for the page around to ask.
addEventListener("beforeunload", (event) => {
  if (phone.model.phase === "talking" && window.parent === window) event.preventDefault();
});

// -------------------------------------------------------------------- the page around

window.addEventListener("message", ({ data, origin, source }) => {
  if (!isHost(source)) return;
  link?.handle(data, origin, source);
  if (origin === originAround()) wwe?.handle(data);
});

void allowedOrigins().then(async (allowed) => {
  link = new HostLink({ phone, allowed, setVolume: (value) => sound.setVolume(value) });
  announce();
  const around = originAround();
  if (around === null || around === location.origin || !allowed(around)) return;
  const there = new Wwe(window.parent, around, {
    onAgentState: (state) => {
      agentState = state;
      show();
    },
    onMuted: (muted) => phone.setMuted(muted),
  });
  wwe = there;
  if (!(await there.connect())) wwe = null;
});

// -------------------------------------------------------------------- the start

function everyPicture(): void {
  micMeter.draw();
  farMeter.draw();
  renderClock(phone.model, words);
  requestAnimationFrame(everyPicture);
}

dn.value = query.get("dn") ?? remembered("dn");
// In a frame the focus belongs to the page around.
if (window.parent === window) (dn.value === "" ? dn : secret).focus();
show();
void sound.list();
requestAnimationFrame(everyPicture);
