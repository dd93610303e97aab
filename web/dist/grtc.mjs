// src/grtc/errors.ts
var CONFIGURATION_ERROR = "CONFIGURATION_ERROR";
var CONNECTION_ERROR = "CONNECTION_ERROR";
var WEBRTC_NOT_SUPPORTED_ERROR = "WEBRTC_NOT_SUPPORTED_ERROR";
var INVALID_STATE_ERROR = "INVALID_STATE_ERROR";
var NOT_READY_ERROR = "NOT_READY_ERROR";
var GRTC_ERROR = "GRTC_ERROR";
var GRTC_WARN = "GRTC_WARN";
var WEBRTC_ERROR = "WEBRTC_ERROR";
var GrtcError = class extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
};
function messageOf(thrown) {
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}

// src/grtc/config.ts
var OPTIONS = /* @__PURE__ */ new Set([
  "webrtc_gateway",
  "stun_server",
  "turn_server",
  "turn_username",
  "turn_password",
  "sip_username",
  "sip_password",
  "dtls_srtp",
  "enable_ipv6",
  "noanswer_timeout",
  "ice_timeout",
  "ice_optimization",
  "polling_timeout",
  "use_rsa_certificate",
  "serverUrl",
  "username",
  "dn",
  "password"
]);
function parseConfig(config) {
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
    connectRegisters: config.dn !== void 0,
    noanswerTimeout: milliseconds(config, "noanswer_timeout", 6e4, 18e3),
    iceTimeout: milliseconds(config, "ice_timeout", 1e3, 1e3),
    iceOptimization: flag(config, "ice_optimization", false),
    pollingTimeout: milliseconds(config, "polling_timeout", 3e4, 1e4, true),
    useRsaCertificate: flag(config, "use_rsa_certificate", false)
  };
}
function fail(message) {
  throw new GrtcError(CONFIGURATION_ERROR, message);
}
function text(config, name) {
  const value = config[name];
  if (value === void 0 || value === null || value === "") return null;
  if (typeof value !== "string" && typeof value !== "number") fail(`'${name}' must be a text`);
  return String(value);
}
function gateways(list) {
  if (list === null) fail("'webrtc_gateway' is missing");
  const urls = commaList(list).map((url) => url.replace(/\/+$/, ""));
  if (urls.length === 0) fail("'webrtc_gateway' is empty");
  for (const url of urls) {
    if (!/^https?:\/\/[^/]/i.test(url)) fail(`'webrtc_gateway': '${url}' is no http(s) URL`);
  }
  return urls;
}
function iceServers(config) {
  const servers = [];
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
function bare(host, option) {
  if (/^(stuns?|turns?):/i.test(host)) fail(`'${option}' takes host:port without a scheme`);
  return host;
}
function commaList(list) {
  return list.split(",").map((item) => item.trim()).filter((item) => item !== "");
}
function milliseconds(config, name, fallback, least, zeroAllowed = false) {
  const value = config[name];
  if (value === void 0 || value === null || value === "") return fallback;
  const number = typeof value === "boolean" ? NaN : Number(value);
  if (!Number.isFinite(number) || number < 0) fail(`'${name}' must be a number of milliseconds`);
  return zeroAllowed && number === 0 ? 0 : Math.max(least, number);
}
function flag(config, name, fallback) {
  const value = config[name];
  if (value === void 0 || value === null || value === "") return fallback;
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  fail(`'${name}' must be true or false`);
}

// src/grtc/logger.ts
var toConsole = {
  error: (m) => console.error(m),
  warn: (m) => console.warn(m),
  info: (m) => console.info(m),
  debug: (m) => console.debug(m)
};
var Logger = class {
  #level = 2;
  #sink = toConsole;
  setLogLevel(level) {
    const whole = Math.trunc(Number(level));
    if (Number.isFinite(whole)) this.#level = Math.min(4, Math.max(0, whole));
  }
  setSink(sink) {
    this.#sink = sink ?? toConsole;
  }
  error(message) {
    if (this.#level >= 1) this.#sink.error(`grtc: ${message}`);
  }
  warn(message) {
    if (this.#level >= 2) this.#sink.warn(`grtc: ${message}`);
  }
  info(message) {
    if (this.#level >= 3) this.#sink.info(`grtc: ${message}`);
  }
  debug(message) {
    if (this.#level >= 4) this.#sink.debug(`grtc: ${message}`);
  }
};
var log = new Logger();
function setLogger(logger) {
  log = logger;
}
function setExternalLogger(sink) {
  log.setSink(sink);
}

// src/grtc/ice_servers.ts
var LIMIT_MS = 2e3;
var AGAIN_MS = 6e4;
var IceServers = class {
  #url;
  #known = null;
  #asking = null;
  constructor(url) {
    this.#url = url;
  }
  /** Asks ahead of the first call. */
  prepare() {
    void this.#ask();
  }
  /** Empty where there are none. Credentials are renewed at half their time, and waited for when that is over. */
  async get() {
    const known = this.#known;
    const age = known ? performance.now() - known.at : 0;
    if (!known || age > known.ms) await this.#ask();
    else if (age > known.ms / 2) this.prepare();
    return this.#known?.servers ?? [];
  }
  #ask() {
    this.#asking ??= this.#fetch().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }
  async #fetch() {
    const at = performance.now();
    const giveUp = new AbortController();
    const timer = setTimeout(() => giveUp.abort(), LIMIT_MS);
    try {
      const response = await fetch(this.#url, { credentials: "include", cache: "no-store", signal: giveUp.signal });
      if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
      const { iceServers: iceServers2, ttl } = await response.json();
      const servers = iceServers2.map(({ urls, username, credential }) => username === void 0 || credential === void 0 ? { urls } : { urls, username, credential });
      this.#known = { servers, at, ms: ttl > 0 ? ttl * 1e3 : Infinity };
    } catch (thrown) {
      log.debug(`no ICE servers from the gateway: ${messageOf(thrown)}`);
      this.#known = { servers: [], at, ms: AGAIN_MS };
    } finally {
      clearTimeout(timer);
    }
  }
};

// src/grtc/connection.ts
var RETRY_MS = 3e3;
var BROKEN_RETRY_MS = 1e3;
var MAX_TRIES = 20;
var SIGN_IN_MS = 35e3;
var RECOVERED_MS = 4e3;
var SignInFailure = class extends GrtcError {
  status;
  /** When the gateway wants to be asked again, in ms; 0 where it does not say. */
  retryAfter;
  constructor(status, message, retryAfter = 0) {
    super(CONNECTION_ERROR, message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
};
function pause(ms, onWake) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      onWake(null);
      resolve();
    };
    const timer = setTimeout(end, ms);
    onWake(end);
  });
}
var UNCONDITIONAL = {
  wanted: () => true,
  refused: (status, message) => log.warn(`the gateway refused a message with ${status}: ${message}`)
};
async function signIn(gateways2, first, publicId, password, signal) {
  let failure = new SignInFailure(0, "no gateway could be reached");
  for (let tried = 0; tried < gateways2.length; tried += 1) {
    const index = (first + tried) % gateways2.length;
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    const timer = tried + 1 < gateways2.length ? setTimeout(abort, SIGN_IN_MS) : void 0;
    let response;
    let text2;
    try {
      response = await (password === null ? fetch(`${gateways2[index]}/sign_in?${encodeURIComponent(publicId)}`, { credentials: "include", cache: "no-store", signal: attempt.signal }) : fetch(`${gateways2[index]}/sign_in`, {
        method: "POST",
        credentials: "include",
        cache: "no-store",
        headers: { "Content-Type": "application/x-www-form-urlencoded" },
        body: `${publicId}:${password}`,
        signal: attempt.signal
      }));
      text2 = await response.text();
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      failure = new SignInFailure(0, `the gateway could not be reached: ${messageOf(thrown)}`);
      continue;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
    if (response.ok) {
      const ssid = text2.split("\n", 1)[0]?.trim().split("=")[1];
      if (ssid) return { ssid, index };
      failure = new SignInFailure(response.status, "the gateway's answer to the sign-in has no session in it");
      continue;
    }
    const seconds = Number(response.headers.get("Retry-After") ?? 0);
    const retryAfter = Number.isFinite(seconds) ? seconds * 1e3 : 0;
    failure = new SignInFailure(response.status, text2.trim() || `the gateway answered ${response.status}`, retryAfter);
    if (response.status < 500) break;
  }
  throw failure;
}
var Connection = class {
  /** What this gateway tells of STUN and TURN servers. */
  iceServers;
  #gateway;
  #ssid;
  #pollingTimeout;
  #events;
  #queue = [];
  #sending = false;
  #current = null;
  #closed = false;
  #hanging = null;
  #hangingSince = 0;
  #wakeSender = null;
  #wakePoll = null;
  constructor(gateway, ssid, pollingTimeout, events) {
    this.#gateway = gateway;
    this.#ssid = ssid;
    this.#pollingTimeout = pollingTimeout;
    this.#events = events;
    this.iceServers = new IceServers(`${gateway}/api/ice?id=${ssid}`);
  }
  /** Opens the hanging GET and keeps one open until {@link close}. */
  start() {
    void this.#poll();
  }
  /**
   * Queues a message; they go out one after the other. One that fails is sent again after 3 s with the
   * same body, as long as it is `wanted`.
   */
  send(peer, body, fate = UNCONDITIONAL) {
    if (this.#closed) return;
    this.#queue.push({ ...fate, peer: peer === "" ? "null" : peer, body });
    if (this.#current && !this.#current.wanted()) this.#wakeSender?.();
    if (!this.#sending) void this.#drain();
  }
  /** Signs out. The gateway releases the call. Resolves when it has answered or cannot be reached. */
  async close() {
    if (this.#closed) return;
    this.#stop();
    try {
      await fetch(`${this.#gateway}/sign_out?id=${this.#ssid}`, { credentials: "include", cache: "no-store", keepalive: true });
    } catch (thrown) {
      log.warn(`sign-out did not reach the gateway: ${messageOf(thrown)}`);
    }
  }
  #stop() {
    this.#closed = true;
    this.#queue.length = 0;
    this.#hanging?.abort();
    this.#wakeSender?.();
    this.#wakePoll?.();
  }
  /** The page is going away, and nobody waits for the answer. */
  signOutInPassing() {
    const url = `${this.#gateway}/sign_out?id=${this.#ssid}`;
    if ("keepalive" in Request.prototype) {
      void fetch(url, { credentials: "include", cache: "no-store", keepalive: true }).catch(() => void 0);
    } else {
      navigator.sendBeacon(url);
    }
  }
  /** Tries at once what waits for its next try; a GET that has hung for too long is asked anew. */
  wake() {
    this.#wakePoll?.();
    this.#wakeSender?.();
    const overdue = this.#pollingTimeout > 0 && performance.now() - this.#hangingSince > this.#pollingTimeout;
    if (overdue) this.#hanging?.abort();
  }
  async #poll() {
    let failed = false;
    let failuresInARow = 0;
    const recovered = () => {
      if (failed && !this.#closed) this.#events.onRecovered();
      failed = false;
      failuresInARow = 0;
    };
    while (!this.#closed) {
      const hanging = new AbortController();
      let broken = false;
      this.#hanging = hanging;
      this.#hangingSince = performance.now();
      const timer = this.#pollingTimeout > 0 ? setTimeout(() => hanging.abort(), this.#pollingTimeout) : void 0;
      const settled = failed ? setTimeout(recovered, RECOVERED_MS) : void 0;
      try {
        const response = await fetch(`${this.#gateway}/wait?id=${this.#ssid}${this.#events.dials() ? "&dial=1" : ""}`, {
          credentials: "include",
          cache: "no-store",
          signal: hanging.signal
        });
        clearTimeout(timer);
        this.#hanging = null;
        const body = await response.text();
        if (this.#closed) return;
        if (response.status === 200) {
          recovered();
          if (body !== "") {
            this.#events.onDelivery({
              body,
              peer: response.headers.get("Pragma") ?? "",
              reason: response.headers.get("X-Wrtc-Reason") ?? "",
              peerName: response.headers.get("X-Wrtc-Peer-Name") ?? "",
              divertedFrom: response.headers.get("X-Wrtc-Diversion") ?? "",
              callUuid: response.headers.get("X-Genesys-CallUUID") ?? ""
            });
          }
          continue;
        }
        if (response.ok) {
          this.#events.onEnded();
          return;
        }
        if (response.status === 404 || response.status === 410) {
          this.#stop();
          this.#events.onGone(response.status, body.trim());
          return;
        }
        failed = true;
        this.#events.onPollFailed(response.status);
      } catch (thrown) {
        if (this.#closed) return;
        if (hanging.signal.aborted) continue;
        log.warn(`the hanging GET broke: ${messageOf(thrown)}`);
        broken = true;
        failed = true;
        this.#events.onPollFailed(0);
      } finally {
        clearTimeout(timer);
        clearTimeout(settled);
      }
      const wait = broken && failuresInARow === 0 ? BROKEN_RETRY_MS * (0.75 + Math.random() / 2) : RETRY_MS;
      failuresInARow += 1;
      if (!this.#closed) await pause(wait, (wake) => {
        this.#wakePoll = wake;
      });
    }
  }
  async #drain() {
    this.#sending = true;
    for (let next = this.#queue.shift(); next && !this.#closed; next = this.#queue.shift()) {
      this.#current = next;
      await this.#deliver(next);
    }
    this.#current = null;
    this.#sending = false;
  }
  async #deliver(message) {
    const url = `${this.#gateway}/message?from=${this.#ssid}&to=${encodeURIComponent(message.peer)}`;
    for (let tries = 0; tries < MAX_TRIES && !this.#closed && message.wanted(); tries += 1) {
      try {
        const response = await fetch(url, {
          method: "POST",
          credentials: "include",
          headers: { "Content-Type": "text/plain;charset=UTF-8" },
          body: message.body
        });
        const text2 = await response.text();
        if (response.ok) return;
        if (response.status < 500 && response.status !== 408 && response.status !== 429) {
          message.refused(response.status, text2.trim());
          return;
        }
        log.warn(`the gateway answered ${response.status} to a message; it is sent again`);
      } catch (thrown) {
        log.warn(`a message did not reach the gateway, it is sent again: ${messageOf(thrown)}`);
      }
      if (!this.#closed && message.wanted()) await pause(RETRY_MS, (wake) => {
        this.#wakeSender = wake;
      });
    }
  }
};

// src/grtc/devices.ts
var Devices = class {
  #events;
  #stream = null;
  #wish = { audio: false, video: false };
  #opening = false;
  #stop = null;
  constructor(events) {
    this.#events = events;
  }
  watch(stream, audio, video) {
    this.forget();
    this.#stream = stream;
    this.#wish = { audio: withoutDevice(audio), video: withoutDevice(video) };
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const look = () => {
      void this.#look();
    };
    for (const track of stream.getTracks()) track.addEventListener("ended", look, { signal });
    navigator.mediaDevices.addEventListener?.("devicechange", look, { signal });
  }
  forget() {
    this.#stop?.abort();
    this.#stop = null;
    this.#stream = null;
  }
  async #look() {
    const lost = this.#stream;
    if (!lost || this.#opening || !lost.getTracks().some(({ readyState }) => readyState === "ended")) return;
    this.#opening = true;
    try {
      const stream = await navigator.mediaDevices.getUserMedia(this.#wish);
      if (this.#stream !== lost) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      for (const track of stream.getTracks()) {
        track.enabled = lost.getTracks().find(({ kind }) => kind === track.kind)?.enabled ?? true;
      }
      this.watch(stream, this.#wish.audio, this.#wish.video);
      this.#events.onReplaced(stream);
    } catch (thrown) {
      if (this.#stream !== lost) return;
      log.warn(`no other device takes over: ${messageOf(thrown)}`);
      this.#events.onMissing(messageOf(thrown));
    } finally {
      this.#opening = false;
    }
  }
};
function withoutDevice(wish) {
  if (typeof wish === "boolean") return wish;
  const { deviceId: _device, groupId: _group, ...rest } = wish;
  return rest;
}

// src/grtc/events.ts
var Event = class {
  #handlers = [];
  /** A function that is there already is not added again. */
  add(handler) {
    if (typeof handler === "function" && !this.has(handler)) this.#handlers.push(handler);
  }
  remove(handler) {
    const at = this.#handlers.indexOf(handler);
    if (at >= 0) this.#handlers.splice(at, 1);
  }
  has(handler) {
    return this.#handlers.includes(handler);
  }
  /** @internal Somebody would hear it. */
  get heard() {
    return this.#handlers.length > 0;
  }
  /** Removes every handler. */
  empty() {
    this.#handlers.length = 0;
  }
  /** A handler that throws is logged and does not keep the event from the others. */
  fire(argument) {
    for (const handler of [...this.#handlers]) {
      try {
        if (handler(argument) === false) return;
      } catch (thrown) {
        log.error(`an event handler failed: ${messageOf(thrown)}`);
      }
    }
  }
};
var Emitter = class {
  #events = /* @__PURE__ */ new Map();
  on(name, handler) {
    let event = this.#events.get(name);
    if (!event) this.#events.set(name, event = new Event());
    event.add(handler);
    return this;
  }
  off(name, handler) {
    this.#events.get(name)?.remove(handler);
    return this;
  }
  emit(name, argument) {
    this.#events.get(name)?.fire(argument);
  }
};

// src/grtc/playback.ts
var GESTURES = ["pointerdown", "keydown", "touchend"];
function play(element, blocked, playing) {
  const stream = element.srcObject;
  element.play().catch((thrown) => {
    if (!(thrown instanceof Error) || thrown.name !== "NotAllowedError" || element.srcObject !== stream) return;
    const stop = new AbortController();
    const again = () => {
      if (element.srcObject !== stream) {
        stop.abort();
        return;
      }
      element.play().then(() => {
        if (stop.signal.aborted) return;
        stop.abort();
        playing(element);
      }, () => void 0);
    };
    for (const gesture of GESTURES) document.addEventListener(gesture, again, { capture: true, signal: stop.signal });
    blocked(element);
  });
}

// src/grtc/presence.ts
var SPREAD_MS = 1e3;
var FIRST_RETRY_MS = 1e3;
var LONGEST_RETRY_MS = 3e4;
var POLLS_BEFORE_MOVING = 3;
var FIGHT_MS = 3e4;
var Presence = class {
  #settings;
  #publicId;
  #password;
  #events;
  #abort = new AbortController();
  #connection = null;
  #at = 0;
  #failures = 0;
  #restoredAt = -Infinity;
  #retry = null;
  constructor(settings, publicId, password, events) {
    this.#settings = settings;
    this.#publicId = publicId;
    this.#password = password;
    this.#events = events;
  }
  /** `null` while we are not signed in. */
  get connection() {
    return this.#connection;
  }
  get over() {
    return this.#abort.signal.aborted;
  }
  /** Signs in. Throws a {@link SignInFailure}; whoever calls looks at {@link over} first. */
  async open() {
    const { gateways: gateways2, pollingTimeout } = this.#settings;
    const { ssid, index } = await signIn(gateways2, this.#at, this.#publicId, this.#password, this.#abort.signal);
    this.#at = index;
    const connection = new Connection(gateways2[index], ssid, pollingTimeout, {
      onDelivery: (delivery) => this.#events.onDelivery(delivery),
      onPollFailed: (status) => this.#pollFailed(status),
      onRecovered: () => {
        this.#failures = 0;
        this.#events.onRecovered(this.#settings.gateways[this.#at]);
      },
      onGone: (status, text2) => this.#gone(status, text2),
      onEnded: () => this.#events.onEnded(),
      dials: () => this.#events.dials()
    });
    if (this.over) {
      void connection.close();
      return;
    }
    this.#connection = connection;
    if (this.#settings.iceServers.length === 0) connection.iceServers.prepare();
    this.#failures = 0;
  }
  /** Begins to poll. Apart from {@link open}, so that the application hears of the sign-in before of a call. */
  start() {
    this.#connection?.start();
  }
  /** Signs out and gives up what is under way. */
  async close() {
    this.#abort.abort();
    this.#retry?.();
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close();
  }
  /** The page is being left. */
  leave() {
    this.#connection?.signOutInPassing();
  }
  /** The network is back, or the page is: what waits for its next try need not wait any longer. */
  wake() {
    this.#retry?.();
    this.#connection?.wake();
  }
  #pollFailed(status) {
    this.#failures += 1;
    this.#events.onTrouble(status);
    if (this.over || this.#failures < POLLS_BEFORE_MOVING || this.#settings.gateways.length < 2 || this.#events.mediaFlow()) return;
    log.warn("the gateway does not come back: on to the next one");
    this.#at = (this.#at + 1) % this.#settings.gateways.length;
    void this.#restore();
  }
  #gone(status, text2) {
    this.#events.onTrouble(status);
    if (this.over) return;
    const moved = /stopping/i.test(text2);
    const fight = !moved && this.#failures === 0 && performance.now() - this.#restoredAt < FIGHT_MS;
    const taken = status === 410 || /another sign-in|replaced/i.test(text2) || fight;
    if (taken) this.#finish(null);
    else void this.#restore();
  }
  #finish(failure) {
    void this.close();
    this.#events.onOver(failure);
  }
  async #restore() {
    void this.#connection?.close();
    this.#connection = null;
    this.#events.onLost();
    let wait = Math.random() * SPREAD_MS;
    let next = FIRST_RETRY_MS;
    while (!this.over) {
      await pause(wait, (wake) => {
        this.#retry = wake;
      });
      if (this.over) return;
      try {
        await this.open();
        if (this.over) return;
        this.#restoredAt = performance.now();
        this.#events.onRestored(this.#settings.gateways[this.#at]);
        this.start();
        return;
      } catch (thrown) {
        if (this.over) return;
        const failure = thrown instanceof SignInFailure ? thrown : new SignInFailure(0, messageOf(thrown));
        log.warn(`signing in again failed: ${failure.message}`);
        if (failure.status >= 400 && failure.status < 500 && failure.status !== 408 && failure.status !== 429) {
          this.#finish(failure);
          return;
        }
        this.#events.onTrouble(failure.status);
        wait = Math.min(failure.retryAfter || next, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
        if (failure.retryAfter === 0) next = Math.min(next * 2, LONGEST_RETRY_MS);
      }
    }
  }
};

// src/grtc/roap.ts
function parseMessage(body) {
  const word = /^\s*([A-Za-z-]*)/.exec(body)?.[1] ?? "";
  const unknown = { type: "UNKNOWN", word: word.slice(0, 20) };
  switch (word) {
    case "BYE":
      return { type: "BYE" };
    case "INVITE":
      return { type: "INVITE" };
    case "EVENT-TALK":
      return { type: "TALK" };
    case "EVENT-HOLD":
      return { type: "HOLD" };
    case "INFO-PEER":
      return { type: "INFO", data: deparam(body.slice(body.indexOf(word) + word.length).trim()) };
    case "DIAL": {
      const number = body.slice(body.indexOf(word) + word.length).trim();
      return number === "" ? unknown : { type: "DIAL", number };
    }
    case "PUT-STATS": {
      const statistics = json(body);
      return statistics ? { type: "STATS", statistics } : unknown;
    }
    case "SDP":
      return roap(json(body)) ?? unknown;
    default:
      return unknown;
  }
}
function json(body) {
  const start = body.indexOf("{");
  if (start < 0) return null;
  try {
    const value = JSON.parse(body.slice(start));
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}
function roap(message) {
  if (!message) return null;
  const { messageType, offererSessionId, answererSessionId, seq, sdp, errorType } = message;
  if (messageType === "ERROR") {
    return { type: "ERROR", errorType: typeof errorType === "string" ? errorType : "FAILED" };
  }
  if (typeof offererSessionId !== "number" || typeof seq !== "number") return null;
  const ids = {
    offererSessionId,
    answererSessionId: typeof answererSessionId === "number" ? answererSessionId : null,
    seq
  };
  if (messageType === "OK") return { type: "OK", ...ids };
  if (messageType !== "OFFER" && messageType !== "ANSWER" || typeof sdp !== "string") return null;
  return {
    type: messageType,
    ...ids,
    sdp,
    candidates: candidates(message["Candidates"]),
    attachedData: pairs(message["attacheddata"])
  };
}
function candidates(list) {
  if (!Array.isArray(list)) return [];
  const found = [];
  for (const item of list) {
    if (typeof item !== "object" || item === null) continue;
    const { candidate, sdpMid, sdpMLineIndex } = item;
    if (typeof candidate !== "string" || candidate === "") continue;
    found.push({
      candidate: candidate.replace(/^a=/, ""),
      sdpMid: typeof sdpMid === "string" ? sdpMid : null,
      sdpMLineIndex: typeof sdpMLineIndex === "number" ? sdpMLineIndex : null
    });
  }
  return found;
}
function pairs(list) {
  if (!Array.isArray(list)) return [];
  const found = [];
  for (const item of list) {
    if (typeof item !== "object" || item === null) continue;
    const { key, value } = item;
    if (typeof key === "string") found.push({ key, value: value === void 0 ? "" : String(value) });
  }
  return found;
}
function offerBody(ids, sdp, list, data) {
  const message = { messageType: "OFFER", sdp, Candidates: list, ...ids, tiebreaker: tiebreaker() };
  return `RSMP ${JSON.stringify(data.length ? { ...message, attacheddata: data } : message)}`;
}
function answerBody(ids, sdp, list, data) {
  const message = { messageType: "ANSWER", sdp, Candidates: list, ...ids };
  return `RSMP ${JSON.stringify(data.length ? { ...message, attacheddata: data } : message)}`;
}
function okBody(ids) {
  return `RSMP ${JSON.stringify({ messageType: "OK", ...ids })}`;
}
function errorBody(ids, errorType) {
  return `RSMP ${JSON.stringify({ messageType: "ERROR", ...ids, errorType })}`;
}
function infoBody(data, mapped) {
  return `${mapped ? "INFO-MAP" : "INFO-PEER"} ${param(data)}`;
}
function newSessionId() {
  return 1 + random32() % 2147483646;
}
function tiebreaker() {
  for (; ; ) {
    const value = random32();
    if (value !== 0 && value !== 4294967295) return value;
  }
}
function random32() {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
}
function param(data) {
  return Object.entries(data).map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`).join("&");
}
function deparam(query) {
  const found = {};
  for (const part of query.replace(/^\?/, "").split("&")) {
    if (part === "") continue;
    const at = part.indexOf("=");
    const key = decode(at < 0 ? part : part.slice(0, at));
    found[key] = at < 0 ? "" : decode(part.slice(at + 1));
  }
  return found;
}
function decode(text2) {
  const spaced = text2.replace(/\+/g, " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
function withoutCandidates(sdp) {
  return sdp.replace(/^a=(?:candidate:.*|end-of-candidates)\r?\n/gm, "");
}

// src/grtc/ice_keeper.ts
var GRACE_MS = 2e3;
var FIRST_TRY_MS = 5e3;
var LONGEST_TRY_MS = 2e4;
var MAX_TRIES2 = 8;
var IceKeeper = class {
  #restart;
  #timer;
  #tries = 0;
  constructor(restart) {
    this.#restart = restart;
  }
  handleState(state) {
    if (state === "connected" || state === "completed") {
      this.end();
      this.#tries = 0;
    } else if (this.#tries > 0) {
    } else if (state === "failed") this.#in(0);
    else if (state === "disconnected" && this.#timer === void 0) this.#in(GRACE_MS);
  }
  /** Another network: the path that we have will not last. */
  handleNetwork() {
    this.#tries = 0;
    this.#in(0);
  }
  /** A restart was sent, whoever asked for it. */
  handleRestart() {
    this.#tries += 1;
    if (this.#tries < MAX_TRIES2) this.#in(Math.min(FIRST_TRY_MS * 2 ** (this.#tries - 1), LONGEST_TRY_MS));
    else this.end();
  }
  end() {
    clearTimeout(this.#timer);
    this.#timer = void 0;
  }
  #in(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = void 0;
      if (navigator.onLine === false) return;
      log.info("restarting ICE");
      this.#in(FIRST_TRY_MS);
      this.#restart();
    }, ms);
  }
};

// src/grtc/sdp.ts
function holdsUs(sdp) {
  const audio = section(sdp, "audio") ?? "";
  const direction = /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(audio)?.[1] ?? /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(head(sdp))?.[1];
  return direction === "sendonly" || direction === "inactive";
}
function offers(sdp, kind) {
  const port = section(sdp, kind)?.match(/^m=\w+ (\d+)/)?.[1];
  return port !== void 0 && port !== "0";
}
function withVideoBandwidth(sdp, kbps) {
  return sdp.replace(/(^m=video [\s\S]*?^c=[^\r\n]*\r?\n)(b=AS:[^\r\n]*\r?\n)?/gm, `$1b=AS:${kbps}\r
`);
}
function head(sdp) {
  const end = sdp.search(/^m=/m);
  return end < 0 ? sdp : sdp.slice(0, end);
}
function section(sdp, kind) {
  return sdp.split(/^(?=m=)/m).find((part) => part.startsWith(`m=${kind} `));
}

// src/grtc/peer.ts
var Peer = class _Peer {
  #pc;
  #options;
  #candidates = [];
  #firstCandidate = null;
  #iceLost = false;
  #restartWanted = false;
  #closed = false;
  static async create(options, events) {
    const configuration = { iceServers: [...options.iceServers], bundlePolicy: "max-bundle" };
    if (options.useRsaCertificate) {
      const rsa = {
        name: "RSASSA-PKCS1-v1_5",
        hash: "SHA-256",
        modulusLength: 2048,
        publicExponent: new Uint8Array([1, 0, 1])
      };
      configuration.certificates = [await RTCPeerConnection.generateCertificate(rsa)];
    }
    return new _Peer(new RTCPeerConnection(configuration), options, events);
  }
  constructor(pc, options, events) {
    this.#pc = pc;
    this.#options = options;
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate || candidate.candidate === "") return;
      const { sdpMid, sdpMLineIndex, usernameFragment } = candidate;
      this.#candidates.push({ candidate: candidate.candidate, sdpMid, sdpMLineIndex, usernameFragment });
      this.#firstCandidate?.();
    };
    pc.ontrack = ({ streams, track }) => {
      if (!this.#closed) events.onStream(streams[0] ?? new MediaStream([track]));
    };
    pc.oniceconnectionstatechange = () => {
      const state = pc.iceConnectionState;
      if (state === "connected" || state === "completed") this.#iceLost = false;
      if ((state === "disconnected" || state === "failed") && !this.#iceLost && !this.#closed) {
        this.#iceLost = true;
        events.onIceLost(state);
      }
      if (!this.#closed) events.onIceState(state);
    };
  }
  /** Our next offer has to restart ICE. */
  get needsRestart() {
    return this.#iceLost || this.#restartWanted;
  }
  /** The network is another one than when the candidates were gathered. */
  wantRestart() {
    this.#restartWanted = true;
  }
  get connected() {
    return this.#pc.iceConnectionState === "connected" || this.#pc.iceConnectionState === "completed";
  }
  get remoteSdp() {
    return this.#pc.remoteDescription?.sdp ?? "";
  }
  /** The sender of the local audio track, for DTMF and for exchanging the track. */
  get audioSender() {
    return this.#pc.getSenders().find((sender) => sender.track?.kind === "audio") ?? null;
  }
  /** What an `RTCPeerConnection` counts, for those who want to look. */
  getStats() {
    return this.#pc.getStats();
  }
  /** Sets tracks and directions for our own next offer. */
  prepareOffer(local, flow) {
    this.#prepare("audio", local?.getAudioTracks()[0] ?? null, flow.audio, flow.hold, local);
    this.#prepare("video", local?.getVideoTracks()[0] ?? null, flow.video, flow.hold, local);
  }
  #prepare(kind, track, wanted, hold, local) {
    const there = this.#pc.getTransceivers().find((item) => item.receiver.track.kind === kind && !stopped(item));
    const direction = hold ? "inactive" : track ? "sendrecv" : "recvonly";
    if (there) {
      there.direction = wanted ? direction : "inactive";
      if (wanted && track && there.sender.track !== track) void there.sender.replaceTrack(track).catch(ignored);
    } else if (wanted) {
      this.#pc.addTransceiver(track ?? kind, local && track ? { direction, streams: [local] } : { direction });
    }
  }
  /** Sends another microphone or camera from now on; that takes no new offer. What was muted stays so. */
  useStream(local) {
    for (const { sender } of this.#pc.getTransceivers()) {
      const old = sender.track;
      const track = local.getTracks().find(({ kind }) => kind === old?.kind);
      if (!old || !track || track === old) continue;
      track.enabled = old.enabled;
      void sender.replaceTrack(track).catch(ignored);
    }
  }
  async offer(iceRestart, wait) {
    if (iceRestart) {
      this.#candidates.length = 0;
      this.#restartWanted = false;
    }
    await this.#pc.setLocalDescription(await this.#pc.createOffer({ iceRestart }));
    if (wait) await this.#gathered();
    return this.#described();
  }
  async takeOffer(sdp, candidates2) {
    await this.#pc.setRemoteDescription({ type: "offer", sdp });
    await this.#addCandidates(candidates2);
  }
  /** After {@link takeOffer}. */
  async answer(local, flow, wait) {
    for (const transceiver of this.#pc.getTransceivers()) {
      if (stopped(transceiver)) continue;
      const audio = transceiver.receiver.track.kind === "audio";
      const track = (audio ? local?.getAudioTracks() : local?.getVideoTracks())?.[0] ?? null;
      const wanted = audio ? flow.audio : flow.video;
      if (wanted && track && transceiver.sender.track !== track) {
        await transceiver.sender.replaceTrack(track);
        if (local) transceiver.sender.setStreams?.(local);
      }
      transceiver.direction = !wanted || flow.hold ? "inactive" : transceiver.sender.track ? "sendrecv" : "recvonly";
    }
    await this.#pc.setLocalDescription(await this.#pc.createAnswer());
    if (wait) await this.#gathered();
    return this.#described();
  }
  async takeAnswer(sdp, candidates2) {
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    await this.#addCandidates(candidates2);
  }
  /** Takes our own unanswered offer back. */
  async rollback() {
    if (this.#pc.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
  }
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#firstCandidate?.();
    this.#pc.close();
  }
  async #addCandidates(candidates2) {
    for (const { candidate, sdpMid, sdpMLineIndex } of candidates2) {
      try {
        const place = sdpMid === null && sdpMLineIndex === null ? { sdpMLineIndex: 0 } : { sdpMid, sdpMLineIndex };
        await this.#pc.addIceCandidate({ candidate, ...place });
      } catch (thrown) {
        log.warn(`a candidate of the gateway's was not taken: ${messageOf(thrown)}`);
      }
    }
  }
  #described() {
    const sdp = this.#pc.localDescription?.sdp ?? "";
    return {
      sdp: withVideoBandwidth(withoutCandidates(sdp), this.#options.videoBandwidth),
      candidates: [...this.#candidates]
    };
  }
  /** Until gathering is complete, or the timeout has passed since there was one candidate. */
  #gathered() {
    const pc = this.#pc;
    if (pc.iceGatheringState === "complete" || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      let timer;
      const end = () => {
        clearTimeout(timer);
        this.#firstCandidate = null;
        pc.removeEventListener("icegatheringstatechange", changed);
        resolve();
      };
      const changed = () => {
        if (pc.iceGatheringState === "complete") end();
      };
      const started = () => {
        if (this.#closed) end();
        else timer ??= setTimeout(end, this.#options.iceTimeout);
      };
      this.#firstCandidate = started;
      pc.addEventListener("icegatheringstatechange", changed);
      if (this.#candidates.length > 0) started();
    });
  }
};
function stopped(transceiver) {
  return transceiver.currentDirection === "stopped";
}
function ignored(thrown) {
  log.warn(`a track could not be exchanged: ${messageOf(thrown)}`);
}

// src/grtc/negotiation.ts
var Negotiation = class {
  /** User data for the next OFFER or ANSWER. */
  dataOut = [];
  /** User data that came with the newest one. */
  dataIn = [];
  #client;
  #owner;
  #steps = Promise.resolve();
  constructor(client, owner) {
    this.#client = client;
    this.#owner = owner;
  }
  // ---------------------------------------------------------------- ours
  /** The first OFFER: we call, or the INVITE had none. */
  offer(call) {
    this.#step(call, () => this.#firstOffer(call));
  }
  async #firstOffer(call) {
    const peer = await this.#newPeer(call);
    if (!peer) return;
    call.peer = peer;
    await this.#sendOffer(call, peer, true, false, call);
  }
  /** Renegotiates: hold, resume, other media, ICE restart, a whole new peer connection. */
  renegotiate(call, wish, renew) {
    this.#step(call, async () => {
      if (call.outstanding) {
        log.warn("an offer is on its way already");
        return;
      }
      const { myId, theirId, seq, flow } = call;
      const before = { myId, theirId, seq, flow };
      call.flow = {
        audio: wish.audio ?? call.flow.audio,
        video: wish.video ?? call.flow.video,
        hold: wish.hold ?? call.flow.hold
      };
      const wait = !this.#client.settings.iceOptimization;
      if (renew) {
        const peer = await this.#newPeer(call);
        if (!peer) return;
        call.myId = newSessionId();
        call.theirId = null;
        call.seq = 0;
        await this.#sendOffer(call, peer, wait, false, before);
      } else if (call.peer) {
        const restart = call.peer.needsRestart;
        await this.#sendOffer(call, call.peer, wait || restart, restart, before);
        if (restart && this.#owner.has(call)) call.ice.handleRestart();
      }
    });
  }
  async #sendOffer(call, peer, wait, iceRestart, before) {
    peer.prepareOffer(this.#client.localStream, call.flow);
    const { sdp, candidates: candidates2 } = await peer.offer(iceRestart, wait);
    if (!this.#owner.has(call)) {
      peer.close();
      return;
    }
    call.seq += 1;
    const ids = { offererSessionId: call.myId, answererSessionId: call.theirId, seq: call.seq };
    const timer = setTimeout(() => this.#noAnswer(call), this.#client.settings.noanswerTimeout);
    const outstanding = { ids, peer, timer, before };
    call.outstanding = outstanding;
    const list = this.#client.filterIceCandidates(candidates2);
    this.send(call, offerBody(ids, sdp, list, this.dataOut), () => call.outstanding === outstanding, true);
    this.#owner.onOfferSent(sdp);
    this.#client.onCallEvent.fire({ event: "offer sent" });
  }
  #noAnswer(call) {
    const outstanding = call.outstanding;
    if (!this.#owner.has(call) || !outstanding) return;
    this.#settle(call);
    this.#client.onPeerNoanswer.fire();
    if (!this.#owner.has(call)) return;
    if (call.phase === "established") this.#takeBack(call, outstanding);
    else this.#owner.hangUp(call, { by: "noanswer", code: 0, reason: "" });
  }
  /** Our offer in an established call came to nothing: on with what was agreed before. */
  #takeBack(call, { peer, before }) {
    if (peer !== call.peer) peer.close();
    this.#step(call, async () => {
      const { myId, theirId, flow } = before;
      Object.assign(call, { myId, theirId, flow, seq: myId === call.myId ? call.seq : before.seq });
      await call.peer?.rollback();
    });
  }
  /** The gateway could not use our last message. */
  handleRefused(call) {
    const outstanding = call.outstanding;
    if (outstanding && call.phase === "established") {
      this.#settle(call);
      this.#takeBack(call, outstanding);
    } else if (outstanding || call.phase === "answering") {
      this.#owner.hangUp(call, { by: "error", code: 0, reason: "the gateway could not use our description" });
    }
  }
  // ---------------------------------------------------------------- theirs
  /** The first ANSWER, to the OFFER of a call that rang. */
  answer(call, offer) {
    this.#step(call, async () => {
      const newPeer = await this.#newPeer(call);
      if (!newPeer) return;
      call.peer = newPeer;
      await newPeer.takeOffer(offer.sdp, offer.candidates);
      await this.#sendAnswer(call, newPeer, offer, true);
      if (!this.#owner.has(call)) return;
      call.phase = "established";
      this.#showHold(call);
    });
  }
  /** An OFFER in a call: the gateway renegotiates. */
  handleOffer(call, offer) {
    this.#step(call, () => this.#answerOffer(call, offer));
  }
  handleAnswer(call, answer) {
    this.#step(call, () => this.#takeAnswer(call, answer));
  }
  async #answerOffer(call, offer) {
    if (call.outstanding || !call.peer) {
      log.warn("an OFFER was ignored: one of ours is outstanding");
      return;
    }
    call.seq = Math.max(call.seq, offer.seq);
    call.theirId = offer.offererSessionId;
    this.dataIn = offer.attachedData;
    this.#client.onCallEvent.fire({ event: "offer received" });
    try {
      await call.peer.takeOffer(offer.sdp, offer.candidates);
    } catch (thrown) {
      const ids = { offererSessionId: offer.offererSessionId, answererSessionId: call.myId, seq: offer.seq };
      this.send(call, errorBody(ids, "FAILED"));
      throw thrown;
    }
    await this.#sendAnswer(call, call.peer, offer, !this.#client.settings.iceOptimization);
    if (this.#owner.has(call)) this.#showHold(call);
  }
  async #sendAnswer(call, peer, offer, wait) {
    const { sdp, candidates: candidates2 } = await peer.answer(this.#client.localStream, call.flow, wait);
    if (!this.#owner.has(call)) return;
    const ids = { offererSessionId: offer.offererSessionId, answererSessionId: call.myId, seq: offer.seq };
    const list = this.#client.filterIceCandidates(candidates2);
    this.send(call, answerBody(ids, sdp, list, this.dataOut), () => this.#owner.has(call), true);
    this.#owner.onAnswer(sdp);
    this.#client.onCallEvent.fire({ event: "answer sent" });
  }
  async #takeAnswer(call, answer) {
    const outstanding = call.outstanding;
    if (!outstanding || outstanding.ids.offererSessionId !== answer.offererSessionId || outstanding.ids.seq !== answer.seq) {
      log.error("an ANSWER that belongs to no offer of ours was ignored");
      return;
    }
    this.#settle(call);
    const ids = {
      offererSessionId: answer.offererSessionId,
      answererSessionId: answer.answererSessionId,
      seq: answer.seq
    };
    try {
      await outstanding.peer.takeAnswer(answer.sdp, answer.candidates);
    } catch (thrown) {
      if (!this.#owner.has(call)) return;
      this.send(call, errorBody(ids, "FAILED"));
      if (outstanding.peer !== call.peer) outstanding.peer.close();
      throw thrown;
    }
    if (!this.#owner.has(call)) return;
    if (outstanding.peer !== call.peer) {
      call.peer?.close();
      call.peer = outstanding.peer;
    }
    call.theirId = answer.answererSessionId;
    call.phase = "established";
    if (answer.attachedData.length > 0) this.dataIn = answer.attachedData;
    this.send(call, okBody(ids));
    this.#owner.onAnswer(answer.sdp);
    this.#client.onCallEvent.fire({ event: "answer received" });
    if (this.#owner.has(call)) this.#showHold(call);
  }
  // ---------------------------------------------------------------- common parts
  /** With the servers that the page has configured, or else with those of the gateway. */
  async #peerOptions() {
    const { iceServers: iceServers2, iceTimeout, useRsaCertificate } = this.#client.settings;
    const options = { iceServers: iceServers2, iceTimeout, useRsaCertificate, videoBandwidth: this.#client.videoBandwidth };
    if (iceServers2.length > 0) return options;
    const offered = await this.#client.connection?.iceServers.get() ?? [];
    return offered.length > 0 ? { ...options, iceServers: offered, iceTimeout: 0 } : options;
  }
  async #newPeer(call) {
    const options = await this.#peerOptions();
    if (!this.#owner.has(call)) return null;
    const peer = await Peer.create(options, {
      onStream: (stream) => {
        if (!this.#owner.has(call)) return;
        this.#owner.onStream(stream);
      },
      onIceLost: (state) => {
        if (this.#owner.has(call) && call.peer === peer) this.#client.onIceDisconnected.fire({ state });
      },
      onIceState: (state) => {
        if (this.#owner.has(call) && call.peer === peer && call.phase === "established") call.ice.handleState(state);
      }
    });
    if (this.#owner.has(call)) return peer;
    peer.close();
    return null;
  }
  /** Runs a step of the negotiation after the ones before it, unless the call is over by then. */
  #step(call, step) {
    this.#steps = this.#steps.then(async () => {
      if (!this.#owner.has(call)) return;
      try {
        await step();
      } catch (thrown) {
        if (!this.#owner.has(call)) return;
        this.#client.onWebrtcError.fire({ error: messageOf(thrown) });
        if (this.#owner.has(call) && call.phase !== "established") {
          this.#owner.hangUp(call, { by: "error", code: 0, reason: messageOf(thrown) });
        }
      }
    });
  }
  #settle(call) {
    if (call.outstanding) clearTimeout(call.outstanding.timer);
    call.outstanding = null;
  }
  #showHold(call) {
    const heldHere = call.flow.hold;
    const heldByPeer = !heldHere && holdsUs(call.peer?.remoteSdp ?? "");
    if (heldHere === call.heldHere && heldByPeer === call.heldByPeer) return;
    Object.assign(call, { heldHere, heldByPeer });
    this.#owner.onHold(heldHere || heldByPeer);
  }
  send(call, body, wanted = () => this.#owner.has(call), description = false) {
    const refused = (status, message) => {
      log.error(`the gateway refused a message with ${status}: ${message}`);
      if (!wanted()) return;
      this.#client.onGatewayError.fire({ error: message || `the gateway answered ${status}` });
      if (description && wanted()) this.handleRefused(call);
    };
    this.#client.connection?.send(call.party, body, { wanted, refused });
  }
  /** Lets go of all that the call had. */
  end(call) {
    const renewed = call.outstanding?.peer;
    this.#settle(call);
    call.ice.end();
    renewed?.close();
    call.peer?.close();
    this.dataOut = [];
  }
};

// src/grtc/session.ts
var MediaSession = class extends Emitter {
  onRemoteStream = new Event();
  onSessionHold = new Event();
  #client;
  #options;
  #negotiation;
  #call = null;
  constructor(client, options = {}) {
    super();
    this.#client = client;
    this.#options = options;
    this.#negotiation = new Negotiation(client, {
      has: (call) => this.#call === call,
      hangUp: (call, why) => this.#hangUp(call, why),
      onOfferSent: (sdp) => this.emit("offer", sdp),
      onAnswer: (sdp) => this.emit("answer", sdp),
      onStream: (stream) => {
        this.onRemoteStream.fire({ stream });
        this.emit("stream", stream);
      },
      onHold: (held) => this.onSessionHold.fire(held)
    });
    client.attach(this);
  }
  /** @internal */
  get busy() {
    return this.#call !== null;
  }
  /** The other party's DN or number, `""` without a call. */
  get peer() {
    return this.#call?.party ?? "";
  }
  /** The caller's display name where the gateway tells, otherwise `""`. */
  get peerName() {
    return this.#call?.partyName ?? "";
  }
  /** Whom the caller had dialled before the call was diverted here; `""` when nobody was, or the gateway does not tell. */
  get divertedFrom() {
    return this.#call?.divertedFrom ?? "";
  }
  /** The contact centre's id of the call, `""` where none is known. */
  get callUuid() {
    return this.#call?.uuid ?? "";
  }
  isEstablished() {
    return this.#call?.phase === "established";
  }
  hasAudioEnabled() {
    return this.#hasEnabled("audio");
  }
  hasVideoEnabled() {
    return this.#hasEnabled("video");
  }
  #hasEnabled(kind) {
    const tracks = this.#client.localStream?.getTracks() ?? [];
    return this.#call !== null && this.#call.flow[kind] && tracks.some((track) => track.kind === kind && track.enabled);
  }
  // ---------------------------------------------------------------- calling out
  /**
   * Calls `dn`; in an established call renegotiates it (`dn` 0 or none), and after `onIceDisconnected`
   * restarts ICE. `onCallEvent` tells how it goes on.
   */
  makeOffer(dn, audio, video, hold) {
    if (typeof dn === "boolean") [dn, audio, video, hold] = [0, dn, audio, video];
    const call = this.#call;
    if (call?.phase === "established") {
      this.#negotiation.renegotiate(call, { audio, video, hold }, this.#client.renewSession);
      return;
    }
    if (call) {
      log.error("makeOffer: there is a call in progress");
      return;
    }
    const party = dn === void 0 || dn === 0 ? "" : String(dn).trim();
    if (party === "") {
      log.error("makeOffer: whom to call?");
      return;
    }
    if (!this.#client.connection) {
      log.error("makeOffer: not signed in");
      return;
    }
    if (!this.#client.claim(this)) {
      log.error("makeOffer: another session has a call");
      return;
    }
    const started = this.#begin(party, "dialling", this.#flow("offer", audio, video, hold));
    this.#negotiation.offer(started);
  }
  /** The older name of {@link makeOffer}. */
  makeCall(dn, audio, video) {
    this.makeOffer(dn, audio, video);
  }
  /** The short form: opens the media that the options ask for and calls the destination. */
  connect() {
    const { destination } = this.#options;
    if (destination === void 0) throw new GrtcError(INVALID_STATE_ERROR, "the session has no destination");
    void this.#withMedia(() => this.makeOffer(String(destination)));
  }
  // ---------------------------------------------------------------- being called
  /**
   * Accepts the call that rings: with an ANSWER, or with our OFFER where the INVITE had none. Throws
   * `INVALID_STATE_ERROR` when none rings.
   */
  acceptCall(audio, video, peer, hold) {
    if (typeof audio === "string") [audio, peer] = [void 0, audio];
    const call = this.#call;
    if (call?.phase !== "ringing" || !call.waiting) throw new GrtcError(INVALID_STATE_ERROR, "no call rings");
    if (typeof peer === "string" && peer !== "" && peer !== call.party) {
      log.warn(`acceptCall: it is ${call.party} that calls`);
    }
    const waiting = call.waiting;
    call.waiting = null;
    if (waiting === "invite") {
      call.phase = "dialling";
      call.flow = this.#flow("offer", audio, video, hold);
      this.#negotiation.offer(call);
      return;
    }
    call.phase = "answering";
    call.flow = this.#flow("answer", audio, video, hold, waiting.sdp);
    this.#negotiation.answer(call, waiting);
  }
  /** The short form: opens the media that the options ask for and accepts. */
  accept() {
    void this.#withMedia(() => this.acceptCall());
  }
  rejectCall(peer) {
    const call = this.#call;
    if (call?.phase !== "ringing") {
      log.error("rejectCall: no call rings");
      return;
    }
    if (peer) call.party = peer;
    this.#hangUp(call, { by: "local", code: 0, reason: "" });
  }
  // ---------------------------------------------------------------- in a call
  /** Puts the call on hold with an OFFER whose media are inactive. */
  holdCall() {
    this.#changeHold(true);
  }
  resumeCall() {
    this.#changeHold(false);
  }
  #restartIce(call) {
    if (this.#call === call && call.peer?.needsRestart) this.#negotiation.renegotiate(call, {}, false);
    else call.ice.end();
  }
  /** @internal The browser has another network than before, or one again. */
  networkChanged() {
    const call = this.#call;
    if (call?.phase !== "established" || !call.peer) return;
    call.peer.wantRestart();
    call.ice.handleNetwork();
  }
  /** @internal Sound passes, as far as the browser can tell. */
  get mediaFlow() {
    return this.#call?.phase === "established" && (this.#call.peer?.connected ?? false);
  }
  /** @internal The gateway has forgotten the call. */
  lost() {
    const call = this.#call;
    if (!call) return;
    this.#end(call, { by: "error", code: 0, reason: "the connection to the gateway was lost" });
    this.#client.onPeerClosing.fire();
  }
  #changeHold(hold) {
    const call = this.#call;
    if (call?.phase === "established") this.#negotiation.renegotiate(call, { hold }, false);
    else log.error(`${hold ? "holdCall" : "resumeCall"}: there is no established call`);
  }
  /** This side has put the call on hold. */
  get heldHere() {
    return this.#call?.heldHere ?? false;
  }
  /** The far end has put the call on hold. */
  get heldByPeer() {
    return this.#call?.heldByPeer ?? false;
  }
  /** Mutes (`false`) and unmutes (`true`) what is sent. */
  updateCall(audio, video = audio) {
    this.updateLocalStream(audio, video);
  }
  updateLocalStream(audio, video = audio) {
    for (const track of this.#client.localStream?.getTracks() ?? []) {
      track.enabled = track.kind === "audio" ? audio : video;
    }
  }
  /** @internal Another microphone or camera takes over in the call there is. */
  useStream(stream) {
    this.#call?.peer?.useStream(stream);
  }
  /** Ends the call; with `sendBye` the far end hears of it. */
  closeSession(sendBye = false) {
    const call = this.#call;
    if (!call) return;
    const why = { by: "local", code: 0, reason: "" };
    if (sendBye) this.#hangUp(call, why);
    else this.#end(call, why);
  }
  terminateCall() {
    this.closeSession(true);
  }
  /** 0-9, A-D, `#`, `*` and `,` (a pause). 0 when they are on their way, -1 when they cannot be sent. */
  sendDTMF(tones, options = {}) {
    const dtmf = this.#call?.peer?.audioSender?.dtmf;
    const wanted = String(tones);
    if (!dtmf?.canInsertDTMF || this.#call?.phase !== "established" || !/^[0-9A-D#*,]+$/i.test(wanted)) return -1;
    dtmf.insertDTMF(dtmf.toneBuffer + wanted, options.duration ?? 100, options.tonegap ?? 50);
    return 0;
  }
  /** User data for the next OFFER or ANSWER. */
  setData(data) {
    this.#negotiation.dataOut = Array.isArray(data) ? data.map(({ key, value }) => ({ key: String(key), value: String(value) })) : [];
  }
  /** User data that came with the newest OFFER or ANSWER. */
  getData() {
    return this.#negotiation.dataIn.map((pair) => ({ ...pair }));
  }
  /** Data for the SIP server (`mapped`) or for the far end. */
  sendInfo(data, mapped = true) {
    const call = this.#call;
    if (call) this.#negotiation.send(call, infoBody(data, mapped));
    else log.error("sendInfo: there is no call");
  }
  /** Asks the gateway for its statistics; `onStatsFromServer` brings them. */
  getServerStats() {
    const call = this.#call;
    if (call) this.#negotiation.send(call, "GET-STATS");
    else log.error("getServerStats: there is no call");
  }
  /** The browser's own statistics of the call; `null` without one. */
  async getStats() {
    return await this.#call?.peer?.getStats() ?? null;
  }
  // ---------------------------------------------------------------- what comes in
  /** @internal */
  deliver(message, delivery) {
    const { peer, reason } = delivery;
    const call = this.#call;
    if (call && delivery.callUuid !== "") call.uuid = delivery.callUuid;
    switch (message.type) {
      case "BYE":
        this.peerClosed(reason);
        return;
      case "OFFER":
        if (call && call.phase !== "ringing") this.#negotiation.handleOffer(call, message);
        else this.#ring(delivery, message);
        return;
      case "INVITE":
        if (call?.phase === "established") this.#negotiation.renegotiate(call, {}, false);
        else if (!call || call.phase === "ringing") this.#ring(delivery, "invite");
        else log.warn("an INVITE was ignored: a call is being set up");
        return;
      case "ANSWER":
        if (call) this.#negotiation.handleAnswer(call, message);
        else log.warn("an ANSWER without a call was ignored");
        return;
      case "OK":
        if (call?.phase !== "established" && call?.phase !== "answering") log.warn("an OK without an established call was ignored");
        return;
      case "ERROR":
        this.#client.onGatewayError.fire({ error: message.errorType });
        if (this.#call) this.#negotiation.handleRefused(this.#call);
        return;
      case "TALK":
        this.#talk(call);
        this.#client.onNotifyEvent.fire({ event: "talk", peer });
        return;
      case "HOLD":
        if (call?.phase === "established") this.holdCall();
        else log.warn("EVENT-HOLD without an established call");
        this.#client.onNotifyEvent.fire({ event: "hold", peer });
    }
  }
  #talk(call) {
    if (call?.phase === "ringing") this.acceptCall();
    else if (call?.phase === "established" && call.flow.hold) this.resumeCall();
    else log.warn("EVENT-TALK: nothing rings and nothing is on hold");
  }
  #ring({ peer: party, peerName, divertedFrom, callUuid }, waiting) {
    const again = this.#call?.phase === "ringing" && this.#call.party === party;
    const call = this.#begin(party, "ringing", { audio: true, video: false, hold: false });
    Object.assign(call, { partyName: peerName, divertedFrom, uuid: callUuid, waiting });
    if (waiting !== "invite") {
      call.theirId = waiting.offererSessionId;
      call.seq = waiting.seq;
      this.#negotiation.dataIn = waiting.attachedData;
    }
    this.#client.onCallEvent.fire({ event: waiting === "invite" ? "invite received" : "offer received" });
    if (!again && this.#call === call) this.#client.incoming(this, party, waiting === "invite" ? "invite" : "offer");
  }
  /** @internal The far end, or the gateway, ended the call. */
  peerClosed(reason) {
    const call = this.#call;
    if (!call) return;
    this.#end(call, { by: "remote", code: Number(/^\d{3}/.exec(reason)?.[0] ?? 0), reason: reason.replace(/^\d{3}\s*/, "") });
    this.#client.onPeerClosing.fire();
  }
  // ---------------------------------------------------------------- common parts
  #begin(party, phase, flow) {
    this.#negotiation.dataIn = [];
    const call = {
      party,
      partyName: "",
      divertedFrom: "",
      uuid: "",
      phase,
      flow,
      waiting: null,
      peer: null,
      ice: new IceKeeper(() => this.#restartIce(call)),
      myId: newSessionId(),
      theirId: null,
      seq: 0,
      outstanding: null,
      heldHere: false,
      heldByPeer: false
    };
    this.#call = call;
    return call;
  }
  #flow(side, audio, video, hold, remoteSdp) {
    const wishes = this.#client.wishes[side];
    const camera = (this.#client.localStream?.getVideoTracks().length ?? 0) > 0;
    const flow = { audio: audio ?? wishes.audio, video: video ?? wishes.video ?? camera, hold: hold ?? false };
    if (remoteSdp === void 0) return flow;
    return { ...flow, audio: flow.audio && offers(remoteSdp, "audio"), video: flow.video && offers(remoteSdp, "video") };
  }
  #hangUp(call, why) {
    const party = call.party;
    this.#end(call, why);
    this.#client.connection?.send(party, "BYE");
  }
  #end(call, why) {
    if (this.#call !== call) return;
    this.#call = null;
    this.#negotiation.end(call);
    this.emit("end", why);
  }
  async #withMedia(then) {
    const { audio = true, video = false } = this.#options.constraints ?? {};
    try {
      if (!this.#client.localStream) await this.#client.openMedia(audio, video);
    } catch {
      log.error(`${NOT_READY_ERROR}: no microphone`);
      return;
    }
    try {
      then();
    } catch (thrown) {
      log.error(messageOf(thrown));
    }
  }
};

// src/grtc/support.ts
function isWebrtcSupported() {
  return typeof RTCPeerConnection === "function";
}
var BROWSERS = [
  ["edge", /Edg\/(\d+)/],
  ["opera", /OPR\/(\d+)/],
  ["firefox", /Firefox\/(\d+)/],
  ["chrome", /Chrom(?:e|ium)\/(\d+)/],
  ["safari", /Version\/(\d+).*Safari/]
];
function detected() {
  const agent = typeof navigator === "undefined" ? "" : navigator.userAgent;
  for (const [name, pattern] of BROWSERS) {
    const version = pattern.exec(agent)?.[1];
    if (version) return [name, Number(version)];
  }
  return ["unknown", 0];
}
function getWebrtcDetectedBrowser() {
  return detected()[0];
}
function getWebrtcDetectedVersion() {
  return detected()[1];
}
var VideoConstraints = {
  qvga: () => size(320, 240),
  vga: () => size(640, 480),
  hd: () => size(1280, 720),
  custom: (width, height) => size(width, height),
  /** A screen or window instead of the camera; the browser asks which. Sizes are upper limits. */
  screen: (width, height) => ({
    displaySurface: "monitor",
    ...width ? { width: { max: width } } : {},
    ...height ? { height: { max: height } } : {}
  })
};
function size(width, height) {
  return { width: { ideal: width }, height: { ideal: height } };
}

// src/grtc/surroundings.ts
function watchSurroundings(events) {
  if (typeof window === "undefined") return () => void 0;
  const network = navigator.connection;
  let type = network?.type;
  const stop = new AbortController();
  const { signal } = stop;
  window.addEventListener("online", () => events.onNetwork(), { signal });
  network?.addEventListener("change", () => {
    if (network.type === type) return;
    type = network.type;
    if (type !== "none") events.onNetwork();
  }, { signal });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") events.onAwake();
  }, { signal });
  document.addEventListener("resume", () => events.onAwake(), { signal });
  window.addEventListener("pageshow", ({ persisted }) => {
    if (persisted) events.onAwake();
  }, { signal });
  window.addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) events.onLeaving();
  }, { signal });
  return () => stop.abort();
}

