import type { SessionOptions } from "./call";
import { parseConfig, type ClientConfig, type Settings } from "./config";
import { Connection, SignInFailure, signIn, type ConnectionEvents, type Delivery } from "./connection";
import { GrtcError, messageOf, WEBRTC_NOT_SUPPORTED_ERROR } from "./errors";
import { Emitter, Event } from "./events";
import { log } from "./logger";
import { parseMessage, type RoapCandidate } from "./roap";
import { MediaSession } from "./session";
import { isWebrtcSupported } from "./support";

/** `true`, `false`, or constraints for getUserMedia. */
export type MediaWish = boolean | MediaTrackConstraints;

/** An element, its id, or a list whose first item is one (jQuery's for instance). */
export type ViewElement = HTMLMediaElement | string | { readonly [0]?: HTMLMediaElement };

interface ClientEmits {
  /** Signed in. */
  ready: { message: string };
  /** Sign-in failed. */
  failed: { message: string; status: number };
  /** A call came in. */
  incoming: MediaSession;
  /** Signed out. */
  closed: { message: string };
}

/** Which media a description carries; `null` for video: when there is a local camera. */
interface MediaWishes {
  audio: boolean;
  video: boolean | null;
}

const UNSET: MediaWishes = { audio: true, video: null };

/** The connection to the gateway, and the local media. */
export class Client extends Emitter<ClientEmits> {
  readonly onConnect = new Event<{ message: string }>();
  readonly onRegister = new Event<{ message: string }>();
  readonly onDisconnect = new Event<{ message: string }>();
  /** `status` is the HTTP status of the refusal, 0 when no gateway could be reached. */
  readonly onFailed = new Event<{ message: string; status: number }>();
  readonly onMediaSuccess = new Event<{ stream: MediaStream }>();
  /** `name` is that of the browser's error, `NotAllowedError` for instance. */
  readonly onMediaFailure = new Event<{ message: string; name: string }>();
  readonly onIncomingCall = new Event<{ peer: string; event: "offer" | "invite" }>();
  readonly onCallEvent = new Event<{ event: CallEventName }>();
  readonly onNotifyEvent = new Event<{ event: "talk" | "hold"; peer: string }>();
  readonly onPeerClosing = new Event<void>();
  readonly onPeerNoanswer = new Event<void>();
  readonly onInfoFromPeer = new Event<Record<string, string>>();
  readonly onStatsFromServer = new Event<unknown>();
  readonly onIceDisconnected = new Event<{ state: string }>();
  readonly onConnectionError = new Event<{ status: number }>();
  readonly onGatewayError = new Event<{ error: string }>();
  readonly onWebrtcError = new Event<{ error: string }>();

  /** @internal */
  readonly settings: Settings;
  /** @internal */
  connection: Connection | null = null;
  /** @internal */
  localStream: MediaStream | null = null;
  /** @internal */
  wishes: { offer: MediaWishes; answer: MediaWishes } = { offer: UNSET, answer: UNSET };
  /** @internal */
  videoBandwidth = 500;
  /** @internal */
  renewSession = false;

  #session: MediaSession | null = null;
  #opening: { wish: string; stream: Promise<MediaStream> } | null = null;
  #signingIn: AbortController | null = null;

  /** Throws `CONFIGURATION_ERROR`, or `WEBRTC_NOT_SUPPORTED_ERROR` in a browser without WebRTC. */
  constructor(config: ClientConfig) {
    super();
    this.settings = parseConfig(config);
    if (!isWebrtcSupported()) {
      throw new GrtcError(WEBRTC_NOT_SUPPORTED_ERROR, "this browser has no WebRTC");
    }
  }

  /** Signs in as a guest, who calls out but cannot be called. In the short form with a DN: registers it. */
  connect(): void {
    if (this.settings.connectRegisters) this.register();
    else void this.#signIn(anonymousId(), null, this.onConnect);
  }

  /** Signs in as `dn`, by default the configured one. */
  register(dn?: string | number): void {
    const id = dn === undefined || dn === null || dn === "" ? this.settings.dn : String(dn);
    if (id === null) {
      this.#failed(new SignInFailure(0, "register() needs a DN: none was given and none is configured"));
      return;
    }
    void this.#signIn(id, this.settings.password, this.onRegister);
  }

  /** Hangs up and signs out. */
  disconnect(): void {
    this.#signingIn?.abort();
    void this.#signOut();
  }

