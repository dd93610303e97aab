'use strict';
const $ = (id) => document.getElementById(id);
let chosen = null;
let last = null;

async function post(path, body) {
  // A header of our own: a page of another origin cannot send it without being asked first.
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Console': '1' },
    body: JSON.stringify(body ?? {}),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error ?? answer.statusText);
  return json;
}

function complain(error) {
  $('toast').textContent = error.message;
  $('toast').hidden = false;
  clearTimeout(complain.timer);
  complain.timer = setTimeout(() => { $('toast').hidden = true; }, 4000);
}

const element = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });

function options(select, items) {
  const key = JSON.stringify(items);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const before = select.value;
  select.replaceChildren(...items.map(([value, label]) => element('option', label, { value })));
  if (items.some(([value]) => value === before)) select.value = before;
}

function wanted() {
  const headers = $('data').value.split(/[&;]/).map((pair) => pair.trim().split('=')).filter((pair) => pair[0])
    .map(([key, value]) => [`X-${key.replace(/[^A-Za-z0-9-]/g, '')}`, value ?? '']);
  return { dn: $('dn').value, number: $('number').value, name: $('name').value || null, headers };
}

async function start(path, more = {}) {
  try {
    chosen = (await post(path, { ...wanted(), ...more })).call;
    $('call-title').focus({ preventScroll: true });
  } catch (error) { complain(error); }
}

const call = () => last?.calls.find((one) => one.id === chosen);

function allowed(act, one) {
  if (!one || one.state === 'ended') return false;
  if (act === 'hangup') return one.state !== 'calling';
  if (one.busy) return false;
  const up = one.state === 'connected' || one.state === 'held';
  return { talk: one.state === 'ringing', hold: one.state === 'connected', retrieve: one.state === 'held' }[act] ?? up;
}

async function act(name) {
  if (!allowed(name, call())) return;
  try {
    await post(`api/calls/${chosen}/${name}`, { number: $('target').value });
  } catch (error) { complain(error); }
}

function show(state) {
  last = state;
  options($('dn'), state.agents.map((dn) => [dn, dn]));
  $('empty').hidden = state.agents.length > 0;
  for (const button of [$('new').querySelector('[type=submit]'), $('dial'), $('play')]) button.disabled = !state.agents.length;
  if (chosen === null && state.calls.length) chosen = state.calls[0].id;
  $('none').hidden = state.calls.length > 0;
  const focused = document.activeElement?.dataset?.call;
  $('calls').replaceChildren(...state.calls.map((one) => {
    const button = element('button', '', { type: 'button' });
    button.dataset.call = one.id;
    button.setAttribute('aria-current', one.id === chosen);
    const label = one.failed ? 'failed' : one.state;
    button.append(
      element('span', `${one.number} ${one.kind === 'dialled' ? '←' : '→'} ${one.dn}`),
      element('span', label, { className: `state ${label}` }),
      element('small', [one.name, one.kind].filter(Boolean).join(', ')),
    );
    button.onclick = () => { chosen = one.id; refresh(); };
    const item = document.createElement('li');
    item.append(button);
    return item;
  }));
  if (focused) $('calls').querySelector(`[data-call="${focused}"]`)?.focus();
  const one = call();
  $('call').hidden = !one;
  if (one) showCall(one, state.ladder);
}

const ms = (value) => (value === null ? '–' : `${value.toFixed(2)} ms`);

