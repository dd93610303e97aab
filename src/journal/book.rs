//! The timelines of all calls there are. Pure: entries and instants in, finished calls out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::describe::{self, FETCHED};
use super::dns::Dns;
use super::event::{Kind, Timeline, TimelineEvent, Way};
use super::finished::FinishedCall;
use super::lines::Lines;
use super::record::{CallRecord, LegRecord, unix_ms};
use super::sip::Glance;
use super::sound::Sound;
use super::{Entry, What};

/// How long a finished call waits for what is still said about it: answers to BYE, the poll that takes
/// the browser's.
pub const LINGER: Duration = Duration::from_secs(3);

/// Calls at a time; more than ports allow. One beyond it has no timeline.
const MAX_CALLS: usize = 20_000;

/// SIP Call-IDs that no call has claimed yet: the INVITE is seen before its agent has taken it.
const MAX_STRAYS: usize = 1024;

/// Messages of each: the INVITE, its 100 and some repetitions.
const MAX_STRAY: usize = 8;

/// A call that nobody has claimed by then was refused before it reached an agent.
const STRAY: Duration = Duration::from_secs(10);

/// Calls of one proxied Call-ID: both legs, where both ends are agents of ours, and as many again.
const MAX_SHARED: usize = 4;

/// Finished calls in memory, for who looks before the store has them or without one: 6 MB at most,
/// by [`super::lines::MAX_BYTES`].
const MAX_RECENT: usize = 64;

/// One call, live or finished.
#[derive(Debug, Clone, PartialEq)]
pub struct CallView {
    /// Of a live call as far as it is known: `ended` is 0 and `ended_by` empty.
    pub record: CallRecord,
    /// The words of [`crate::agent::CallState::state`].
    pub state: &'static str,
    pub timeline: Timeline,
}

/// What happened to a DN beside its calls.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct DnEvent {
    /// Unix milliseconds.
    pub at: u64,
    #[schema(value_type = String, example = "registered at udp:192.0.2.1:5060")]
    pub text: Box<str>,
}

struct Page {
    record: CallRecord,
    state: &'static str,
    lines: Lines,
    sound: Sound,
    ended: Option<Instant>,
}

struct Stray {
    since: Instant,
    events: Vec<(SystemTime, TimelineEvent)>,
}

#[derive(Default)]
pub(super) struct Book {
    pages: HashMap<Arc<str>, Page>,
    /// By SIP Call-ID.
    legs: HashMap<Box<str>, Vec<Arc<str>>>,
    strays: HashMap<Box<str>, Stray>,
    dns: Dns,
    recent: VecDeque<Arc<FinishedCall>>,
    /// Calls and DNs that there was no room for.
    pub refused: u64,
}

impl Book {
    pub fn handle(&mut self, entry: &Entry, now: Instant) {
        match &entry.what {
            What::CallStarted { .. } => self.start(entry),
            What::Sip { call_id, .. } => self.sip(call_id, entry, now),
            What::SipLeg { call_id } => self.claim(call_id, entry),
            What::SignedIn { dialect, remote } => {
                let dialect = dialect.label();
                self.note_dn(entry, now, || format!("signed in from {remote} ({dialect})"));
            }
            What::SignInRefused { remote, detail, .. } => {
                if let Some(user) = &entry.about.user {
                    let text = format!("sign-in from {remote} refused: {detail}");
                    self.dns.note_refusal(user, now, unix_ms(entry.at), text);
                }
            }
            What::SessionEnded { why } => {
                self.note_dn(entry, now, || format!("session ended: {}", why.sentence()));
            }
            What::Registered { server } => {
                self.note_dn(entry, now, || format!("registered at {server}"));
            }
            What::RegistrationFailed { code, text, .. } => {
                self.note_dn(entry, now, || format!("registration failed: {code} {text}"));
            }
            _ => self.in_call(entry, now),
        }
    }

    fn start(&mut self, entry: &Entry) {
        let (What::CallStarted { agent_id, peer, incoming, call_uuid }, Some(call)) =
            (&entry.what, &entry.about.call)
        else {
            return;
        };
        if self.pages.len() >= MAX_CALLS {
            self.refused += 1;
            return;
        }
        let record = CallRecord {
            call: call.to_string(),
            call_uuid: call_uuid.clone(),
            user: entry.about.user.as_deref().unwrap_or_default().to_owned(),
            agent_id: agent_id.clone(),
            peer: peer.clone(),
            incoming: *incoming,
            started: unix_ms(entry.at),
            ..CallRecord::default()
        };
        let mut page = Page {
            record,
            state: if *incoming { "ringing" } else { "calling" },
            lines: Lines::default(),
            sound: Sound::default(),
            ended: None,
        };
        page.add(entry);
        self.pages.insert(Arc::clone(call), page);
    }

