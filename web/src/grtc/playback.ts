// Browsers that play no sound before the page was touched.

const GESTURES = ["pointerdown", "keydown", "touchend"] as const;

/** Plays the element. Where that is refused, `blocked` is called, and it is tried again at each gesture until it works. */
export function play(element: HTMLMediaElement, blocked: (element: HTMLMediaElement) => void, playing: (element: HTMLMediaElement) => void): void {
  const stream = element.srcObject;
  element.play().catch((thrown: unknown) => {
    // Another stream took this one's place: its own play() counts.
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
      }, () => undefined);
    };
    for (const gesture of GESTURES) document.addEventListener(gesture, again, { capture: true, signal: stop.signal });
    blocked(element);
  });
}
