// What browser this is, and what it can do.

export function isWebrtcSupported(): boolean {
  return typeof RTCPeerConnection === "function";
}

const BROWSERS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ["edge", /Edg\/(\d+)/],
  ["opera", /OPR\/(\d+)/],
  ["firefox", /Firefox\/(\d+)/],
  ["chrome", /Chrom(?:e|ium)\/(\d+)/],
  ["safari", /Version\/(\d+).*Safari/],
];

function detected(): readonly [name: string, version: number] {
  const agent = typeof navigator === "undefined" ? "" : navigator.userAgent;
  for (const [name, pattern] of BROWSERS) {
    const version = pattern.exec(agent)?.[1];
    if (version) return [name, Number(version)];
  }
  return ["unknown", 0];
}

/** `"chrome"`, `"firefox"`, `"safari"`, `"edge"`, `"opera"` or `"unknown"`. */
export function getWebrtcDetectedBrowser(): string {
  return detected()[0];
}

/** Major version of the browser, 0 when unknown. */
export function getWebrtcDetectedVersion(): number {
  return detected()[1];
}

/** Constraints for common picture sizes. */
export const VideoConstraints = {
  qvga: (): MediaTrackConstraints => size(320, 240),
  vga: (): MediaTrackConstraints => size(640, 480),
  hd: (): MediaTrackConstraints => size(1280, 720),
  custom: (width: number, height: number): MediaTrackConstraints => size(width, height),
  /** A screen or window instead of the camera; the browser asks which. Sizes are upper limits. */
  screen: (width?: number, height?: number): MediaTrackConstraints => ({
    displaySurface: "monitor",
    ...(width ? { width: { max: width } } : {}),
    ...(height ? { height: { max: height } } : {}),
  }),
};

function size(width: number, height: number): MediaTrackConstraints {
  return { width: { ideal: width }, height: { ideal: height } };
}
