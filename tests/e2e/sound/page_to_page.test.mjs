// Two pages, each in a browser with its own tone.

import assert from "node:assert/strict";

import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertQuiet, assertTone, hear } from "../lib/sound.mjs";

const SECONDS = 10;

async function pair({ demo, browser }) {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  return Promise.all([Phone.open(low, demo, "5001"), Phone.open(high, demo, "5002")]);
}

async function talking(tools) {
  const [caller, callee] = await pair(tools);
  await caller.call("5002");
  await callee.phase("ringing");
  assert.equal(await callee.party(), "5001");
  await callee.click("answer");
  for (const phone of [caller, callee]) {
    await phone.phase("talking");
    await phone.hasSound();
  }
  return [caller, callee];
}

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
    assertQuiet(caller.page, FAR_END, 620, 2, "620 Hz at the caller on hold"),
    assertQuiet(callee.page, FAR_END, 440, 2, "440 Hz at the callee on hold"),
  ]);
  await caller.click("hold");
  await caller.state("Connected");
  const [atCaller, atCallee] = await Promise.all([hear(caller.page, FAR_END, 620, 4), hear(callee.page, FAR_END, 440, 4)]);
  assert.ok(atCaller.seconds >= 4 && atCallee.seconds >= 4, JSON.stringify({ atCaller, atCallee }));

  await callee.click("hold");
  await callee.state("On hold");
  await assertQuiet(caller.page, FAR_END, 620, 2, "620 Hz at the caller, held by the callee");
  await callee.click("hold");
  await callee.state("Connected");
  assert.ok((await hear(caller.page, FAR_END, 620, 3)).seconds >= 3);
  await caller.hangUp();
  await callee.phase("ready");
});

browserTest("mute silences one way only", async (tools) => {
  const [caller, callee] = await talking(tools);
  await caller.click("mute");
  await caller.state("Connected, microphone muted");
  await assertQuiet(callee.page, FAR_END, 440, 2, "440 Hz at the callee, the caller being muted");
  assertTone(await hear(caller.page, FAR_END, 620, 2), 2, "620 Hz at the muted caller");
  await caller.click("mute");
  assert.ok((await hear(callee.page, FAR_END, 440, 3)).seconds >= 3);
  await caller.hangUp();
});

browserTest("a rejected call is told to the caller", async (tools) => {
  const [caller, callee] = await pair(tools);
  await caller.call("5002");
  await callee.phase("ringing");
  await callee.click("reject");
  await callee.phase("ready");
  await caller.phase("ready");
  await caller.notice("5002 ");
  assert.match(await caller.page.$eval("#notice", (element) => element.textContent), /is busy|declined/);
});

browserTest("a caller who gives up leaves a missed call", async (tools) => {
  const [caller, callee] = await pair(tools);
  await caller.call("5002");
  await callee.phase("ringing");
  await caller.hangUp();
  await callee.phase("ready");
  await callee.notice("You missed a call from 5001.");
});

browserTest("a page that is closed in a call ends the call", async (tools) => {
  const [caller, callee] = await talking(tools);
  await caller.page.close({ runBeforeUnload: true });
  await callee.phase("ready");
  await callee.state("The far end hung up");
});
