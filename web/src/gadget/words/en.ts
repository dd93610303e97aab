// Everything that the gadget says, in English. Another language is a file of the same shape beside this one, and a line in index.ts.

import { callEnded, duration, microphoneFailed, signInFailed } from "../../phone/sentences";

export const en = {
  title: "Phone",
  dn: "DN",
  dnHint: "your extension",
  secret: "Password",
  signIn: "Sign in",
  signingIn: "Signing in…",
  openingMicrophone: "Opening the microphone…",
  signOut: "Sign out",
  notSignedIn: "Not signed in",
  signedInAs: "Signed in as",
  connectionLost: "Offline",
  microphoneHint: "The browser will ask for your microphone.",
  needsScript: "This page needs JavaScript.",

  ready: "Ready",
  noCall: "No call",
  calling: "Calling…",
  incoming: "Incoming call",
  incomingFrom: (name: string) => `Incoming call from ${name}`,
  incomingFor: (dialled: string) => `Incoming call for ${dialled}`,
  answering: "Answering…",
  connected: "Connected",
  muted: "Connected, microphone muted",
  held: "On hold",
  heldByFarEnd: "The far end has put you on hold",
  ended: "Call ended",
  farEndHungUp: "The far end hung up",
  notConnected: "Not connected",
  callTitle: (party: string) => `Call from ${party}`,

  answer: "Answer",
  reject: "Reject",
  mute: "Mute",
  unmute: "Unmute",
  hold: "Hold",
  resume: "Resume",
  hangUp: "Hang up",
  call: "Call",
  keypad: "Keypad",
  number: "Number",
  keysSent: "Keys pressed in this call",
  keys: "Keys",

  microphone: "Microphone",
  farEnd: "Far end",
  sound: "Sound",
  speaker: "Speaker",
  volume: "Volume",
  ring: "Ring tone",
  defaultDevice: "Default",
  device: (n: number) => `Device ${n}`,
  test: "Test",

  quality: {
    measuring: "Measuring the quality…",
    good: "Good quality",
    fair: "The sound may break up",
    poor: "Bad connection",
    silent: "No sound comes from the far end",
  },
  qualityFigures: (loss: number, jitter: number, delay: number | null) =>
    `${loss.toFixed(1)} % lost, ${Math.round(jitter)} ms jitter${delay === null ? "" : `, ${Math.round(delay)} ms there and back`}`,

  gatewayLost: "The connection to the gateway is lost. Trying again…",
  signedInAgain: "The gateway was restarted. You are signed in again.",
  callLost: "The gateway was restarted, and the call is lost. You are signed in again.",
  replaced: "Signed out: this DN has signed in elsewhere.",
  iceLost: "The sound was interrupted. Connecting again…",
  deviceReplaced: "The microphone was unplugged. Another one has taken over.",
  deviceMissing: "The microphone was unplugged, and there is no other. Plug one in.",
  clickToHear: "Click anywhere to hear the far end: the browser waits for it.",
  noKeys: "The far end takes no keys in this call.",
  gatewayFault: (error: string) => `The gateway could not do that: ${error}`,
  browserFault: (error: string) => `The browser could not do that: ${error}`,
  microphoneInFrame: "The page around this phone keeps it from the microphone: its frame needs allow=\"microphone; autoplay\".",
  noWebrtc: "This browser has no WebRTC. Use a current Chrome, Edge, Firefox or Safari.",

  signInFailed,
  microphoneFailed: (name: string, message: string) => name === "NotAllowedError"
    ? "The microphone is blocked. Allow it in the address bar, then sign in again."
    : microphoneFailed(name, message).replace("then call again", "then sign in again"),
  callEnded,
  duration,
};

export type Words = typeof en;
