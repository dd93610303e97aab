// The grtc library as pages use it, where the softphone page does not: renewal, ICE restart, statistics, guests.

import assert from "node:assert/strict";

import { answered, credentials, LIBRARY_AUDIO as AUDIO, open, RAW } from "../lib/library.mjs";
import { everyBrowserTest } from "../lib/tests.mjs";
import { assertQuiet, assertReport, assertTone, hear } from "../lib/sound.mjs";

everyBrowserTest("hold silences, resume brings the sound back, and mute silences one way", async ({ demo, start }) => {
  const [low, high] = await Promise.all([start(440), start(620)]);
  const [caller, called] = await Promise.all([open(low, demo, "5004"), open(high, demo, "5005")]);
  await called.evaluate(() => {
    window.client.onIncomingCall.add(() => window.session.acceptCall());
  });
  await answered(caller, "session.makeOffer('5005')");
  assertTone(await hear(called, AUDIO, 440, 2), 2, "440 Hz at the called");
  for (const holder of [caller, called]) {
    await answered(holder, "session.holdCall()");
    await Promise.all([assertQuiet(caller, AUDIO, 620, 1, "620 Hz on hold"), assertQuiet(called, AUDIO, 440, 1, "440 Hz on hold")]);
    await answered(holder, "session.resumeCall()");
    await Promise.all([hear(caller, AUDIO, 620, 2), hear(called, AUDIO, 440, 2)]).then(([atCaller, atCalled]) => {
      assertTone(atCaller, 2, "620 Hz after the hold");
      assertTone(atCalled, 2, "440 Hz after the hold");
    });
  }
  await caller.evaluate(() => window.session.updateCall(false));
  await assertQuiet(called, AUDIO, 440, 1, "440 Hz, the caller being muted");
  assertTone(await hear(caller, AUDIO, 620, 1), 1, "620 Hz at the muted caller");
  await caller.evaluate(() => window.session.updateCall(true));
  assertTone(await hear(called, AUDIO, 440, 2), 2, "440 Hz after the mute");
});

everyBrowserTest("a renewed session brings a new peer connection, and the sound goes on in it", async ({ demo, start }) => {
  const page = await open(await start(440), demo, "5004");
  await answered(page, "session.makeOffer('600')");
  assertTone(await hear(page, AUDIO, 440, 2), 2, "before the renewal");
  const before = await credentials(page);
  await page.evaluate(() => window.client.setRenewSessionOnNeed(true));
  await answered(page, "session.makeOffer()");
  const after = await credentials(page);
  assert.equal(after.connections, before.connections + 1);
  assert.notEqual(after.local.fingerprint, before.local.fingerprint);
  assert.notEqual(after.remote.ufrag, before.remote.ufrag);
  assertTone(await hear(page, AUDIO, 440, 3), 3, "after the renewal");
  assert.deepEqual(await page.evaluate(() => window.events), []);
  await page.evaluate(() => window.session.terminateCall());
  assertReport(await demo.report("600", "5004"), 440, 5);
});

everyBrowserTest("makeOffer() after onIceDisconnected restarts ICE, and the sound goes on", async ({ demo, start }) => {
  const page = await open(await start(440), demo, "5004");
  await answered(page, "session.makeOffer('600')");
  assertTone(await hear(page, AUDIO, 440, 2), 2, "before the restart");
  const before = await credentials(page);
  // What a browser does when it has lost its network; the restart that follows is a real one. Firefox's handler hears
  // no event of ours, so it is called.
  await page.evaluate(() => {
    const pc = window.e2e.connections.at(-1);
    Object.defineProperty(pc, "iceConnectionState", { value: "disconnected", configurable: true });
    pc.oniceconnectionstatechange();
    delete pc.iceConnectionState;
  });
  assert.deepEqual(await page.evaluate(() => window.events), ['onIceDisconnected {"state":"disconnected"}']);
  await answered(page, "session.makeOffer()");
  const after = await credentials(page);
  assert.equal(after.connections, before.connections);
  assert.notEqual(after.local.ufrag, before.local.ufrag);
  assert.notEqual(after.remote.ufrag, before.remote.ufrag);
  assert.equal(after.remote.fingerprint, before.remote.fingerprint);
  assertTone(await hear(page, AUDIO, 440, 3), 3, "after the restart");
  await page.evaluate(() => window.session.terminateCall());
  assertReport(await demo.report("600", "5004"), 440, 5);
});

everyBrowserTest("the gateway's statistics of a call", async ({ demo, start }) => {
  const page = await open(await start(440), demo, "5004");
  await answered(page, "session.makeOffer('600')");
  await hear(page, AUDIO, 440, 3);
  const { duration, audio } = await page.evaluate(() => {
    const statistics = window.next(window.client.onStatsFromServer);
    window.session.getServerStats();
    return statistics;
  });
  assert.ok(duration >= 3000, `duration ${duration}`);
  assert.ok(audio.rx.packets > 100 && audio.tx.packets > 100, JSON.stringify(audio));
  assert.ok(audio.rx.lost <= audio.rx.packets / 100, JSON.stringify(audio));
});

