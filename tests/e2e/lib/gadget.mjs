// Drives the gadget: the page itself, or its frame in another page.

import { LIMIT_MS } from "./demo.mjs";

export const GADGET_AUDIO = "#far-end";

/** Waits for a phase of the gadget. */
export async function phase(frame, wanted) {
  try {
    await frame.waitForFunction((wanted) => document.getElementById("app").dataset.phase === wanted, { timeout: LIMIT_MS }, wanted);
  } catch (fault) {
    const seen = await frame.evaluate(() => `${document.getElementById("app").dataset.phase}: ${document.getElementById("notice").textContent}`);
    throw new Error(`waited for '${wanted}' and saw '${seen}'`, { cause: fault });
  }
}

export async function text(frame, id, wanted) {
  try {
    await frame.waitForFunction((id, wanted) => document.getElementById(id).textContent.includes(wanted), { timeout: LIMIT_MS }, id, wanted);
  } catch (fault) {
    throw new Error(`waited for '${wanted}' and saw '${await frame.$eval(`#${id}`, (element) => element.textContent)}'`, { cause: fault });
  }
}

export async function signIn(frame, dn, password) {
  await frame.$eval("#dn", (element) => { element.value = ""; });
  await frame.type("#dn", dn);
  await frame.type("#secret", password);
  await frame.click("#sign-in-button");
}

export async function openGadget(page, demo, dn) {
  await signIn(page, dn, demo.password);
  await phase(page, "ready");
  return page;
}

export async function call(frame, number) {
  await frame.click("#number", { count: 3 });
  await frame.type("#number", number);
  await frame.click("#call");
}
