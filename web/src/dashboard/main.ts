// The dashboard: the stream in, what changed onto the page, what an operator does out.

import { AgentView } from "./agent_view";
import { Api } from "./api";
import { CallView } from "./call_view";
import { attempt, confirmed, tell } from "./dialogs";
import { attribute, element, text } from "./dom";
import { ago, party, timeOfDay } from "./format";
import { Live, type Link, type Part } from "./live";
import { LogSwitch } from "./log_switch";
import { readSeries } from "./model";
import { Overview, type Doings } from "./overview";
import { parsePlace } from "./place";
import { SearchView } from "./search_view";
import { theme } from "./theme";

const SERIES_MS = 10_000;

const wall = new URLSearchParams(location.search).has("wall");
document.documentElement.classList.toggle("wall", wall);
theme();

// The page lies in the gateway's base path, and so does the API.
const api = new Api(new URL(".", location.href).href.replace(/\/$/, ""), storage());
const changed = new Set<Part>();
let frame = 0;
let linkWhy = "";

const live = new Live(api, {
  onParts(parts) {
    for (const part of parts) changed.add(part);
    // One picture, however many events came; none while nobody looks.
    frame ||= requestAnimationFrame(render);
  },
  onLink(link, why) {
    linkWhy = why;
    showLink(link);
    if (link === "locked") lock(why);
    else if (link === "live") void series();
  },
});

const doings: Doings = {
  hangUp(call) {
    void (async () => {
      const yes = await confirmed({
        title: "Hang up this call?", yes: "Hang up",
        text: `${call.dn} and ${party(call.remote) || "the far end"} are cut off, as if the gateway had hung up.`,
      });
      if (!yes) return;
      if (await attempt("The call was not hung up", () => api.send("POST", `/api/calls/${encodeURIComponent(call.id)}/hangup`))) {
        tell("The call is hung up.");
        if (view instanceof CallView) view.refresh();
      }
    })();
  },
};

const overview = new Overview(live.state, doings, wall);
const log = new LogSwitch(api);
let view: CallView | AgentView | SearchView | null = null;

function render(): void {
  frame = 0;
  attribute(document.body, "data-act", live.state.mayAct && !wall ? "" : null);
  const parts = new Set(changed);
  changed.clear();
  overview.render(parts);
  if (view instanceof AgentView || view instanceof CallView) view.render(parts);
}

// -------------------------------------------------------------------- pages

function route(): void {
  const place = parsePlace(location.hash);
  view?.close();
  view = null;
  document.title = "Gateway";
  document.body.dataset["view"] = place.page;
  for (const page of ["overview", "call", "agent", "search"]) element(page).hidden = page !== place.page;
  for (const link of document.querySelectorAll("nav a")) attribute(link, "aria-current", (link as HTMLElement).dataset["page"] === place.page ? "page" : null);
  switch (place.page) {
    case "call":
      view = new CallView(element("call"), api, live.state, place.id, doings);
      break;
    case "agent":
      view = new AgentView(element("agent"), api, live.state, place.dn);
      break;
    case "search":
      view = new SearchView(element("search"), api, place.query);
      break;
    case "overview":
      break;
  }
  scrollTo(0, 0);
}

addEventListener("hashchange", () => {
  route();
  // The next Tab goes into the new page, and readers begin there.
  element("main").focus({ preventScroll: true });
});
element("jump").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = element<HTMLInputElement>("jump-text").value.trim();
  location.hash = `#/calls?${new URLSearchParams({ q: words, hours: "168" })}`;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
  event.preventDefault();
  element("jump-text").focus();
});

// -------------------------------------------------------------------- the connection

function showLink(link: Link): void {
  attribute(document.body, "data-link", link);
  const now = Date.now();
  const heard = live.heardAt === null ? "" : `, ${ago(now - live.heardAt)} old`;
  const next = live.retryAt === null ? "" : `, next try in ${Math.max(1, Math.ceil((live.retryAt - now) / 1000))} s`;
  switch (link) {
    case "live":
      return text(element("link-text"), "Live");
    case "connecting":
      return text(element("link-text"), linkWhy ? `Not connected${next}` : "Connecting");
    case "stale":
      attribute(element("link"), "title", linkWhy);
      return text(element("link-text"), `Stale${heard}${next}`);
    case "locked":
      return text(element("link-text"), "Locked");
  }
}

async function series(): Promise<void> {
  if (live.link !== "live") return;
  if (live.state.mayAct && !wall) void log.look();
  try {
    overview.showSeries(readSeries(await api.get("/api/series?minutes=60")));
  } catch { /* the stream tells of what is wrong; charts wait for the next time */ }
}

function lock(why: string): void {
  text(element("locked-why"), api.hasToken ? why : "This gateway asks operators for a token.");
  const dialog = element<HTMLDialogElement>("locked");
  if (!dialog.open) dialog.showModal();
}

element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = element<HTMLInputElement>("token");
  api.setToken(field.value.trim());
  field.value = "";
  element<HTMLDialogElement>("locked").close();
  element("forget").hidden = false;
  live.start();
  route();
});
element("locked").addEventListener("cancel", (event) => event.preventDefault());
element("forget").addEventListener("click", () => {
  api.setToken(null);
  location.reload();
});

function everySecond(): void {
  const now = Date.now();
  const time = element("clock");
  text(time, timeOfDay(now).slice(0, wall ? 5 : 8));
  if (!document.hidden) overview.tick(now);
  if (live.link === "stale" || live.link === "connecting") showLink(live.link);
}

function storage(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

element("forget").hidden = !api.hasToken;
everySecond();
setInterval(everySecond, 1000);
setInterval(() => void series(), SERIES_MS);
// A laptop that wakes, or has its network again, does not wait out the pause.
addEventListener("online", () => { if (live.link !== "live" && live.link !== "locked") live.start(); });
route();
live.start();
