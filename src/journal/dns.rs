//! What happened to DNs beside their calls. Those who have signed in are kept apart from those who only
//! tried: a stranger's guesses take nobody's history away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::DnEvent;

/// Recent events of a DN: some hundred bytes each, and an agent without trouble has two.
const MAX_EVENTS: usize = 16;

/// DNs that have signed in: more agents than a gateway takes.
const MAX_DNS: usize = 25_000;

/// DNs that only tried: enough to see why some cannot sign in, few enough to look through for the oldest.
const MAX_STRANGERS: usize = 1024;

/// How long a DN is remembered that nothing happens to.
const KEPT: Duration = Duration::from_secs(12 * 3600);

#[derive(Default)]
pub(super) struct Dns {
    known: HashMap<Arc<str>, Dn>,
    strangers: HashMap<Arc<str>, Dn>,
}

struct Dn {
    last: Instant,
    events: VecDeque<DnEvent>,
    /// Refusals since anything else happened: the last event stands for all of them.
    refusals: u32,
}

impl Dns {
    pub(super) fn note(&mut self, user: &Arc<str>, now: Instant, at: u64, text: String) {
        if !self.known.contains_key(user) {
            make_room(&mut self.known, MAX_DNS);
            let tried = self.strangers.remove(user).unwrap_or_else(|| Dn::new(now));
            self.known.insert(Arc::clone(user), tried);
        }
        if let Some(dn) = self.known.get_mut(user) {
            dn.refusals = 0;
            dn.push(now, at, text);
        }
    }

    /// Refusals that follow one another are one event, the latest, with their number.
    pub(super) fn note_refusal(&mut self, user: &Arc<str>, now: Instant, at: u64, text: String) {
        let dn = match self.known.get_mut(user) {
            Some(dn) => dn,
            None => {
                if !self.strangers.contains_key(user) {
                    make_room(&mut self.strangers, MAX_STRANGERS);
                }
                self.strangers.entry(Arc::clone(user)).or_insert_with(|| Dn::new(now))
            }
        };
        dn.refusals = dn.refusals.saturating_add(1);
        let text = match dn.refusals {
            1 => text,
            many => {
                dn.events.pop_back();
                format!("{text} ({many} in a row)")
            }
        };
        dn.push(now, at, text);
    }

    /// The oldest first.
    pub(super) fn of(&self, dn: &str) -> Vec<DnEvent> {
        let dn = self.known.get(dn).or_else(|| self.strangers.get(dn));
        dn.map(|dn| dn.events.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        let fresh = |_: &Arc<str>, dn: &mut Dn| now.saturating_duration_since(dn.last) < KEPT;
        self.known.retain(fresh);
        self.strangers.retain(fresh);
    }

    pub(super) fn len(&self) -> usize {
        self.known.len() + self.strangers.len()
    }
}

impl Dn {
    fn new(now: Instant) -> Self {
        Self { last: now, events: VecDeque::new(), refusals: 0 }
    }

    fn push(&mut self, now: Instant, at: u64, text: String) {
        self.last = now;
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(DnEvent { at, text: text.into() });
    }
}

/// Forgets the one that nothing has happened to for longest. A walk: where it is long it is rare.
fn make_room(dns: &mut HashMap<Arc<str>, Dn>, most: usize) {
    if dns.len() < most {
        return;
    }
    let oldest = dns.iter().min_by_key(|(_, dn)| dn.last).map(|(user, _)| Arc::clone(user));
    if let Some(oldest) = oldest {
        dns.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(dns: &Dns, dn: &str) -> Vec<String> {
        dns.of(dn).into_iter().map(|event| event.text.into()).collect()
    }

    #[test]
    fn a_flood_of_guesses_takes_nobodys_history() {
        let (mut dns, start) = (Dns::default(), Instant::now());
        let agent: Arc<str> = "5001".into();
        dns.note(&agent, start, 1, "signed in".into());
        for guess in 0..100_000u64 {
            let now = start + Duration::from_millis(guess);
            dns.note_refusal(&format!("guess{guess}").into(), now, guess, "refused".into());
            dns.note_refusal(&agent, now, guess, "refused".into());
        }
        assert_eq!(dns.len(), 1 + MAX_STRANGERS);
        assert_eq!(texts(&dns, "5001"), ["signed in", "refused (100000 in a row)"]);
        assert_eq!(texts(&dns, "guess99999"), ["refused"], "the latest are there");
        assert!(texts(&dns, "guess7").is_empty());
        // Another agent comes all the same, with what became of the first tries.
        let other: Arc<str> = "guess99999".into();
        dns.note(&other, start, 2, "signed in".into());
        assert_eq!(texts(&dns, "guess99999"), ["refused", "signed in"]);
        dns.sweep(start + KEPT + Duration::from_secs(200));
        assert_eq!(dns.len(), 0);
    }

    #[test]
    fn a_refusal_after_something_else_is_counted_anew() {
        let (mut dns, now) = (Dns::default(), Instant::now());
        let agent: Arc<str> = "5001".into();
        dns.note_refusal(&agent, now, 1, "refused".into());
        dns.note(&agent, now, 2, "signed in".into());
        dns.note_refusal(&agent, now, 3, "refused".into());
        assert_eq!(texts(&dns, "5001"), ["refused", "signed in", "refused"]);
    }
}
