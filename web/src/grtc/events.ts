import { messageOf } from "./errors";
import { log } from "./logger";

/** Returning `false` keeps the event from the handlers that were added later. */
export type Handler<T> = (argument: T) => unknown;

/** One kind of event: `client.onIncomingCall.add(handler)`. */
export class Event<T = void> {
  readonly #handlers: Handler<T>[] = [];

  /** A function that is there already is not added again. */
  add(handler: Handler<T>): void {
    if (typeof handler === "function" && !this.has(handler)) this.#handlers.push(handler);
  }

  remove(handler: Handler<T>): void {
    const at = this.#handlers.indexOf(handler);
    if (at >= 0) this.#handlers.splice(at, 1);
  }

  has(handler: Handler<T>): boolean {
    return this.#handlers.includes(handler);
  }

  /** @internal Somebody would hear it. */
  get heard(): boolean {
    return this.#handlers.length > 0;
  }

  /** Removes every handler. */
  empty(): void {
    this.#handlers.length = 0;
  }

  /** A handler that throws is logged and does not keep the event from the others. */
  fire(argument: T): void {
    for (const handler of [...this.#handlers]) {
      try {
        if (handler(argument) === false) return;
      } catch (thrown) {
        log.error(`an event handler failed: ${messageOf(thrown)}`);
      }
    }
  }
}

/** The emitter style: `client.on("ready", ...)`. */
export class Emitter<Events extends object> {
  readonly #events = new Map<keyof Events, Event<unknown>>();

  on<K extends keyof Events>(name: K, handler: Handler<Events[K]>): this {
    let event = this.#events.get(name);
    if (!event) this.#events.set(name, (event = new Event<unknown>()));
    event.add(handler as Handler<unknown>);
    return this;
  }

  off<K extends keyof Events>(name: K, handler: Handler<Events[K]>): this {
    this.#events.get(name)?.remove(handler as Handler<unknown>);
    return this;
  }

  protected emit<K extends keyof Events>(name: K, argument: Events[K]): void {
    this.#events.get(name)?.fire(argument);
  }
}
