// The operations API as a made-up contact centre tells it: for pictures and tests of the dashboard with more agents and calls
// than a demo has, and for working on the page: `node lib/operations.mjs [--agents 500] [--calls 200] [--token T] [--role read]`.

import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };
/** Narrower than what src/http/assets.rs allows this page: it needs no more. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
const HOUR = 3_600_000;

/** The same numbers at every start (mulberry32). */
function dice(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const round = (value, digits = 1) => Math.round(value * 10 ** digits) / 10 ** digits;

async function body(request) {
  let text = "";
  for await (const part of request.setEncoding("utf8")) text += part;
  return text;
}

export class Operations {
  #server;
  #streams = new Set();
  #timer;
  #random;
  #finished = new Map();
  /** What the page has asked for: `["POST /api/calls/c1/hangup", ...]`. */
  asked = [];
  /** What it has sent with it. */
  bodies = [];
  traces = [];
  logging = { level: "info", configured: "info", until: null, dropped_lines: 0 };
  url = "";

  constructor({ agents = 12, calls = 4, token = null, role = "act", faults = true, everyMs = 1000, seed = 5 } = {}) {
    Object.assign(this, { token, role, everyMs });
    this.#random = dice(seed);
    this.#populate(agents, calls, faults);
  }

  static async start(options = {}) {
    const made = new Operations(options);
    await made.listen(options.port ?? 0);
    return made;
  }

  async listen(port) {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${this.#server.address().port}/`;
    if (this.everyMs > 0) this.#timer = setInterval(() => this.step(), this.everyMs);
  }

  finished() {
    return [...this.#finished.values()];
  }

  /** What the page has asked for. */
  log() {
    return this.asked.join("\n");
  }

  /** As a gateway that dies does it. */
  async stop() {
    clearInterval(this.#timer);
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  // ------------------------------------------------------------------ the contact centre

  #populate(agents, calls, faults) {
    const now = Date.now();
    const random = this.#random;
    this.servers = [
      { name: "sip:10.20.0.11:5060", up: true, current: true, rtt_ms: 1.8, reason: null, since: now - 31 * HOUR },
      { name: "sip:10.20.0.12:5060", up: true, current: false, rtt_ms: 2.3, reason: null, since: now - 31 * HOUR },
      { name: "sip:10.40.0.11:5061", up: !faults, current: false, rtt_ms: faults ? null : 9.4, reason: faults ? "no answer to OPTIONS for 12 s" : null, since: now - 0.2 * HOUR },
    ];
    this.agents = Array.from({ length: agents }, (_, index) => ({
      dn: String(5001 + index), guest: false, id: `a${index + 1}`, dialect: index % 9 === 4 ? "rest" : "jsapi", registered_at: Math.round(now - random() * 6 * HOUR), state: "ready",
      registration: { status: "registered", last_reason: "200 OK", server: "udp:10.20.0.11:5060" }, calls: 0,
    }));
    if (faults) {
      for (const [at, reason] of [[3, "403 Forbidden"], [17, "408 Request Timeout"], [41, "503 Service Unavailable"]]) {
        if (this.agents[at]) this.agents[at].registration = { status: reason.startsWith("4") ? "refused" : "failing", last_reason: reason, server: "udp:10.20.0.11:5060" };
      }
    }
    this.calls = [];
    const free = this.agents.filter(({ registration }) => registration.status === "registered");
    for (let index = 0; index < calls && free.length > 0; index += 1) this.#call(free.splice(Math.floor(random() * free.length), 1)[0], now - random() * random() * 0.5 * HOUR);
    this.totals = { started: now - 31 * HOUR, agents, registered: agents - 3, active_calls: calls, sign_ins: 1312, sign_ins_refused: 9, calls_started: 18_204 + calls, calls_answered: 16_940,
      calls_ended: 18_204, calls_failed: 37, free_ports: 4000 - calls, ports: 4000, draining: false };
    const quiet = this.calls.find(({ answered }) => answered);
    this.alerts = !faults ? [] : [
      { kind: "sip_server", severity: "critical", text: "sip:10.40.0.11:5061 does not answer OPTIONS", since: now - 0.2 * HOUR },
      ...(this.agents[3] ? [{ kind: "registration", severity: "warning", text: "5004 is not registered: 403 Forbidden", since: now - 340_000, dn: "5004" }] : []),
      ...(quiet ? [{ kind: "no_rtp", severity: "critical", text: `${quiet.dn}: no RTP from the SIP side for 6 s`, since: now - 6000, dn: quiet.dn, call: quiet.call_id }] : []),
    ];
    const past = [["sign_in", "signed in from 10.1.4.77", "5012"], ["call_ended", "the call with 0049301234567 ended after 252 s, by the agent: 200 hung up", "5007"],
      ["call_ended", "the call with 555 ended unanswered, by the SIP side: 486 Busy Here", "5031"], ["registration", "not registered: 403 Forbidden", "5004"],
      ["server", "the SIP server sip:10.40.0.11:5061 is down: no answer to OPTIONS for 12 s", ""], ["sign_out", "signed out", "5020"]];
    let ago = 0;
    this.history = Array.from({ length: 40 }, (_, index) => {
      ago += 9000 + random() * 30_000;
      const [kind, text, dn] = past[index % past.length];
      return { id: 40 - index, at: Math.round(now - ago), kind, text, ...(dn ? { dn } : {}), ...(kind === "call_ended" ? { call: `f${(index * 7) % 120}` } : {}) };
    });
    for (let index = 0; index < 260; index += 1) {
      const ended = now - (index + random()) * 41_000;
      const record = this.#record(`f${index}`, String(5001 + Math.floor(random() * Math.max(agents, 1))), ended);
      this.#finished.set(record.call, record);
    }
    const wave = (at, from, to) => from + (to - from) * (0.5 + 0.5 * Math.sin(at / 9) * Math.cos(at / 23));
    this.series = { step_seconds: 60, points: Array.from({ length: 60 }, (_, index) => {
      const bad = index > 37 && index < 44;
      return {
        at: Math.round(now - (59 - index) * 60_000), calls_started: Math.round(wave(index, 18, 42)), calls_ended: Math.round(wave(index + 3, 18, 41)),
        failed: bad ? 3 + (index % 3) : index % 17 === 5 ? 1 : 0, active: Math.round(calls * (0.55 + 0.45 * ((index + 12) / 71)) + wave(index * 3, -0.05, 0.05) * calls),
        setup_p50_ms: round(wave(index, 92, 128) + (bad ? 40 : 0)), setup_p95_ms: round(wave(index * 2, 210, 300) + (bad ? 260 : 0)),
        mos: round(4.31 - random() * 0.06 - (bad ? 0.35 : 0), 2), loss_percent: round(0.15 + random() * 0.2 + (bad ? 2.2 : 0), 2),
      };
    }) };
  }

  #call(agent, started) {
    const random = this.#random;
    const incoming = random() < 0.7;
    const ringing = random() < 0.08;
    const bad = random();
    const state = ringing ? (incoming ? "ringing" : "calling") : random() < 0.07 ? "held" : "established";
    const heard = !ringing;
    this.calls.push({
      call_id: `c${this.#next++}`, agent_id: agent.id, dn: agent.dn, remote_name: null, remote: incoming ? `sip:+4930${String(Math.floor(random() * 1e7)).padStart(7, "0")}@10.20.0.11` : `sip:${601 + Math.floor(random() * 300)}@10.20.0.11`,
      direction: incoming ? "incoming" : "outgoing", state, started: Math.round(started), answered: ringing ? null : Math.round(started + 2000 + random() * 6000),
      mos: heard ? round(bad < 0.03 ? 2.6 + random() * 0.8 : bad < 0.1 ? 3.6 + random() * 0.4 : 4.2 + random() * 0.2, 2) : null,
      browser_loss_percent: heard ? round(bad < 0.03 ? 6 + random() * 9 : bad < 0.1 ? 1.6 + random() * 2 : random() < 0.7 ? 0 : random() * 0.8, 2) : null,
      sip_loss_percent: heard ? (random() < 0.9 ? 0 : round(random() * 0.7, 2)) : null,
    });
    agent.state = state;
    agent.calls = 1;
  }

  #next = 1;

  /** A second of the day: durations go on, quality moves a little, now and then a call begins or ends. */
  step() {
    const random = this.#random;
    const now = Date.now();
    for (const call of this.calls) {
      if (call.mos !== null && random() < 0.3) call.mos = round(Math.min(4.41, Math.max(1, call.mos + (random() - 0.5) * 0.06)), 2);
      if (call.state === "ringing" && random() < 0.2) Object.assign(call, { state: "established", answered: now, mos: 4.3, browser_loss_percent: 0, sip_loss_percent: 0 });
    }
    if (this.calls.length > 2 && random() < 0.5) this.end(this.calls[Math.floor(random() * this.calls.length)].call_id, "peer");
    const free = this.agents.filter((agent) => agent.calls === 0 && agent.registration.status === "registered");
    if (free.length > 0 && random() < 0.5) this.#call(free[Math.floor(random() * free.length)], now);
    for (const server of this.servers) if (server.rtt_ms !== null) server.rtt_ms = round(Math.max(0.4, server.rtt_ms + (random() - 0.5) * 0.4));
    for (const part of ["calls", "agents", "servers", "totals"]) this.say(part, this[part]);
  }

  end(id, by) {
    const call = this.calls.find(({ call_id }) => call_id === id);
    if (!call) return;
    this.calls = this.calls.filter((other) => other !== call);
    const agent = this.agents.find(({ dn }) => dn === call.dn);
    if (agent) Object.assign(agent, { state: "ready", calls: 0 });
    const record = { ...this.#record(id, call.dn, Date.now()), peer: call.remote, incoming: call.direction === "incoming", started: call.started,
      answered: call.answered, ended_by: by, code: 200, reason: "hung up", sip_reason: null };
    record.talked_ms = record.answered === null ? null : record.ended - record.answered;
    this.#finished.set(id, record);
    const item = { id: this.history[0].id + 1, at: Date.now(), kind: "call_ended", text: `the call with ${/sip:([^@]*)/.exec(call.remote)?.[1]} ended, by the ${by}: 200 hung up`, dn: call.dn, call: id };
    this.history.unshift(item);
    this.say("history", item);
  }

  /** One event to every page that listens. */
  say(event, data) {
    for (const stream of this.#streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #record(call, dn, ended) {
    const random = this.#random;
    const fate = random();
    const answered = fate < 0.86;
    const talked = Math.round(20_000 + random() * random() * 900_000);
    const rang = Math.round(2000 + random() * 9000);
    const [by, code, reason, header] = answered
      ? fate < 0.4 ? ["browser", 200, "hung up", null] : fate < 0.82 ? ["peer", 200, "hung up", "Q.850;cause=16"] : ["gateway", 408, "the browser was not heard for 30 s", null]
      : fate < 0.9 ? ["peer", 486, "Busy Here", "Q.850;cause=17;text=\"User busy\""] : fate < 0.94 ? ["browser", 487, "Request Terminated", null]
        : fate < 0.97 ? ["network", 408, "Request Timeout", null] : ["peer", 488, "Not Acceptable Here", null];
    const bad = random() < 0.06;
    const stream = (worse) => answered
      ? { packets: Math.round(talked / 20), bytes: Math.round(talked * 8.6), lost: Math.round((talked / 20) * (worse ? 0.041 : 0.0004)), jitter_ms: round(worse ? 31 : 1 + random() * 3), mos: worse ? 3.41 : round(4.32 + random() * 0.06, 2), mos_worst: worse ? 2.7 : round(4.2 + random() * 0.1, 2) }
      : { packets: 0, bytes: 0, lost: 0, jitter_ms: 0, mos: null, mos_worst: null };
    return {
      call, sip_call_ids: [`${call}-7f3a91c2@10.20.0.5`], call_uuid: `0${call.replace(/\D/g, "").padStart(6, "0")}4V3Q7A7TGT4NTA1L1S7OEO8000S1`, user: dn, peer: `sip:+4930${String(Math.floor(random() * 1e7)).padStart(7, "0")}@10.20.0.11`,
      peer_name: null, diverted_from: null, incoming: random() < 0.6, dialect: "jsapi", started: Math.round(ended - (answered ? talked : 0) - rang), answered: answered ? Math.round(ended - talked) : null,
      ended: Math.round(ended), setup_ms: answered ? rang : null, talked_ms: answered ? talked : null, ended_by: by, code, reason, sip_reason: header,
      transfer: null, digits: random() < 0.2 ? 4 : 0, holds: random() < 0.3 ? 1 : 0, codec: "PCMA", sip_encrypted: false, silent: null,
      browser: { rtt_ms: round(bad ? 210 : 12 + random() * 30), rx: stream(bad), tx: stream(false) }, sip: { rtt_ms: round(2 + random() * 4), rx: stream(false), tx: stream(false) }, concealed: bad ? 312 : 0,
    };
  }

  // ------------------------------------------------------------------ one call's story

  #story(id, bodies) {
    const live = this.calls.find(({ call_id }) => call_id === id);
    const call = live
      ? { ...this.#record(id, live.dn, Date.now()), peer: live.remote, incoming: live.direction === "incoming", started: live.started, answered: live.answered, ended: 0, talked_ms: null, ended_by: "", code: 0, reason: "", sip_reason: null, state: live.state }
      : this.#finished.has(id) ? { ...this.#finished.get(id), state: "ended" } : null;
    if (!call) return null;
    const t0 = call.started;
    const number = /sip:([^@]*)/.exec(call.peer)[1];
    const timeline = [];
    const note = (after, kind, title, more = {}) => timeline.push({ at: Math.round(t0 + after), kind, direction: null, from: null, to: null, title, detail: {}, ...more });
    const http = (after, direction, title, detail = {}) => note(after, "http", title, { direction, from: direction === "in" ? "browser" : "gateway", to: direction === "in" ? "gateway" : "browser", detail, body: bodies ? HTTP_BODY(title) : null });
    const sip = (after, direction, title) => note(after, "sip", title, { direction, from: direction === "in" ? "sip" : "gateway", to: direction === "in" ? "gateway" : "sip",
      detail: { transport: "udp", local: "10.20.0.5:5060", peer: "10.20.0.11:5060", call_id: call.sip_call_ids[0] }, body: bodies ? SIP_BODY(title, call, number) : null });
    const setup = call.answered === null ? null : call.answered - t0;
    const [ours, theirs] = call.incoming ? ["in", "out"] : ["out", "in"];
    if (call.incoming) {
      sip(0, "in", `INVITE sip:${call.user}@10.20.0.5`);
      sip(1, "out", "100 Trying");
      http(3, "out", "OFFER", { waited_ms: 2 });
      sip(4, "out", "180 Ringing");
    } else {
      http(0, "in", "OFFER", { bytes: 1842 });
      sip(3, "out", `INVITE sip:${number}@10.20.0.11`);
      sip(9, "in", "100 Trying");
      sip(41, "in", "180 Ringing");
    }
    note(call.incoming ? 0 : 1, "state", call.incoming ? `incoming call from ${number}` : `outgoing call to ${number}`);
    const end = call.ended ? call.ended - t0 : null;
    if (setup !== null) {
      if (call.incoming) http(setup - 60, "in", "ANSWER", { bytes: 1510 });
      note(setup - 50, "ice", "ICE connected", { direction: "in", from: "browser", to: "gateway", detail: { remote: "10.1.4.77:52814" } });
      note(setup - 31, "dtls", "DTLS connected", { direction: "in", from: "browser", to: "gateway", detail: { profile: "AEAD_AES_128_GCM" } });
      sip(setup, theirs, "200 OK");
      sip(setup + 8, ours, `ACK sip:${call.incoming ? call.user : number}@10.20.0.11`);
      if (!call.incoming) http(setup + 9, "out", "ANSWER", { waited_ms: 1 });
      if (!call.incoming) http(setup + 22, "in", "OK");
      note(setup + 2, "state", "established");
      note(setup + 28, "rtp", "RTP from the SIP side", { direction: "in", from: "sip", to: "gateway", detail: { remote: "10.20.0.31:18442" } });
      note(setup + 36, "rtp", "RTP from the browser", { direction: "in", from: "browser", to: "gateway" });
      const room = (end ?? Date.now() - t0) - setup;
      if (room > 16_000) {
        note(setup + room * 0.3, "hold", "held by the agent", { detail: { by: "browser", held: true } });
        http(setup + room * 0.3 - 4, "in", "HOLD");
        sip(setup + room * 0.3 + 3, "out", `INVITE sip:${number}@10.20.0.11`);
        sip(setup + room * 0.3 + 11, "in", "200 OK");
        http(setup + room * 0.5 - 4, "in", "RESUME");
        note(setup + room * 0.5, "hold", "taken off hold by the agent", { detail: { by: "browser", held: false } });
        sip(setup + room * 0.5 + 3, "out", `INVITE sip:${number}@10.20.0.11`);
        sip(setup + room * 0.5 + 12, "in", "200 OK");
        note(setup + room * 0.6, "dtmf", "DTMF", { direction: "in", from: "browser", to: "gateway", detail: { digits: 4 } });
      }
    }
    if (end !== null) {
      if (setup === null) {
        if (call.ended_by === "browser") {
          http(end - 12, "in", "BYE");
          sip(end - 10, "out", "CANCEL");
          sip(end - 5, "in", "487 Request Terminated");
        } else if (call.ended_by === "peer") {
          sip(end - 6, call.incoming ? "in" : "in", call.incoming ? "CANCEL" : `${call.code} ${call.reason}`);
          http(end - 2, "out", "BYE", { waited_ms: 1 });
        }
      } else if (call.ended_by === "browser") {
        http(end - 9, "in", "BYE");
        sip(end - 7, "out", "BYE");
        sip(end - 1, "in", "200 OK");
      } else {
        sip(end - 6, call.ended_by === "peer" ? "in" : "out", "BYE");
        sip(end - 4, call.ended_by === "peer" ? "out" : "in", "200 OK");
        http(end - 2, "out", "BYE", { waited_ms: 1 });
      }
      note(end, "end", `ended by ${call.ended_by}: ${call.code} ${call.reason}`, { detail: { ended_by: call.ended_by, code: call.code, reason: call.reason } });
    }
    timeline.sort((a, b) => a.at - b.at);
    const quality = [];
    if (setup !== null) {
      const random = dice(call.started % 1e6);
      const last = end ?? Date.now() - t0;
      const bad = (call.browser.rx.mos ?? 4.3) < 4;
      for (let after = setup + 5000; after < last; after += 5000) {
        const dip = bad && after > setup + (last - setup) * 0.4 && after < setup + (last - setup) * 0.65;
        const leg = (worse) => ({ mos: round(worse ? 2.7 + random() * 0.5 : 4.3 + random() * 0.1, 2), loss_percent: round(worse ? 5 + random() * 5 : random() < 0.9 ? 0 : random() * 0.5, 2), jitter_ms: round(worse ? 34 : 1.5 + random() * 2) });
        quality.push({ at: Math.round(t0 + after), browser: { rtt_ms: round(dip ? 240 : 18 + random() * 6), rx: leg(dip), tx: leg(false) }, sip: { rtt_ms: round(2 + random()), rx: leg(false), tx: leg(false) } });
      }
    }
    const agent = [{ at: t0 - 3_600_000, text: "signed in from 10.1.4.77 (jsapi)" }, { at: t0 - 3_599_000, text: "registered at udp:10.20.0.11:5060" }];
    return { call, timeline, quality, left_out: 0, agent };
  }

  // ------------------------------------------------------------------ HTTP

  async #serve(request, response) {
    const url = new URL(request.url, this.url);
    const path = url.pathname;
    const json = (status, value, more = {}) => response.writeHead(status, { "Content-Type": "application/json", ...more }).end(JSON.stringify(value));
    if (!path.startsWith("/api/")) return this.#file(path, response);
    if (this.token !== null && request.headers.authorization !== `Bearer ${this.token}`) {
      return json(401, { error: request.headers.authorization ? "no operator has this token" : "an operator's token is needed", code: "token_unknown" });
    }
    const [, , kind, id, verb] = path.split("/").map(decodeURIComponent);
    if (request.method !== "GET") {
      this.asked.push(`${request.method} ${path}`);
      if (this.role !== "act") return json(403, { error: "this token may read and not act", code: "role" });
      if (kind === "calls" && verb === "hangup") {
        if (!this.calls.some(({ call_id }) => call_id === id)) return json(404, { error: "there is no such call", code: "call_unknown" });
        this.end(id, "gateway");
        this.say("calls", this.calls);
        this.say("agents", this.agents);
        return json(200, { success: true });
      }
      if (kind === "agents" && verb === "sign_out") {
        this.agents = this.agents.filter(({ dn }) => dn !== id);
        this.say("agents", this.agents);
        return json(200, { success: true });
      }
      if (kind === "trace" || kind === "log") {
        const asked = JSON.parse(await body(request));
        this.bodies.push(asked);
        const until = asked.seconds ? Date.now() + asked.seconds * 1000 : null;
        if (kind === "log") {
          Object.assign(this.logging, { level: asked.level, until });
          return json(200, this.logging);
        }
        this.traces = [...this.traces.filter(({ dn }) => dn !== id), ...(asked.on ? [{ dn: id, until }] : [])];
        this.say("traces", this.traces);
        return json(200, { success: true });
      }
      return json(404, { error: "there is nothing at this path of the API", code: "no_such_path" });
    }
    if (path === "/api/events") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "Operator-Role": this.role, "Cache-Control": "no-store" });
      this.#streams.add(response);
      response.on("close", () => this.#streams.delete(response));
      const { agents, servers, calls, alerts, traces, totals } = this;
      const history = this.history.toReversed();
      response.write(`event: snapshot\ndata: ${JSON.stringify({ agents, servers, calls, alerts, traces, totals, history, version: "0.1.0" })}\n\n`);
      return undefined;
    }
    if (path === "/api/series") return json(200, this.series);
    if (path === "/api/log") return json(200, this.logging);
    if (kind === "calls" && id === undefined) return this.#search(url.searchParams, response, json);
    if (kind === "calls" && verb === "pcap") return response.writeHead(200, { "Content-Type": "application/x-pcapng" }).end(Buffer.from("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000", "hex"));
    if (kind === "calls") {
      const story = this.#story(id, url.searchParams.get("bodies") === "1");
      return story ? json(200, story) : json(404, { error: "no call of this id is kept", code: "call_unknown" });
    }
    return json(404, { error: "there is nothing at this path of the API", code: "no_such_path" });
  }

  #search(query, response, json) {
    const wanted = (query.get("q") ?? "").toLowerCase();
    const from = Number(query.get("from") ?? 0);
    const before = Number(query.get("before") ?? Infinity);
    const limit = Number(query.get("limit") ?? 100);
    const found = [...this.#finished.values()].sort((a, b) => b.started - a.started).filter((call) => call.started >= from && call.started < before
      && (!query.has("dn") || call.user === query.get("dn")) && (!query.get("ended_by") || call.ended_by === query.get("ended_by"))
      && (!query.get("max_mos") || (call.browser.rx.mos ?? 9) < Number(query.get("max_mos")))
      && (!query.has("call_id") || call.call === query.get("call_id"))
      && (wanted === "" || [call.user, call.peer, call.call, ...call.sip_call_ids, call.call_uuid].some((text) => text.toLowerCase().includes(wanted))));
    if (query.get("format") === "csv") {
      const lines = found.map(({ call, user, peer, started, ended, code, reason }) => [call, user, peer, started, ended, code, `"${reason}"`].join(","));
      return response.writeHead(200, { "Content-Type": "text/csv" }).end(["call,user,peer,started,ended,code,reason", ...lines, ""].join("\r\n"));
    }
    return json(200, { calls: found.slice(0, limit), next: found.length > limit ? String(found[limit - 1].started) : null });
  }

  async #file(path, response) {
    const name = path === "/" ? "index.html" : path.includes(".") ? path.slice(1) : `${path.slice(1)}.html`;
    const file = /^[\w.-]+$/.test(name) ? await readFile(new URL(`../../../web/dist/${name}`, import.meta.url)).catch(() => null) : null;
    if (!file) return response.writeHead(404).end();
    return response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "application/octet-stream", "Content-Security-Policy": POLICY, "Cache-Control": "no-cache" }).end(file);
  }
}