function showCall(one, ladder) {
  $('call-title').textContent = `Call ${one.id}: ${one.number}${one.name ? ` (${one.name})` : ''} and ${one.dn}`;
  const label = one.failed ? 'failed' : one.state;
  $('state').textContent = label;
  $('state').className = `state ${label}`;
  $('note').textContent = one.note;
  $('note').classList.toggle('failed', one.failed);
  for (const button of $('acts').querySelectorAll('button')) {
    button.disabled = !allowed(button.dataset.act, one);
    if (button.dataset.act === 'far-hold') button.firstChild.textContent = one.far_holds ? 'Far end returns ' : 'Far end holds ';
  }
  $('times').replaceChildren(...[
    ['INVITE to 180', ms(one.ring_ms)],
    ['NOTIFY talk to its 200', ms(one.talk_ms)],
    ['NOTIFY talk to the 200 of the INVITE', ms(one.answer_ms)],
    ['answers repeated', one.repeats],
    ['CallUUID', one.uuid],
    ['far end', one.hears],
  ].flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
  const list = $('ladder');
  if (list.dataset.call !== String(one.id)) { list.replaceChildren(); list.dataset.call = one.id; list.dataset.gone = 0; }
  const rungs = ladder?.call === one.id ? ladder.rungs : [];
  for (let gone = Number(list.dataset.gone); gone < (ladder?.gone ?? 0); gone += 1) list.firstChild?.remove();
  list.dataset.gone = ladder?.gone ?? 0;
  for (const rung of rungs.slice(list.children.length)) {
    const details = document.createElement('details');
    const summary = document.createElement('summary');
    const arrow = element('span', '', { className: `arrow ${rung.out ? 'out' : 'in'} ${rung.lost ? 'lost' : ''}` });
    const title = element('b', rung.title);
    if (rung.sdp) title.append(element('span', 'SDP', { className: 'sdp' }));
    const line = document.createElement('i');
    arrow.append(...(rung.out ? [title, line, '▸'] : ['◂', line, title]));
    summary.append(element('time', `${(rung.at_us / 1000).toFixed(1)} ms`), arrow);
    summary.setAttribute('aria-label', `${rung.out ? 'to' : 'from'} the gateway: ${rung.title}${rung.lost ? ', lost' : ''}`);
    details.append(summary, element('pre', rung.text.trimEnd()));
    const item = document.createElement('li');
    item.append(details);
    list.append(item);
  }
}

let version = 0;
let waiting = null;

/** Asks anew at once: another call was chosen. */
function refresh() { version = 0; waiting?.abort(); }

async function watch() {
  for (;;) {
    waiting = new AbortController();
    try {
      const asked = chosen;
      const answer = await fetch(`api/state?after=${version}&call=${asked ?? 0}`, { signal: waiting.signal });
      if (!answer.ok) throw new Error(answer.statusText);
      const state = await answer.json();
      version = asked === chosen ? state.version : 0;
      $('link').textContent = 'live';
      $('link').classList.add('live');
      show(state);
    } catch (error) {
      if (error.name !== 'AbortError') {
        $('link').textContent = 'the demo does not answer';
        $('link').classList.remove('live');
        version = 0;
        await new Promise((done) => { setTimeout(done, 1000); });
      }
    }
  }
}

$('new').addEventListener('submit', (event) => { event.preventDefault(); start('api/queue').then(refresh); });
$('dial').onclick = () => start('api/dial').then(refresh);
$('play').onclick = () => start('api/play', { scenario: $('scenario').value }).then(refresh);
$('scenario').onchange = () => { $('about').textContent = $('scenario').selectedOptions[0]?.dataset.about ?? ''; };
$('acts').addEventListener('click', (event) => {
  const name = event.target.closest('button')?.dataset.act;
  if (name) act(name);
});
const keys = { t: 'talk', h: 'hold', r: 'retrieve', o: 'offerless', f: 'far-hold', x: 'transfer', b: 'hangup' };
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input, select')) return;
  if (keys[event.key]) act(keys[event.key]);
});

(async () => {
  for (;;) {
    try {
      const cast = await (await fetch('api/cast')).json();
      options($('number'), cast.numbers.map(([number, about]) => [number, `${number}: ${about}`]));
      options($('target'), cast.numbers.map(([number, about]) => [number, `${number}: ${about}`]));
      $('target').value = '7100';
      options($('scenario'), cast.scenarios.map(([name]) => [name, name]));
      cast.scenarios.forEach(([, about], at) => { $('scenario').options[at].dataset.about = about; });
      $('scenario').onchange();
      break;
    } catch { await new Promise((done) => { setTimeout(done, 1000); }); }
  }
  watch();
})();
