// A gateway and a peer connection for unit tests: what goes out is recorded, what comes in is said by the test.

import { vi } from "vitest";
import { Client, MediaSession, type ClientConfig } from "../src/grtc/index";

export interface Sent {
  url: string;
  to: string;
  body: string;
}

type Answer = { status: number; body?: string; headers?: Record<string, string> } | "unreachable";

/** Answers `fetch` as a gateway would. */
export class FakeGateway {
  /** POSTs to /message, also those that were answered with a fault. */
  readonly sent: Sent[] = [];
  readonly requests: { method: string; url: string; body: string }[] = [];
  /** Statuses for the next POSTs to /message; 200 when empty. */
  readonly messageAnswers: Answer[] = [];
  /** How often /api/ice was asked, and what it answers: this gateway knows nothing of it. */
  iceRequests = 0;
  iceAnswer: () => Answer = () => ({ status: 404 });
  signInAnswer: (url: string) => Answer = () => ({ status: 200, body: "SSID=abc.DEF-1_2~3\nmore=ignored" });
  #waiting: { resolve: (response: Response) => void; reject: (fault: Error) => void } | null = null;
  #line: Response[] = [];
  polls = 0;

  readonly fetch = (input: string, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input);
    const body = String(init.body ?? "");
    if (url.pathname.endsWith("/api/ice")) {
      this.iceRequests += 1;
      return respond(this.iceAnswer());
    }
    this.requests.push({ method: init.method ?? "GET", url: input, body });
    if (url.pathname.endsWith("/wait")) return this.#wait(init.signal ?? null);
    if (url.pathname.endsWith("/sign_in")) return respond(this.signInAnswer(input));
    if (url.pathname.endsWith("/message")) {
      this.sent.push({ url: input, to: url.searchParams.get("to") ?? "", body });
      return respond(this.messageAnswers.shift() ?? { status: 200 });
    }
    return respond({ status: 200 });
  };

  #wait(signal: AbortSignal | null): Promise<Response> {
    this.polls += 1;
    const ready = this.#line.shift();
    if (ready) return Promise.resolve(ready);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    });
  }

  /** The next answer to /wait. */
  say(body: string, peer = "1003", status = 200, headers: Record<string, string> = {}): void {
    this.sayResponse(new Response(status === 204 ? null : body, { status, headers: { Pragma: peer, ...headers } }));
  }

  sayResponse(response: Response): void {
    if (this.#waiting) {
      this.#waiting.resolve(response);
      this.#waiting = null;
    } else this.#line.push(response);
  }

  breakPoll(): void {
    this.#waiting?.reject(new TypeError("connection reset"));
    this.#waiting = null;
  }

  /** Posted messages of one kind, newest last. */
  roap(type: string): Record<string, unknown>[] {
    return this.sent
      .filter(({ body }) => body.startsWith("RSMP "))
      .map(({ body }) => JSON.parse(body.slice(5)) as Record<string, unknown>)
      .filter(({ messageType }) => messageType === type);
  }
}

function respond(answer: Answer): Promise<Response> {
  if (answer === "unreachable") return Promise.reject(new TypeError("Failed to fetch"));
  return Promise.resolve(new Response(answer.body ?? "", { status: answer.status, headers: answer.headers ?? {} }));
}

export const CANDIDATE = "candidate:1 1 udp 2122260223 192.0.2.7 40000 typ host generation 0 ufrag abcd";
export const GATEWAY_CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 10000 typ host";

export function sdp(direction: string): string {
  return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
    + `c=IN IP4 0.0.0.0\r\na=mid:0\r\na=${direction}\r\n`;
}

class FakeTrack extends EventTarget {
  enabled = true;
  readyState = "live";
  constructor(readonly kind: string) {
    super();
  }
  unplug(): void {
    this.readyState = "ended";
    this.dispatchEvent(new Event("ended"));
  }
  stop(): void {
    this.readyState = "ended";
  }
}

