//! SIP servers that are down.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Condition;
use crate::agent::SipServerStatus;

/// It has to be up for so long: one answer between two failures is no relief.
const STEADY: Duration = Duration::from_secs(5);

/// At the start names are looked up and servers pinged; that is no outage.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Watcher {
    /// By address: down since, and when it was last seen to be.
    down: HashMap<String, (Instant, Instant)>,
    /// No server to go to, since then.
    none: Option<Instant>,
}

impl Watcher {
    pub fn look(
        &mut self,
        servers: &[SipServerStatus],
        no_server: Option<&str>,
        now: Instant,
    ) -> Vec<Condition> {
        for server in servers.iter().filter(|server| server.up == Some(false)) {
            self.down.entry(server.address.clone()).or_insert((now, now)).1 = now;
        }
        // A server that is not configured or resolved to any more is no trouble.
        self.down.retain(|address, (_, seen)| {
            let listed = servers.iter().find(|server| server.address == *address);
            listed.is_some_and(|server| server.up != Some(true))
                || listed.is_some() && now.saturating_duration_since(*seen) < STEADY
        });
        let mut told: Vec<Condition> = servers
            .iter()
            .filter_map(|server| {
                let (since, _) = self.down.get(&server.address)?;
                Some(condition(server, servers, no_server, now.saturating_duration_since(*since)))
            })
            .collect();
        self.none = no_server.map(|_| self.none.unwrap_or(now));
        if let (Some(why), Some(since), true) = (no_server, self.none, told.is_empty()) {
            let lasting = now.saturating_duration_since(since);
            if lasting >= PATIENCE {
                let text = format!(
                    "no SIP server can be reached: {why}; no agent can be called, and new sign-ins are \
                     refused"
                );
                let none = Condition::new("sip_server", "", text);
                told.push(Condition { critical: true, lasting, ..none });
            }
        }
        told
    }
}

fn condition(
    server: &SipServerStatus,
    all: &[SipServerStatus],
    no_server: Option<&str>,
    lasting: Duration,
) -> Condition {
    let why = server.reason.as_deref().unwrap_or("it does not answer");
    let other = all.iter().find(|other| other.current && other.address != server.address);
    let next = match (no_server, other) {
        (Some(_), _) => {
            "no other one is there: agents cannot be called, new sign-ins are refused; all register \
             anew when it is back"
                .to_owned()
        }
        (None, Some(other)) => format!("all agents are at {} meanwhile", other.name),
        (None, None) => "it is tried again".to_owned(),
    };
    let text =
        format!("the SIP server {} ({}) is down: {why}; {next}", server.name, server.address);
    let down = Condition::new("sip_server", server.address.as_str(), text);
    Condition { critical: no_server.is_some(), lasting, ..down }
}

#[cfg(test)]
mod tests {
    use super::super::tests::seconds;
    use super::*;

    fn server(name: &str, up: Option<bool>, current: bool) -> SipServerStatus {
        SipServerStatus {
            name: name.into(),
            address: format!("udp:{name}"),
            up,
            current,
            rtt_ms: None,
            reason: (up == Some(false)).then(|| "3 pings were not answered".into()),
            since: 0,
            pings: 0,
            pings_missed: 0,
        }
    }

    #[test]
    fn a_server_that_is_down_is_told_and_where_the_agents_are_meanwhile() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let both = [server("a", Some(false), false), server("b", Some(true), true)];
        let told = watcher.look(&both, None, start);
        assert!(told.len() == 1 && !told[0].critical, "{told:?}");
        assert!(told[0].text.contains("3 pings were not answered; all agents are at b meanwhile"));
        // Up for a moment is not over.
        let up = [server("a", Some(true), false), server("b", Some(true), true)];
        assert_eq!(watcher.look(&up, None, start + seconds(1)).len(), 1);
        assert_eq!(watcher.look(&both, None, start + seconds(3)).len(), 1);
        assert_eq!(watcher.look(&up, None, start + seconds(7)).len(), 1);
        assert_eq!(watcher.look(&up, None, start + seconds(8)), []);
        assert_eq!(watcher.look(&both, None, start + seconds(9)).len(), 1);
        assert_eq!(watcher.look(&both[1..], None, start + seconds(10)), [], "taken off the list");
    }

    #[test]
    fn without_any_it_is_critical_and_one_alert() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let only = [server("a", Some(false), true)];
        let told = watcher.look(&only, Some("its pings are not answered"), start);
        assert!(told.len() == 1 && told[0].critical && told[0].subject == "udp:a", "{told:?}");
        // Names that do not resolve: after a while.
        let mut watcher = Watcher::default();
        assert_eq!(watcher.look(&[], Some("no such name"), start), []);
        let told = watcher.look(&[], Some("no such name"), start + PATIENCE);
        assert!(told[0].critical && told[0].lasting == PATIENCE, "{told:?}");
        assert_eq!(watcher.look(&[server("a", None, true)], None, start + seconds(9)), []);
    }
}
