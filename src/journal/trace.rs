//! The SIP of single DNs in the log, switched on and off at run time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::describe;
use super::event::TimelineEvent;
use super::record::unix_ms;
use super::sip::Glance;
use super::{Entry, What};

/// DNs at a time: a trace is for looking at one agent's trouble, not at a day of all of them.
pub const MAX_TRACED: usize = 32;

/// For how long one may be left on; it ends by itself then.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Call-IDs of a DN's own that are followed: answers and in-dialog requests name others, too.
const MAX_CALL_IDS: usize = 64;

/// Bytes of a DN's messages that stay to be looked at: some hundred of them. The log has them all.
const MAX_KEPT: usize = 256 * 1024;

/// Which DNs are traced, until when.
#[derive(Default)]
pub struct Traces {
    traced: Mutex<HashMap<String, Followed>>,
}

struct Followed {
    until: Instant,
    call_ids: VecDeque<String>,
    kept: VecDeque<TimelineEvent>,
    bytes: usize,
}

impl Followed {
    fn keep(&mut self, event: TimelineEvent) {
        self.bytes += event.size();
        self.kept.push_back(event);
        while self.bytes > MAX_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.size();
        }
    }
}

/// There are `MAX_TRACED` already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TRACED} DNs are traced already; switch one of them off first")]
pub struct TooMany;

impl Traces {
    /// Once more for the same DN sets its time anew. `time` is cut to [`LONGEST`].
    ///
    /// # Errors
    /// As many are traced as can be.
    pub fn start(&self, dn: &str, time: Duration, now: Instant) -> Result<(), TooMany> {
        let mut traced = self.lock();
        traced.retain(|_, one| one.until > now);
        if traced.len() >= MAX_TRACED && !traced.contains_key(dn) {
            return Err(TooMany);
        }
        let until = now + time.min(LONGEST);
        let (call_ids, kept) = (VecDeque::new(), VecDeque::new());
        let fresh = Followed { until, call_ids, kept, bytes: 0 };
        traced.entry(dn.to_owned()).or_insert(fresh).until = until;
        Ok(())
    }

    /// Whether it was on.
    pub fn stop(&self, dn: &str) -> bool {
        self.lock().remove(dn).is_some()
    }

