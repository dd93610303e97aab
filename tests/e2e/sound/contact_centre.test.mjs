// `demo --contact-centre` as a person tries it: the softphone page on one side, the console on the other.

import { FAR_END, Phone } from "../lib/phone.mjs";
import { browserTest } from "../lib/tests.mjs";
import { assertQuiet, assertTone, hear } from "../lib/sound.mjs";

const SECONDS = 2;

class Console {
  static async open(browser, demo) {
    const console = new Console();
    const [, url] = await demo.line(/^centre\s+(http\S+)/);
    console.page = await browser.page(url);
    return console;
  }

  /** Queues a call of the far end's to the DN. */
  async queue(dn, number, name) {
    await this.page.waitForSelector(`#dn option[value="${dn}"]`);
    await this.page.select("#dn", dn);
    await this.page.select("#number", number);
    await this.page.type("#name", name);
    await this.page.click("#new [type=submit]:not(:disabled)");
    await this.state("ringing");
  }

  press(act) {
    return this.page.click(`[data-act="${act}"]:not(:disabled)`);
  }

  /** What the console says of the call that it shows. */
  async state(wanted) {
    try {
      await this.page.waitForFunction((wanted) => document.getElementById("state").textContent === wanted, {}, wanted);
    } catch (fault) {
      const seen = await this.page.$eval("#call", (element) => element.innerText);
      throw new Error(`the console waited for '${wanted}' and shows:\n${seen}`, { cause: fault });
    }
  }

  /** A message is in the ladder. */
  message(title) {
    return this.page.waitForFunction((title) => [...document.querySelectorAll("#ladder summary")].some((rung) => rung.textContent.includes(title)), {}, title);
  }
}

browserTest("a queued call is answered, held, retrieved and ended from the console", async ({ demo, browser }) => {
  const phone = await Phone.open(await browser(440), demo, "5001");
  // In a window of its own: the page in the back would have its timers slowed.
  const console = await Console.open(await browser(440), demo);
  await console.queue("5001", "7001", "Kim Customer");
  await phone.phase("ringing");
  await console.press("talk");
  await console.state("connected");
  await console.message("NOTIFY talk");
  await phone.phase("talking");
  await phone.hasSound();
  assertTone(await hear(phone.page, FAR_END, 1000, SECONDS), SECONDS, "the customer");

  await console.press("hold");
  await console.state("held");
  await phone.state("On hold");
  await assertQuiet(phone.page, FAR_END, 1000, 1, "the customer is held");

  await console.press("retrieve");
  await console.state("connected");
  assertTone(await hear(phone.page, FAR_END, 1000, SECONDS), SECONDS, "the customer again");

  await console.press("hangup");
  await console.state("ended");
  await phone.phase("ready");
}, ["--contact-centre"]);
