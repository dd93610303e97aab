// A softphone in plain fetch and RTCPeerConnection: sign in, offer, answer, hang up.

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const id = `gadget-${crypto.randomUUID()}`;
let pc = null; // the call, when there is one
let ringing = null; // an offer that waits for "Answer"

$("gateway").value = query.get("gateway") ?? "http://127.0.0.1:8086";

const url = (path, parameters) => `${$("gateway").value}/api/webrtc/${path}?${new URLSearchParams(parameters)}`;
const show = (text) => { $("state").textContent = text; };

/** A body to the gateway: SDP or a command. Faults come as JSON with a sentence in it. */
async function post(body, to = {}) {
  const response = await fetch(url("message", { from: id, ...to }), { method: "POST", body });
  if (!response.ok) throw new Error((await response.json()).error);
}

/** A connection with the microphone on it, whose sound comes out of the audio element. */
async function connection() {
  pc = new RTCPeerConnection();
  pc.ontrack = ({ streams, track }) => { $("audio").srcObject = streams[0] ?? new MediaStream([track]); };
  const processing = query.get("audio") !== "raw";
  const microphone = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing },
  });
  for (const track of microphone.getTracks()) pc.addTrack(track, microphone);
  return pc;
}

async function signIn() {
  const form = new URLSearchParams({ id, dn: $("dn").value, password: $("password").value });
  const response = await fetch(url("sign_in", {}), { method: "POST", body: form });
  if (!response.ok) throw new Error((await response.json()).error);
  show("ready");
  poll();
}

async function call() {
  await connection();
  show(`calling ${$("number").value}`);
  await pc.setLocalDescription();
  await post(pc.localDescription.sdp, { to: $("number").value }); // no waiting for candidates: none are needed
}

/** Answers what rings; in a call, an offer of the gateway's changes that call. */
async function answer() {
  const { sdp, peer } = ringing;
  ringing = null;
  if (!pc) await connection();
  await pc.setRemoteDescription({ type: "offer", sdp });
  await pc.setLocalDescription();
  await post(pc.localDescription.sdp);
  show(`talking to ${peer}`);
}

async function hangUp() {
  await post("BYE");
  end("ready");
}

function end(state) {
  for (const { track } of pc?.getSenders() ?? []) track?.stop();
  pc?.close();
  pc = ringing = null;
  show(state);
}

/** One message after the other, for as long as we are signed in. `ack` confirms the one before. */
async function poll() {
  for (let ack = ""; ;) {
    const response = await fetch(url("message", { id, wait: 25, events: 1, ...(ack && { ack }) })).catch(() => null);
    if (response?.status === 404) return end("signed out");
    if (response?.status === 200) {
      ack = response.headers.get("X-Wrtc-Seq");
      await take(response.headers.get("X-Wrtc-Type"), response.headers.get("X-Wrtc-Peer"), await response.text());
    } else if (response?.status !== 204) await new Promise((resume) => setTimeout(resume, 3000));
  }
}

async function take(type, peer, text) {
  if (type === "offer") {
    ringing = { peer, sdp: text };
    if (pc) await answer();
    else show(`call from ${peer}`);
  } else if (type === "answer" && pc) {
    await pc.setRemoteDescription({ type: "answer", sdp: text });
    show(`talking to ${peer}`);
  } else if (type === "ringing") show(`ringing at ${peer}`);
  else if (type === "bye") end(`call over: ${text.replace("BYE ", "")}`);
}

for (const [button, action] of Object.entries({ "sign-in": signIn, call, answer, "hang-up": hangUp })) {
  $(button).onclick = () => action().catch((fault) => end(fault.message));
}
