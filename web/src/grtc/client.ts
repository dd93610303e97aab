import type { SessionOptions } from "./call";
import { parseConfig, type ClientConfig, type Settings } from "./config";
import { SignInFailure, type Connection, type Delivery } from "./connection";
import { Devices } from "./devices";
import { GrtcError, messageOf, WEBRTC_NOT_SUPPORTED_ERROR } from "./errors";
import { Emitter, Event } from "./events";
import { log } from "./logger";
import { play } from "./playback";
import { Presence, type PresenceEvents } from "./presence";
import { parseMessage, type RoapCandidate } from "./roap";
import { MediaSession } from "./session";
import { isWebrtcSupported } from "./support";
import { watchSurroundings } from "./surroundings";

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
  /** Signed in again after the gateway had lost the session. */
  restored: { gateway: string };
  /** The DN is signed in elsewhere now. */
  replaced: { message: string };
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

  // What follows is more than the older library tells.
  /** After `onConnectionError`: the gateway is there again. With `signedInAgain`, it was restarted or another one of the list. */
  readonly onConnectionRestored = new Event<{ gateway: string; signedInAgain: boolean }>();
  /** Another page signed in with this DN; `onDisconnect` follows, and nothing is tried again. */
  readonly onReplaced = new Event<{ message: string }>();
  /** A device was unplugged: another one has taken over, or there is none (`stream` is null) until one is plugged in. */
  readonly onDeviceChange = new Event<{ stream: MediaStream | null; message: string }>();
  /** Somebody beside the page (WWE's connector, for instance) wants a call to `peer`; it is for the application to make it.
   *  Add a handler before signing in: without one nobody is told that we would. */
  readonly onDialRequest = new Event<{ peer: string }>();
  /** The browser does not play sound before the page is touched (`playing` false), and then it does. */
  readonly onPlayback = new Event<{ element: HTMLMediaElement; playing: boolean }>();

  /** @internal */
  readonly settings: Settings;
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
  #presence: Presence | null = null;
  #signedIn = false;
  #unwatch: (() => void) | null = null;
  readonly #devices = new Devices({
    onReplaced: (stream) => {
      this.#session?.useStream(stream);
      this.localStream = stream;
      this.onDeviceChange.fire({ stream, message: "" });
    },
    onMissing: (message) => this.onDeviceChange.fire({ stream: null, message }),
  });

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

  /** @internal `null` while we are not signed in. */
  get connection(): Connection | null {
    return this.#presence?.connection ?? null;
  }

  /** Hangs up and signs out. */
  disconnect(): void {
    void this.#signOut();
  }

  async #signIn(publicId: string, password: string | null, done: Event<{ message: string }>): Promise<void> {
    const signedOut = this.#signOut();
    const presence: Presence = new Presence(this.settings, publicId, password, this.#presenceEvents(() => presence));
    this.#presence = presence;
    await signedOut;
    if (presence.over) return;
    try {
      await presence.open();
    } catch (thrown) {
      if (presence.over) return;
      this.#presence = null;
      this.#failed(thrown);
      return;
    }
    if (presence.over) return;
    this.#signedIn = true;
    this.#unwatch = watchSurroundings({
      onNetwork: () => {
        presence.wake();
        this.#session?.networkChanged();
      },
      onAwake: () => presence.wake(),
      onLeaving: () => presence.leave(),
    });
    presence.start();
    const message = `signed in as ${publicId}`;
    done.fire({ message });
    this.emit("ready", { message });
  }

  #failed(thrown: unknown): void {
    const failure = { message: messageOf(thrown), status: thrown instanceof SignInFailure ? thrown.status : 0 };
    this.onFailed.fire(failure);
    this.emit("failed", failure);
  }

  async #signOut(): Promise<void> {
    const presence = this.#presence;
    if (!presence) return;
    this.#presence = null;
    // The gateway releases the call when it signs us out.
    this.#session?.closeSession(false);
    const closed = presence.close();
    if (!this.#signedIn) return closed;
    this.#signedIn = false;
    this.#unwatch?.();
    await closed;
    const message = "signed out";
    this.onDisconnect.fire({ message });
    this.emit("closed", { message });
  }

  #presenceEvents(presence: () => Presence): PresenceEvents {
    const current = () => this.#presence === presence();
    const trouble = (status: number) => {
      if (current()) this.onConnectionError.fire({ status });
    };
    return {
      onDelivery: (delivery) => {
        if (current()) this.#deliver(delivery);
      },
      onTrouble: trouble,
      onRecovered: (gateway) => {
        if (current()) this.onConnectionRestored.fire({ gateway, signedInAgain: false });
      },
      onLost: () => this.#session?.lost(),
      onRestored: (gateway) => {
        this.onConnectionRestored.fire({ gateway, signedInAgain: true });
        this.emit("restored", { gateway });
      },
      onOver: (failure) => {
        this.#session?.lost();
        if (failure) this.#failed(failure);
        else {
          const message = "this DN has signed in elsewhere";
          this.onReplaced.fire({ message });
          this.emit("replaced", { message });
        }
        if (current()) this.disconnect();
      },
      onEnded: () => {
        if (!current()) return;
        this.#session?.peerClosed("");
        this.disconnect();
      },
      dials: () => this.onDialRequest.heard,
      mediaFlow: () => this.#session?.mediaFlow ?? false,
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
      case "DIAL":
        this.onDialRequest.fire({ peer: message.number });
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
      const stream = await capture(audio, video);
      // A call that is up goes on with the new devices; its old tracks end here.
      this.#session?.useStream(stream);
      this.disableMediaSource();
      this.localStream = stream;
      this.#devices.watch(stream, audio, video);
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
    this.#devices.forget();
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
    if (!stream) return;
    const told = (playing: boolean) => (on: HTMLMediaElement) => this.onPlayback.fire({ element: on, playing });
    play(found, told(false), told(true));
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

/** Microphone and camera; a screen where the constraints are those of `VideoConstraints.screen()`. */
async function capture(audio: MediaWish, video: MediaWish): Promise<MediaStream> {
  const devices = navigator.mediaDevices;
  if (typeof video === "boolean" || !("displaySurface" in video)) return devices.getUserMedia({ audio, video });
  const screen = await devices.getDisplayMedia({ video });
  if (audio !== false) {
    for (const track of (await devices.getUserMedia({ audio })).getTracks()) screen.addTrack(track);
  }
  return screen;
}

/** A guest's id: `anon` and random letters, 36 characters in all. */
function anonymousId(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `anon${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
