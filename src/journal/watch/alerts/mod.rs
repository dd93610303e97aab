//! What wants somebody's attention. Pure: looks at the gateway and instants go in, alerts come out.
//!
//! Each watcher says which conditions hold now, with a hysteresis of its own so that none flickers; what
//! was raised and what is over is the difference to what stood before.

mod certificates;
mod ports;
mod registration;
mod servers;
mod sign_in;
mod silence;
mod turn;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::clock::millis;
use crate::agent::{Alert, EndReason, SipServerStatus};
use crate::tls::CertificateState;
use crate::turn::RanOut;

pub use silence::{BrowserPath, CallLook, SideLook};

/// What the gateway looks like at an instant, as far as alerts go.
#[derive(Debug, Default)]
pub struct Look {
    /// DNs that are signed in and not registered, of all that were.
    pub unregistered: Vec<Unregistered>,
    pub calls: Vec<CallLook>,
    pub servers: Vec<SipServerStatus>,
    /// Why there is no SIP server to go to.
    pub no_server: Option<String>,
    pub free_ports: u64,
    pub ports: u64,
    /// Of each port that shows one.
    pub certificates: Vec<CertificateState>,
    /// What the TURN server ran out of since its start.
    pub turn: RanOut,
}

/// A DN whose registration fails.
#[derive(Debug, Clone)]
pub struct Unregistered {
    pub dn: String,
    /// The last answer to a REGISTER, as in `403 Forbidden`.
    pub reason: String,
}

/// Something that is so now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    kind: &'static str,
    /// Tells those of a kind apart.
    subject: String,
    critical: bool,
    text: String,
    /// How long it has been so.
    lasting: Duration,
    dn: Option<String>,
    call: Option<String>,
}

impl Condition {
    fn new(kind: &'static str, subject: impl Into<String>, text: String) -> Self {
        let (dn, call) = (None, None);
        let (critical, lasting) = (false, Duration::ZERO);
        Condition { kind, subject: subject.into(), critical, text, lasting, dn, call }
    }
}

/// An alert that has just been raised, or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub alert: Alert,
    pub raised: bool,
}

pub(super) struct Alerts {
    registrations: registration::Watcher,
    silence: silence::Watcher,
    servers: servers::Watcher,
    ports: ports::Watcher,
    certificates: certificates::Watcher,
    turn: turn::Watcher,
    sign_in: sign_in::Watcher,
    store: Option<String>,
    clock: Option<String>,
    /// With what tells those of a kind apart, the oldest first.
    standing: Vec<(String, Alert)>,
}

impl Alerts {
    /// `silence`: how long a side may say nothing that is expected to.
    pub fn new(silence: Duration) -> Self {
        Alerts {
            registrations: Default::default(),
            silence: silence::Watcher::new(silence),
            servers: Default::default(),
            ports: Default::default(),
            certificates: Default::default(),
            turn: Default::default(),
            sign_in: Default::default(),
            store: None,
            clock: None,
            standing: Vec::new(),
        }
    }

    pub fn set_silence(&mut self, silence: Duration) {
        self.silence.set_limit(silence);
    }

    pub fn standing(&self) -> Vec<Alert> {
        self.standing.iter().map(|(_, alert)| alert.clone()).collect()
    }

    pub fn handle_registered(&mut self, dn: &str) {
        self.registrations.registered(dn);
    }

    pub fn handle_session_ended(&mut self, dn: &str, why: EndReason, now: Instant) {
        self.registrations.session_ended(dn, why, now);
    }

    pub fn handle_refused_sign_in(&mut self, remote: IpAddr, now: Instant) {
        self.sign_in.refused(remote, now);
    }

    pub fn handle_store(&mut self, fault: Option<&str>) {
        self.store = fault.map(str::to_owned);
    }

    pub fn handle_clock(&mut self, fault: Option<&str>) {
        self.clock = fault.map(str::to_owned);
    }

