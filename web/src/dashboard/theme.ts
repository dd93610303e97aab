// Dark or light: as the system has it, until somebody says otherwise.

import { attribute, element, text } from "./dom";

type Theme = "auto" | "light" | "dark";
const ORDER: readonly Theme[] = ["auto", "light", "dark"];
const KEY = "dashboard-theme";

export function theme(): void {
  let now = ORDER.find((candidate) => candidate === stored()) ?? "auto";
  const asked = new URLSearchParams(location.search).get("theme");
  if (asked === "light" || asked === "dark") now = asked;
  const show = () => {
    attribute(document.documentElement, "data-theme", now === "auto" ? null : now);
    text(element("theme-text"), `Colours: ${now === "auto" ? "as the system has them" : now}`);
    attribute(element("theme"), "title", element("theme-text").textContent);
  };
  element("theme").addEventListener("click", () => {
    now = ORDER[(ORDER.indexOf(now) + 1) % ORDER.length]!;
    try { localStorage.setItem(KEY, now); } catch { /* storage may be switched off */ }
    show();
  });
  show();
}

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
