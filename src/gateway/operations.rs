//! The gateway as its operators see it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::agent::{
    AgentStatus, Alert, Answer, Backend as _, CallStatus, Dialect, DnRegistration, EndReason,
    HistoryItem, Identity, NotReady, Operated, OperatedBy, OperationError, Operations,
    RegistrationBrief, RegistrationTotals, SeriesPoint, Session, SipServerStatus, Totals, TracedDn,
};
use crate::journal::watch::{Look, Share, Unregistered};
use crate::journal::{About, What};
use crate::sip::servers::ServerState;
use crate::sip::{RegistrationState, RegistrationStatus};
use crate::words::counted_len;

use super::certificates::Reminder;
use super::live::LiveCall;
use super::{Gateway, Life, Registration, Request, SIGN_OUT_LIMIT, Shared};

/// How often the gateway is looked at, for alerts and charts.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at the gateway once a second, whether or not somebody looks on.
pub(super) async fn watch_over(shared: Arc<Shared>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reminder = Reminder::default();
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shared.shutdown.cancelled() => return,
        }
        let (look, quality) = shared.look();
        reminder.look(&look.certificates, Instant::now(), SystemTime::now());
        let active = shared.live.len() as u64;
        for change in shared.watch.look(&look, active, quality) {
            let Alert { kind, severity, text, dn, call, .. } = change.alert;
            match change.raised {
                true => warn!(kind, severity, dn, call, text, "alert"),
                false => info!(kind, dn, call, text, "an alert is over"),
            }
            let about = About { user: dn.map(Arc::from), call: call.map(Arc::from) };
            shared.journal.note(about, What::Alert { kind, raised: change.raised, text });
        }
    }
}

/// Pairs of ports in the range: an even one, and the odd one after it.
pub(crate) fn port_pairs(range: &RangeInclusive<u16>) -> u64 {
    range.clone().filter(|port| port % 2 == 0 && *port > 0 && port < range.end()).count() as u64
}

impl Shared {
    fn look(&self) -> (Look, Share) {
        let mut quality = Share::default();
        let mut calls = Vec::new();
        for mut live in self.live.iter_mut() {
            let (call, live) = live.pair_mut();
            let (look, share) = live.look(call);
            calls.extend(look);
            quality += share;
        }
        let look = Look {
            unregistered: self.unregistered(),
            calls,
            servers: self.server_statuses(),
            no_server: self.no_server(),
            free_ports: self.engine.stats().free_ports,
            ports: self.ports,
            certificates: self.certificates.states(),
            turn: self.ice.stats().unwrap_or_default().ran_out,
        };
        (look, quality)
    }

    /// A DN whose first REGISTER fails was never registered: who signs in is told, and nobody else.
    fn unregistered(&self) -> Vec<Unregistered> {
        let failing = self.registrations.iter().filter(|entry| {
            entry.status.state == RegistrationState::Failing
                && self.sessions.by_ssid(entry.key()).is_some()
        });
        failing
            .map(|entry| Unregistered {
                dn: entry.dn.clone(),
                reason: last_reason(&entry.status).unwrap_or_else(|| "nothing".to_owned()),
            })
            .collect()
    }

    fn no_server(&self) -> Option<String> {
        match &*self.link.current.borrow() {
            Err(why) => Some(why.as_ref().to_owned()),
            Ok(current) => current.down.as_deref().map(str::to_owned),
        }
    }

    /// All are down. One that has never been heard of is tried nevertheless by those who sign in, for
    /// some never answer a ping; nobody is to be sent here for that.
    fn none_answers(&self) -> Option<String> {
        let servers = &self.servers.load().servers;
        let all_down = servers.iter().all(|server| server.state == ServerState::Down);
        // Without a name: everybody may ask.
        let text =
            "no SIP server answers; one that never answers OPTIONS wants sip.ping_seconds = 0";
        (all_down && !servers.is_empty()).then(|| text.to_owned())
    }

