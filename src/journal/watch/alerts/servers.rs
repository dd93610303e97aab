//! SIP servers that are down, and names of theirs that do not resolve.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Condition;
use crate::agent::SipServerStatus;

/// It has to be up for so long: one answer between two failures is no relief.
const STEADY: Duration = Duration::from_secs(5);

/// At the start names are looked up and servers pinged; that is no outage.
const PATIENCE: Duration = Duration::from_secs(3);

/// A look-up that failed is tried again after 5 s, 10 s and 20 s. While what was found before is used, one
/// lost answer is no trouble.
const NAME_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Watcher {
    /// By address, or by name where that stands for none: down since, and when it was last seen to be.
    down: HashMap<String, (Instant, Instant)>,
    /// Names that do not resolve any more, since then; their addresses are used.
    unresolved: HashMap<String, Instant>,
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
            self.down.entry(place(server).to_owned()).or_insert((now, now)).1 = now;
        }
        // A server that is not configured or resolved to any more is no trouble.
        self.down.retain(|at, (_, seen)| {
            let listed = servers.iter().find(|server| place(server) == at);
            listed.is_some_and(|server| server.up != Some(true))
                || listed.is_some() && now.saturating_duration_since(*seen) < STEADY
        });
        // One that was never heard of is tried nevertheless, and no less down for that.
        let none_is_up = servers
            .iter()
            .all(|server| server.up != Some(true) && self.down.contains_key(place(server)));
        let relief = match (no_server, none_is_up) {
            (Some(_), _) => Relief::None,
            (None, true) => Relief::Hope,
            (None, false) => Relief::Other,
        };
        let mut told: Vec<Condition> = servers
            .iter()
            .filter_map(|server| {
                let (since, _) = self.down.get(place(server))?;
                Some(condition(server, servers, relief, now.saturating_duration_since(*since)))
            })
            .collect();
        self.none = no_server.map(|_| self.none.unwrap_or(now));
        if let (Some(why), Some(since), true) = (no_server, self.none, told.is_empty()) {
            let lasting = now.saturating_duration_since(since);
            if lasting >= PATIENCE {
                let text = format!(
                    "no SIP server can be reached: {why}; nobody can call or be called, and new \
                     sign-ins are refused"
                );
                let none = Condition::new("sip_server", "", text);
                told.push(Condition { critical: true, lasting, ..none });
            }
        }
        told.extend(self.names(servers, now));
        told
    }

    fn names(&mut self, servers: &[SipServerStatus], now: Instant) -> Vec<Condition> {
        let mut before = std::mem::take(&mut self.unresolved);
        let mut told = Vec::new();
        for server in servers {
            let (Some(why), Some(_)) = (&server.name_fault, &server.address) else { continue };
            let name = &server.name;
            if self.unresolved.contains_key(name) {
                continue;
            }
            let since = before.remove(name).unwrap_or(now);
            self.unresolved.insert(name.clone(), since);
            let lasting = now.saturating_duration_since(since);
            if lasting >= NAME_PATIENCE {
                let text = format!(
                    "the name {name} in sip.servers does not resolve any more: {why}; what it stood for \
                     before is used, but a server that moves is not found: look at this host's DNS"
                );
                let condition = Condition::new("sip_server", format!("name {name}"), text);
                told.push(Condition { lasting, ..condition });
            }
        }
        told
    }
}

/// What is left when a server is down.
#[derive(Debug, Clone, Copy)]
enum Relief {
    /// Another one.
    Other,
    /// None is up, and who signs in is told by the first REGISTER.
    Hope,
    None,
}

/// What tells servers apart.
fn place(server: &SipServerStatus) -> &str {
    server.address.as_deref().unwrap_or(&server.name)
}

fn condition(
    server: &SipServerStatus,
    all: &[SipServerStatus],
    relief: Relief,
    lasting: Duration,
) -> Condition {
    let why = server.reason.as_deref().unwrap_or("it does not answer");
    let other = all.iter().find(|other| other.current && place(other) != place(server));
    let next = match (relief, other) {
        (Relief::None, _) => {
            "no other one is there: nobody can call or be called, new sign-ins are refused; all register \
             anew when it is back"
                .to_owned()
        }
        (Relief::Hope, _) => {
            "no SIP server is up: nobody can call or be called; each sign-in is tried nevertheless, for a \
             server that never answers OPTIONS wants sip.ping_seconds = 0"
                .to_owned()
        }
        (Relief::Other, Some(other)) => format!("all agents are at {} meanwhile", other.name),
        (Relief::Other, None) => "it is tried again".to_owned(),
    };
    let name = &server.name;
    let text = match &server.address {
        Some(address) => format!("the SIP server {name} ({address}) is down: {why}; {next}"),
        None => format!(
            "the name {name} in sip.servers does not resolve: {why}; correct it, or look at this host's \
             DNS; {next}"
        ),
    };
    let down = Condition::new("sip_server", place(server), text);
    Condition { critical: !matches!(relief, Relief::Other), lasting, ..down }
}

