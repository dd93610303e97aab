// A scripted WWE at the connector, and the gadget as the phone that it drives.

import assert from "node:assert/strict";

import { LIMIT_MS } from "../lib/demo.mjs";
import { call, GADGET_AUDIO as AUDIO, openGadget, phase, signIn, text } from "../lib/gadget.mjs";
import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertQuiet, assertReport, assertTone, hear } from "../lib/sound.mjs";

const TOKEN = "token-of-the-connector-test-Bd31";
const DN = "5014";
const CONFIGURED = ["--set", `connector.tokens=${TOKEN}=${DN}`];
const gadget = (demo) => `${demo.url}gadget?audio=raw&lang=en&dn=${DN}`;

/** What WWE does: JSON, and `{}` where there is nothing to say. */
class Wwe {
  constructor(demo) {
    this.base = `${demo.url}connector/${TOKEN}`;
  }

  async #ask(method, action, body) {
    const answer = await fetch(`${this.base}/${action}`, {
      method, body: body && JSON.stringify(body), headers: { "Content-Type": "application/json; charset=UTF-8" },
    });
    return { status: answer.status, told: await answer.json() };
  }

  async get(action) {
    const { status, told } = await this.#ask("GET", action);
    assert.equal(status, 200, `${action}: ${JSON.stringify(told)}`);
    return told;
  }

  post(action, body = {}) {
    return this.#ask("POST", action, body);
  }

  /** A command that has to be done. */
  async does(action, body) {
    assert.deepEqual(await this.post(action, body), { status: 200, told: { [`${action}Result`]: true } });
  }

  /** What WWE does first, in its order. */
  async start() {
    assert.deepEqual(await this.get("GetDnSIP"), { get_DnSIPResult: "" });
    for (const [action, body] of [["SetOptions", { value: { "ping-interval": 2000 } }], ["SetSIPEndpointParameters", { value: [] }]]) {
      assert.deepEqual(await this.post(action, body), { status: 200, told: {} });
    }
    const registered = await this.post("RegisterDn/", { addresses: ["sip.example:5060"], users: [DN] });
    assert.deepEqual(registered, { status: 200, told: { RegisterDnResult: true } });
    await this.post("SetPingPeriod", { value: 2000 });
  }

  async isActive() {
    return (await this.get("GetIsEndpointActive")).get_IsEndpointActiveResult;
  }

  /** Asks and pings, as WWE does, until it is so. */
  async until(what, holds) {
    let seen;
    for (const deadline = performance.now() + LIMIT_MS; performance.now() < deadline;) {
      await this.get("Ping");
      seen = await this.get(what);
      if (holds(seen)) return seen;
      await new Promise((resume) => setTimeout(resume, 100));
    }
    assert.fail(`${what} stays ${JSON.stringify(seen)}`);
  }
}

browserTest("WWE registers, and dials, holds, sends tones and hangs up through the gadget", async ({ demo, browser }) => {
  const wwe = new Wwe(demo);
  await wwe.start();
  assert.equal(await wwe.isActive(), false, "nobody is signed in");
  assert.equal((await wwe.post("MakeCall", { destination: "601" })).status, 409);
  const page = await (await browser(440)).page(gadget(demo));
  assert.equal(await wwe.isActive(), false, "the gadget is only open");
  await signIn(page, DN, demo.password);
  await phase(page, "ready");
  await wwe.until("GetIsEndpointActive", ({ get_IsEndpointActiveResult }) => get_IsEndpointActiveResult);
  assert.deepEqual(await wwe.get("GetDnSIP"), { get_DnSIPResult: DN });

  await wwe.does("MakeCall", { destination: "601" });
  await phase(page, "talking");
  await text(page, "party", "601");
  assertTone(await hear(page, AUDIO, 1000, 2), 2, "the tone in the gadget");
  const status = await wwe.until("GetCallStatus", ({ callActive }) => callActive);
  assert.deepEqual(status, { registered: true, dn: DN, callActive: true, hasIncomingCall: false, callerId: "601" });
  await wwe.does("SendDTMF", { digits: "1#" });
  await wwe.does("Hold");
  await text(page, "state", "On hold");
  await assertQuiet(page, AUDIO, 1000, 1, "held by WWE");
  await wwe.does("Retrieve");
  await text(page, "state", "Connected");
  assertTone(await hear(page, AUDIO, 1000, 2), 2, "the tone after the hold");
  await wwe.does("HangUp");
  await phase(page, "ready");
  const report = await demo.report("601", DN);
  assertReport(report, 440, 2);
  assert.equal(report.heard.digits, "1#");
  assert.equal((await wwe.post("Hold")).status, 409, "there is nothing to hold");

  assert.deepEqual(await wwe.post("UnregisterDn"), { status: 200, told: { UnregisterDnResult: true } });
  assert.equal(await wwe.isActive(), false);
  await phase(page, "ready");
}, CONFIGURED);

browserTest("WWE sees who calls and answers in the gadget", async ({ demo, browser }) => {
  const wwe = new Wwe(demo);
  await wwe.start();
  const page = await openGadget(await (await browser(440)).page(gadget(demo)), demo, DN);
  // 604 calls back after a hang-up.
  await call(page, "604");
  await phase(page, "talking");
  await wwe.does("HangUp");
  await phase(page, "ringing");
  const incoming = await wwe.until("GetIncomingCall", ({ hasIncomingCall }) => hasIncomingCall);
  assert.equal(incoming.callerId, "604");
  assert.ok(Math.abs(Date.now() - Date.parse(incoming.timestamp)) < LIMIT_MS, incoming.timestamp);
  await wwe.does("AnswerCall");
  await phase(page, "talking");
  assertTone(await hear(page, AUDIO, 440, 2), 2, "the echo of the call-back");
  await page.click("#hang-up");
  await phase(page, "ready");
  await wwe.until("GetCallStatus", ({ callActive }) => !callActive);
}, CONFIGURED);

browserTest("a gadget that is closed is no active endpoint any more", async ({ demo, browser }) => {
  const wwe = new Wwe(demo);
  await wwe.start();
  const page = await openGadget(await (await browser(440)).page(gadget(demo)), demo, DN);
  await wwe.until("GetIsEndpointActive", ({ get_IsEndpointActiveResult }) => get_IsEndpointActiveResult);
  await page.close({ runBeforeUnload: true });
  await wwe.until("GetIsEndpointActive", ({ get_IsEndpointActiveResult }) => !get_IsEndpointActiveResult);
}, CONFIGURED);

browserTest("the softphone page dials for WWE too", async ({ demo, browser }) => {
  const wwe = new Wwe(demo);
  await wwe.start();
  const phone = await Phone.open(await browser(440), demo, DN);
  await wwe.does("MakeCall", { destination: "601" });
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 1000, 2), 2, "the tone in the page");
  await wwe.does("HangUp");
  await phone.phase("ready");
}, CONFIGURED);
