import { expect, test, vi } from "vitest";
import { deparam, Event } from "../src/grtc/index";
import { holdsUs, offers, withVideoBandwidth } from "../src/grtc/sdp";
import { callEnded, duration } from "../src/phone/sentences";

test("handlers are kept once, run in order, and false stops the rest", () => {
  const event = new Event<number>();
  const seen: string[] = [];
  const first = (n: number) => { seen.push(`first ${n}`); };
  const second = (n: number) => { seen.push(`second ${n}`); return n < 2; };
  const third = (n: number) => { seen.push(`third ${n}`); };
  for (const handler of [first, first, second, third]) event.add(handler);
  event.fire(1);
  event.fire(2);
  expect(seen).toEqual(["first 1", "second 1", "third 1", "first 2", "second 2"]);
  event.remove(first);
  expect([event.has(first), event.has(third)]).toEqual([false, true]);
  event.empty();
  expect(event.has(third)).toBe(false);
});

test("a handler that throws does not keep the event from the others", () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const event = new Event<void>();
  const after = vi.fn();
  event.add(() => { throw new Error("broken page"); });
  event.add(after);
  event.fire();
  expect(after).toHaveBeenCalledOnce();
});

test("deparam", () => {
  expect(deparam("?a=b&c=d%20e+f&g&h==%")).toEqual({ a: "b", c: "d e f", g: "", h: "=%" });
});

test("the direction is that of the audio section, or of the session", () => {
  const head = "v=0\r\na=sendonly\r\n";
  const audio = "m=audio 9 RTP/SAVPF 0\r\n";
  const video = "m=video 0 RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n";
  expect(holdsUs(`${head}${audio}${video}`)).toBe(true);
  expect(holdsUs(`${head}${audio}a=sendrecv\r\n${video}`)).toBe(false);
  expect(holdsUs(`v=0\r\n${audio}`)).toBe(false);
  expect(offers(`${audio}${video}`, "audio")).toBe(true);
  expect(offers(`${audio}${video}`, "video")).toBe(false);
  expect(withVideoBandwidth(`${audio}c=IN IP4 0.0.0.0\r\n${video}`, 300)).toBe(
    `${audio}c=IN IP4 0.0.0.0\r\n${video.replace("a=inactive", "b=AS:300\r\na=inactive")}`,
  );
});

test("sentences for the ends of calls", () => {
  const busy = { by: "remote", code: 486, reason: "Busy Here" } as const;
  expect(callEnded(busy, "603", true, false)).toBe("603 is busy.");
  expect(callEnded(busy, "603", true, true)).toBeNull();
  expect(callEnded({ by: "remote", code: 487, reason: "" }, "5002", false, false)).toBe("You missed a call from 5002.");
  expect(callEnded({ by: "remote", code: 503, reason: "Service Unavailable" }, "7", true, false)).toBe("The call to 7 was not put through: 503 Service Unavailable.");
  expect(callEnded({ by: "local", code: 0, reason: "" }, "7", true, false)).toBeNull();
});

test("durations", () => {
  expect([0, 65, 3605].map(duration)).toEqual(["0:00", "1:05", "1:00:05"]);
});
