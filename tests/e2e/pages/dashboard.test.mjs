// The dashboard against a made-up contact centre of any size, with its own CSP. What a real gateway tells is in dashboard_calls.test.mjs and ../sound/dashboard_demo.test.mjs.

import assert from "node:assert/strict";

import { Dashboard } from "../lib/dashboard.mjs";
import { operationsTest } from "../lib/tests.mjs";

/** Nothing moves by itself: each test says when. */
const STILL = { everyMs: 0 };

operationsTest("five hundred agents and two hundred calls, and only what changes is written", async ({ operations, browser, note }) => {
  const dashboard = await (await Dashboard.open(await browser(440), operations.url)).live();
  const { page } = dashboard;
  await dashboard.text("#n-agents", "497");
  await dashboard.text("#live-count", "200");
  await dashboard.text("#alerts", "403 Forbidden");
  await page.waitForSelector("#c-mos path.line");
  assert.equal((await dashboard.all("#agents > li")).length, 500);
  assert.match(await dashboard.read("#agents > li"), /5004Refused403 Forbidden/, "trouble comes first");
  await page.evaluate(() => {
    window.seen = { rows: 0, shift: 0, moved: [] };
    new PerformanceObserver((list) => {
      // A row more or less moves those below it in its own list, and must move nothing else.
      for (const { value, sources } of list.getEntries()) {
        const moved = sources.map(({ node }) => node?.nodeType === Node.TEXT_NODE ? node.parentElement : node).filter((node) => node && !node.closest(".scroll"));
        if (moved.length > 0) {
          window.seen.shift += value;
          window.seen.moved.push(...moved.map((node) => node.outerHTML.slice(0, 80)));
        }
      }
    }).observe({ type: "layout-shift" });
    new MutationObserver((changes) => {
      for (const { target, addedNodes } of changes) {
        if (target.id === "calls" || target.id === "agents") window.seen.rows += addedNodes.length;
      }
    }).observe(document.querySelector(".panels"), { childList: true, characterData: true, subtree: true });
  });
  const [call] = operations.calls.filter(({ answered }) => answered);
  call.mos = 1.7;
  operations.say("call", { changed: [call], gone: [] });
  await dashboard.text(`${dashboard.row(call.call_id)} td:nth-child(5)`, "1.7");
  const before = await page.evaluate(() => window.seen.rows);
  assert.equal(before, 0, "a changed figure moved or made rows");
  for (let seconds = 0; seconds < 20; seconds += 1) operations.step();
  await dashboard.text("#live-count", String(operations.calls.length));
  await page.waitForFunction((count) => document.querySelectorAll("#calls tr").length === count, {}, operations.calls.length);
  const { rows, shift, moved } = await page.evaluate(() => window.seen);
  note(`${rows} rows made for 20 steps, layout shift ${shift.toFixed(4)}`);
  assert.ok(rows <= 60, `${rows} rows were made`);
  assert.ok(shift < 0.01, `the page jumped by ${shift}: ${moved}`);
  assert.deepEqual(page.faults, []);
}, { agents: 500, calls: 200, ...STILL });

operationsTest("a call is hung up after a question, and a refusal is told", async ({ operations, browser }) => {
  const dashboard = await (await Dashboard.open(await browser(440), operations.url)).live();
  const { page } = dashboard;
  const [{ call_id: first }, { call_id: second }] = operations.calls;
  const ask = async (id) => {
    await page.waitForSelector(dashboard.row(id));
    await page.click(`${dashboard.row(id)} button`);
    await page.waitForSelector("#confirm[open]");
  };
  await ask(first);
  // Enter does not do what cannot be undone.
  await page.keyboard.press("Enter");
  await page.waitForSelector("#confirm:not([open])");
  assert.deepEqual(operations.asked, []);
  await ask(first);
  await page.click("#confirm-yes");
  // The word goes after five seconds, the row stays away.
  await dashboard.text("#toast", "is hung up");
  await dashboard.gone(dashboard.row(first));
  await ask(second);
  operations.calls = operations.calls.filter(({ call_id }) => call_id !== second);
  await page.click("#confirm-yes");
  await dashboard.text("#toast", "there is no such call");
  assert.deepEqual(operations.asked, [first, second].map((id) => `POST /api/calls/${id}/hangup`));
}, { agents: 8, calls: 4, ...STILL });

operationsTest("a DN is signed out, and its SIP traced", async ({ operations, browser }) => {
  const dashboard = await (await Dashboard.open(await browser(440), operations.url, "#/agents/5004")).live();
  const { page } = dashboard;
  await dashboard.text("#agent .sentence", "403 Forbidden");
  await page.click("#agent button[aria-pressed]");
  await page.waitForSelector('#agent button[aria-pressed="true"]');
  await page.click("#agent .stop");
  await page.waitForSelector("#confirm[open]");
  await page.click("#confirm-yes");
  await dashboard.text("#agent .sentence", "5004 is not signed in");
  assert.deepEqual(operations.asked, ["PUT /api/trace/5004", "POST /api/agents/5004/sign_out"]);
}, { agents: 8, calls: 2, ...STILL });

