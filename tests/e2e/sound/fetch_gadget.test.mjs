// The raw-SDP dialect, driven by examples/fetch-gadget from another origin, and by the plainest client there can be.

import assert from "node:assert/strict";

import { LIMIT_MS } from "../lib/demo.mjs";
import { serveExample } from "../lib/files.mjs";
import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertReport, assertTone, hear } from "../lib/sound.mjs";

const SECONDS = 10;
const AUDIO = "#audio";
const address = serveExample("fetch-gadget");

async function gadget(browser, demo, dn) {
  const page = await browser.page(address(demo));
  await page.type("#dn", dn);
  await page.type("#password", demo.password);
  await page.click("#sign-in");
  await state(page, "ready");
  return page;
}

async function state(page, wanted) {
  try {
    await page.waitForFunction((wanted) => document.getElementById("state").textContent === wanted, { timeout: LIMIT_MS }, wanted);
  } catch {
    assert.equal(await page.$eval("#state", (element) => element.textContent), wanted);
  }
}

async function dial(page, number) {
  await page.click("#number", { count: 3 });
  await page.keyboard.type(number);
  await page.click("#call");
}

browserTest("the gadget calls 600: sound both ways", async ({ demo, browser, note }) => {
  const page = await gadget(await browser(440), demo, "5011");
  await dial(page, "600");
  await state(page, "talking to 600");
  const heard = await hear(page, AUDIO, 440, SECONDS + 1);
  assertTone(heard, SECONDS, "the echo in the gadget");
  const { received, lost } = await assertLoss(page, "the echo in the gadget");
  await page.click("#hang-up");
  await state(page, "ready");
  assertReport(await demo.report("600", "5011"), 440, SECONDS);
  note(`to the browser: ${received} packets, ${lost} lost`);
  assert.deepEqual(page.faults, []);
});

browserTest("the gadget calls 601: 1 kHz without holes", async ({ demo, browser }) => {
  const page = await gadget(await browser(440), demo, "5011");
  await dial(page, "601");
  await state(page, "talking to 601");
  assertTone(await hear(page, AUDIO, 1000, SECONDS + 1), SECONDS, "the tone in the gadget");
  await assertLoss(page, "the tone in the gadget");
  await page.click("#hang-up");
  await state(page, "ready");
  assertReport(await demo.report("601", "5011"), 440, SECONDS);
});

browserTest("the gadget is called by the softphone page; the page hangs up", async ({ demo, browser }) => {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  const [page, phone] = await Promise.all([gadget(low, demo, "5011"), Phone.open(high, demo, "5012")]);
  await phone.call("5011");
  await state(page, "call from 5012");
  await page.click("#answer");
  await state(page, "talking to 5012");
  await phone.phase("talking");
  await phone.hasSound();
  const [atGadget, atPhone] = await Promise.all([hear(page, AUDIO, 620, 4), hear(phone.page, FAR_END, 440, 4)]);
  assertTone(atGadget, 4, "620 Hz at the gadget");
  assertTone(atPhone, 4, "440 Hz at the page");
  await phone.hangUp();
  await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("call over"));
});

browserTest("busy and a wrong password are told to the gadget", async ({ demo, browser }) => {
  const chromium = await browser(440);
  const page = await gadget(chromium, demo, "5011");
  await dial(page, "603");
  await page.waitForFunction(() => /call over: 486/.test(document.getElementById("state").textContent));

  await page.type("#password", "x");
  await page.click("#sign-in");
  await page.waitForFunction(() => !/^(ready|call over)/.test(document.getElementById("state").textContent));
});

browserTest("a client that only knows 'status 200: setRemoteDescription' makes a call", async ({ demo, browser }) => {
  const page = await (await browser(440)).page(demo.url);
  await page.evaluate(async (password) => {
    const api = "api/webrtc";
    const signIn = await fetch(`${api}/sign_in?id=plain&dn=5013&password=${encodeURIComponent(password)}`);
    if ((await signIn.text()) !== "OK") throw new Error(`sign_in: ${signIn.status}`);
    const audio = document.createElement("audio");
    audio.id = "plain";
    audio.autoplay = true;
    document.body.append(audio);
    const pc = new RTCPeerConnection();
    pc.ontrack = ({ streams }) => { audio.srcObject = streams[0]; };
    const microphone = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    pc.addTrack(microphone.getTracks()[0], microphone);
    await pc.setLocalDescription(await pc.createOffer());
    const sent = await fetch(`${api}/message?from=plain&to=600`, { method: "POST", body: pc.localDescription.sdp });
    if ((await sent.text()) !== "OK") throw new Error(`message: ${sent.status}`);
    for (;;) {
      const response = await fetch(`${api}/message?id=plain`);
      if (response.status !== 200) continue;
      await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
      return;
    }
  }, demo.password);
  assertTone(await hear(page, "#plain", 440, 3), 3, "the echo in the plainest client");
  await page.evaluate(() => fetch("api/webrtc/message?from=plain", { method: "POST", body: "BYE" }));
  assertReport(await demo.report("600", "5013"), 440, 3);
});