export class FakeStream {
  readonly tracks: FakeTrack[];
  constructor(tracks: FakeTrack[] = []) {
    this.tracks = tracks;
  }
  getTracks = () => this.tracks;
  getAudioTracks = () => this.tracks.filter(({ kind }) => kind === "audio");
  getVideoTracks = () => this.tracks.filter(({ kind }) => kind === "video");
}

class FakeTransceiver {
  direction: string;
  currentDirection: string | null = null;
  readonly receiver: { track: FakeTrack };
  readonly sender: { track: FakeTrack | null; dtmf: FakeDtmf; replaceTrack(track: FakeTrack): Promise<void> };
  constructor(kind: string, track: FakeTrack | null, direction: string) {
    this.direction = direction;
    this.receiver = { track: new FakeTrack(kind) };
    const sender = {
      track,
      dtmf: new FakeDtmf(),
      replaceTrack: (next: FakeTrack) => {
        sender.track = next;
        return Promise.resolve();
      },
    };
    this.sender = sender;
  }
}

class FakeDtmf {
  canInsertDTMF = true;
  toneBuffer = "";
  duration = 0;
  gap = 0;
  insertDTMF(tones: string, duration: number, gap: number): void {
    Object.assign(this, { toneBuffer: tones, duration, gap });
  }
}

/** As much of an RTCPeerConnection as the library uses. */
export class FakePeerConnection extends EventTarget {
  static all: FakePeerConnection[] = [];
  static get newest(): FakePeerConnection {
    return FakePeerConnection.all.at(-1)!;
  }
  readonly transceivers: FakeTransceiver[] = [];
  readonly remoteCandidates: RTCIceCandidateInit[] = [];
  readonly offerOptions: RTCOfferOptions[] = [];
  signalingState = "stable";
  iceGatheringState = "new";
  iceConnectionState = "new";
  localDescription: RTCSessionDescriptionInit | null = null;
  remoteDescription: RTCSessionDescriptionInit | null = null;
  closed = false;
  failRemote = false;
  onicecandidate: ((event: unknown) => void) | null = null;
  ontrack: ((event: unknown) => void) | null = null;
  oniceconnectionstatechange: (() => void) | null = null;

  constructor(readonly configuration: RTCConfiguration) {
    super();
    FakePeerConnection.all.push(this);
  }

  getTransceivers = () => this.transceivers;
  getSenders = () => this.transceivers.map(({ sender }) => sender);

  addTransceiver(what: string | FakeTrack, { direction }: { direction: string }): void {
    const track = typeof what === "string" ? null : what;
    this.transceivers.push(new FakeTransceiver(track?.kind ?? (what as string), track, direction));
  }

