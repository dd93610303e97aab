// Clicks as a person makes them: on what stands still. Puppeteer's own looks for the element once and presses where it was.

import { Frame } from "puppeteer-core";

/** Waits until the element is there, in the viewport, enabled and at one place for two pictures; so does `page.click`. */
Frame.prototype.click = function (selector, options) {
  return this.locator(selector).click(options);
};