const HTTP_BODY = (title) => JSON.stringify({ messageType: title, offererSessionId: 1204, answererSessionId: 77, seq: 1, ...(/OFFER|ANSWER/.test(title) ? { sdp: "v=0\r\no=- 77 1 IN IP4 10.20.0.5\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 8 0 101\r\na=sendrecv\r\n" } : {}) }, null, 2);
const SIP_BODY = (title, call, number) => `${/^\d/.test(title) ? `SIP/2.0 ${title}` : `${title} SIP/2.0`}\r\nVia: SIP/2.0/UDP 10.20.0.5:5060;rport;branch=z9hG4bK7d21\r\nFrom: <sip:${call.user}@10.20.0.11>;tag=81f2\r\nTo: <sip:${number}@10.20.0.11>\r\nCall-ID: ${call.sip_call_ids[0]}\r\nCSeq: 1 INVITE\r\n${call.sip_reason ? `Reason: ${call.sip_reason}\r\n` : ""}Content-Length: 0\r\n\r\n`;

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: {
    agents: { type: "string", default: "60" }, calls: { type: "string", default: "20" }, port: { type: "string", default: "8899" },
    token: { type: "string" }, role: { type: "string", default: "act" }, calm: { type: "boolean", default: false },
  } });
  const { url } = await Operations.start({ agents: Number(values.agents), calls: Number(values.calls), port: Number(values.port), token: values.token ?? null, role: values.role, faults: !values.calm });
  console.log(`${url}dashboard`);
}