    /// Once a second. `unix_ms` is the time of `now`.
    pub fn look(&mut self, look: &Look, now: Instant, unix_ms: u64) -> Vec<Change> {
        let mut conditions = self.servers.look(&look.servers, look.no_server.as_deref(), now);
        conditions.extend(self.ports.look(look.free_ports, look.ports, now));
        conditions.extend(self.certificates.look(&look.certificates, now, unix_ms));
        conditions.extend(self.turn.look(&look.turn, now));
        conditions.extend(self.store.iter().map(|fault| store(fault)));
        conditions
            .extend(self.clock.iter().map(|fault| Condition::new("clock", "", fault.clone())));
        conditions.extend(self.registrations.look(&look.unregistered, now));
        conditions.extend(self.silence.look(&look.calls, now));
        conditions.extend(self.sign_in.look(now));
        self.compare(conditions, unix_ms)
    }

    fn compare(&mut self, conditions: Vec<Condition>, unix_ms: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.standing.retain(|(subject, alert)| {
            let holds = conditions.iter().any(|c| c.kind == alert.kind && c.subject == *subject);
            if !holds {
                changes.push(Change { alert: alert.clone(), raised: false });
            }
            holds
        });
        for condition in conditions {
            let severity = if condition.critical { "critical" } else { "warning" };
            let known = self.standing.iter_mut().find(|(subject, alert)| {
                alert.kind == condition.kind && *subject == condition.subject
            });
            if let Some((_, alert)) = known {
                (alert.text, alert.severity) = (condition.text, severity);
                continue;
            }
            let Condition { kind, subject, text, lasting, dn, call, .. } = condition;
            let since = unix_ms.saturating_sub(millis(lasting));
            let alert = Alert { kind, severity, text, since, dn, call };
            changes.push(Change { alert: alert.clone(), raised: true });
            self.standing.push((subject, alert));
        }
        changes
    }
}

fn store(fault: &str) -> Condition {
    let text = format!(
        "finished calls are not kept: {fault}; the calls themselves go on, and their records stand in the \
         log"
    );
    Condition::new("store", "", text)
}

/// Many of a kind are one. Few again only when they are half as many, so that one more or less does not
/// change it back and forth.
fn fold(folded: &mut bool, count: usize, limit: usize) -> bool {
    *folded = count > if *folded { limit / 2 } else { limit };
    *folded
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_alert_is_raised_once_follows_what_it_tells_and_is_over_once() {
        let mut alerts = Alerts::new(seconds(3));
        let start = Instant::now();
        let look = |free_ports| Look { free_ports, ports: 100, ..Look::default() };
        assert_eq!(alerts.look(&look(50), start, 1000), []);
        let raised = alerts.look(&look(9), start + seconds(1), 2000);
        let [Change { alert, raised: true }] = raised.as_slice() else { panic!("{raised:?}") };
        assert_eq!((alert.kind, alert.severity, alert.since), ("ports", "warning", 2000));
        assert_eq!(alerts.look(&look(0), start + seconds(2), 3000), [], "it stands already");
        let standing = alerts.standing();
        assert_eq!(
            (standing.len(), standing[0].severity, standing[0].since),
            (1, "critical", 2000)
        );
        let over = alerts.look(&look(60), start + seconds(3), 4000);
        assert_eq!(over, [Change { alert: standing[0].clone(), raised: false }]);
        assert_eq!((alerts.standing(), alerts.look(&look(60), start + seconds(4), 5000)), {
            (vec![], vec![])
        });
    }

    #[test]
    fn a_store_that_cannot_keep_calls_is_told() {
        let mut alerts = Alerts::new(seconds(3));
        let (look, now) = (Look { free_ports: 1, ports: 1, ..Look::default() }, Instant::now());
        alerts.handle_store(Some("the disk is full"));
        let raised = alerts.look(&look, now, 0);
        assert!(raised.len() == 1 && raised[0].alert.text.contains("the disk is full"));
        alerts.handle_store(None);
        assert!(!alerts.look(&look, now, 0)[0].raised);
    }
}
