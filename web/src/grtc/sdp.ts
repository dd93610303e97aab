// The few looks into an SDP that the library cannot do without.

/** True when the audio of this description does not want to hear us: `sendonly` or `inactive`. */
export function holdsUs(sdp: string): boolean {
  const audio = section(sdp, "audio") ?? "";
  const direction = /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(audio)?.[1]
    ?? /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(head(sdp))?.[1];
  return direction === "sendonly" || direction === "inactive";
}

/** True when the description offers that kind of media on a port other than 0. */
export function offers(sdp: string, kind: "audio" | "video"): boolean {
  const port = section(sdp, kind)?.match(/^m=\w+ (\d+)/)?.[1];
  return port !== undefined && port !== "0";
}

/** Video m-lines with `b=AS:`; the line belongs right behind `c=`. */
export function withVideoBandwidth(sdp: string, kbps: number): string {
  return sdp.replace(/(^m=video [\s\S]*?^c=[^\r\n]*\r?\n)(b=AS:[^\r\n]*\r?\n)?/gm, `$1b=AS:${kbps}\r\n`);
}

function head(sdp: string): string {
  const end = sdp.search(/^m=/m);
  return end < 0 ? sdp : sdp.slice(0, end);
}

function section(sdp: string, kind: string): string | undefined {
  return sdp.split(/^(?=m=)/m).find((part) => part.startsWith(`m=${kind} `));
}