    /// How long it will go on.
    pub fn left(&self, dn: &str, now: Instant) -> Option<Duration> {
        let traced = self.lock();
        let until = traced.get(dn)?.until;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Those that are traced now and until when, by DN.
    pub fn standing(&self, now: Instant) -> Vec<(String, Instant)> {
        let traced = self.lock();
        let now_on = traced.iter().filter(|(_, one)| one.until > now);
        let mut standing: Vec<_> = now_on.map(|(dn, one)| (dn.clone(), one.until)).collect();
        standing.sort();
        standing
    }

    /// The traced DNs that a message is about, by a number in it or by its Call-ID.
    fn whose(&self, glance: &Glance<'_>, now: Instant) -> Vec<String> {
        let mut traced = self.lock();
        let mut theirs = Vec::new();
        traced.retain(|_, one| one.until > now);
        for (dn, one) in traced.iter_mut() {
            let known = one.call_ids.iter().any(|id| id == glance.call_id);
            if known || glance.users().any(|user| user == dn) {
                if !known {
                    if one.call_ids.len() == MAX_CALL_IDS {
                        one.call_ids.pop_front();
                    }
                    one.call_ids.push_back(glance.call_id.to_owned());
                }
                theirs.push(dn.clone());
            }
        }
        theirs
    }

    /// What was traced of a DN since it was switched on, as much as fits.
    pub fn messages(&self, dn: &str) -> Vec<TimelineEvent> {
        self.lock().get(dn).map(|one| one.kept.iter().cloned().collect()).unwrap_or_default()
    }

    /// Into the log if it is about a traced DN: level info, target `sip_trace`.
    pub(super) fn show(&self, glance: &Glance<'_>, entry: &Entry, now: Instant) {
        let What::Sip { inbound, transport, peer, text, .. } = &entry.what else { return };
        let theirs = self.whose(glance, now);
        if theirs.is_empty() {
            return;
        }
        let dn = theirs.join(",");
        let direction = if *inbound { "in" } else { "out" };
        let call_id = glance.call_id;
        tracing::info!(target: "sip_trace", dn, direction, transport, %peer, call_id, "\n{text}");
        let Some(mut event) = describe::event(entry) else { return };
        event.at = unix_ms(entry.at);
        let mut traced = self.lock();
        for dn in theirs {
            if let Some(one) = traced.get_mut(&dn) {
                one.keep(event.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        self.traced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTER: &str = "REGISTER sip:h SIP/2.0\r\nFrom: <sip:5001@h>\r\nTo: <sip:5001@h>\r\n\
                            Call-ID: r\r\nCSeq: 1 REGISTER\r\n\r\n";
    const ANSWER: &str = "SIP/2.0 200 OK\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\r\n";

    #[test]
    fn a_dn_is_traced_until_its_time_is_over() {
        let (traces, now) = (Traces::default(), Instant::now());
        let whose = |text: &str, at| traces.whose(&Glance::new(text), at).pop();
        assert_eq!(whose(REGISTER, now), None);
        traces.start("5001", Duration::from_secs(60), now).unwrap();
        assert_eq!(whose(ANSWER, now), None, "nothing says that it is this DN's");
        assert_eq!(whose(REGISTER, now).as_deref(), Some("5001"));
        assert_eq!(whose(ANSWER, now).as_deref(), Some("5001"), "by its Call-ID");
        assert_eq!(traces.left("5001", now), Some(Duration::from_secs(60)));
        let later = now + Duration::from_secs(60);
        assert_eq!((whose(REGISTER, later), traces.left("5001", later)), (None, None));
        assert!(traces.standing(now).is_empty());
        assert!(!traces.stop("5001"), "it has gone by itself");
    }

    /// A call between two agents who are both looked at: each has all of it, once.
    #[test]
    fn a_message_between_two_traced_dns_is_kept_for_both() {
        const INVITE: &str = "INVITE sip:5002@h SIP/2.0\r\nFrom: <sip:5001@h>\r\nTo: <sip:5002@h>\r\n\
                              Call-ID: i\r\nCSeq: 1 INVITE\r\n\r\n";
        let (traces, now) = (Traces::default(), Instant::now());
        for dn in ["5001", "5002", "5003"] {
            traces.start(dn, Duration::from_secs(60), now).unwrap();
        }
        for text in [INVITE, REGISTER] {
            let glance = Glance::new(text);
            let what = What::Sip {
                inbound: false,
                transport: "udp",
                local: "192.0.2.1:5060".parse().unwrap(),
                peer: "192.0.2.2:5060".parse().unwrap(),
                call_id: glance.call_id.to_owned(),
                text: text.into(),
            };
            let (at, about) = (std::time::SystemTime::now(), crate::journal::About::default());
            traces.show(&glance, &Entry { at, about, what }, now);
        }
        let titles = |dn: &str| -> Vec<String> {
            traces.messages(dn).iter().map(|event| event.title.to_string()).collect()
        };
        assert_eq!(titles("5001"), ["INVITE sip:5002@h", "REGISTER sip:h"]);
        assert_eq!(titles("5002"), ["INVITE sip:5002@h"]);
        assert_eq!(titles("5003"), [""; 0]);
        let until = now + Duration::from_secs(60);
        let standing = traces.standing(now);
        assert_eq!(standing, ["5001", "5002", "5003"].map(|dn| (dn.to_owned(), until)));
        assert!(traces.standing(until).is_empty());
    }

    #[test]
    fn so_many_and_so_long_at_most() {
        let (traces, now) = (Traces::default(), Instant::now());
        for n in 0..MAX_TRACED {
            traces.start(&n.to_string(), Duration::MAX, now).unwrap();
        }
        assert_eq!(traces.left("0", now), Some(LONGEST));
        assert_eq!(traces.start("more", LONGEST, now), Err(TooMany));
        assert_eq!(traces.start("0", LONGEST, now), Ok(()), "one that is on");
        assert!(traces.stop("0"));
        assert_eq!(traces.start("more", LONGEST, now), Ok(()));
    }
}
