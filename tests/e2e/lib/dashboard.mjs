// Drives the dashboard the way an operator does.

import { LIMIT_MS } from "./demo.mjs";

export class Dashboard {
  constructor(page) {
    this.page = page;
  }

  /** Opens it with its own CSP, which is part of what is tested. `place`: `?wall`, `#/calls/c1`. */
  static async open(browser, url, place = "", { width = 1366, height = 768 } = {}) {
    const page = await browser.page("about:blank", { ownPolicy: true });
    await page.setViewport({ width, height });
    await page.goto(`${url}dashboard${place}`);
    return new Dashboard(page);
  }

  async live() {
    await this.link("live");
    return this;
  }

  link(wanted) {
    return this.page.waitForFunction((wanted) => document.body.dataset.link === wanted, { timeout: LIMIT_MS }, wanted);
  }

  /** Until an element has the text. */
  text(selector, wanted) {
    return this.page.waitForFunction((selector, wanted) => document.querySelector(selector)?.textContent.includes(wanted), { timeout: LIMIT_MS }, selector, wanted)
      .catch(async (fault) => {
        const seen = await this.page.evaluate((selector) => document.querySelector(selector)?.textContent ?? "no such element", selector);
        throw new Error(`waited for '${wanted}' in ${selector} and saw '${seen}'`, { cause: fault });
      });
  }

  gone(selector) {
    return this.page.waitForFunction((selector) => document.querySelector(selector) === null, { timeout: LIMIT_MS }, selector);
  }

  read(selector) {
    return this.page.$eval(selector, (element) => element.textContent);
  }

  all(selector) {
    return this.page.$$eval(selector, (elements) => elements.map(({ textContent }) => textContent));
  }

  async signIn(token) {
    await this.page.waitForSelector("#locked[open]");
    await this.page.type("#token", token);
    await this.page.keyboard.press("Enter");
  }

  /** The row of a live call. */
  row(id) {
    return `#calls tr:has(a[href="#/calls/${id}"])`;
  }

  async go(place) {
    await this.page.evaluate((place) => { location.hash = place; }, place);
  }
}