everyBrowserTest("a guest calls without a DN", async ({ demo, start }) => {
  const page = await open(await start(440), demo, null);
  await answered(page, "session.makeOffer('601')");
  assertTone(await hear(page, AUDIO, 1000, 2), 2, "the tone that the guest hears");
  await page.evaluate(() => window.session.terminateCall());
});

everyBrowserTest("the module build and the short form make a call", async ({ demo, start }) => {
  const page = await (await start(440)).page(demo.url);
  await page.evaluate(async (dn, password, microphone) => {
    document.body.innerHTML = '<audio id="audio" autoplay></audio>';
    const { Client } = await import(new URL("grtc.mjs", location.href).href);
    const client = new Client({ serverUrl: location.href.replace(/\/[^/]*$/, ""), dn, password });
    const ready = new Promise((resolve, reject) => {
      client.on("ready", resolve).on("failed", ({ message }) => reject(new Error(message)));
    });
    client.connect();
    await ready;
    const session = client.newMediaSession({ destination: "600", constraints: { audio: microphone, video: false } });
    window.session = session;
    session.on("stream", (stream) => { client.setViewFromStream("audio", stream); });
    const answer = new Promise((resolve, reject) => {
      session.on("answer", resolve).on("end", ({ reason }) => reject(new Error(reason)));
    });
    session.connect();
    await answer;
  }, "5005", demo.password, RAW);
  assertTone(await hear(page, AUDIO, 440, 2), 2, "the echo");
  await page.evaluate(() => window.session.terminateCall());
  assertReport(await demo.report("600", "5005"), 440, 2);
});

everyBrowserTest("a gateway that is restarted is signed in to again, and the next call has sound", async ({ demo, start }) => {
  const page = await open(await start(440), demo, "5004");
  await answered(page, "session.makeOffer('600')");
  assertTone(await hear(page, AUDIO, 440, 2), 2, "before the restart");
  await page.evaluate(() => {
    window.restored = window.next(window.client.onConnectionRestored);
    window.ended = new Promise((resolve) => { window.session.on("end", resolve); });
  });
  await demo.restart();
  assert.equal((await page.evaluate(() => window.ended)).by, "error");
  assert.equal((await page.evaluate(() => window.restored)).signedInAgain, true);
  await answered(page, "session.makeOffer('600')");
  assertTone(await hear(page, AUDIO, 440, 3), 3, "after the restart");
  await page.evaluate(() => window.session.terminateCall());
  assertReport(await demo.report("600", "5004"), 440, 3);
});

everyBrowserTest("the sound comes back by itself when ICE has failed", async ({ demo, start }) => {
  const page = await open(await start(440), demo, "5004");
  await answered(page, "session.makeOffer('600')");
  // That there is sound; how clean it is, others assert.
  const heard = async (seconds, when) => {
    const found = await hear(page, AUDIO, 440, seconds);
    assert.ok(found.seconds >= seconds, `${when}: ${JSON.stringify(found)}`);
  };
  await heard(2, "before the failure");
  const before = await credentials(page);
  await answered(page, `
    const pc = window.e2e.connections.at(-1);
    Object.defineProperty(pc, "iceConnectionState", { value: "failed", configurable: true });
    pc.oniceconnectionstatechange();
    delete pc.iceConnectionState;`);
  const after = await credentials(page);
  assert.notEqual(after.local.ufrag, before.local.ufrag);
  await heard(3, "after the restart");
});

everyBrowserTest("a call that is rejected, and data to the far end", async ({ demo, start }) => {
  const [low, high] = await Promise.all([start(440), start(620)]);
  const [caller, called] = await Promise.all([open(low, demo, "5004"), open(high, demo, "5005")]);
  const rings = () => called.evaluate(() => {
    window.ringing = window.next(window.client.onIncomingCall);
  });
  await rings();
  await caller.evaluate(() => {
    window.closing = window.next(window.client.onPeerClosing);
    window.session.makeOffer("5005");
  });
  assert.deepEqual(await called.evaluate(() => window.ringing), { peer: "5004", event: "offer" });
  await called.evaluate(() => window.session.rejectCall());
  await caller.evaluate(() => window.closing);

  await rings();
  const talking = answered(caller, "session.makeOffer('5005')");
  await called.evaluate(() => window.ringing.then(() => window.session.acceptCall()));
  await talking;
  for (const [from, to] of [[caller, called], [called, caller]]) {
    await to.evaluate(() => { window.info = window.next(window.client.onInfoFromPeer); });
    await from.evaluate(() => window.session.sendInfo({ note: "a b&c=d" }, false));
    assert.deepEqual(await to.evaluate(() => window.info), { note: "a b&c=d" });
  }
});

everyBrowserTest("a DN without a password is registered where the SIP server asks for none, and called", async ({ demo, start }) => {
  const [low, high] = await Promise.all([start(440), start(620)]);
  const none = { sip_password: undefined };
  const [caller, called] = await Promise.all([open(low, demo, "5004", none), open(high, demo, "5005", none)]);
  await called.evaluate(() => {
    window.client.onIncomingCall.add(() => window.session.acceptCall());
  });
  await answered(caller, "session.makeOffer('5005')");
  assertTone(await hear(caller, AUDIO, 620, 2), 2, "620 Hz at the caller");
}, ["--password", ""]);
