//! What an operator looks at: recent history, alerts, totals, figures by the minute.
//!
//! The cores are pure; [`Watch`] has the lock and the clocks. It is told of entries as an observer, and
//! once a second of how the gateway looks.

mod alerts;
mod clock;
mod history;
mod quality;
mod series;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{CallRecord, Entry, Observer, What};
use crate::agent::{Alert, EndReason, HistoryItem, RegistrationTotals, SeriesPoint, Totals};

pub use alerts::{BrowserPath, CallLook, Change, Look, SideLook, Unregistered};
pub use quality::{Share, Tracker};

use alerts::Alerts;
use clock::Clock;
use history::History;
use series::Series;

/// What a guess at passwords ends with: [`crate::agent::SignInError::label`].
const GUESSES: [&str; 5] =
    ["credentials_refused", "token_unknown", "dn_forbidden", "dn_unknown", "too_many_tries"];

/// Different DNs that are told apart, 8 bytes each: five times what signs in at a time.
const MAX_DNS: usize = 100_000;

/// One per gateway. What is done under its lock takes microseconds, but for a look at thousands of calls.
pub struct Watch {
    clock: Clock,
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    history: History,
    series: Series,
    alerts: Alerts,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    sign_ins: u64,
    sign_ins_refused: u64,
    calls_started: u64,
    calls_answered: u64,
    calls_ended: u64,
    calls_failed: u64,
    registered: u64,
    unregistered: u64,
    registrations_lost: u64,
    dns: HashSet<u64>,
}

impl Watch {
    /// `silence`: how long a side of a call may say nothing though it is expected to, before that is an
    /// alert.
    pub fn new(silence: Duration) -> Arc<Watch> {
        let started = Instant::now();
        let clock = Clock::new(started, SystemTime::now());
        let inner = Inner {
            history: History::default(),
            series: Series::new(clock.unix_ms(started)),
            alerts: Alerts::new(silence),
            counts: Counts::default(),
        };
        Arc::new(Watch { clock, started, inner: Mutex::new(inner) })
    }

    /// Another time for [`Watch::new`]'s `silence`; alerts that stand are looked at again.
    pub fn set_silence(&self, silence: Duration) {
        self.lock().alerts.set_silence(silence);
    }

