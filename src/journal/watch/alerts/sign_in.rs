//! Sign-ins that are refused: somebody guesses, or a password was changed on one side only.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Condition;

/// What counts as lately.
const LATELY: Duration = Duration::from_secs(60);

/// So many in that time are told. Who mistypes does so a few times, and is slowed down.
const MANY: usize = 20;

/// Over when there are fewer.
const FEW: usize = 5;

/// Those that are remembered: an address and an instant each.
const MOST: usize = 1000;

#[derive(Default)]
pub(super) struct Watcher {
    refused: VecDeque<(Instant, IpAddr)>,
    since: Option<Instant>,
}

impl Watcher {
    pub fn refused(&mut self, remote: IpAddr, now: Instant) {
        if self.refused.len() == MOST {
            self.refused.pop_front();
        }
        self.refused.push_back((now, remote));
    }

    pub fn look(&mut self, now: Instant) -> Option<Condition> {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= LATELY;
        while self.refused.front().is_some_and(|(at, _)| is_old(*at)) {
            self.refused.pop_front();
        }
        let count = self.refused.len();
        if count < if self.since.is_some() { FEW } else { MANY } {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let addresses: HashSet<IpAddr> = self.refused.iter().map(|(_, remote)| *remote).collect();
        let whence = match (addresses.len(), addresses.iter().next()) {
            (1, Some(only)) => only.to_string(),
            (many, _) => format!("{many} addresses"),
        };
        let text = format!(
            "{count} sign-ins were refused within a minute, from {whence}: somebody guesses passwords, or \
             one was changed at the SIP server only; each address is slowed down by itself"
        );
        let lasting = now.saturating_duration_since(since);
        Some(Condition { lasting, ..Condition::new("sign_in", "", text) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::seconds;
    use super::*;

    #[test]
    fn many_within_a_minute_are_told_until_they_are_few() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let from = |n: u8| IpAddr::from([192, 0, 2, n]);
        for n in 0..19 {
            watcher.refused(from(1), start + seconds(n));
        }
        assert_eq!(watcher.look(start + seconds(19)), None);
        watcher.refused(from(1), start + seconds(20));
        let told = watcher.look(start + seconds(20)).unwrap();
        assert!(told.text.starts_with("20 sign-ins were refused within a minute, from 192.0.2.1"));
        watcher.refused(from(2), start + seconds(20));
        assert!(watcher.look(start + seconds(21)).unwrap().text.contains("from 2 addresses"));
        assert!(watcher.look(start + seconds(70)).is_some(), "ten are left");
        assert_eq!(watcher.look(start + seconds(77)), None);
        assert!(watcher.look(start + seconds(78)).is_none() && watcher.refused.len() < FEW);
    }

    #[test]
    fn a_flood_costs_no_memory() {
        let (mut watcher, now) = (Watcher::default(), Instant::now());
        for n in 0..5000u32 {
            watcher.refused(IpAddr::from(n.to_be_bytes()), now);
        }
        assert_eq!(watcher.refused.len(), MOST);
    }
}
