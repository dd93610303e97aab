// Figures of one call, with a real browser: set-up time, loss both ways, what it costs the gateway.
//
//   cargo build --release
//   cd tests/e2e && npm ci && E2E_BIN=../../target/release/wrtc-gateway npm run measure [-- SECONDS]
//
// The gateway that is measured is a process of its own; the demo only lends its SIP server.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { Browser } from "./lib/browser.mjs";
import { BINARY, Demo } from "./lib/demo.mjs";
import { FAR_END, Phone } from "./lib/phone.mjs";
import { assertLoss, assertReport, hear } from "./lib/sound.mjs";

const SECONDS = Number(process.argv[2] ?? 60);
/** Calls whose set-up time is taken. */
const SETUPS = 10;
/** Linux counts CPU time in hundredths of a second (USER_HZ). */
const TICKS = 100;

/** CPU seconds that a process has used, and its resident memory in MiB. */
function usage(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
  const resident = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return { cpu: (user + system) / TICKS, memory: Number(resident[1]) / 1024 };
}

const demo = await Demo.start();
const sip = (await demo.line(/registers at (\S+)/))[1];
const settings = [
  `sip.servers=sip:${sip}`, "sip.listen=127.0.0.1:0", "media.listen=127.0.0.1:0", "media.rtp_address=127.0.0.1",
  "http.listen=127.0.0.1:0", "log.format=json",
];
const gateway = spawn(BINARY, ["serve", ...settings.flatMap((setting) => ["--set", setting])], { stdio: ["ignore", "pipe", "pipe"] });
const records = [];
createInterface({ input: gateway.stderr }).on("line", (line) => {
  if (line.includes("\"call ended\"")) records.push(JSON.parse(line));
});
const [serving] = await once(createInterface({ input: gateway.stdout }), "line");
const url = /https?:\/\/\S+/.exec(serving)[0];

const browser = await Browser.start(440);
try {
  const phone = await Phone.open(browser, { url, password: demo.password }, "5001");
  const since = demo.mark();
  const idle = usage(gateway.pid);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const rested = usage(gateway.pid);

  await phone.call("600");
  await phone.phase("talking");
  await hear(phone.page, FAR_END, 440, 2);
  const before = usage(gateway.pid);
  const start = performance.now();
  const heard = await hear(phone.page, FAR_END, 440, SECONDS);
  const after = usage(gateway.pid);
  const seconds = (performance.now() - start) / 1000;
  const packets = await assertLoss(phone.page, "the echo in the browser");
  await phone.hangUp();
  const report = await demo.report("600", "5001", since);
  const tone = assertReport(report, 440, SECONDS);

  for (let call = 1; call < SETUPS; call += 1) {
    await phone.call("600");
    await phone.phase("talking");
    await phone.hangUp();
  }
  while (records.length < SETUPS) await new Promise((resolve) => setTimeout(resolve, 50));
  const setups = records.map((record) => record.setup_ms).sort((a, b) => a - b);

  const perCall = ((after.cpu - before.cpu) / seconds) * 1000;
  console.log(`call set-up, browser's OFFER to the far end's 200: ${setups[0]} to ${setups.at(-1)} ms, median ${setups[SETUPS >> 1]} ms, ${SETUPS} calls`);
  console.log(`browser to SIP: ${report.heard.packets} packets, ${report.heard.lost} lost, ${tone.seconds} s of ${tone.hz} Hz`);
  console.log(`SIP to browser: ${packets.received} packets, ${packets.lost} lost, ${heard.seconds} s of 440 Hz`);
  console.log(`CPU of the gateway in a call: ${perCall.toFixed(2)} ms per second over ${seconds.toFixed(0)} s`);
  console.log(`CPU of the gateway, one agent, no call: ${((rested.cpu - idle.cpu) * 100).toFixed(2)} ms per second over 10 s`);
  console.log(`memory in the call: ${after.memory.toFixed(1)} MiB`);
} finally {
  await browser.stop();
  gateway.kill("SIGTERM");
  await demo.stop();
}
