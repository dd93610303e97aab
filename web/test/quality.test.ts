import { expect, test } from "vitest";
import { QualityMeter, sampleOf, upstreamOf } from "../src/gadget/quality";

const sample = (received: number, lost = 0, jitter = 2, delay: number | null = 20) => ({ received, lost, jitter, delay });

/** The last judgement over samples two seconds (100 packets) apart. */
function judge(...samples: ReturnType<typeof sample>[]) {
  const meter = new QualityMeter();
  return samples.map((item) => meter.judge(item, false).quality).at(-1);
}

test("the first sample only begins to measure", () => {
  expect(judge(sample(100))).toBe("measuring");
});

test("loss, jitter and delay each make it worse", () => {
  expect(judge(sample(100), sample(200))).toBe("good");
  expect(judge(sample(100), sample(198, 2))).toBe("fair");
  expect(judge(sample(100), sample(190, 10))).toBe("poor");
  expect(judge(sample(100), sample(200, 0, 40))).toBe("fair");
  expect(judge(sample(100), sample(200, 0, 80))).toBe("poor");
  expect(judge(sample(100), sample(200, 0, 2, 400))).toBe("fair");
  expect(judge(sample(100), sample(200, 0, 2, 700))).toBe("poor");
});

test("loss counts since the sample before, not since the beginning", () => {
  expect(judge(sample(100, 50), sample(200, 50))).toBe("good");
});

test("what the gateway has lost of ours counts as well, until it says otherwise", () => {
  const meter = new QualityMeter();
  meter.judge(sample(100), false);
  meter.handleUpstream({ packets: 400, lost: 0 });
  expect(meter.judge(sample(200), false).quality).toBe("good");
  meter.handleUpstream({ packets: 800, lost: 40 });
  expect(meter.judge(sample(300), false)).toMatchObject({ quality: "poor", loss: expect.closeTo(9.1, 1) });
  meter.handleUpstream({ packets: 1200, lost: 40 });
  expect(meter.judge(sample(400), false).quality).toBe("good");
});

test("nothing at all is told of after four seconds, unless the call is held", () => {
  expect(judge(sample(100), sample(100))).toBe("good");
  expect(judge(sample(100), sample(100), sample(100))).toBe("silent");
  const meter = new QualityMeter();
  for (let i = 0; i < 5; i += 1) expect(meter.judge(sample(100), true).quality).not.toBe("silent");
});

test("the browser's statistics and the gateway's are read, whatever is in them", () => {
  const report = new Map<string, unknown>([
    ["a", { type: "inbound-rtp", kind: "audio", packetsReceived: 50, packetsLost: 1, jitter: 0.004 }],
    ["b", { type: "candidate-pair", nominated: true, currentRoundTripTime: 0.03 }],
    ["c", { type: "inbound-rtp", kind: "video", packetsReceived: 9 }],
  ]) as unknown as RTCStatsReport;
  expect(sampleOf(report)).toEqual({ received: 50, lost: 1, jitter: 4, delay: 30 });
  expect(sampleOf(new Map() as unknown as RTCStatsReport)).toBeNull();
  expect(upstreamOf({ audio: { rx: { packets: 5, lost: 1 } } })).toEqual({ packets: 5, lost: 1 });
  for (const garbage of [null, 3, {}, { audio: null }, { audio: { rx: { packets: "5" } } }]) expect(upstreamOf(garbage)).toBeNull();
});
