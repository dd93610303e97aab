// Questions and faults.

import { element, text } from "./dom";
import { Refused } from "./api";

/** Whether the operator really means it. */
export function confirmed(question: { title: string; text: string; yes: string }): Promise<boolean> {
  const dialog = element<HTMLDialogElement>("confirm");
  text(element("confirm-title"), question.title);
  text(element("confirm-text"), question.text);
  text(element("confirm-yes"), question.yes);
  return new Promise((resolve) => {
    const yes = () => dialog.close("yes");
    const no = () => dialog.close("no");
    element("confirm-yes").addEventListener("click", yes);
    element("confirm-no").addEventListener("click", no);
    dialog.addEventListener("close", () => {
      element("confirm-yes").removeEventListener("click", yes);
      element("confirm-no").removeEventListener("click", no);
      resolve(dialog.returnValue === "yes");
      dialog.returnValue = "";
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
    // What cannot be undone is not what Enter does.
    element("confirm-no").focus();
  });
}

let timer: ReturnType<typeof setTimeout> | undefined;

export function tell(words: string, bad = false): void {
  const toast = element("toast");
  text(toast, words);
  toast.classList.toggle("bad", bad);
  toast.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => {
    toast.classList.remove("shown");
    text(toast, "");
  }, bad ? 12_000 : 5000);
}

/** Runs it, and says what went wrong. Gives whether it went well. */
export async function attempt(what: string, run: () => Promise<unknown>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (fault) {
    tell(`${what}: ${faultText(fault)}`, true);
    return false;
  }
}

export function faultText(fault: unknown): string {
  if (fault instanceof Refused) {
    if (fault.status === 403) return fault.message || "this token may not do that";
    return fault.message;
  }
  return "the gateway cannot be reached";
}
