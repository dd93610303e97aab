import { CONFIGURATION_ERROR, GrtcError } from "./errors";

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

/** The options after validation. */
export interface Settings {
  readonly gateways: readonly string[];
  readonly iceServers: readonly RTCIceServer[];
  readonly dn: string | null;
  readonly password: string | null;
  /** The short form was used: `connect()` then registers the DN. */
  readonly connectRegisters: boolean;
  readonly noanswerTimeout: number;
  readonly iceTimeout: number;
  readonly iceOptimization: boolean;
  readonly pollingTimeout: number;
  readonly useRsaCertificate: boolean;
}

const OPTIONS: ReadonlySet<string> = new Set([
  "webrtc_gateway", "stun_server", "turn_server", "turn_username", "turn_password", "sip_username",
  "sip_password", "dtls_srtp", "enable_ipv6", "noanswer_timeout", "ice_timeout", "ice_optimization",
  "polling_timeout", "use_rsa_certificate", "serverUrl", "username", "dn", "password",
]);

/** Throws `CONFIGURATION_ERROR` that names the option at fault. */
export function parseConfig(config: ClientConfig): Settings {
  if (typeof config !== "object" || config === null) fail("the configuration must be an object");
  for (const name of Object.keys(config)) {
    if (!OPTIONS.has(name)) fail(`unknown option '${name}'`);
  }
  const dn = text(config, "sip_username") ?? text(config, "dn") ?? text(config, "username");
  return {
    gateways: gateways(text(config, "webrtc_gateway") ?? text(config, "serverUrl")),
    iceServers: iceServers(config),
    dn,
    password: text(config, "sip_password") ?? text(config, "password"),
    connectRegisters: config.dn !== undefined,
    noanswerTimeout: milliseconds(config, "noanswer_timeout", 60_000, 18_000),
    iceTimeout: milliseconds(config, "ice_timeout", 1_000, 1_000),
    iceOptimization: flag(config, "ice_optimization", false),
    pollingTimeout: milliseconds(config, "polling_timeout", 30_000, 10_000, true),
    useRsaCertificate: flag(config, "use_rsa_certificate", false),
  };
}

function fail(message: string): never {
  throw new GrtcError(CONFIGURATION_ERROR, message);
}

function text(config: ClientConfig, name: keyof ClientConfig): string | null {
  const value = config[name];
  if (value === undefined || value === null || value === "") return null;
  if (typeof value !== "string" && typeof value !== "number") fail(`'${name}' must be a text`);
  return String(value);
}

function gateways(list: string | null): string[] {
  if (list === null) fail("'webrtc_gateway' is missing");
  const urls = commaList(list).map((url) => url.replace(/\/+$/, ""));
  if (urls.length === 0) fail("'webrtc_gateway' is empty");
  for (const url of urls) {
    if (!/^https?:\/\/[^/]/i.test(url)) fail(`'webrtc_gateway': '${url}' is no http(s) URL`);
  }
  return urls;
}

function iceServers(config: ClientConfig): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  const stun = text(config, "stun_server");
  if (stun !== null) servers.push({ urls: commaList(stun).map((host) => `stun:${bare(host, "stun_server")}`) });
  const turn = text(config, "turn_server");
  if (turn !== null) {
    const username = text(config, "turn_username");
    const credential = text(config, "turn_password");
    if (username === null || credential === null) {
      fail("'turn_server' needs 'turn_username' and 'turn_password'");
    }
    const urls = commaList(turn).map((host) => `turn:${bare(host, "turn_server")}`);
    servers.push({ urls, username, credential });
  }
  return servers;
}

function bare(host: string, option: string): string {
  if (/^(stuns?|turns?):/i.test(host)) fail(`'${option}' takes host:port without a scheme`);
  return host;
}

function commaList(list: string): string[] {
  return list.split(",").map((item) => item.trim()).filter((item) => item !== "");
}

/** Too small a value is raised to the least that is allowed, as pages expect. */
function milliseconds(
  config: ClientConfig, name: keyof ClientConfig, fallback: number, least: number, zeroAllowed = false,
): number {
  const value = config[name];
  if (value === undefined || value === null || value === "") return fallback;
  const number = typeof value === "boolean" ? NaN : Number(value);
  if (!Number.isFinite(number) || number < 0) fail(`'${name}' must be a number of milliseconds`);
  return zeroAllowed && number === 0 ? 0 : Math.max(least, number);
}

function flag(config: ClientConfig, name: keyof ClientConfig, fallback: boolean): boolean {
  const value = config[name];
  if (value === undefined || value === null || value === "") return fallback;
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  fail(`'${name}' must be true or false`);
}
