// text/event-stream as the WHATWG has it, over fetch: an EventSource cannot send an Authorization header.

export interface ServerEvent {
  event: string;
  data: string;
}

/** Longer lines than any snapshot has: a stream that is none must not fill the page's memory. */
const MAX_BUFFERED = 32 * 1024 * 1024;

const LINE_END = /[\r\n]/g;

export class EventParser {
  #rest = "";
  #event = "";
  #data: string[] = [];

  /** Any piece of the stream; gives the events that it completes. */
  push(text: string): ServerEvent[] {
    this.#rest += text;
    if (this.#rest.length > MAX_BUFFERED) throw new Error("not an event stream: a line without an end");
    const events: ServerEvent[] = [];
    let from = 0;
    for (;;) {
      LINE_END.lastIndex = from;
      const at = LINE_END.exec(this.#rest)?.index ?? -1;
      if (at < 0) break;
      // A CR at the end of a piece may be half of a CRLF.
      if (this.#rest[at] === "\r" && at + 1 === this.#rest.length) break;
      this.#line(this.#rest.slice(from, at), events);
      from = at + (this.#rest.startsWith("\r\n", at) ? 2 : 1);
    }
    this.#rest = this.#rest.slice(from);
    return events;
  }

  #line(line: string, events: ServerEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ event: this.#event || "message", data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
  }
}
