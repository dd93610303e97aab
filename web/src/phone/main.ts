// The softphone page: the library's events in, what a person does in, the page's state out.

import { Client, MediaSession } from "../grtc/index";
import { audioContext, Meter, Ringer } from "./audio";
import { callEnded, microphoneFailed, signInFailed } from "./sentences";
import { element, render, renderClock, type Model } from "./view";

const KEYS: readonly (readonly [key: string, letters: string])[] = [
  ["1", ""], ["2", "ABC"], ["3", "DEF"], ["4", "GHI"], ["5", "JKL"], ["6", "MNO"],
  ["7", "PQRS"], ["8", "TUV"], ["9", "WXYZ"], ["*", ""], ["0", "+"], ["#", ""],
];

const query = new URLSearchParams(location.search);
// Tests need tones, which noise suppression takes away.
const processed = query.get("audio") !== "raw";
const microphone: MediaTrackConstraints = {
  echoCancellation: processed, noiseSuppression: processed, autoGainControl: processed,
};
// The page lies in the gateway's base path, and so does everything that the library asks for.
const gateway = new URL(".", location.href).href.replace(/\/$/, "");

const number = element<HTMLInputElement>("number");
const farEnd = element<HTMLAudioElement>("far-end");
const micMeter = new Meter(element("meter-mic"));
const farMeter = new Meter(element("meter-far"));
const ringer = new Ringer();

let client: Client | null = null;
let session: MediaSession | null = null;
/** The open microphone. */
let voice: MediaStream | null = null;
let outgoing = false;

const model: Model = {
  phase: "out", dn: "", party: "", name: "", rest: "Ready", talkingSince: null, lastDuration: null, muted: false,
  held: false, heldByFarEnd: false, digitsSent: "", notice: null,
};

function change(part: Partial<Model>): void {
  Object.assign(model, part);
  render(model);
}

function warn(text: string): void {
  change({ notice: { text, calm: false } });
}

// -------------------------------------------------------------------- signing in and out

function signIn(dn: string, password: string): void {
  audioContext();
  let current: Client;
  try {
    current = new Client({ webrtc_gateway: gateway, sip_username: dn, sip_password: password });
  } catch (thrown) {
    warn(thrown instanceof Error ? thrown.message : String(thrown));
    return;
  }
  client = current;
  session = new MediaSession(current);
  listen(current, session);
  change({ phase: "signing-in", dn, notice: null });
  current.register();
}

function listen(on: Client, call: MediaSession): void {
  on.onRegister.add(() => {
    try { localStorage.setItem("dn", model.dn); } catch { /* storage may be switched off */ }
    element<HTMLInputElement>("password").value = "";
    number.value = "";
    change({ phase: "ready", party: "", rest: "Ready", lastDuration: null });
    number.focus();
    on.enableMediaSource(microphone, false);
  });
  on.onFailed.add(({ message, status }) => {
    const text = signInFailed(status, message);
    // Signing in again after a loss may fail as well.
    if (model.phase === "signing-in") change({ phase: "out", notice: { text, calm: false } });
    else signOut(text);
  });
  on.onMediaSuccess.add(({ stream }) => {
    voice = stream;
    micMeter.show(stream);
  });
  on.onMediaFailure.add(({ name, message }) => warn(microphoneFailed(name, message)));
  on.onIncomingCall.add(({ peer }) => {
    outgoing = false;
    ringer.start();
    beginCall("ringing", peer, call.peerName);
  });
  on.onDialRequest.add(({ peer }) => {
    if (model.phase !== "ready") return;
    number.value = peer;
    dial();
  });
  on.onCallEvent.add(({ event }) => {
    if (event === "answer received" || event === "answer sent") connected(call);
  });
  on.onNotifyEvent.add(() => showHold(call));
  on.onConnectionError.add(({ status }) => {
    // Being replaced has a sentence of its own.
    if (status !== 404 && status !== 410) warn("The connection to the gateway is lost. Trying again…");
  });
  on.onConnectionRestored.add(({ signedInAgain }) => {
    change({ notice: signedInAgain ? { text: "The gateway was restarted. You are signed in again.", calm: true } : null });
  });
  on.onReplaced.add(() => signOut("Signed out: this DN has signed in elsewhere."));
  on.onIceDisconnected.add(() => {
    change({ notice: { text: "The sound was interrupted. Connecting again…", calm: false } });
  });
  on.onDeviceChange.add(({ stream }) => {
    voice = stream;
    micMeter.show(stream);
    if (stream) change({ notice: { text: "The microphone was unplugged. Another one has taken over.", calm: true } });
    else warn("The microphone was unplugged, and there is no other.");
  });
  on.onPlayback.add(({ playing }) => {
    change({ notice: playing ? null : { text: "Click anywhere to hear the far end: the browser waits for it.", calm: false } });
  });
  on.onGatewayError.add(({ error }) => warn(`The gateway could not do that: ${error}`));
  on.onWebrtcError.add(({ error }) => warn(`The browser could not do that: ${error}`));
  call.onRemoteStream.add(({ stream }) => {
    on.setViewFromStream(farEnd, stream);
    farMeter.show(stream);
  });
  call.onSessionHold.add(() => showHold(call));
  call.on("end", (why) => {
    const talked = model.talkingSince !== null;
    const text = callEnded(why, model.party, outgoing, talked);
    const calm = why.by !== "error";
    endCall(talked ? (why.by === "remote" ? "The far end hung up" : "Call ended") : text ? "Not connected" : "Ready");
    if (text) change({ notice: { text, calm } });
  });
}

