/** What `new Grtc.Client(...)` takes. Numbers and booleans may be given as strings. */
export interface ClientConfig {
	/** Base URL of the gateway; a comma-separated list is tried in order. */
	webrtc_gateway?: string;
	/** `host:port`, without a scheme, comma-separated. */
	stun_server?: string;
	/** `host:port[?transport=tcp]`, without a scheme, comma-separated. */
	turn_server?: string;
	turn_username?: string;
	turn_password?: string;
	/** DN for `register()` without an argument. */
	sip_username?: string | number;
	/** With a password, sign-in is a POST. */
	sip_password?: string;
	/** Kept for compatibility: DTLS-SRTP is all there is. */
	dtls_srtp?: boolean | string;
	/** Accepted. */
	enable_ipv6?: boolean | string;
	/** ms from OFFER to `onPeerNoanswer`; default 60 000, at least 18 000. */
	noanswer_timeout?: number | string;
	/** ms, cap on ICE gathering once one candidate is there; default 1000, at least 1000. */
	ice_timeout?: number | string;
	/** Do not wait for ICE gathering when renegotiating. */
	ice_optimization?: boolean | string;
	/** ms, length of the hanging GET; default 30 000, at least 10 000, 0 = never given up. */
	polling_timeout?: number | string;
	/** RSA instead of ECDSA for the DTLS certificate. */
	use_rsa_certificate?: boolean | string;
	/** Alias of `webrtc_gateway`. */
	serverUrl?: string;
	/** Alias of `sip_username`; `dn` goes before it. */
	username?: string | number;
	/** Alias of `sip_username`. */
	dn?: string | number;
	/** Alias of `sip_password`. */
	password?: string;
}
/** Returning `false` keeps the event from the handlers that were added later. */
export type Handler<T> = (argument: T) => unknown;
/** One kind of event: `client.onIncomingCall.add(handler)`. */
declare class Event$1<T = void> {
	#private;
	/** A function that is there already is not added again. */
	add(handler: Handler<T>): void;
	remove(handler: Handler<T>): void;
	has(handler: Handler<T>): boolean;
	/** Removes every handler. */
	empty(): void;
	/** A handler that throws is logged and does not keep the event from the others. */
	fire(argument: T): void;
}
declare class Emitter<Events extends object> {
	#private;
	on<K extends keyof Events>(name: K, handler: Handler<Events[K]>): this;
	off<K extends keyof Events>(name: K, handler: Handler<Events[K]>): this;
	protected emit<K extends keyof Events>(name: K, argument: Events[K]): void;
}
/** `{key, value}` of `attacheddata`: user data of a call. */
export interface DataPair {
	key: string;
	value: string;
}
export interface RoapCandidate {
	candidate: string;
	sdpMid: string | null;
	sdpMLineIndex: number | null;
	usernameFragment?: string | null;
}
/** `"a=b&c=d"` (a leading `?` is fine) as an object. */
export declare function deparam(query: string): Record<string, string>;
interface SessionEmits {
	/** Our offer, as it is sent. */
	offer: string;
	/** The SDP answer, ours or the gateway's. */
	answer: string;
	stream: MediaStream;
	end: EndReason;
}
/** One call at a time; the object can be used again for the next. */
declare class MediaSession$1 extends Emitter<SessionEmits> {
	#private;
	readonly onRemoteStream: Event$1<{
		stream: MediaStream;
	}>;
	readonly onSessionHold: Event$1<boolean>;
	constructor(client: Client, options?: SessionOptions);
	/** The other party's DN or number, `""` without a call. */
	get peer(): string;
	/** The caller's display name where the gateway tells, otherwise `""`. */
	get peerName(): string;
	/** Whom the caller had dialled before the call was diverted here; `""` when nobody was, or the gateway does not tell. */
	get divertedFrom(): string;
	/** The contact centre's id of the call, `""` where none is known. */
	get callUuid(): string;
	isEstablished(): boolean;
	hasAudioEnabled(): boolean;
	hasVideoEnabled(): boolean;
	/**
	 * Calls `dn`; in an established call renegotiates it (`dn` 0 or none), and after `onIceDisconnected`
	 * restarts ICE. `onCallEvent` tells how it goes on.
	 */
	makeOffer(dn?: string | number | boolean, audio?: boolean, video?: boolean, hold?: boolean): void;
	/** The older name of {@link makeOffer}. */
	makeCall(dn: string | number, audio?: boolean, video?: boolean): void;
	/** The short form: opens the media that the options ask for and calls the destination. */
	connect(): void;
	/**
	 * Accepts the call that rings: with an ANSWER, or with our OFFER where the INVITE had none. Throws
	 * `INVALID_STATE_ERROR` when none rings.
	 */
	acceptCall(audio?: boolean | string, video?: boolean, peer?: string, hold?: boolean): void;
	/** The short form: opens the media that the options ask for and accepts. */
	accept(): void;
	rejectCall(peer?: string): void;
	/** Puts the call on hold with an OFFER whose media are inactive. */
	holdCall(): void;
	resumeCall(): void;
	/** This side has put the call on hold. */
	get heldHere(): boolean;
	/** The far end has put the call on hold. */
	get heldByPeer(): boolean;
	/** Mutes (`false`) and unmutes (`true`) what is sent. */
	updateCall(audio: boolean, video?: boolean): void;
	updateLocalStream(audio: boolean, video?: boolean): void;
	/** Ends the call; with `sendBye` the far end hears of it. */
	closeSession(sendBye?: boolean): void;
	terminateCall(): void;
	/** 0-9, A-D, `#`, `*` and `,` (a pause). 0 when they are on their way, -1 when they cannot be sent. */
	sendDTMF(tones: string | number, options?: {
		duration?: number;
		tonegap?: number;
	}): 0 | -1;
	/** User data for the next OFFER or ANSWER. */
	setData(data: DataPair[]): void;
	/** User data that came with the newest OFFER or ANSWER. */
	getData(): DataPair[];
	/** Data for the SIP server (`mapped`) or for the far end. */
	sendInfo(data: Record<string, unknown>, mapped?: boolean): void;
	/** Asks the gateway for its statistics; `onStatsFromServer` brings them. */
	getServerStats(): void;
	/** The browser's own statistics of the call; `null` without one. */
	getStats(): Promise<RTCStatsReport | null>;
}
/** `true`, `false`, or constraints for getUserMedia. */
export type MediaWish = boolean | MediaTrackConstraints;
/** An element, its id, or a list whose first item is one (jQuery's for instance). */
export type ViewElement = HTMLMediaElement | string | {
	readonly [0]?: HTMLMediaElement;
};
interface ClientEmits {
	/** Signed in. */
	ready: {
		message: string;
	};
	/** Sign-in failed. */
	failed: {
		message: string;
		status: number;
	};
	/** A call came in. */
	incoming: MediaSession$1;
	/** Signed out. */
	closed: {
		message: string;
	};
	/** Signed in again after the gateway had lost the session. */
	restored: {
		gateway: string;
	};
	/** The DN is signed in elsewhere now. */
	replaced: {
		message: string;
	};
}
/** The connection to the gateway, and the local media. */
export declare class Client extends Emitter<ClientEmits> {
	#private;
	readonly onConnect: Event$1<{
		message: string;
	}>;
	readonly onRegister: Event$1<{
		message: string;
	}>;
	readonly onDisconnect: Event$1<{
		message: string;
	}>;
	/** `status` is the HTTP status of the refusal, 0 when no gateway could be reached. */
	readonly onFailed: Event$1<{
		message: string;
		status: number;
	}>;
	readonly onMediaSuccess: Event$1<{
		stream: MediaStream;
	}>;
	/** `name` is that of the browser's error, `NotAllowedError` for instance. */
	readonly onMediaFailure: Event$1<{
		message: string;
		name: string;
	}>;
	readonly onIncomingCall: Event$1<{
		peer: string;
		event: "offer" | "invite";
	}>;
	readonly onCallEvent: Event$1<{
		event: CallEventName;
	}>;
	readonly onNotifyEvent: Event$1<{
		event: "talk" | "hold";
		peer: string;
	}>;
	readonly onPeerClosing: Event$1<void>;
	readonly onPeerNoanswer: Event$1<void>;
	readonly onInfoFromPeer: Event$1<Record<string, string>>;
	readonly onStatsFromServer: Event$1<unknown>;
	readonly onIceDisconnected: Event$1<{
		state: string;
	}>;
	readonly onConnectionError: Event$1<{
		status: number;
	}>;
	readonly onGatewayError: Event$1<{
		error: string;
	}>;
	readonly onWebrtcError: Event$1<{
		error: string;
	}>;
	/** After `onConnectionError`: the gateway is there again. With `signedInAgain`, it was restarted or another one of the list. */
	readonly onConnectionRestored: Event$1<{
		gateway: string;
		signedInAgain: boolean;
	}>;
	/** Another page signed in with this DN; `onDisconnect` follows, and nothing is tried again. */
	readonly onReplaced: Event$1<{
		message: string;
	}>;
	/** A device was unplugged: another one has taken over, or there is none (`stream` is null) until one is plugged in. */
	readonly onDeviceChange: Event$1<{
		stream: MediaStream | null;
		message: string;
	}>;
	/** Somebody beside the page (WWE's connector, for instance) wants a call to `peer`; it is for the application to make it.
	 *  Add a handler before signing in: without one nobody is told that we would. */
	readonly onDialRequest: Event$1<{
		peer: string;
	}>;
	/** The browser does not play sound before the page is touched (`playing` false), and then it does. */
	readonly onPlayback: Event$1<{
		element: HTMLMediaElement;
		playing: boolean;
	}>;
	/** Throws `CONFIGURATION_ERROR`, or `WEBRTC_NOT_SUPPORTED_ERROR` in a browser without WebRTC. */
	constructor(config: ClientConfig);
	/** Signs in as a guest, who calls out but cannot be called. In the short form with a DN: registers it. */
	connect(): void;
	/** Signs in as `dn`, by default the configured one. */
	register(dn?: string | number): void;
	/** Hangs up and signs out. */
	disconnect(): void;
	/** Asks for microphone and camera; `onMediaSuccess` or `onMediaFailure` follows. */
	enableMediaSource(audio?: MediaWish, video?: MediaWish): void;
	/** Gives microphone and camera back. */
	disableMediaSource(): void;
	/** Plays a stream in an audio or video element. */
	setViewFromStream(element: ViewElement, stream: MediaStream | null): void;
	/** Which media to ask for in our offers. */
	setMediaConstraintsForOffer(audio: boolean, video: boolean): void;
	/** Which media to accept in our answers. */
	setMediaConstraintsForAnswer(audio: boolean, video: boolean): void;
	/** kbit/s, written as `b=AS:` into our descriptions. */
	setVideoBandwidth(kbps: number | string): void;
	/** Whether renegotiation brings a whole new peer connection. */
	setRenewSessionOnNeed(renew: boolean): void;
	/** 0 nothing, 1 errors, 2 warnings, 3 information, 4 everything. */
	setLogLevel(level: number): void;
	/** Meant to be overwritten: which of our candidates the gateway gets to see. */
	filterIceCandidates(list: RoapCandidate[]): RoapCandidate[];
	/** The short form: a session with its destination and constraints. */
	newMediaSession(options?: SessionOptions): MediaSession$1;
}
/** Argument of `onCallEvent`. */
export type CallEventName = "offer sent" | "answer received" | "offer received" | "answer sent" | "invite received";
/** Options of the short form. */
export interface SessionOptions {
	destination?: string | number;
	constraints?: {
		audio?: MediaWish;
		video?: MediaWish;
	};
}
/** Why a call ended. */
export interface EndReason {
	/** Who ended it: this page, the far end, or a fault. */
	by: "local" | "remote" | "noanswer" | "error";
	/** SIP status where the gateway tells, otherwise 0. */
	code: number;
	reason: string;
}
/** Names of the errors that the library throws or logs; also found as constants on `Grtc`. */
export declare const CONFIGURATION_ERROR = "CONFIGURATION_ERROR";
export declare const CONNECTION_ERROR = "CONNECTION_ERROR";
export declare const WEBRTC_NOT_SUPPORTED_ERROR = "WEBRTC_NOT_SUPPORTED_ERROR";
export declare const INVALID_STATE_ERROR = "INVALID_STATE_ERROR";
export declare const NOT_READY_ERROR = "NOT_READY_ERROR";
export declare const GRTC_ERROR = "GRTC_ERROR";
export declare const GRTC_WARN = "GRTC_WARN";
export declare const WEBRTC_ERROR = "WEBRTC_ERROR";
/** `Grtc.Error`: `name` is one of the constants above. */
declare class GrtcError extends Error {
	constructor(name: string, message: string);
}
/** Levels of {@link Logger}: 0 says nothing, 4 says everything. */
export type LogLevel = 0 | 1 | 2 | 3 | 4;
/** Where log lines may be sent instead of the console. */
export interface LogSink {
	error(message: string): void;
	warn(message: string): void;
	info(message: string): void;
	debug(message: string): void;
}
/** `Grtc.Logger`: lines go to the sink when their level is switched on. Secrets and SDP are never logged. */
export declare class Logger {
	#private;
	setLogLevel(level: number): void;
	setSink(sink: LogSink | null): void;
	error(message: string): void;
	warn(message: string): void;
	info(message: string): void;
	debug(message: string): void;
}
/** Replaces the library's logger. */
export declare function setLogger(logger: Logger): void;
/** Sends the library's log lines to `sink`; `null` brings the console back. */
export declare function setExternalLogger(sink: LogSink | null): void;
export declare function isWebrtcSupported(): boolean;
/** `"chrome"`, `"firefox"`, `"safari"`, `"edge"`, `"opera"` or `"unknown"`. */
export declare function getWebrtcDetectedBrowser(): string;
/** Major version of the browser, 0 when unknown. */
export declare function getWebrtcDetectedVersion(): number;
/** Constraints for common picture sizes. */
export declare const VideoConstraints: {
	qvga: () => MediaTrackConstraints;
	vga: () => MediaTrackConstraints;
	hd: () => MediaTrackConstraints;
	custom: (width: number, height: number) => MediaTrackConstraints;
	/** A screen or window instead of the camera; the browser asks which. Sizes are upper limits. */
	screen: (width?: number, height?: number) => MediaTrackConstraints;
};

export {
	Event$1 as Event,
	GrtcError as Error,
	MediaSession$1 as MediaSession,
};

export as namespace Grtc;

export {};