#[cfg(test)]
mod tests {
    use super::super::tests::seconds;
    use super::*;

    fn server(name: &str, up: Option<bool>, current: bool) -> SipServerStatus {
        SipServerStatus {
            name: name.into(),
            address: Some(format!("udp:{name}")),
            up,
            current,
            rtt_ms: None,
            reason: (up == Some(false)).then(|| "3 pings were not answered".into()),
            name_fault: None,
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
    fn a_name_that_does_not_resolve_is_told_and_where_the_agents_are() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let fault = Some("DNS knows no such name".to_owned());
        let nowhere = SipServerStatus {
            address: None,
            reason: fault.clone(),
            name_fault: fault.clone(),
            ..server("sip:a", Some(false), false)
        };
        let both = [nowhere.clone(), server("b", Some(true), true)];
        let told = watcher.look(&both, None, start);
        assert!(told.len() == 1 && !told[0].critical, "{told:?}");
        for words in
            ["the name sip:a in sip.servers does not resolve: DNS knows no such name;", "at b"]
        {
            assert!(told[0].text.contains(words), "{told:?}");
        }
        let told = watcher.look(&[nowhere], Some("no such name"), start + seconds(1));
        assert!(told.len() == 1 && told[0].critical, "{told:?}");
        assert_eq!(watcher.look(&both[1..], None, start + seconds(2)), [], "it resolves");

        // One that did, and does no more: its addresses are used, so that it has time.
        let mut old = [server("a", Some(true), true), server("a", Some(true), false)];
        old[1].address = Some("udp:a2".into());
        old.iter_mut().for_each(|server| server.name_fault = fault.clone());
        assert_eq!(watcher.look(&old, None, start + seconds(3)), []);
        let told = watcher.look(&old, None, start + seconds(3) + NAME_PATIENCE);
        assert!(told.len() == 1 && !told[0].critical && told[0].lasting == NAME_PATIENCE);
        assert!(told[0].text.contains("does not resolve any more"), "{told:?}");
        assert_eq!(watcher.look(&both[1..], None, start + seconds(40)), []);
    }

    #[test]
    fn without_any_it_is_critical_and_one_alert() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        let only = [server("a", Some(false), true)];
        let told = watcher.look(&only, Some("its pings are not answered"), start);
        assert!(told.len() == 1 && told[0].critical && told[0].subject == "udp:a", "{told:?}");
        assert!(told[0].text.contains("nobody can call or be called, new sign-ins are refused"));
        // One that was never heard of is worth a try for who signs in, and serves nobody.
        let mut watcher = Watcher::default();
        let two = [server("a", Some(false), true), server("b", Some(false), false)];
        let told = watcher.look(&two, None, start);
        assert!(told.len() == 2 && told.iter().all(|told| told.critical), "{told:?}");
        assert!(
            told[0].text.contains("no SIP server is up: nobody can call or be called"),
            "{told:?}"
        );
        // A pause of its pings makes it no better; another that is up does.
        let paused = [server("a", None, true), server("b", Some(false), false)];
        assert!(watcher.look(&paused, None, start + seconds(1)).iter().all(|told| told.critical));
        let better = [server("a", Some(false), false), server("b", Some(true), true)];
        let told = watcher.look(&better, None, start + seconds(2));
        assert!(!told[0].critical && told[0].text.contains("at b meanwhile"), "{told:?}");
        // Names that do not resolve: after a while.
        let mut watcher = Watcher::default();
        assert_eq!(watcher.look(&[], Some("no such name"), start), []);
        let told = watcher.look(&[], Some("no such name"), start + PATIENCE);
        assert!(told[0].critical && told[0].lasting == PATIENCE, "{told:?}");
        assert_eq!(watcher.look(&[server("a", None, true)], None, start + seconds(9)), []);
    }
}
