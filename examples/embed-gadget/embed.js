// Puts the gadget into a frame, tells it what to do, and listens to what it tells.

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const gateway = query.get("gateway") ?? "http://127.0.0.1:8086";

const frame = document.createElement("iframe");
frame.title = "Phone";
frame.allow = "microphone; autoplay; speaker-selection";
frame.src = `${gateway}/gadget${query.get("audio") === "raw" ? "?audio=raw" : ""}`;
document.body.append(frame);

let questions = 0;
const waiting = new Map();

/** One command; the promise brings the gadget's answer. */
function tell(action, more = {}) {
  const id = (questions += 1);
  frame.contentWindow.postMessage({ to: "wrtc-gadget", id, action, ...more }, new URL(gateway).origin);
  return new Promise((resolve) => waiting.set(id, resolve));
}

window.addEventListener("message", ({ data, origin, source }) => {
  if (source !== frame.contentWindow || origin !== new URL(gateway).origin || data?.from !== "wrtc-gadget") return;
  if (data.event === "loaded") tell("subscribe");
  if (data.event === "incoming") note(`call from ${data.party}: ${data.data.map(({ key, value }) => `${key}=${value}`).join(", ") || "no data"}`);
  if (data.event === "ended") note(`call with ${data.party} over, ${data.seconds ?? "no"} seconds`);
  if (data.state) $("state").value = [data.state.phase, data.state.party].filter(Boolean).join(" ");
  waiting.get(data.id)?.(data);
  waiting.delete(data.id);
});

function note(text) {
  const line = document.createElement("li");
  line.textContent = text;
  $("log").append(line);
}

async function perform(action, more) {
  const { ok, error } = await tell(action, more);
  $("answered").value = ok ? `${action}: done` : `${action}: ${error}`;
}

for (const button of document.querySelectorAll("[data-number]")) {
  button.onclick = () => perform("call", { number: button.dataset.number, data: [{ key: "CustomerId", value: "42" }] });
}
for (const [id, action, more] of [["answer", "answer"], ["mute", "mute"], ["hold", "hold"], ["resume", "resume"], ["dtmf", "dtmf", { digits: "1#" }], ["hang-up", "hangUp"]]) {
  $(id).onclick = () => perform(action, more);
}