  createOffer(options: RTCOfferOptions): Promise<RTCSessionDescriptionInit> {
    this.offerOptions.push(options);
    return Promise.resolve({ type: "offer", sdp: this.#describe() });
  }

  createAnswer(): Promise<RTCSessionDescriptionInit> {
    return Promise.resolve({ type: "answer", sdp: this.#describe() });
  }

  #describe(): string {
    return `${sdp(this.transceivers[0]?.direction ?? "inactive")}a=${CANDIDATE}\r\na=end-of-candidates\r\n`;
  }

  setLocalDescription(description: RTCSessionDescriptionInit): Promise<void> {
    if (description.type === "rollback") {
      this.signalingState = "stable";
      return Promise.resolve();
    }
    this.localDescription = description;
    this.signalingState = description.type === "offer" ? "have-local-offer" : "stable";
    queueMicrotask(() => {
      this.onicecandidate?.({ candidate: { candidate: CANDIDATE, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "abcd" } });
      this.onicecandidate?.({ candidate: null });
      this.iceGatheringState = "complete";
      this.dispatchEvent(new Event("icegatheringstatechange"));
    });
    return Promise.resolve();
  }

  setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
    if (this.failRemote) return Promise.reject(new Error("the description cannot be used"));
    this.remoteDescription = description;
    if (description.type === "offer" && this.transceivers.length === 0) {
      this.transceivers.push(new FakeTransceiver("audio", null, "recvonly"));
    }
    if (description.type === "answer") this.signalingState = "stable";
    this.ontrack?.({ streams: [new FakeStream([new FakeTrack("audio")])], track: new FakeTrack("audio") });
    return Promise.resolve();
  }

  addIceCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    this.remoteCandidates.push(candidate);
    return Promise.resolve();
  }

  /** What it counts; tests put it there. */
  readonly statistics = new Map<string, unknown>();
  getStats = () => Promise.resolve(this.statistics);

  ice(state: string): void {
    this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
  }

  close(): void {
    this.closed = true;
    this.signalingState = "closed";
  }
}

/** Puts the fakes in the browser's place; fake timers, so that a minute takes no time. */
export function install(): FakeGateway {
  vi.useFakeTimers();
  const gateway = new FakeGateway();
  FakePeerConnection.all = [];
  vi.stubGlobal("fetch", gateway.fetch);
  vi.stubGlobal("RTCPeerConnection", FakePeerConnection);
  vi.stubGlobal("MediaStream", FakeStream);
  const getUserMedia = ({ audio, video }: MediaStreamConstraints) => Promise.resolve(
    new FakeStream([...(audio ? [new FakeTrack("audio")] : []), ...(video ? [new FakeTrack("video")] : [])]),
  );
  vi.stubGlobal("navigator", { mediaDevices: Object.assign(new EventTarget(), { getUserMedia }), userAgent: "Chrome/156.0", onLine: true });
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible" }));
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  return gateway;
}

/** Lets everything run that needs no time. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

/** A signed-in client with a microphone, its session, and the events that were fired. */
export async function signedIn(config: Partial<ClientConfig> = {}) {
  const client = new Client({ webrtc_gateway: "http://gw.test", sip_username: "5001", sip_password: "secret", ...config });
  const session = new MediaSession(client);
  const events: string[] = [];
  client.onRegister.add(() => { events.push("register"); });
  client.onFailed.add(({ status }) => { events.push(`failed ${status}`); });
  client.onDisconnect.add(() => { events.push("disconnect"); });
  client.onCallEvent.add(({ event }) => { events.push(event); });
  client.onIncomingCall.add(({ peer, event }) => { events.push(`incoming ${event} ${peer}`); });
  client.onNotifyEvent.add(({ event, peer }) => { events.push(`notify ${event} ${peer}`); });
  client.onPeerClosing.add(() => { events.push("closing"); });
  client.onPeerNoanswer.add(() => { events.push("noanswer"); });
  client.onConnectionError.add(({ status }) => { events.push(`connection ${status}`); });
  client.onConnectionRestored.add(({ signedInAgain }) => { events.push(signedInAgain ? "signed in again" : "recovered"); });
  client.onReplaced.add(() => { events.push("replaced"); });
  client.onDeviceChange.add(({ stream }) => { events.push(stream ? "device" : "no device"); });
  client.onGatewayError.add(({ error }) => { events.push(`gateway ${error}`); });
  client.onWebrtcError.add(() => { events.push("webrtc"); });
  client.onIceDisconnected.add(() => { events.push("ice"); });
  session.onSessionHold.add((held) => { events.push(`hold ${held}`); });
  session.onRemoteStream.add(() => { events.push("stream"); });
  session.on("end", ({ by, code }) => { events.push(`end ${by} ${code}`); });
  client.register();
  client.enableMediaSource(true, false);
  await settle();
  return { client, session, events };
}

/** The gateway's ANSWER to the newest OFFER. */
export function answerTo(offer: Record<string, unknown>, direction = "sendrecv"): string {
  return `SDP ${JSON.stringify({
    messageType: "ANSWER", sdp: sdp(direction), Candidates: [{ candidate: `a=${GATEWAY_CANDIDATE}`, sdpMid: "0", sdpMLineIndex: 0 }],
    offererSessionId: offer["offererSessionId"], answererSessionId: 77, seq: offer["seq"],
  })}`;
}

export function offer(seq = 1, direction = "sendrecv"): string {
  return `SDP ${JSON.stringify({
    messageType: "OFFER", sdp: sdp(direction), Candidates: [], offererSessionId: 900, seq, tiebreaker: 5,
    attacheddata: [{ key: "CustomerId", value: "42" }],
  })}`;
}
