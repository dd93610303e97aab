import { gatewayOf, pagesOf, settings } from "./settings.js";

const $ = (id) => document.getElementById(id);

const now = await settings();
$("gateway").value = now.gateway;
$("pages").value = now.pages.join("\n");
const managed = await chrome.storage.managed.get(["gateway", "pages"]).catch(() => ({}));
for (const id of Object.keys(managed)) $(id).disabled = true;

$("form").onsubmit = async (event) => {
  event.preventDefault();
  try {
    const gateway = gatewayOf($("gateway").value.trim());
    const pages = pagesOf($("pages").value);
    // Chrome asks the user, unless these pages have been granted before.
    const granted = await chrome.permissions.request({ origins: pages });
    await chrome.storage.local.set({ gateway, pages });
    await chrome.runtime.sendMessage("registered?");
    $("said").value = granted ? "Saved. Load the pages again." : "Saved, but the pages have not been granted: no phone there.";
  } catch (fault) {
    $("said").value = fault.message;
  }
};
