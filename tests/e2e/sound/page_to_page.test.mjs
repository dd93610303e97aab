// Two pages, each in a browser with its own tone.

import { FAR_END, talking } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertQuiet, assertTone, hear } from "../lib/sound.mjs";

const SECONDS = 10;

browserTest("5001 calls 5002: each hears the other for ten seconds", async (tools) => {
  const [caller, callee] = await talking(tools);
  const [atCaller, atCallee] = await Promise.all([
    hear(caller.page, FAR_END, 620, SECONDS + 1), hear(callee.page, FAR_END, 440, SECONDS + 1),
  ]);
  assertTone(atCaller, SECONDS, "620 Hz at the caller");
  assertTone(atCallee, SECONDS, "440 Hz at the callee");
  for (const phone of [caller, callee]) {
    const { received, lost } = await assertLoss(phone.page, `packets to ${phone.dn}`);
    tools.note(`to ${phone.dn}: ${received} packets, ${lost} lost`);
  }
  await callee.hangUp();
  await caller.phase("ready");
  await caller.state("The far end hung up");
});

browserTest("hold silences both ways, resume brings the sound back, and the caller may hang up", async (tools) => {
  const [caller, callee] = await talking(tools);
  await caller.click("hold");
  await caller.state("On hold");
  await Promise.all([
    assertQuiet(caller.page, FAR_END, 620, 1, "620 Hz at the caller on hold"),
    assertQuiet(callee.page, FAR_END, 440, 1, "440 Hz at the callee on hold"),
  ]);
  await caller.click("hold");
  await caller.state("Connected");
  const [atCaller, atCallee] = await Promise.all([hear(caller.page, FAR_END, 620, 2), hear(callee.page, FAR_END, 440, 2)]);
  assertTone(atCaller, 2, "620 Hz at the caller after the hold");
  assertTone(atCallee, 2, "440 Hz at the callee after the hold");

  await callee.click("hold");
  await callee.state("On hold");
  await assertQuiet(caller.page, FAR_END, 620, 1, "620 Hz at the caller, held by the callee");
  await callee.click("hold");
  await callee.state("Connected");
  assertTone(await hear(caller.page, FAR_END, 620, 2), 2, "620 Hz at the caller after the callee's hold");
  await caller.hangUp();
  await callee.phase("ready");
});

browserTest("mute silences one way only", async (tools) => {
  const [caller, callee] = await talking(tools);
  await caller.click("mute");
  await caller.state("Connected, microphone muted");
  await assertQuiet(callee.page, FAR_END, 440, 1, "440 Hz at the callee, the caller being muted");
  assertTone(await hear(caller.page, FAR_END, 620, 2), 2, "620 Hz at the muted caller");
  await caller.click("mute");
  assertTone(await hear(callee.page, FAR_END, 440, 2), 2, "440 Hz at the callee after the mute");
  await caller.hangUp();
});
