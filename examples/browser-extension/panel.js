// The phone in a corner of the page: the gateway's gadget in a frame. A telephone link is a call, and a call that comes
// in opens the panel. The page's own scripts get nothing of it.

(async () => {
  const { gateway } = await chrome.runtime.sendMessage("settings");
  const { origin } = new URL(gateway);

  const host = document.createElement("wrtc-phone");
  const root = host.attachShadow({ mode: "open" });
  root.innerHTML = `
    <style>
      :host { position: fixed; right: 16px; bottom: 0; z-index: 2147483647; font: 14px/1.4 system-ui, sans-serif; color-scheme: light dark; }
      #bar { display: block; width: 100%; padding: 8px 16px; border: 1px solid #0003; border-bottom: 0; border-radius: 8px 8px 0 0; background: #1d3557; color: #fff; font: inherit; text-align: left; cursor: pointer; }
      #bar[data-phase="ringing"] { background: #b42318; }
      #bar[data-phase="talking"] { background: #157347; }
      #bar:focus-visible { outline: 3px solid #ffd166; outline-offset: -3px; }
      iframe { display: block; width: 340px; height: min(620px, 80vh); border: 1px solid #0003; border-bottom: 0; background: Canvas; }
      :host([closed]) iframe { visibility: hidden; height: 0; border: 0; }
    </style>
    <button id="bar" type="button" aria-expanded="true" aria-controls="frame"></button>
    <iframe id="frame" title="Phone" allow="microphone; autoplay; speaker-selection"></iframe>`;
  const bar = root.getElementById("bar");
  const frame = root.getElementById("frame");
  frame.src = `${gateway}/gadget`;

  // Closed is hidden, never removed: the frame is the phone, with a call perhaps.
  function open(isOpen) {
    host.toggleAttribute("closed", !isOpen);
    bar.setAttribute("aria-expanded", String(isOpen));
  }
  bar.onclick = () => open(host.hasAttribute("closed"));
  open(true);

  const tell = (action, more = {}) => frame.contentWindow.postMessage({ to: "wrtc-gadget", action, ...more }, origin);

  function show({ phase, party, name, muted, held }) {
    const words = { out: "Phone: signed out", ready: "Phone: ready", calling: "Calling", ringing: "Call from", answering: "Answering", talking: "In a call with" };
    const who = ["calling", "ringing", "answering", "talking"].includes(phase) ? ` ${name ? `${name} (${party})` : party ?? ""}` : "";
    bar.textContent = `${words[phase] ?? "Phone"}${who}${muted ? ", muted" : ""}${held ? ", on hold" : ""}`;
    bar.dataset.phase = phase;
    chrome.runtime.sendMessage({ phase }).catch(() => undefined);
  }
  show({ phase: "" });

  window.addEventListener("message", ({ data, source, origin: from }) => {
    if (source !== frame.contentWindow || from !== origin || data?.from !== "wrtc-gadget") return;
    if (data.event === "loaded") tell("subscribe");
    if (data.event === "incoming") open(true);
    if (data.state) show(data.state);
  });

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest('a[href^="tel:"]') : null;
    if (!link) return;
    event.preventDefault();
    open(true);
    tell("call", { number: decodeURIComponent(link.getAttribute("href").slice(4)).replace(/[\s()./-]/g, "") });
  }, true);

  chrome.runtime.onMessage.addListener((message) => {
    if (message?.toggle) open(host.hasAttribute("closed"));
  });

  document.documentElement.append(host);
})();