    fn server_statuses(&self) -> Vec<SipServerStatus> {
        let known = self.servers.load();
        let fault = |name: &str| known.unresolved.iter().find(|fault| fault.name == name);
        let addresses = known.servers.iter().map(|server| {
            let status = SipServerStatus {
                name: server.name.clone(),
                address: Some(server.hop.to_string()),
                up: match server.state {
                    ServerState::Unknown => None,
                    ServerState::Up => Some(true),
                    ServerState::Down => Some(false),
                },
                current: server.current,
                rtt_ms: server.rtt.and_then(|rtt| u64::try_from(rtt.as_millis()).ok()),
                reason: server.reason.clone(),
                name_fault: fault(&server.name).map(|fault| fault.reason.clone()),
                since: self.watch.unix_ms(server.since),
                pings: server.pings,
                pings_missed: server.pings_missed,
            };
            (server.tier, status)
        });
        let names = known.unresolved.iter().filter(|name| !name.has_addresses).map(|name| {
            let status = SipServerStatus {
                name: name.name.clone(),
                address: None,
                up: Some(false),
                current: false,
                rtt_ms: None,
                reason: Some(name.reason.clone()),
                name_fault: Some(name.reason.clone()),
                since: self.watch.unix_ms(name.since),
                pings: 0,
                pings_missed: 0,
            };
            (name.tier, status)
        });
        let mut all: Vec<(u32, SipServerStatus)> = addresses.chain(names).collect();
        all.sort_by_key(|(tier, _)| *tier);
        all.into_iter().map(|(_, status)| status).collect()
    }

