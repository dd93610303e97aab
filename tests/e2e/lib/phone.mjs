// Drives the softphone page the way a person does: by its labels, keys and buttons.

import assert from "node:assert/strict";

import { LIMIT_MS } from "./demo.mjs";

export const FAR_END = "#far-end";

export class Phone {
  constructor(page, dn) {
    this.page = page;
    this.dn = dn;
  }

  /** Opens the page and signs in. */
  static async open(browser, demo, dn, options = {}) {
    const phone = new Phone(await browser.page(`${demo.url}?audio=raw`, options), dn);
    await phone.signIn(demo.password);
    await phone.phase("ready");
    return phone;
  }

  async signIn(password) {
    await this.type("#dn", this.dn);
    await this.type("#password", password);
    await this.page.click("#sign-in-button");
  }

  async type(selector, text) {
    await this.page.click(selector, { count: 3 });
    await this.page.keyboard.type(text);
  }

  click(id) {
    return this.page.click(`#${id}:not(:disabled)`);
  }

  async call(number) {
    await this.type("#number", number);
    await this.click("call");
  }

  phase(wanted) {
    return this.#until((wanted) => document.getElementById("app").dataset.phase === wanted, wanted);
  }

  state(wanted) {
    return this.#until((wanted) => document.getElementById("state").textContent === wanted, wanted);
  }

  notice(wanted) {
    return this.#until((wanted) => document.getElementById("notice").textContent.includes(wanted), wanted);
  }

  party() {
    return this.page.$eval("#party", (element) => element.textContent);
  }

  async #until(condition, wanted) {
    try {
      await this.page.waitForFunction(condition, { polling: "mutation", timeout: LIMIT_MS }, wanted);
    } catch (fault) {
      const seen = await this.page.evaluate(() => {
        const text = (id) => document.getElementById(id).textContent;
        return { phase: document.getElementById("app").dataset.phase, state: text("state"), party: text("party"), notice: text("notice") };
      });
      throw new Error(`${this.dn} waited for '${wanted}' and saw ${JSON.stringify(seen)}: ${fault.message}`);
    }
  }

  /** The far end's stream plays: there is something to listen to. */
  hasSound() {
    return this.page.waitForFunction((selector) => document.querySelector(selector).srcObject !== null, {}, FAR_END);
  }

  async hangUp() {
    await this.click("hang-up");
    await this.phase("ready");
  }
}

/** Two of them, each in a browser with its own tone. */
export async function pair({ demo, browser }) {
  const [low, high] = await Promise.all([browser(440), browser(620)]);
  return Promise.all([Phone.open(low, demo, "5001"), Phone.open(high, demo, "5002")]);
}

/** The first of them has called the second. */
export async function talking(tools) {
  const [caller, callee] = await pair(tools);
  await caller.call("5002");
  await callee.phase("ringing");
  assert.equal(await callee.party(), "5001");
  await callee.click("answer");
  for (const phone of [caller, callee]) {
    await phone.phase("talking");
    await phone.hasSound();
  }
  return [caller, callee];
}