operationsTest("what another operator has switched is shown, and the log is made talkative", async ({ operations, browser }) => {
  operations.traces = [{ dn: "5004", until: Date.now() + 600_000 }];
  const dashboard = await (await Dashboard.open(await browser(440), operations.url)).live();
  const { page } = dashboard;
  await dashboard.text("#traced", "SIP trace of 5004");
  await page.waitForSelector("#log:not([hidden])");
  await page.select("#log-level", "info,wrtc_gateway::sip=debug");
  await dashboard.text("#log-until", "until ");
  assert.deepEqual(operations.bodies, [{ level: "info,wrtc_gateway::sip=debug", seconds: 600 }]);
  await page.select("#log-level", "info");
  await dashboard.text("#toast", "as configured again");
  assert.deepEqual(operations.bodies[1], { level: "info" });
  await page.click("#traced a");
  await page.waitForSelector('#agent button[aria-pressed="true"]');
  // He switches it off again.
  operations.traces = [];
  operations.say("traces", []);
  await page.waitForSelector('#agent button[aria-pressed="false"]');
}, { agents: 8, calls: 2, ...STILL });

operationsTest("a token is asked for, kept for the tab, and one that may only read sees nothing that acts", async ({ operations, browser }) => {
  const dashboard = await Dashboard.open(await browser(440), operations.url);
  const { page } = dashboard;
  await dashboard.signIn("wrong");
  await dashboard.text("#locked-why", "no operator has this token");
  await dashboard.signIn("right");
  await dashboard.live();
  await dashboard.text("#live-count", "3");
  const visible = () => page.$$eval("#calls button, #agent .act-only, #call .act-only", (buttons) => buttons.filter((button) => button.checkVisibility()).length);
  assert.equal(await visible(), 0);
  await page.reload();
  await dashboard.live();
  await dashboard.go(`#/calls/${operations.calls[0].call_id}`);
  await page.waitForSelector("#call .ladder li");
  assert.equal(await visible(), 0);
  assert.equal(await page.evaluate(() => localStorage.getItem("operator-token")), null);
  await page.click("#forget");
  await page.waitForSelector("#locked[open]");
}, { agents: 8, calls: 3, token: "right", role: "read", ...STILL });

operationsTest("a gateway that is gone leaves its last figures, marked as old, until it is back", async ({ operations, browser }) => {
  const dashboard = await (await Dashboard.open(await browser(440), operations.url)).live();
  await dashboard.text("#live-count", "4");
  const { port } = new URL(operations.url);
  await operations.stop();
  await dashboard.link("stale");
  await dashboard.text("#link-text", "Stale");
  assert.equal(await dashboard.read("#live-count"), "4");
  await operations.listen(Number(port));
  await dashboard.live();
  assert.equal(await dashboard.read("#link-text"), "Live");
}, { agents: 8, calls: 4, ...STILL });

operationsTest("a finished call is found, and its first line says why it ended", async ({ operations, browser }) => {
  const dashboard = await (await Dashboard.open(await browser(440), operations.url, "#/calls?hours=")).live();
  const { page } = dashboard;
  await page.waitForSelector("#search tbody tr");
  assert.equal((await dashboard.all("#search tbody tr")).length, 100);
  await page.click("#search .results > button");
  await page.waitForFunction(() => document.querySelectorAll("#search tbody tr").length === 200);
  await page.click("#q");
  const { call, sip_call_ids: [callId] } = operations.finished().find(({ talked_ms: talked, ended_by: by }) => talked > 60_000 && by === "browser");
  await page.keyboard.type(callId);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#search tbody tr").length === 1);
  await page.click("#search tbody a");
  await dashboard.text("#call .sentence", "The agent hung up after");
  assert.ok(page.url().endsWith(`#/calls/${call}`));
  const titles = await dashboard.all("#call .ladder .label");
  for (const wanted of ["OFFER", "180 Ringing", "ICE connected, 10.1.4.77:52814", "held by the agent", "BYE"]) assert.ok(titles.includes(wanted), `${wanted} in ${titles}`);
  // Bodies only when somebody opens a message.
  const bodies = page.waitForRequest((request) => request.url().endsWith("?bodies=1"));
  await page.click("#call .ladder li.sip button");
  await bodies;
  await dashboard.text("#call .ladder pre", `Call-ID: ${callId}`);
  await page.focus("#call .ladder li.http button");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#call .ladder pre").length === 2);
  const pcap = page.waitForResponse((response) => response.url().endsWith("/pcap"));
  await page.evaluate(() => [...document.querySelectorAll("#call .doings button")].find(({ textContent }) => textContent === "pcap").click());
  assert.equal((await pcap).status(), 200);
  assert.deepEqual(page.faults, []);
}, { agents: 30, calls: 2, ...STILL });

operationsTest("what the network says is text, never markup", async ({ operations, browser }) => {
  const evil = "<img src=x onerror=\"window.evil=1\"><b>x</b>";
  operations.calls[0].remote = evil;
  operations.calls[0].remote_name = evil;
  operations.agents[0].registration.last_reason = evil;
  operations.alerts = [{ kind: "registration", severity: "critical", text: evil, since: Date.now() }];
  operations.history[0].text = evil;
  const dashboard = await (await Dashboard.open(await browser(440), operations.url)).live();
  await dashboard.text("#calls", "<b>x</b>");
  await dashboard.text("#alerts", "<b>x</b>");
  await dashboard.text("#history", "<b>x</b>");
  assert.deepEqual(await dashboard.page.evaluate(() => [window.evil ?? "harmless", document.images.length + [...document.querySelectorAll("b")].filter(({ textContent }) => textContent === "x").length]), ["harmless", 0]);
}, { agents: 8, calls: 2, faults: false, ...STILL });
