//! DNs that were registered and are not any more.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::{Condition, Unregistered, fold};
use crate::agent::EndReason;

/// A refresh that has to be said twice is no trouble.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long it is told of a DN that was refused for good, unless it signs in again.
const LOST: Duration = Duration::from_secs(600);

/// DNs lost for good that are remembered; the others are in the history.
const MOST_LOST: usize = 1000;

/// More than these are one alert.
const FEW: usize = 3;

#[derive(Default)]
pub(super) struct Watcher {
    /// Since when, and the last answer.
    failing: HashMap<String, (Instant, String)>,
    lost: HashMap<String, (Instant, String)>,
    folded: bool,
}

impl Watcher {
    pub fn registered(&mut self, dn: &str) {
        self.failing.remove(dn);
        self.lost.remove(dn);
    }

    pub fn session_ended(&mut self, dn: &str, why: EndReason, now: Instant) {
        // The other session is registered, and said so before.
        if why == EndReason::Replaced {
            return;
        }
        let failing = self.failing.remove(dn);
        if why == EndReason::RegistrationLost && self.lost.len() < MOST_LOST {
            let reason = failing.map_or_else(|| "refused".to_owned(), |(_, reason)| reason);
            self.lost.insert(dn.to_owned(), (now, reason));
        } else {
            self.lost.remove(dn);
        }
    }

    pub fn look(&mut self, now_failing: &[Unregistered], now: Instant) -> Vec<Condition> {
        let age = |since: Instant| now.saturating_duration_since(since);
        let mut before = std::mem::take(&mut self.failing);
        for failing in now_failing {
            let (dn, reason) = (failing.dn.clone(), failing.reason.clone());
            let since = before.remove(&dn).map_or(now, |(since, _)| since);
            self.failing.insert(dn, (since, reason));
        }
        self.lost.retain(|_, (since, _)| age(*since) < LOST);
        let failing = self.failing.iter().filter(|(_, (since, _))| age(*since) >= PATIENCE);
        let mut told: Vec<_> = failing.map(|(dn, told)| (dn, told, false)).collect();
        told.extend(self.lost.iter().map(|(dn, told)| (dn, told, true)));
        told.sort_unstable_by_key(|(dn, _, _)| *dn);
        if fold(&mut self.folded, told.len(), FEW) {
            let lasting = told.iter().map(|(_, (since, _), _)| age(*since)).max();
            let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
            for (_, (_, reason), _) in &told {
                *reasons.entry(reason).or_default() += 1;
            }
            return vec![together(told.len(), reasons, lasting.unwrap_or_default())];
        }
        told.into_iter()
            .map(|(dn, (since, reason), lost)| {
                let next = match lost {
                    true => "its session is over; the agent has to sign in again",
                    false => "it is tried again; until then the agent cannot be called",
                };
                let text =
                    format!("DN {dn} is not registered: the SIP server says {reason}; {next}");
                Condition {
                    critical: lost,
                    lasting: age(*since),
                    dn: Some(dn.clone()),
                    ..Condition::new("registration", dn.as_str(), text)
                }
            })
            .collect()
    }
}

fn together(count: usize, reasons: BTreeMap<&str, usize>, lasting: Duration) -> Condition {
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let said: Vec<String> =
        reasons.iter().take(3).map(|(reason, count)| format!("{reason} ({count})")).collect();
    let text = format!(
        "{count} DNs are not registered and cannot be called; the SIP server says {}; those that are \
         signed in are tried again",
        said.join(", ")
    );
    // No DN is called so.
    let all = Condition::new("registration", "", text);
    Condition { critical: true, lasting, ..all }
}

#[cfg(test)]
mod tests {
    use super::super::tests::seconds;
    use super::*;

    fn failing(dns: std::ops::Range<u32>) -> Vec<Unregistered> {
        dns.map(|n| Unregistered {
            dn: (5000 + n).to_string(),
            reason: if n == 0 { "403 Forbidden" } else { "503 Service Unavailable" }.into(),
        })
        .collect()
    }

    #[test]
    fn a_dn_is_told_when_it_fails_for_a_while() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        assert_eq!(watcher.look(&failing(0..1), start), []);
        assert_eq!(watcher.look(&failing(0..1), start + seconds(2)), []);
        let told = watcher.look(&failing(0..1), start + seconds(3));
        assert_eq!((told.len(), told[0].dn.as_deref()), (1, Some("5000")));
        assert_eq!(told[0].lasting, seconds(3));
        assert!(told[0].text.contains("the SIP server says 403 Forbidden; it is tried again"));
        assert_eq!(watcher.look(&[], start + seconds(4)), []);
        assert_eq!(watcher.look(&failing(0..1), start + seconds(5)), [], "anew");
    }

    #[test]
    fn many_are_one_alert_until_they_are_few() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        watcher.look(&failing(0..500), start);
        let told = watcher.look(&failing(0..500), start + PATIENCE);
        assert_eq!(told.len(), 1);
        let text = &told[0].text;
        assert!(text.starts_with("500 DNs are not registered"), "{text}");
        assert!(text.contains("503 Service Unavailable (499), 403 Forbidden (1)"), "{text}");
        let count =
            |watcher: &mut Watcher, dns| watcher.look(&failing(dns), start + seconds(9)).len();
        assert_eq!(count(&mut watcher, 0..2), 1, "still together");
        assert_eq!(count(&mut watcher, 0..1), 1);
        assert_eq!(
            watcher.look(&failing(0..1), start + seconds(9))[0].subject,
            "5000",
            "by itself"
        );
    }

    #[test]
    fn a_dn_that_is_lost_is_told_until_it_signs_in_again_or_is_forgotten() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        watcher.session_ended("5001", EndReason::RegistrationLost, start);
        let told = watcher.look(&[], start);
        assert!(told[0].critical && told[0].text.contains("has to sign in again"), "{told:?}");
        // What the older of two sessions says is about neither.
        watcher.session_ended("5001", EndReason::Replaced, start);
        assert_eq!(watcher.look(&[], start).len(), 1);
        watcher.registered("5001");
        assert_eq!(watcher.look(&[], start), []);

        watcher.session_ended("5001", EndReason::RegistrationLost, start);
        assert_eq!(watcher.look(&[], start + LOST), []);
    }
}
