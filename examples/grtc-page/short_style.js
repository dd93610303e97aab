// A phone that takes every call at once, in the short style.

const $ = (id) => document.getElementById(id);
const show = (text) => { $("state").value = text; };
const processing = query.get("audio") !== "raw";
const audio = { echoCancellation: processing, noiseSuppression: processing, autoGainControl: processing };
let client = null;
let session = null;

function follow(call) {
  session = call;
  call.on("stream", (stream) => { $("audio").srcObject = stream; });
  call.on("answer", () => show("talking"));
  call.on("end", ({ by, code }) => show(`ready, the last call ended by ${by}${code ? ` with ${code}` : ""}`));
}

$("sign-in").onclick = () => {
  client = new Grtc.Client({ serverUrl: gateway, username: "agent123", dn: $("dn").value, password: $("password").value });
  client.on("ready", () => {
    client.enableMediaSource(audio, false);
    show("ready");
  });
  client.on("failed", ({ message }) => show(message));
  client.on("incoming", (call) => {
    follow(call);
    call.accept();
  });
  client.connect();
};
$("call").onclick = () => {
  const call = client.newMediaSession({ destination: $("number").value, constraints: { audio, video: false } });
  follow(call);
  show("calling");
  call.connect();
};
$("hang-up").onclick = () => session.terminateCall();
