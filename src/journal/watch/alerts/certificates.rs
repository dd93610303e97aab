//! Certificates of our ports that end, and renewals that could not be read.

use std::collections::HashMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{Condition, millis};
use crate::tls::CertificateState;
use crate::words::counted;

/// Told so long before the end. The log says it a week earlier; who renews certificates has done so by
/// then.
const SOON: u64 = 7 * DAY;

/// In milliseconds.
const DAY: u64 = 86_400_000;

/// Certificate and key are written one after the other, and do not go together in between.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Watcher {
    /// By port.
    unread: HashMap<&'static str, Instant>,
}

impl Watcher {
    pub fn look(
        &mut self,
        states: &[CertificateState],
        now: Instant,
        unix_ms: u64,
    ) -> Vec<Condition> {
        let mut before = std::mem::take(&mut self.unread);
        let mut told = Vec::new();
        for state in states {
            told.extend(end(state, unix_ms));
            let Some(why) = &state.fault else { continue };
            let since = before.remove(state.port).unwrap_or(now);
            self.unread.insert(state.port, since);
            let lasting = now.saturating_duration_since(since);
            if lasting >= PATIENCE {
                let port = state.port;
                let text = format!(
                    "the certificate of {port} was changed and cannot be read: {why}; what was read before \
                     stays in use until it ends, and a restart would fail"
                );
                let condition = Condition::new("certificate", format!("{port} unread"), text);
                told.push(Condition { lasting, ..condition });
            }
        }
        told
    }
}

fn end(state: &CertificateState, unix_ms: u64) -> Option<Condition> {
    let port = state.port;
    let ends = millis(state.expires?.duration_since(UNIX_EPOCH).unwrap_or_default());
    let left = ends.saturating_sub(unix_ms);
    if left >= SOON {
        return None;
    }
    let over = left == 0;
    let when = match left / DAY {
        _ if over => "has run out".to_owned(),
        0 => "runs out within a day".to_owned(),
        days => format!("runs out in {}", counted(days, "day")),
    };
    let then = match (port, over) {
        ("http", true) => "browsers refuse the gateway's pages and API",
        ("http", false) => "then browsers refuse the gateway's pages and API",
        ("turn", true) => "browsers refuse TURN over TLS",
        ("turn", false) => "then browsers refuse TURN over TLS",
        (_, true) => "a SIP server that checks it refuses TLS with us",
        (_, false) => "then a SIP server that checks it refuses TLS with us",
    };
    let text = format!(
        "the certificate of {port} {when}; {then}: renew {}, which is read again when it changes",
        key(port)
    );
    Some(Condition { critical: over, ..Condition::new("certificate", port, text) })
}

fn key(port: &str) -> &'static str {
    match port {
        "http" => "http.tls_cert",
        "turn" => "turn.tls_cert (http.tls_cert where that is not given)",
        _ => "sip.tls_cert",
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::tests::seconds;
    use super::*;

    fn state(port: &'static str, ends_ms: u64, fault: Option<&str>) -> CertificateState {
        let expires: SystemTime = UNIX_EPOCH + Duration::from_millis(ends_ms);
        CertificateState { port, expires: Some(expires), fault: fault.map(str::to_owned) }
    }

    #[test]
    fn an_end_is_told_a_week_before_and_is_critical_when_it_is_there() {
        let (mut watcher, now, end) = (Watcher::default(), Instant::now(), 1000 * DAY);
        let both = [state("http", end, None), state("sip", end + 30 * DAY, None)];
        let mut told = |unix_ms| {
            let told = watcher.look(&both, now, unix_ms);
            told.into_iter()
                .map(|told| (told.subject, told.critical, told.text))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(end - SOON), []);
        let soon = told(end - SOON + 1);
        assert!(soon.len() == 1 && soon[0].0 == "http" && !soon[0].1, "{soon:?}");
        assert!(soon[0].2.contains("runs out in 6 days; then browsers refuse"), "{soon:?}");
        let last = told(end - 1);
        assert!(!last[0].1 && last[0].2.contains("within a day"), "{last:?}");
        let over = told(end);
        assert!(over[0].1 && over[0].2.contains("has run out; browsers refuse"), "{over:?}");
        assert!(over[0].2.contains("renew http.tls_cert"), "{over:?}");
        assert_eq!(told(end + 30 * DAY).len(), 2);
    }

    #[test]
    fn a_renewal_that_cannot_be_read_is_told_when_it_stays_so() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let bad = [state("turn", 1000 * DAY, Some("/key.pem: it does not go with it"))];
        let good = [state("turn", 1000 * DAY, None)];
        assert_eq!(watcher.look(&bad, start, 0), []);
        assert_eq!(watcher.look(&good, start + seconds(5), 0), [], "the key came a bit later");
        assert_eq!(watcher.look(&bad, start + seconds(10), 0), []);
        assert_eq!(watcher.look(&bad, start + seconds(39), 0), []);
        let told = watcher.look(&bad, start + seconds(40), 0);
        assert!(told.len() == 1 && !told[0].critical && told[0].lasting == PATIENCE, "{told:?}");
        assert!(told[0].text.contains("/key.pem: it does not go with it; what was read before"));
        assert_eq!(watcher.look(&good, start + seconds(41), 0), []);
    }
}