    /// By identity: the state of its call, of the one that the browser is with rather than of another;
    /// and how many there are.
    fn lines(&self) -> HashMap<Identity, (&'static str, usize)> {
        let mut lines: HashMap<Identity, (&'static str, usize)> = HashMap::new();
        for live in &self.live {
            let line = lines.entry(live.identity.clone()).or_insert((live.state, 0));
            line.1 += 1;
            if live.is_active() {
                line.0 = live.state;
            }
        }
        lines
    }

    fn agent(
        &self,
        session: &Session,
        lines: &HashMap<Identity, (&'static str, usize)>,
        now: Instant,
    ) -> AgentStatus {
        let user = session.identity().user();
        let guest = matches!(session.identity(), Identity::Anonymous(_));
        let registration = self.registrations.get(session.ssid().expose());
        let status = registration.as_ref().map(|registration| &registration.status);
        let registered = status.filter(|status| status.state == RegistrationState::Registered);
        let (state, calls) = match lines.get(session.identity()) {
            Some((state, calls)) => (*state, *calls),
            None if !session.is_present(now) => ("absent", 0),
            None if !guest && registered.is_none() => ("unregistered", 0),
            None => ("ready", 0),
        };
        AgentStatus {
            dn: user.to_owned(),
            guest,
            id: session.client_id().unwrap_or(user).to_owned(),
            dialect: match session.dialect() {
                Dialect::Jsapi => "jsapi",
                Dialect::Rest => "rest",
            },
            registered_at: self.registered_at(registered),
            state,
            registration: status.map(|status| RegistrationBrief {
                status: word(status.state),
                last_reason: last_reason(status),
                server: status.server.to_string(),
            }),
            calls,
        }
    }

    fn registered_at(&self, status: Option<&RegistrationStatus>) -> Option<u64> {
        let status = status.filter(|status| status.state == RegistrationState::Registered)?;
        status.since.map(|since| self.watch.unix_ms(since))
    }

    fn registration(&self, registration: &Registration, now: Instant) -> DnRegistration {
        let Registration { dn, status } = registration;
        let settings = self.settings.load();
        let sip = &settings.config.sip;
        DnRegistration {
            dn: dn.clone(),
            aor: format!("sip:{dn}@{}", sip.domain),
            contact: status.contact.clone(),
            status: word(status.state),
            transport: status.server.transport.param(),
            expires_in: status.expires_at.map(|at| at.saturating_duration_since(now).as_secs()),
            user_agent: sip.user_agent.clone(),
            registered_at: self.registered_at(Some(status)),
            address: contact_address(&status.contact),
            server: status.server.to_string(),
            last_reason: last_reason(status),
        }
    }
}

impl Gateway {
    /// The id of the one call that goes on and is called so: by what [`Timelines::find`] knows a call by,
    /// in its order.
    ///
    /// [`Timelines::find`]: crate::journal::Timelines::find
    fn live_call(&self, id: &str) -> Result<String, OperationError> {
        let live = &self.shared.live;
        if live.contains_key(id) {
            return Ok(id.to_owned());
        }
        let seen = self.timelines().and_then(|timelines| timelines.find(id));
        let by_leg = seen.filter(|seen| seen.record.sip_call_ids.iter().any(|leg| leg == id));
        if let Some(seen) = by_leg.filter(|seen| live.contains_key(&seen.record.call)) {
            return Ok(seen.record.call);
        }
        let called = |fits: &dyn Fn(&LiveCall) -> bool| -> Vec<String> {
            let all = live.iter().filter(|live| fits(live.value()));
            all.map(|live| live.key().clone()).collect()
        };
        only([
            called(&|live| live.call_uuid.as_deref() == Some(id)),
            called(&|live| live.identity.user() == id),
            called(&|live| live.agent_id == id),
        ])
    }
}

/// Of the first that has some.
fn only<const N: usize>(found: [Vec<String>; N]) -> Result<String, OperationError> {
    let mut first = found.into_iter().find(|calls| !calls.is_empty()).unwrap_or_default();
    match (first.pop(), first.len()) {
        (None, _) => Err(OperationError::NoSuchCall),
        (Some(call), 0) => Ok(call),
        (Some(_), others) => Err(OperationError::SeveralCalls(others + 1)),
    }
}

impl Operations for Gateway {
    fn agents(&self) -> Vec<AgentStatus> {
        let (lines, now) = (self.shared.lines(), Instant::now());
        let all = self.shared.sessions.all();
        let mut all: Vec<AgentStatus> =
            all.iter().map(|session| self.shared.agent(session, &lines, now)).collect();
        all.sort_by(|a, b| (&a.dn, a.guest).cmp(&(&b.dn, b.guest)));
        all
    }

    fn registrations(&self) -> Vec<DnRegistration> {
        let now = Instant::now();
        Gateway::registrations(self)
            .iter()
            .map(|registration| self.shared.registration(registration, now))
            .collect()
    }

    fn calls(&self) -> Vec<CallStatus> {
        let unix_ms = |at| self.shared.watch.unix_ms(at);
        let live = self.shared.live.iter();
        let mut all: Vec<CallStatus> = live
            .map(|live| CallStatus {
                call_id: live.key().clone(),
                agent_id: live.agent_id.clone(),
                dn: live.identity.user().to_owned(),
                remote: live.remote.clone(),
                remote_name: live.remote_name.clone(),
                direction: if live.incoming { "incoming" } else { "outgoing" },
                state: live.state,
                call_uuid: live.call_uuid.clone(),
                started: unix_ms(live.started),
                answered: live.answered.map(unix_ms),
                quality: live.tracker.quality(),
            })
            .collect();
        all.sort_by(|a, b| (a.started, &a.call_id).cmp(&(b.started, &b.call_id)));
        all
    }

    fn servers(&self) -> Vec<SipServerStatus> {
        self.shared.server_statuses()
    }

    fn alerts(&self) -> Vec<Alert> {
        self.shared.watch.alerts()
    }

    fn traced(&self) -> Vec<TracedDn> {
        let Some(traces) = self.traces() else { return Vec::new() };
        let standing = traces.standing(Instant::now()).into_iter();
        standing.map(|(dn, at)| TracedDn { dn, until: self.shared.watch.unix_ms(at) }).collect()
    }

    fn totals(&self) -> Totals {
        let shared = &self.shared;
        Totals {
            agents: shared.sessions.len(),
            registered: shared.registered.load(Ordering::Relaxed),
            active_calls: shared.active_calls.load(Ordering::Relaxed),
            free_ports: shared.engine.stats().free_ports,
            ports: shared.ports,
            draining: self.life() != Life::Serving,
            ..shared.watch.totals()
        }
    }

    fn registration_totals(&self) -> RegistrationTotals {
        let currently_registered = self.shared.registered.load(Ordering::Relaxed) as u64;
        RegistrationTotals { currently_registered, ..self.shared.watch.registration_totals() }
    }

    fn history(&self, after: u64, most: usize) -> Vec<HistoryItem> {
        self.shared.watch.history(after, most)
    }

    fn series(&self, minutes: usize) -> Vec<SeriesPoint> {
        self.shared.watch.series(minutes)
    }

    fn not_ready(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        let draining = match self.life() {
            Life::Serving => None,
            Life::Draining { calls, .. } => {
                let go_on = if calls == 1 { "goes on" } else { "go on" };
                Some(format!("the gateway drains: {} {go_on}", counted_len(calls, "call")))
            }
            Life::Stopping => Some("the gateway is stopping".to_owned()),
        };
        reasons.extend(draining.map(|text| NotReady { code: "draining", text }));
        let no_server = match self.shared.no_server() {
            // Without the reason, which may have a name: everybody may ask.
            Some(_) => Some("no SIP server can be reached; the alerts say why".to_owned()),
            None => self.shared.none_answers(),
        };
        reasons.extend(no_server.map(|text| NotReady { code: "no_sip_server", text }));
        reasons
    }

    fn hang_up<'a>(
        &'a self,
        call: &'a str,
        by: OperatedBy,
    ) -> Answer<'a, Result<(), OperationError>> {
        Box::pin(async move {
            let call = self.live_call(call)?;
            let live = self.shared.live.get(&call);
            let found = live.map(|live| (live.agent.clone(), live.identity.clone()));
            let (agent, identity) = found.ok_or(OperationError::NoSuchCall)?;
            let (reply, answer) = oneshot::channel();
            let asked = agent.send(Request::HangUp { call: call.clone(), reply }).await;
            if asked.is_err() || !answer.await.unwrap_or(false) {
                return Err(OperationError::NoSuchCall);
            }
            let user = identity.user();
            self.shared.journal.note(About::call(user, &call), operated("hangup", by));
            Ok(())
        })
    }

