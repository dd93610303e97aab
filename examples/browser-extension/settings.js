// Which gateway, on which pages. What the administrator's policy says goes before what the user has chosen.

export const DEFAULTS = {
  gateway: "http://127.0.0.1:8086",
  pages: ["http://127.0.0.1/ui/ad/v1/*", "http://localhost/ui/ad/v1/*"],
};

export async function settings() {
  const [own, managed] = await Promise.all([
    chrome.storage.local.get(DEFAULTS),
    // No policy is no fault.
    chrome.storage.managed.get(Object.keys(DEFAULTS)).catch(() => ({})),
  ]);
  return { ...own, ...managed };
}

/** The gateway's address without a trailing slash; throws a sentence for people. */
export function gatewayOf(text) {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error("The gateway's address has to begin with https:// (or http:// on this machine).");
  if (url.username || url.search || url.hash) throw new Error("The gateway's address is a host, a port and a path; nothing else belongs into it.");
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** One match pattern a line. */
export function pagesOf(text) {
  const pages = text.split(/\s+/).filter(Boolean);
  if (pages.length === 0) throw new Error("Name at least one page, as in https://wwe.example/ui/ad/v1/*");
  for (const page of pages) {
    if (!/^(https?|\*):\/\/(\*|(\*\.)?[^/*:]+)(:\d+)?\/.*$/.test(page)) throw new Error(`${page} is no match pattern; write https://wwe.example/ui/ad/v1/*`);
  }
  return pages;
}
