// What a row says of a SIP server.

import { millis, timeOfDay, type Grade } from "./format";
import type { Server } from "./model";

export interface ServerWords {
  grade: Grade;
  /** Short: without the scheme and the port that is usual. */
  name: string;
  told: string;
  title: string;
  /** What is read aloud. */
  label: string;
}

export function serverWords({ name, address, nameFault, up, current, rttMs, reason, since }: Server): ServerWords {
  const lost = address === null;
  const state = lost ? "the name does not resolve" : up === null ? "not asked yet" : up ? "up" : "down";
  const plain = name.replace(/^sips?:/, "");
  const words = `${plain}: ${state}${current ? ", in use" : ""}${rttMs === null ? "" : `, ${millis(rttMs)}`}`;
  const old = !lost && nameFault !== "" ? `; its name does not resolve any more: ${nameFault}` : "";
  const why = reason === "" ? "" : `${up === true ? "; was down: " : ": "}${reason}`;
  return {
    grade: up === null ? "none" : !up ? "poor" : old === "" ? "good" : "fair",
    name: plain.replace(/:5060$/, ""),
    told: lost ? "no address" : up === null ? "not asked" : !up ? "down" : rttMs === null ? "up" : millis(rttMs),
    title: `${words}${since === null ? "" : ` since ${timeOfDay(since)}`}${why}${old}`,
    label: `${words}${up === false ? why : ""}${old}`,
  };
}
