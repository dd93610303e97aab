// What the browser tells of the page's surroundings: network, sleep, and being left.

export interface SurroundingsEvents {
  /** The browser has a network again, or another one than before. */
  onNetwork(): void;
  /** The page is looked at again, or runs again after it was frozen. */
  onAwake(): void;
  /** The page is being left for good. */
  onLeaving(): void;
}

interface NetworkInformation extends EventTarget {
  readonly type?: string;
}

/** Listens until the function that it gives is called. */
export function watchSurroundings(events: SurroundingsEvents): () => void {
  if (typeof window === "undefined") return () => undefined;
  const network = (navigator as { connection?: NetworkInformation }).connection;
  let type = network?.type;
  const stop = new AbortController();
  const { signal } = stop;
  window.addEventListener("online", () => events.onNetwork(), { signal });
  network?.addEventListener("change", () => {
    // Changes of its speed are told as well, and mean nothing here.
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
    // A page that is only put aside may come back, and takes its session up again then.
    if (!persisted) events.onLeaving();
  }, { signal });
  return () => stop.abort();
}
