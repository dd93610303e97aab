// Browsers that may not send media but through the gateway's TURN server.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { selfSigned } from "../lib/certificate.mjs";
import { serveExample } from "../lib/files.mjs";
import { Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertLoss, assertReport, assertTone, hear, selectedPair } from "../lib/sound.mjs";

const SECONDS = 3;
const LISTEN = ["--set", "turn.listen=127.0.0.1:0"];

/** A page of another origin, whose policy lets Firefox's listener in. */
const address = serveExample("fetch-gadget");

let certificate;
before(async () => { certificate = await selfSigned(); });
after(() => certificate.remove());

/** From now on in this page, peer connections use relays and nothing else. */
function relayOnly(page) {
  return page.evaluate(() => {
    const Before = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Before {
      constructor(configuration) {
        super({ ...configuration, iceTransportPolicy: "relay" });
      }
    };
  });
}

/** This end of the pair in use. */
async function relay(page) {
  const { local: { candidateType, relayProtocol } } = await selectedPair(page);
  return { local: candidateType, relayProtocol };
}

/** Calls 600 from a page of its own making, by way of the servers of /api/ice that `scheme` and `transport` name. */
async function callThrough(page, demo, dn, scheme, transport) {
  await page.evaluate(async (base, password, dn, scheme, transport) => {
    const api = `${base}api/webrtc`;
    const signIn = await fetch(`${api}/sign_in?id=relayed&dn=${dn}&password=${encodeURIComponent(password)}`);
    if (!signIn.ok) throw new Error(`sign_in: ${signIn.status}`);
    const { iceServers } = await (await fetch(`${base}api/ice?id=relayed`)).json();
    for (const server of iceServers) {
      server.urls = server.urls.filter((url) => url.startsWith(`${scheme}:`) && url.endsWith(`transport=${transport}`));
      if (server.urls.length !== 1) throw new Error(JSON.stringify(server.urls));
    }
    const audio = document.createElement("audio");
    audio.id = "relayed";
    audio.autoplay = true;
    document.body.append(audio);
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
    const faults = [];
    pc.onicecandidateerror = ({ url, errorCode, errorText }) => faults.push(`${url} ${errorCode} ${errorText}`);
    pc.ontrack = ({ streams }) => { audio.srcObject = streams[0]; };
    const microphone = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    pc.addTrack(microphone.getTracks()[0], microphone);
    await pc.setLocalDescription(await pc.createOffer());
    await fetch(`${api}/message?from=relayed&to=600`, { method: "POST", body: pc.localDescription.sdp });
    for (;;) {
      const response = await fetch(`${api}/message?id=relayed`);
      if (response.status !== 200) continue;
      await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
      break;
    }
    await new Promise((resolve, reject) => {
      const look = () => {
        if (pc.connectionState === "connected") resolve();
        if (pc.connectionState === "failed") reject(new Error(`no connection: ${faults.join("; ")}`));
      };
      pc.addEventListener("connectionstatechange", look);
      look();
    });
  }, demo.url, demo.password, dn, scheme, transport);
  assertTone(await hear(page, "#relayed", 440, SECONDS + 1), SECONDS, `the echo through ${scheme} over ${transport}`);
  await assertLoss(page, `the echo through ${scheme} over ${transport}`);
  const used = await relay(page);
  await page.evaluate((base) => fetch(`${base}api/webrtc/message?from=relayed`, { method: "POST", body: "BYE" }), demo.url);
  assertReport(await demo.report("600", dn), 440, SECONDS);
  return used;
}

for (const transport of ["udp", "tcp"]) {
  browserTest(`a call through TURN over ${transport}: sound both ways`, async ({ demo, browser }) => {
    const page = await (await browser(440)).page(demo.url);
    const used = await callThrough(page, demo, "5014", "turn", transport);
    assert.deepEqual([used.local, used.relayProtocol], ["relay", transport]);
  }, LISTEN);
}

browserTest("a call through TURN over TLS: sound both ways", async ({ demo, browser }) => {
  const page = await (await browser(440, { switches: certificate.trusting })).page(demo.url);
  const used = await callThrough(page, demo, "5014", "turns", "tcp");
  assert.deepEqual([used.local, used.relayProtocol], ["relay", "tls"]);
}, () => [
  "--set", "turn.tls_listen=127.0.0.1:0",
  "--set", `turn.tls_cert=${certificate.cert}`, "--set", `turn.tls_key=${certificate.key}`,
]);

browserTest("Firefox calls through TURN over tcp", async ({ demo, firefox }) => {
  const page = await (await firefox(440)).page(address(demo));
  const used = await callThrough(page, demo, "5014", "turn", "tcp");
  assert.equal(used.local, "relay");
}, LISTEN);

// Behind a NAT that does not turn packets round, the public address leads nowhere, from here as from there.
browserTest("the relay reaches media by an address that this host does not have", async ({ demo, browser }) => {
  const page = await (await browser(440)).page(demo.url);
  const used = await callThrough(page, demo, "5014", "turn", "udp");
  assert.deepEqual([used.local, used.relayProtocol], ["relay", "udp"]);
}, [...LISTEN, "--set", "media.listen=0.0.0.0:0", "--set", "media.advertise=203.0.113.5"]);

browserTest("the softphone page finds the relay by itself", async ({ demo, browser }) => {
  const chromium = await browser(440);
  const phone = await Phone.open(chromium, demo, "5015");
  await relayOnly(phone.page);
  await phone.call("600");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, "#far-end", 440, SECONDS + 1), SECONDS, "the echo at the page");
  assert.equal((await relay(phone.page)).local, "relay");
  await phone.hangUp();
  assertReport(await demo.report("600", "5015"), 440, SECONDS);
}, LISTEN);