    fn in_call(&mut self, entry: &Entry, now: Instant) {
        let Some(page) = entry.about.call.as_ref().and_then(|call| self.pages.get_mut(call)) else {
            return;
        };
        match &entry.what {
            What::CallState(state) => {
                page.state = state;
                if *state == "established" && page.record.answered.is_none() {
                    let at = unix_ms(entry.at);
                    page.record.answered = Some(at);
                    page.record.setup_ms = Some(at.saturating_sub(page.record.started));
                }
            }
            What::Peer { number, name } => {
                page.record.peer.clone_from(number);
                page.record.peer_name.clone_from(name);
            }
            What::Hold { held: true, .. } => page.record.holds += 1,
            What::Http { inbound: false, kind, waited: Some(waited), .. } => {
                // The oldest of that name: a mailbox keeps its order.
                let waits = |event: &TimelineEvent| {
                    event.kind == Kind::Http
                        && event.direction == Some(Way::Out)
                        && *event.title == **kind
                        && event.detail.get(FETCHED).is_some()
                };
                if let Some(detail) = page.lines.find(waits) {
                    detail.remove(FETCHED);
                    detail.set("waited_ms", waited.as_millis() as u64);
                }
                return;
            }
            What::Media(crate::media::MediaEvent::Digit { from_sip, .. })
                if page.another_digit(*from_sip) =>
            {
                return;
            }
            What::Quality(stats) => {
                page.sound.push(unix_ms(entry.at), stats);
                return;
            }
            What::CallEnded(record) => {
                page.record = (**record).clone();
                page.state = "ended";
                page.ended = Some(now);
            }
            _ => {}
        }
        page.add(entry);
    }

    // SIP.

    fn sip(&mut self, call_id: &str, entry: &Entry, now: Instant) {
        if let Some(calls) = self.legs.get(call_id) {
            for call in calls {
                if let Some(page) = self.pages.get_mut(call) {
                    page.add(entry);
                }
            }
            return;
        }
        let What::Sip { text, .. } = &entry.what else { return };
        let known = self.strays.contains_key(call_id);
        let begins = || {
            let glance = Glance::new(text);
            // In a dialog it is a call's that has been forgotten.
            glance.method == Some("INVITE") && !glance.to.contains(";tag=")
        };
        if !known && (self.strays.len() >= MAX_STRAYS || !begins()) {
            return;
        }
        let Some(mut event) = describe::event(entry) else { return };
        let stray = self
            .strays
            .entry(call_id.into())
            .or_insert_with(|| Stray { since: now, events: Vec::new() });
        if stray.events.len() < MAX_STRAY {
            super::lines::cut(&mut event);
            stray.events.push((entry.at, event));
        }
    }

    fn claim(&mut self, call_id: &str, entry: &Entry) {
        let Some((call, page)) =
            entry.about.call.as_ref().and_then(|call| Some((call, self.pages.get_mut(call)?)))
        else {
            return;
        };
        let calls = self.legs.entry(call_id.into()).or_default();
        if calls.len() >= MAX_SHARED || calls.contains(call) {
            return;
        }
        calls.push(Arc::clone(call));
        if !page.record.sip_call_ids.iter().any(|known| known == call_id) {
            page.record.sip_call_ids.push(call_id.to_owned());
        }
        if let Some(stray) = self.strays.remove(call_id) {
            for (at, event) in stray.events {
                page.lines.push(at, event);
            }
        }
    }

    // DNs.

    fn note_dn(&mut self, entry: &Entry, now: Instant, text: impl FnOnce() -> String) {
        let Some(user) = &entry.about.user else { return };
        self.dns.note(user, now, unix_ms(entry.at), text());
    }

    /// The last that happened to a DN, the oldest first.
    pub fn of_dn(&self, dn: &str) -> Vec<DnEvent> {
        self.dns.of(dn)
    }

    // The end.