  async #signIn(publicId: string, password: string | null, done: Event<{ message: string }>): Promise<void> {
    this.#signingIn?.abort();
    const attempt = new AbortController();
    this.#signingIn = attempt;
    await this.#signOut();
    if (attempt.signal.aborted) return;
    try {
      const { gateways, pollingTimeout } = this.settings;
      const events = this.#connectionEvents(attempt);
      const connection = await signIn(gateways, publicId, password, pollingTimeout, events, attempt.signal);
      if (attempt.signal.aborted) {
        // disconnect() came while the answer was on its way: do not leave the session behind.
        void connection.close();
        return;
      }
      this.connection = connection;
      connection.start();
      const message = `signed in as ${publicId}`;
      done.fire({ message });
      this.emit("ready", { message });
    } catch (thrown) {
      if (!attempt.signal.aborted) this.#failed(thrown);
    }
  }

  #failed(thrown: unknown): void {
    const failure = { message: messageOf(thrown), status: thrown instanceof SignInFailure ? thrown.status : 0 };
    this.onFailed.fire(failure);
    this.emit("failed", failure);
  }

  async #signOut(): Promise<void> {
    const connection = this.connection;
    if (!connection) return;
    this.connection = null;
    // The gateway releases the call when it signs us out.
    this.#session?.closeSession(false);
    await connection.close();
    const message = "signed out";
    this.onDisconnect.fire({ message });
    this.emit("closed", { message });
  }

  #connectionEvents(attempt: AbortController): ConnectionEvents {
    const current = () => !attempt.signal.aborted;
    return {
      onDelivery: (delivery) => {
        if (current()) this.#deliver(delivery);
      },
      onPollFailed: (status) => {
        if (current()) this.onConnectionError.fire({ status });
      },
      onEnded: () => {
        if (!current()) return;
        this.#session?.peerClosed("");
        this.disconnect();
      },
    };
  }

  #deliver(delivery: Delivery): void {
    const message = parseMessage(delivery.body);
    log.debug(`received ${message.type}`);
    switch (message.type) {
      case "INFO":
        this.onInfoFromPeer.fire(message.data);
        return;
      case "STATS":
        this.onStatsFromServer.fire(message.statistics);
        return;
      case "UNKNOWN":
        log.warn(`a message of an unknown kind was ignored: '${message.word}'`);
        return;
      default:
        (this.#session ?? new MediaSession(this)).deliver(message, delivery);
    }
  }

  /** Asks for microphone and camera; `onMediaSuccess` or `onMediaFailure` follows. */
  enableMediaSource(audio: MediaWish = true, video: MediaWish = true): void {
    void this.openMedia(audio, video).catch(() => undefined);
  }

  /** @internal The same as a promise. Asked again for what is being opened, it opens nothing twice. */
  openMedia(audio: MediaWish, video: MediaWish): Promise<MediaStream> {
    const wish = JSON.stringify([audio, video]);
    if (this.#opening?.wish === wish) return this.#opening.stream;
    const stream = this.#openMedia(audio, video).finally(() => {
      if (this.#opening?.stream === stream) this.#opening = null;
    });
    this.#opening = { wish, stream };
    return stream;
  }

  async #openMedia(audio: MediaWish, video: MediaWish): Promise<MediaStream> {
    try {
      // Outside of HTTPS and localhost, browsers have no mediaDevices at all.
      if (!navigator.mediaDevices?.getUserMedia) {
        throw new DOMException("microphone and camera need HTTPS (or localhost)", "SecurityError");
      }
      const stream = await navigator.mediaDevices.getUserMedia({ audio, video });
      // A call that is up goes on with the new devices; its old tracks end here.
      this.#session?.useStream(stream);
      this.disableMediaSource();
      this.localStream = stream;
      this.onMediaSuccess.fire({ stream });
      return stream;
    } catch (thrown) {
      const name = thrown instanceof Error ? thrown.name : "Error";
      this.onMediaFailure.fire({ message: messageOf(thrown), name });
      throw thrown;
    }
  }

  /** Gives microphone and camera back. */
  disableMediaSource(): void {
    for (const track of this.localStream?.getTracks() ?? []) track.stop();
    this.localStream = null;
  }

  /** Plays a stream in an audio or video element. */
  setViewFromStream(element: ViewElement, stream: MediaStream | null): void {
    const found = typeof element === "string" ? document.getElementById(element)
      : element instanceof HTMLMediaElement ? element : element?.[0];
    if (!(found instanceof HTMLMediaElement)) {
      log.warn("setViewFromStream: there is no such audio or video element");
      return;
    }
    found.srcObject = stream;
    if (stream) found.play().catch((thrown: unknown) => log.warn(`playing did not start: ${messageOf(thrown)}`));
  }

  /** Which media to ask for in our offers. */
  setMediaConstraintsForOffer(audio: boolean, video: boolean): void {
    this.wishes.offer = { audio, video };
  }

  /** Which media to accept in our answers. */
  setMediaConstraintsForAnswer(audio: boolean, video: boolean): void {
    this.wishes.answer = { audio, video };
  }

  /** kbit/s, written as `b=AS:` into our descriptions. */
  setVideoBandwidth(kbps: number | string): void {
    const whole = Math.trunc(Number(kbps));
    if (whole > 0) this.videoBandwidth = whole;
  }

  /** Whether renegotiation brings a whole new peer connection. */
  setRenewSessionOnNeed(renew: boolean): void {
    this.renewSession = renew;
  }

  /** 0 nothing, 1 errors, 2 warnings, 3 information, 4 everything. */
  setLogLevel(level: number): void {
    log.setLogLevel(level);
  }

  /** Meant to be overwritten: which of our candidates the gateway gets to see. */
  filterIceCandidates(list: RoapCandidate[]): RoapCandidate[] {
    return list;
  }

  /** The short form: a session with its destination and constraints. */
  newMediaSession(options: SessionOptions = {}): MediaSession {
    return new MediaSession(this, options);
  }

  /** @internal The newest session takes what comes in, unless an older one has a call. */
  attach(session: MediaSession): void {
    if (!this.#session?.busy) this.#session = session;
  }

  /** @internal A session is about to place a call. False when another one has one. */
  claim(session: MediaSession): boolean {
    if (this.#session !== session && this.#session?.busy) return false;
    this.#session = session;
    return true;
  }

  /** @internal */
  incoming(session: MediaSession, peer: string, event: "offer" | "invite"): void {
    this.onIncomingCall.fire({ peer, event });
    this.emit("incoming", session);
  }
}

/** Argument of `onCallEvent`. */
export type CallEventName = "offer sent" | "answer received" | "offer received" | "answer sent" | "invite received";

/** A guest's id: `anon` and random letters, 36 characters in all. */
function anonymousId(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `anon${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
