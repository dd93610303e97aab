// Puts the panel into the pages that the settings name, and shows on the button what the phone is at.

import { settings } from "./settings.js";

const SCRIPT = "panel";
const BADGES = { ringing: ["!", "#b42318"], calling: ["…", "#1d4ed8"], answering: ["…", "#1d4ed8"], talking: ["●", "#157347"], ready: ["", "#157347"] };

let registering = Promise.resolve();

/** Pages that the user has not granted get no script: the options page asks. */
async function register() {
  const { pages } = await settings();
  const granted = await Promise.all(pages.map((page) => chrome.permissions.contains({ origins: [page] }).catch(() => false)));
  const matches = pages.filter((_, index) => granted[index]);
  const registered = await chrome.scripting.getRegisteredContentScripts({ ids: [SCRIPT] });
  if (registered.length > 0) await chrome.scripting.unregisterContentScripts({ ids: [SCRIPT] });
  if (matches.length > 0) {
    await chrome.scripting.registerContentScripts([{ id: SCRIPT, matches, js: ["panel.js"], runAt: "document_idle", allFrames: false }]);
  }
}

/** One after the other: settings and permissions change together. */
const registerSoon = () => {
  registering = registering.then(register, register);
  return registering;
};

chrome.runtime.onInstalled.addListener(registerSoon);
chrome.runtime.onStartup.addListener(registerSoon);
chrome.storage.onChanged.addListener(registerSoon);
chrome.permissions.onAdded.addListener(registerSoon);
chrome.permissions.onRemoved.addListener(registerSoon);

chrome.action.onClicked.addListener(async (tab) => {
  // A page without the panel: most likely the settings are what is wanted.
  await chrome.tabs.sendMessage(tab.id, { toggle: true }).catch(() => chrome.runtime.openOptionsPage());
});

chrome.runtime.onMessage.addListener((message, sender, answer) => {
  if (sender.id !== chrome.runtime.id) return false;
  if (message === "settings") {
    settings().then(answer);
    return true;
  }
  if (message === "registered?") {
    registering.then(() => answer(true));
    return true;
  }
  if (typeof message?.phase === "string" && sender.tab) {
    const [text, color] = BADGES[message.phase] ?? ["", "#666"];
    chrome.action.setBadgeText({ tabId: sender.tab.id, text });
    chrome.action.setBadgeBackgroundColor({ tabId: sender.tab.id, color });
  }
  return false;
});