function signOut(why: string | null): void {
  client?.disconnect();
  client?.disableMediaSource();
  client = session = voice = null;
  micMeter.show(null);
  endCall("Ready");
  change({ phase: "out", dn: "", party: "", notice: why === null ? null : { text: why, calm: false } });
  element<HTMLInputElement>("password").focus();
}

// -------------------------------------------------------------------- calls

function beginCall(phase: "calling" | "ringing", party: string, name = ""): void {
  change({
    phase, party, name: name === party ? "" : name, notice: null, talkingSince: null, lastDuration: null, muted: false, held: false,
    heldByFarEnd: false, digitsSent: "",
  });
}

/** Runs `then` once there is a microphone; without one, the page has said why. */
function withMicrophone(then: () => void): void {
  const on = client;
  if (!on) return;
  const ready = () => {
    on.onMediaSuccess.remove(ready);
    on.onMediaFailure.remove(failed);
    then();
  };
  const failed = () => {
    on.onMediaSuccess.remove(ready);
    on.onMediaFailure.remove(failed);
  };
  if (voice?.getAudioTracks().some((track) => track.readyState === "live")) then();
  else {
    on.onMediaSuccess.add(ready);
    on.onMediaFailure.add(failed);
    on.enableMediaSource(microphone, false);
  }
}

function dial(): void {
  const party = number.value.trim();
  if (model.phase !== "ready") return;
  if (party === "") {
    number.focus();
    return;
  }
  audioContext();
  withMicrophone(() => {
    if (model.phase !== "ready" || !session) return;
    outgoing = true;
    beginCall("calling", party);
    session.makeOffer(party, true, false);
  });
}

function answer(): void {
  audioContext();
  withMicrophone(() => {
    if (model.phase !== "ringing" || !session) return;
    ringer.stop();
    change({ phase: "answering" });
    session.acceptCall(true, false);
  });
}

function connected(call: MediaSession): void {
  if (model.phase === "talking") {
    // An answer to a renegotiation: what was interrupted is there again.
    change({ notice: null });
    return;
  }
  ringer.stop();
  call.updateCall(true);
  change({ phase: "talking", talkingSince: performance.now(), notice: null });
}

function showHold(call: MediaSession): void {
  change({ held: call.heldHere, heldByFarEnd: call.heldByPeer });
}

function endCall(rest: string): void {
  ringer.stop();
  farMeter.show(null);
  farEnd.srcObject = null;
  const lastDuration = model.talkingSince === null ? null : (performance.now() - model.talkingSince) / 1000;
  number.value = outgoing ? model.party : "";
  change({ phase: "ready", rest, talkingSince: null, lastDuration, muted: false, held: false, heldByFarEnd: false });
}

/** A key of the pad or the keyboard: part of the number, or a tone in a call. */
function press(key: string): void {
  if (model.phase === "ready") {
    number.value += key;
    return;
  }
  if (model.phase !== "talking" || !session) return;
  if (session.sendDTMF(key) === 0) change({ digitsSent: (model.digitsSent + key).slice(-32) });
  else warn("The far end takes no keys in this call.");
}

// -------------------------------------------------------------------- what a person does

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  if (model.phase !== "out") return;
  const dn = element<HTMLInputElement>("dn").value.trim();
  if (dn !== "") signIn(dn, element<HTMLInputElement>("password").value);
});
element("sign-out").addEventListener("click", () => signOut(null));
element("dial").addEventListener("submit", (event) => {
  event.preventDefault();
  dial();
});
element("answer").addEventListener("click", answer);
element("reject").addEventListener("click", () => session?.rejectCall());
element("hang-up").addEventListener("click", () => session?.terminateCall());
element("mute").addEventListener("click", () => {
  session?.updateCall(model.muted);
  change({ muted: !model.muted });
});
element("hold").addEventListener("click", () => {
  if (model.held) session?.resumeCall();
  else session?.holdCall();
});
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
element("hint").addEventListener("click", (event) => {
  const wanted = event.target instanceof HTMLElement ? event.target.dataset["dial"] : undefined;
  if (wanted === undefined || model.phase !== "ready") return;
  number.value = wanted;
  number.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || model.phase === "out" || model.phase === "signing-in") return;
  if (!/^[0-9*#]$/.test(event.key)) return;
  // While a number is being typed, the field takes the keys itself.
  if (event.target === number && !number.readOnly) return;
  event.preventDefault();
  press(event.key);
  if (model.phase === "ready") number.focus();
});
function everyPicture(): void {
  micMeter.draw();
  farMeter.draw();
  renderClock(model);
  requestAnimationFrame(everyPicture);
}

element("gateway").textContent = gateway;
const dnField = element<HTMLInputElement>("dn");
dnField.value = query.get("dn") ?? remembered();
(dnField.value === "" ? dnField : element("password")).focus();
render(model);
requestAnimationFrame(everyPicture);

function remembered(): string {
  try {
    return localStorage.getItem("dn") ?? "";
  } catch {
    return "";
  }
}
