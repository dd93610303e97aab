/** Levels of {@link Logger}: 0 says nothing, 4 says everything. */
export type LogLevel = 0 | 1 | 2 | 3 | 4;

/** Where log lines may be sent instead of the console. */
export interface LogSink {
  error(message: string): void;
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
}

const toConsole: LogSink = {
  error: (m) => console.error(m),
  warn: (m) => console.warn(m),
  info: (m) => console.info(m),
  debug: (m) => console.debug(m),
};

/** `Grtc.Logger`: lines go to the sink when their level is switched on. Secrets and SDP are never logged. */
export class Logger {
  #level: LogLevel = 2;
  #sink: LogSink = toConsole;

  setLogLevel(level: number): void {
    const whole = Math.trunc(Number(level));
    if (Number.isFinite(whole)) this.#level = Math.min(4, Math.max(0, whole)) as LogLevel;
  }

  setSink(sink: LogSink | null): void {
    this.#sink = sink ?? toConsole;
  }

  error(message: string): void {
    if (this.#level >= 1) this.#sink.error(`grtc: ${message}`);
  }
  warn(message: string): void {
    if (this.#level >= 2) this.#sink.warn(`grtc: ${message}`);
  }
  info(message: string): void {
    if (this.#level >= 3) this.#sink.info(`grtc: ${message}`);
  }
  debug(message: string): void {
    if (this.#level >= 4) this.#sink.debug(`grtc: ${message}`);
  }
}

/** The one that the library itself writes to. */
export let log = new Logger();

/** Replaces the library's logger. */
export function setLogger(logger: Logger): void {
  log = logger;
}

/** Sends the library's log lines to `sink`; `null` brings the console back. */
export function setExternalLogger(sink: LogSink | null): void {
  log.setSink(sink);
}
