/** Names of the errors that the library throws or logs; also found as constants on `Grtc`. */
export const CONFIGURATION_ERROR = "CONFIGURATION_ERROR";
export const CONNECTION_ERROR = "CONNECTION_ERROR";
export const WEBRTC_NOT_SUPPORTED_ERROR = "WEBRTC_NOT_SUPPORTED_ERROR";
export const INVALID_STATE_ERROR = "INVALID_STATE_ERROR";
export const NOT_READY_ERROR = "NOT_READY_ERROR";
export const GRTC_ERROR = "GRTC_ERROR";
export const GRTC_WARN = "GRTC_WARN";
export const WEBRTC_ERROR = "WEBRTC_ERROR";

/** `Grtc.Error`: `name` is one of the constants above. */
export class GrtcError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** What to tell a person about anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}
