// What an operator has switched: which DNs are traced, how talkative the log is.

import { expect, test } from "vitest";
import { apply, emptyState } from "../src/dashboard/live";
import { levels } from "../src/dashboard/log_switch";
import { readLogLevel } from "../src/dashboard/model";
import { tracedUntil } from "../src/dashboard/trace_switch";

test("whoever has switched a trace on, all are told", () => {
  const state = emptyState();
  const take = (event: string, data: unknown) => apply(state, { event, data: JSON.stringify(data) });
  expect(take("snapshot", { traces: [{ dn: "5001", until: 1_790_000_000_000 }] })).toContain("traces");
  expect(tracedUntil(state, "5001")).toBe(1_790_000_000_000);
  expect(tracedUntil(state, "5002")).toBe(null);
  expect(take("traces", [{ dn: "5002", until: 1_790_000_600_000 }])).toEqual(["traces"]);
  expect([tracedUntil(state, "5001"), tracedUntil(state, "5002")]).toEqual([null, 1_790_000_600_000]);
});

test("a gateway that tells of no traces has none", () => {
  const state = emptyState();
  apply(state, { event: "snapshot", data: "{}" });
  expect(state.traces).toEqual([]);
});

test("what is configured comes first, what is in use is among it, and nothing is there twice", () => {
  const values = (told: object) => levels(readLogLevel(told)).map(([value]) => value);
  expect(values({ level: "info", configured: "info", until: null })).toEqual(["info", "error", "warn", "info,wrtc_gateway::sip=debug", "debug", "trace"]);
  const odd = "warn,wrtc_gateway::media=trace";
  const all = values({ level: odd, configured: "info,sip_trace=off", until: 1_790_000_000_000 });
  expect(all[0]).toBe("info,sip_trace=off");
  expect(all).toContain(odd);
  expect(new Set(all).size).toBe(all.length);
  expect(levels(readLogLevel({ level: "debug", configured: "warn" }))[0]).toEqual(["warn", "warn (configured)"]);
});
