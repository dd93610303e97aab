// What a contact centre's SIP server does to a page on the grtc library: talk and hold by NOTIFY, INVITE without SDP,
// attached data and INFO. `demo --contact-centre` is that server; the customer is a tone of 1 kHz.

import assert from "node:assert/strict";

import { LIMIT_MS } from "../lib/demo.mjs";
import { LIBRARY_AUDIO as AUDIO, open } from "../lib/library.mjs";
import { browserTest, everyBrowserTest } from "../lib/tests.mjs";
import { assertQuiet, assertTone, hear } from "../lib/sound.mjs";

const CENTRE = ["--contact-centre"];

class Centre {
  static async of(demo) {
    const centre = new Centre();
    centre.url = (await demo.line(/^centre\s+(http\S+)/))[1];
    return centre;
  }

  async post(path, body = {}) {
    const answer = await fetch(`${this.url}api/${path}`, {
      method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-Console": "1" },
    });
    const told = await answer.json();
    assert.equal(answer.status, 200, `${path}: ${JSON.stringify(told)}`);
    return told.call;
  }

  /** Waits until the call has a message of that title with that in it. */
  async message(call, title, part = "") {
    let seen = [];
    let version = 0;
    for (const deadline = performance.now() + LIMIT_MS; performance.now() < deadline;) {
      const state = await (await fetch(`${this.url}api/state?after=${version}&call=${call}`)).json();
      version = state.version;
      seen = state.ladder?.rungs ?? [];
      if (seen.some((rung) => rung.title === title && rung.text.includes(part))) return;
    }
    assert.fail(`no ${title} with '${part}', but ${JSON.stringify(seen.map((rung) => rung.title))}`);
  }
}

/** Signed in, with what the events brought: `rung` is the call that comes, `told` the NOTIFYs. */
async function agent(started, demo) {
  const page = await open(started, demo, "5004");
  await page.evaluate(() => {
    window.told = [];
    window.client.onNotifyEvent.add(({ event }) => { window.told.push(event); });
    window.rung = window.next(window.client.onIncomingCall);
  });
  return page;
}

const told = (page, events) =>
  page.waitForFunction((events) => window.told.join() === events, {}, events);

everyBrowserTest("NOTIFY talk answers, NOTIFY hold silences, NOTIFY talk retrieves; attached data come with the call", async ({ demo, start }) => {
  const centre = await Centre.of(demo);
  const page = await agent(await start(440), demo);
  const call = await centre.post("queue", {
    dn: "5004", number: "7001", name: "Kim Customer", headers: [["X-Attached-Segment", "Gold"], ["X-Attached-Note", "50%25"]],
  });
  assert.equal((await page.evaluate(() => window.rung)).event, "offer");
  assert.deepEqual(await page.evaluate(() => window.session.getData()), [{ key: "Segment", value: "Gold" }, { key: "Note", value: "50%" }]);
  await page.evaluate(() => window.session.setData([{ key: "Agent", value: "a b&c" }]));
  await centre.post(`calls/${call}/talk`);
  await told(page, "talk");
  assertTone(await hear(page, AUDIO, 1000, 2), 2, "the customer");
  await centre.message(call, "INFO", "Agent=a%20b%26c");
  await centre.post(`calls/${call}/hold`);
  await told(page, "talk,hold");
  await assertQuiet(page, AUDIO, 1000, 1, "the customer is held");
  await centre.post(`calls/${call}/retrieve`);
  await told(page, "talk,hold,talk");
  assertTone(await hear(page, AUDIO, 1000, 2), 2, "the customer again");
  await page.evaluate(() => window.session.terminateCall());
  await centre.message(call, "BYE");
}, CENTRE);

everyBrowserTest("an INVITE without SDP is answered with an offer, and there is sound", async ({ demo, start }) => {
  const centre = await Centre.of(demo);
  const page = await agent(await start(440), demo);
  const call = await centre.post("dial", { dn: "5004", number: "7001" });
  assert.equal((await page.evaluate(() => window.rung)).event, "invite");
  await told(page, "talk");
  assertTone(await hear(page, AUDIO, 1000, 2), 2, "the customer");
  await centre.post(`calls/${call}/hangup`);
  await page.waitForFunction(() => window.events.some((event) => event.startsWith("onPeerClosing")));
}, CENTRE);

browserTest("INFO of the SIP server's reaches the page, and the page's reaches the SIP server", async ({ demo, browser }) => {
  const centre = await Centre.of(demo);
  const page = await agent(await browser(440), demo);
  await page.evaluate(() => { window.info = window.next(window.client.onInfoFromPeer); });
  const call = await centre.post("play", { dn: "5004", number: "7001", scenario: "user-data" });
  const info = await page.evaluate(() => window.info);
  assert.ok(Object.keys(info).length > 0, JSON.stringify(info));
  await page.evaluate(() => window.session.sendInfo({ note: "x y" }, true));
  await centre.message(call, "INFO", "note=x%20y");
}, CENTRE);