    /// Unix milliseconds, always the same of the same instant unless the system's clock was set.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        self.clock.unix_ms(at)
    }

    /// Once a second. What comes back is for the journal.
    pub fn look(&self, look: &Look, active: u64, quality: Share) -> Vec<Change> {
        let now = Instant::now();
        let step = self.clock.correct(now, SystemTime::now());
        let unix_ms = self.unix_ms(now);
        let mut inner = self.lock();
        if step != 0 {
            inner.series.clock_was_set(step);
        }
        inner.series.look(active, quality, unix_ms);
        inner.history.look(unix_ms);
        inner.alerts.look(look, now, unix_ms)
    }

    /// A call was answered, so long after its beginning.
    pub fn call_answered(&self, setup: Duration) {
        let now = self.unix_ms(Instant::now());
        let mut inner = self.lock();
        inner.counts.calls_answered += 1;
        inner.series.call_answered(clock::millis(setup), now);
    }

    pub fn alerts(&self) -> Vec<Alert> {
        self.lock().alerts.standing()
    }

    /// The `most` latest with an id above `after`, the oldest first.
    pub fn history(&self, after: u64, most: usize) -> Vec<HistoryItem> {
        self.lock().history.latest(after, most)
    }

    pub fn series(&self, minutes: usize) -> Vec<SeriesPoint> {
        let now = self.unix_ms(Instant::now());
        self.lock().series.points(minutes, now)
    }

    /// What was counted; what stands now is left for the caller.
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        let counts = &inner.counts;
        Totals {
            started: self.unix_ms(self.started),
            sign_ins: counts.sign_ins,
            sign_ins_refused: counts.sign_ins_refused,
            calls_started: counts.calls_started,
            calls_answered: counts.calls_answered,
            calls_ended: counts.calls_ended,
            calls_failed: counts.calls_failed,
            ..Totals::default()
        }
    }

    /// What was counted; what stands now is left for the caller.
    pub fn registration_totals(&self) -> RegistrationTotals {
        let inner = self.lock();
        let counts = &inner.counts;
        RegistrationTotals {
            successful: counts.registered,
            unregistrations: counts.unregistered,
            failed: counts.sign_ins_refused + counts.registrations_lost,
            unique_dns: counts.dns.len() as u64,
            currently_registered: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watch {
    fn observe(&self, entry: &Entry) {
        // The many that are none of its business cost no lock.
        if matches!(entry.what, What::Http { .. } | What::Sip { .. } | What::Quality(_)) {
            return;
        }
        let now = Instant::now();
        self.lock().take(entry, now, self.unix_ms(now));
    }
}

impl Inner {
    fn take(&mut self, entry: &Entry, now: Instant, unix_ms: u64) {
        self.history.take(entry);
        let user = entry.about.user.as_deref().unwrap_or_default();
        match &entry.what {
            What::SignedIn { .. } => self.counts.sign_ins += 1,
            What::SignInRefused { remote, fault, .. } => {
                self.counts.sign_ins_refused += 1;
                // Who finds the SIP server away, or the gateway leaving, guesses nothing.
                if GUESSES.contains(fault) {
                    self.alerts.handle_refused_sign_in(*remote, now);
                }
            }
            What::Registered { .. } => {
                self.counts.registered += 1;
                if self.counts.dns.len() < MAX_DNS {
                    let mut hash = DefaultHasher::new();
                    user.hash(&mut hash);
                    self.counts.dns.insert(hash.finish());
                }
                self.alerts.handle_registered(user);
            }
            What::SessionEnded { why } => {
                match why {
                    EndReason::Replaced | EndReason::Shutdown => {}
                    EndReason::RegistrationLost => self.counts.registrations_lost += 1,
                    _ => self.counts.unregistered += 1,
                }
                self.alerts.handle_session_ended(user, *why, now);
            }
            What::CallStarted { .. } => {
                self.counts.calls_started += 1;
                self.series.call_started(unix_ms);
            }
            What::CallEnded(record) => {
                let failed = has_failed(record);
                self.counts.calls_ended += 1;
                self.counts.calls_failed += u64::from(failed);
                self.series.call_ended(failed, unix_ms);
            }
            What::Store { fault } => self.alerts.handle_store(fault.as_deref()),
            What::Clock { fault } => self.alerts.handle_clock(fault.as_deref()),
            _ => {}
        }
    }
}

/// It came to nothing, and no person has wanted it so: not answered, and neither given up nor rejected,
/// busy or left ringing.
fn has_failed(record: &CallRecord) -> bool {
    record.answered.is_none()
        && record.ended_by != "browser"
        && !matches!(record.code, 200 | 480 | 486 | 487 | 600 | 603)
}

#[cfg(test)]
mod tests {
    use super::super::{About, Journal};
    use super::*;
    use crate::agent::Dialect;

    pub(super) fn record(answered: Option<u64>, ended_by: &str, code: u16) -> CallRecord {
        serde_json::from_value(serde_json::json!({
            "call": "c1", "sip_call_ids": [], "call_uuid": null, "user": "5001", "peer": "1003",
            "peer_name": null, "diverted_from": null, "incoming": false, "dialect": "jsapi",
            "started": 1000, "answered": answered, "ended": 9000, "setup_ms": null, "talked_ms": null,
            "ended_by": ended_by, "code": code, "reason": "x", "sip_reason": null, "transfer": null,
            "digits": 0, "holds": 0, "codec": null, "sip_encrypted": false, "silent": null,
            "browser": {"rtt_ms": null, "rx": stream(), "tx": stream()},
            "sip": {"rtt_ms": null, "rx": stream(), "tx": stream()}, "concealed": 0,
        }))
        .unwrap()
    }

    fn stream() -> serde_json::Value {
        serde_json::json!({"packets": 0, "bytes": 0, "lost": 0, "jitter_ms": 0.0, "mos": null,
            "mos_worst": null})
    }

    #[test]
    fn who_failed_and_who_was_merely_not_reached() {
        assert!(has_failed(&record(None, "network", 408)));
        assert!(
            has_failed(&record(None, "peer", 503)) && has_failed(&record(None, "gateway", 488))
        );
        for code in [480, 486, 487, 603] {
            assert!(!has_failed(&record(None, "peer", code)), "{code}");
        }
        assert!(!has_failed(&record(None, "browser", 487)));
        assert!(!has_failed(&record(Some(1), "network", 408)), "it was answered");
    }

    /// Whoever finds the SIP server away or the gateway leaving tries again and again, and guesses nothing.
    #[test]
    fn only_what_may_be_a_guess_is_an_alert() {
        use crate::agent::SignInError::*;
        let remote = [192, 0, 2, 1].into();
        let text = || String::from("x");
        let is_alert = |error: &crate::agent::SignInError| {
            let watch = Watch::new(Duration::from_secs(3));
            let journal = Journal::new(vec![watch.clone()]);
            for _ in 0..30 {
                let (fault, detail) = (error.label(), error.to_string());
                journal.note(About::default(), What::SignInRefused { remote, fault, detail });
            }
            assert_eq!(watch.totals().sign_ins_refused, 30, "{error}");
            let ports = Look { free_ports: 100, ports: 100, ..Look::default() };
            watch.look(&ports, 0, Share::default());
            watch.alerts().iter().any(|alert| alert.kind == "sign_in")
        };
        let wait = TooManyTries { retry_after_seconds: 1 };
        for guess in [Refused(text()), Token, Forbidden(text()), UnknownDn(text()), wait] {
            assert!(is_alert(&guess), "{guess}");
        }
        let leaving = Draining { retry_after_seconds: 5 };
        let others = [BadId(text()), IdInUse, leaving, Busy("full"), Unavailable(text()), NoAnswer];
        for other in others {
            assert!(!is_alert(&other), "{other}");
        }
    }

    #[test]
    fn counts_what_it_is_told() {
        let watch = Watch::new(Duration::from_secs(3));
        let journal = Journal::new(vec![watch.clone()]);
        let (dn, call) = (About::user("5001"), About::call("5001", "c1"));
        let remote = [192, 0, 2, 1].into();
        for _ in 0..2 {
            journal.note(dn.clone(), What::Registered { server: "udp:192.0.2.2:5060".into() });
            journal.note(dn.clone(), What::SignedIn { dialect: Dialect::Jsapi, remote });
            journal.note(dn.clone(), What::SessionEnded { why: EndReason::SignedOut });
        }
        let refused =
            What::SignInRefused { remote, fault: "credentials_refused", detail: "401".into() };
        journal.note(dn, refused);
        let started = What::CallStarted {
            agent_id: None,
            peer: "1003".into(),
            incoming: false,
            call_uuid: None,
        };
        journal.note(call.clone(), started);
        watch.call_answered(Duration::from_millis(700));
        journal.note(call, What::CallEnded(Box::new(record(None, "network", 408))));

        let totals = watch.registration_totals();
        assert_eq!((totals.successful, totals.unregistrations), (2, 2));
        assert_eq!((totals.failed, totals.unique_dns), (1, 1));
        let totals = watch.totals();
        assert_eq!((totals.sign_ins, totals.sign_ins_refused), (2, 1));
        assert_eq!((totals.calls_started, totals.calls_answered), (1, 1));
        assert_eq!((totals.calls_ended, totals.calls_failed), (1, 1));
        // It may be a new minute by now.
        let points = watch.series(2);
        assert_eq!(points.iter().map(|point| point.calls_started).sum::<u64>(), 1);
        assert_eq!(points.iter().filter_map(|point| point.setup_p50_ms).max(), Some(700));
        let kinds: Vec<_> = watch.history(0, 100).iter().map(|item| item.kind).collect();
        assert_eq!(kinds[..2], ["sign_in", "sign_out"]);
        assert_eq!(kinds[4..], ["sign_in_refused", "call_started", "call_ended"]);
    }
}