    fn sign_out_dn<'a>(
        &'a self,
        dn: &'a str,
        by: OperatedBy,
    ) -> Answer<'a, Result<(), OperationError>> {
        Box::pin(async move {
            let session = self.shared.sessions.by_dn(dn).ok_or(OperationError::NoSuchDn)?;
            let agent = self.shared.agents.get(session.ssid().expose());
            let agent = agent.map(|agent| agent.clone());
            self.shared.journal.note(About::user(dn), operated("sign_out", by));
            session.end(EndReason::Dismissed);
            // It closes its queue when the SIP server has confirmed, or has not for too long.
            if let Some(agent) = agent
                && tokio::time::timeout(2 * SIGN_OUT_LIMIT, agent.closed()).await.is_err()
            {
                warn!(user = dn, "the SIP server did not confirm a sign-out");
            }
            Ok(())
        })
    }

    fn operated(&self, did: Operated, by: OperatedBy) {
        let act = did.word();
        let (about, detail) = match did {
            Operated::Trace { dn, .. } => (About::user(&dn), None),
            Operated::Log { level, seconds: None } => (About::default(), Some(level)),
            Operated::Log { level, seconds: Some(seconds) } => {
                (About::default(), Some(format!("{level} for {seconds} s")))
            }
            Operated::Reload | Operated::Drain => (About::default(), None),
        };
        let OperatedBy { name: by, remote } = by;
        self.shared.journal.note(about, What::Operated { act, detail, by, remote });
    }
}

fn operated(act: &'static str, by: OperatedBy) -> What {
    What::Operated { act, detail: None, by: by.name, remote: by.remote }
}

fn word(state: RegistrationState) -> &'static str {
    match state {
        RegistrationState::SignedOut => "signed_out",
        RegistrationState::Registering => "registering",
        RegistrationState::Registered => "registered",
        RegistrationState::Failing => "failing",
        RegistrationState::Refused => "refused",
    }
}

/// `403 Forbidden`.
fn last_reason(status: &RegistrationStatus) -> Option<String> {
    let code = status.last_code?;
    Some(match status.last_reason.as_deref().unwrap_or_default() {
        "" => code.to_string(),
        text => format!("{code} {text}"),
    })
}

/// Of `<sip:5001@192.0.2.1:5060;transport=tcp>`.
fn contact_address(contact: &str) -> Option<SocketAddr> {
    let (_, host) = contact.split_once('@')?;
    host.split(['>', ';', '?']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_is_meant_or_none() {
        let calls = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(only([calls(&[]), calls(&["a"]), calls(&["b", "c"])]), Ok("a".to_owned()));
        assert_eq!(only([calls(&["b", "c"]), calls(&["a"])]), Err(OperationError::SeveralCalls(2)));
        assert_eq!(only([calls(&[])]), Err(OperationError::NoSuchCall));
    }

    #[test]
    fn contacts_lead_somewhere() {
        for (contact, address) in [
            ("<sip:5001@192.0.2.1:5060>", Some("192.0.2.1:5060")),
            ("<sip:5001@192.0.2.1:5061;transport=tls>", Some("192.0.2.1:5061")),
            ("<sip:5001@[2001:db8::1]:5060>", Some("[2001:db8::1]:5060")),
            ("<sip:5001@gw.example>", None),
            ("", None),
        ] {
            assert_eq!(contact_address(contact), address.map(|a| a.parse().unwrap()), "{contact}");
        }
    }

    #[test]
    fn pairs_are_counted_as_the_pool_has_them() {
        for range in [20_000..=20_099, 20_001..=20_006, 7..=8, 65_534..=65_535, 0..=3] {
            let mut pool = crate::media::ports::PortPool::new(&range, Duration::ZERO);
            assert_eq!(port_pairs(&range), pool.available(Instant::now()) as u64, "{range:?}");
        }
    }
}