// src/grtc/client.ts
var UNSET = { audio: true, video: null };
var Client = class extends Emitter {
  onConnect = new Event();
  onRegister = new Event();
  onDisconnect = new Event();
  /** `status` is the HTTP status of the refusal, 0 when no gateway could be reached. */
  onFailed = new Event();
  onMediaSuccess = new Event();
  /** `name` is that of the browser's error, `NotAllowedError` for instance. */
  onMediaFailure = new Event();
  onIncomingCall = new Event();
  onCallEvent = new Event();
  onNotifyEvent = new Event();
  onPeerClosing = new Event();
  onPeerNoanswer = new Event();
  onInfoFromPeer = new Event();
  onStatsFromServer = new Event();
  onIceDisconnected = new Event();
  onConnectionError = new Event();
  onGatewayError = new Event();
  onWebrtcError = new Event();
  // What follows is more than the older library tells.
  /** After `onConnectionError`: the gateway is there again. With `signedInAgain`, it was restarted or another one of the list. */
  onConnectionRestored = new Event();
  /** Another page signed in with this DN; `onDisconnect` follows, and nothing is tried again. */
  onReplaced = new Event();
  /** A device was unplugged: another one has taken over, or there is none (`stream` is null) until one is plugged in. */
  onDeviceChange = new Event();
  /** Somebody beside the page (WWE's connector, for instance) wants a call to `peer`; it is for the application to make it.
   *  Add a handler before signing in: without one nobody is told that we would. */
  onDialRequest = new Event();
  /** The browser does not play sound before the page is touched (`playing` false), and then it does. */
  onPlayback = new Event();
  /** @internal */
  settings;
  /** @internal */
  localStream = null;
  /** @internal */
  wishes = { offer: UNSET, answer: UNSET };
  /** @internal */
  videoBandwidth = 500;
  /** @internal */
  renewSession = false;
  #session = null;
  #opening = null;
  #presence = null;
  #signedIn = false;
  #unwatch = null;
  #devices = new Devices({
    onReplaced: (stream) => {
      this.#session?.useStream(stream);
      this.localStream = stream;
      this.onDeviceChange.fire({ stream, message: "" });
    },
    onMissing: (message) => this.onDeviceChange.fire({ stream: null, message })
  });
  /** Throws `CONFIGURATION_ERROR`, or `WEBRTC_NOT_SUPPORTED_ERROR` in a browser without WebRTC. */
  constructor(config) {
    super();
    this.settings = parseConfig(config);
    if (!isWebrtcSupported()) {
      throw new GrtcError(WEBRTC_NOT_SUPPORTED_ERROR, "this browser has no WebRTC");
    }
  }
  /** Signs in as a guest, who calls out but cannot be called. In the short form with a DN: registers it. */
  connect() {
    if (this.settings.connectRegisters) this.register();
    else void this.#signIn(anonymousId(), null, this.onConnect);
  }
  /** Signs in as `dn`, by default the configured one. */
  register(dn) {
    const id = dn === void 0 || dn === null || dn === "" ? this.settings.dn : String(dn);
    if (id === null) {
      this.#failed(new SignInFailure(0, "register() needs a DN: none was given and none is configured"));
      return;
    }
    void this.#signIn(id, this.settings.password, this.onRegister);
  }
  /** @internal `null` while we are not signed in. */
  get connection() {
    return this.#presence?.connection ?? null;
  }
  /** Hangs up and signs out. */
  disconnect() {
    void this.#signOut();
  }
  async #signIn(publicId, password, done) {
    const signedOut = this.#signOut();
    const presence = new Presence(this.settings, publicId, password, this.#presenceEvents(() => presence));
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
      onLeaving: () => presence.leave()
    });
    presence.start();
    const message = `signed in as ${publicId}`;
    done.fire({ message });
    this.emit("ready", { message });
  }
  #failed(thrown) {
    const failure = { message: messageOf(thrown), status: thrown instanceof SignInFailure ? thrown.status : 0 };
    this.onFailed.fire(failure);
    this.emit("failed", failure);
  }
  async #signOut() {
    const presence = this.#presence;
    if (!presence) return;
    this.#presence = null;
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
  #presenceEvents(presence) {
    const current = () => this.#presence === presence();
    const trouble = (status) => {
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
      mediaFlow: () => this.#session?.mediaFlow ?? false
    };
  }
  #deliver(delivery) {
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
  enableMediaSource(audio = true, video = true) {
    void this.openMedia(audio, video).catch(() => void 0);
  }
  /** @internal The same as a promise. Asked again for what is being opened, it opens nothing twice. */
  openMedia(audio, video) {
    const wish = JSON.stringify([audio, video]);
    if (this.#opening?.wish === wish) return this.#opening.stream;
    const stream = this.#openMedia(audio, video).finally(() => {
      if (this.#opening?.stream === stream) this.#opening = null;
    });
    this.#opening = { wish, stream };
    return stream;
  }
  async #openMedia(audio, video) {
    try {
      if (!navigator.mediaDevices?.getUserMedia) {
        throw new DOMException("microphone and camera need HTTPS (or localhost)", "SecurityError");
      }
      const stream = await capture(audio, video);
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
  disableMediaSource() {
    this.#devices.forget();
    for (const track of this.localStream?.getTracks() ?? []) track.stop();
    this.localStream = null;
  }
  /** Plays a stream in an audio or video element. */
  setViewFromStream(element, stream) {
    const found = typeof element === "string" ? document.getElementById(element) : element instanceof HTMLMediaElement ? element : element?.[0];
    if (!(found instanceof HTMLMediaElement)) {
      log.warn("setViewFromStream: there is no such audio or video element");
      return;
    }
    found.srcObject = stream;
    if (!stream) return;
    const told = (playing) => (on) => this.onPlayback.fire({ element: on, playing });
    play(found, told(false), told(true));
  }
  /** Which media to ask for in our offers. */
  setMediaConstraintsForOffer(audio, video) {
    this.wishes.offer = { audio, video };
  }
  /** Which media to accept in our answers. */
  setMediaConstraintsForAnswer(audio, video) {
    this.wishes.answer = { audio, video };
  }
  /** kbit/s, written as `b=AS:` into our descriptions. */
  setVideoBandwidth(kbps) {
    const whole = Math.trunc(Number(kbps));
    if (whole > 0) this.videoBandwidth = whole;
  }
  /** Whether renegotiation brings a whole new peer connection. */
  setRenewSessionOnNeed(renew) {
    this.renewSession = renew;
  }
  /** 0 nothing, 1 errors, 2 warnings, 3 information, 4 everything. */
  setLogLevel(level) {
    log.setLogLevel(level);
  }
  /** Meant to be overwritten: which of our candidates the gateway gets to see. */
  filterIceCandidates(list) {
    return list;
  }
  /** The short form: a session with its destination and constraints. */
  newMediaSession(options = {}) {
    return new MediaSession(this, options);
  }
  /** @internal The newest session takes what comes in, unless an older one has a call. */
  attach(session) {
    if (!this.#session?.busy) this.#session = session;
  }
  /** @internal A session is about to place a call. False when another one has one. */
  claim(session) {
    if (this.#session !== session && this.#session?.busy) return false;
    this.#session = session;
    return true;
  }
  /** @internal */
  incoming(session, peer, event) {
    this.onIncomingCall.fire({ peer, event });
    this.emit("incoming", session);
  }
};
async function capture(audio, video) {
  const devices = navigator.mediaDevices;
  if (typeof video === "boolean" || !("displaySurface" in video)) return devices.getUserMedia({ audio, video });
  const screen = await devices.getDisplayMedia({ video });
  if (audio !== false) {
    for (const track of (await devices.getUserMedia({ audio })).getTracks()) screen.addTrack(track);
  }
  return screen;
}
function anonymousId() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `anon${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
export {
  CONFIGURATION_ERROR,
  CONNECTION_ERROR,
  Client,
  GrtcError as Error,
  Event,
  GRTC_ERROR,
  GRTC_WARN,
  INVALID_STATE_ERROR,
  Logger,
  MediaSession,
  NOT_READY_ERROR,
  VideoConstraints,
  WEBRTC_ERROR,
  WEBRTC_NOT_SUPPORTED_ERROR,
  deparam,
  getWebrtcDetectedBrowser,
  getWebrtcDetectedVersion,
  isWebrtcSupported,
  setExternalLogger,
  setLogger
};
//# sourceMappingURL=grtc.mjs.map