    /// Takes the calls whose time has come. With `all`, every one that has ended.
    pub fn sweep(&mut self, now: Instant, all: bool) -> Vec<Arc<FinishedCall>> {
        self.strays.retain(|_, stray| now.saturating_duration_since(stray.since) < STRAY);
        self.dns.sweep(now);
        let due = |page: &Page| {
            page.ended.is_some_and(|at| all || now.saturating_duration_since(at) >= LINGER)
        };
        let due: Vec<Arc<str>> =
            self.pages.iter().filter(|(_, page)| due(page)).map(|(id, _)| Arc::clone(id)).collect();
        let mut finished: Vec<Arc<FinishedCall>> = due
            .iter()
            .filter_map(|call| {
                let page = self.pages.remove(call)?;
                for leg in &page.record.sip_call_ids {
                    if let Some(calls) = self.legs.get_mut(leg.as_str()) {
                        calls.retain(|other| other != call);
                        if calls.is_empty() {
                            self.legs.remove(leg.as_str());
                        }
                    }
                }
                let (quality, left_out) = (page.sound.to_vec(), page.lines.left_out());
                let timeline = Timeline { events: page.lines.into_vec(), quality, left_out };
                Some(Arc::new(FinishedCall { record: page.record, timeline }))
            })
            .collect();
        finished.sort_by_key(|call| call.record.ended);
        for call in &finished {
            if self.recent.len() == MAX_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(Arc::clone(call));
        }
        finished
    }

    // Looking.

    /// By our own id, the SIP Call-ID, the CallUUID, the DN, or the client's own id: then the latest call,
    /// one that is live before one that is over.
    pub fn find(&self, key: &str) -> Option<CallView> {
        let by_leg = || self.pages.get(self.legs.get(key)?.first()?);
        let latest = |fits: &dyn Fn(&CallRecord) -> bool| {
            let pages = self.pages.values().filter(|page| fits(&page.record));
            pages.max_by_key(|page| (page.ended.is_none(), page.record.started))
        };
        let page = self
            .pages
            .get(key)
            .or_else(by_leg)
            .or_else(|| latest(&|record| record.call_uuid.as_deref() == Some(key)))
            .or_else(|| latest(&|record| record.user == key))
            .or_else(|| latest(&|record| record.agent_id.as_deref() == Some(key)));
        if let Some(page) = page {
            return Some(page.view());
        }
        let recent = |fits: &dyn Fn(&CallRecord) -> bool| {
            self.recent.iter().rev().find(|call| fits(&call.record))
        };
        let found = recent(&|record| record.call == key)
            .or_else(|| recent(&|record| record.sip_call_ids.iter().any(|id| id == key)))
            .or_else(|| recent(&|record| record.call_uuid.as_deref() == Some(key)))
            .or_else(|| recent(&|record| record.user == key))
            .or_else(|| recent(&|record| record.agent_id.as_deref() == Some(key)))?;
        Some(CallView::from(FinishedCall::clone(found)))
    }

    /// Calls, bytes of their lines, DNs: for measuring.
    pub fn sizes(&self) -> (usize, usize, usize) {
        let bytes = self.pages.values().map(|page| page.lines.bytes()).sum();
        (self.pages.len(), bytes, self.dns.len())
    }
}

impl Page {
    fn add(&mut self, entry: &Entry) {
        if let Some(event) = describe::event(entry) {
            self.lines.push(entry.at, event);
        }
    }

    /// Digits that follow one another are one line with a count. False for the first.
    fn another_digit(&mut self, from_sip: bool) -> bool {
        use super::event::{Party, Scalar};
        let from = if from_sip { Party::Sip } else { Party::Browser };
        let Some(last) = self.lines.last() else { return false };
        if last.kind != Kind::Dtmf || last.from != Some(from) {
            return false;
        }
        let count = match last.detail.get("digits") {
            Some(Scalar::Integer(count)) => u64::try_from(*count).unwrap_or(0) + 1,
            _ => 1,
        };
        last.detail.set("digits", count);
        true
    }

    fn view(&self) -> CallView {
        let mut record = self.record.clone();
        if let (None, Some(stats)) = (self.ended, self.sound.last()) {
            record.browser =
                LegRecord::new(stats.browser_rtt, &stats.from_browser, &stats.to_browser);
            record.sip = LegRecord::new(stats.sip_rtt, &stats.from_sip, &stats.to_sip);
            record.sip_encrypted = stats.sip_encrypted;
        }
        let timeline = Timeline {
            events: self.lines.to_vec(),
            quality: self.sound.to_vec(),
            left_out: self.lines.left_out(),
        };
        CallView { record, state: self.state, timeline }
    }
}

impl From<FinishedCall> for CallView {
    fn from(FinishedCall { record, timeline }: FinishedCall) -> Self {
        Self { record, state: "ended", timeline }
    }
}
