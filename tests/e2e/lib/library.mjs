// Drives the grtc library itself, in a page without anything else.

export const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

export const LIBRARY_AUDIO = "#audio";

/** A page with `window.Grtc`, a client that is signed in (a guest without `dn`) and a session that plays what it hears. */
export async function open(browser, demo, dn, config = {}) {
  const page = await browser.page(demo.url);
  await page.addScriptTag({ url: new URL("grtc.js", demo.url).href });
  await page.evaluate(async (config, dn, microphone) => {
    document.body.innerHTML = '<audio id="audio" autoplay></audio>';
    const client = new Grtc.Client({ webrtc_gateway: location.href.replace(/\/[^/]*$/, ""), ...config });
    const session = new Grtc.MediaSession(client);
    const events = [];
    for (const name of ["onPeerClosing", "onPeerNoanswer", "onIceDisconnected", "onGatewayError", "onWebrtcError", "onConnectionError"]) {
      client[name].add((argument) => { events.push(`${name} ${JSON.stringify(argument)}`); });
    }
    session.onRemoteStream.add(({ stream }) => { client.setViewFromStream("audio", stream); });
    Object.assign(window, { client, session, events });
    /** The next time that the event is fired. */
    window.next = (event) => new Promise((resolve) => {
      const once = (argument) => {
        event.remove(once);
        resolve(argument);
      };
      event.add(once);
    });
    const media = window.next(client.onMediaSuccess);
    client.enableMediaSource(microphone, false);
    await media;
    const signedIn = new Promise((resolve, reject) => {
      client.onRegister.add(resolve);
      client.onConnect.add(resolve);
      client.onFailed.add(({ message }) => reject(new Error(message)));
    });
    if (dn) client.register();
    else client.connect();
    await signedIn;
  }, dn ? { sip_username: dn, sip_password: demo.password, ...config } : config, dn, RAW);
  return page;
}

/** Runs `start` in the page and waits for the answer to the offer that it leads to. */
export async function answered(page, start) {
  await page.evaluate(() => {
    window.answer = new Promise((resolve) => {
      const look = ({ event }) => {
        if (event !== "answer received") return;
        window.client.onCallEvent.remove(look);
        resolve();
      };
      window.client.onCallEvent.add(look);
    });
  });
  await page.evaluate(`(() => { ${start} })()`);
  await page.evaluate(() => window.answer);
}

/** What matters of the newest connection's descriptions. */
export function credentials(page) {
  return page.evaluate(() => {
    const pc = window.e2e.connections.at(-1);
    const of = ({ sdp }) => ({ ufrag: /a=ice-ufrag:(\S+)/.exec(sdp)[1], fingerprint: /a=fingerprint:\S+ (\S+)/.exec(sdp)[1] });
    return { local: of(pc.localDescription), remote: of(pc.remoteDescription), connections: window.e2e.connections.length };
  });
}
