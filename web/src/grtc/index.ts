/**
 * The `Grtc` library: a browser's side of a WebRTC gateway that speaks ROAP over a hanging GET.
 *
 * As a script it defines `window.Grtc`; as a module it exports the same names.
 */
export type { EndReason, SessionOptions } from "./call";
export { Client, type CallEventName, type MediaWish, type ViewElement } from "./client";
export type { ClientConfig } from "./config";
export {
  CONFIGURATION_ERROR, CONNECTION_ERROR, GRTC_ERROR, GRTC_WARN, GrtcError as Error, INVALID_STATE_ERROR,
  NOT_READY_ERROR, WEBRTC_ERROR, WEBRTC_NOT_SUPPORTED_ERROR,
} from "./errors";
export { Event, type Handler } from "./events";
export { Logger, setExternalLogger, setLogger, type LogLevel, type LogSink } from "./logger";
export { deparam, type DataPair, type RoapCandidate } from "./roap";
export { MediaSession } from "./session";
export { getWebrtcDetectedBrowser, getWebrtcDetectedVersion, isWebrtcSupported, VideoConstraints } from "./support";
