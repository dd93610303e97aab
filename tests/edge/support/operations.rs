//! A gateway as its operators see it, made by hand.

use std::sync::Mutex;

use wrtc_gateway::agent::{
    AgentStatus, Alert, Answer, CallStatus, DnRegistration, HistoryItem, LiveQuality, NotReady,
    Operated, OperatedBy, OperationError, Operations, RegistrationBrief, RegistrationTotals,
    SeriesPoint, SipServerStatus, Totals, TracedDn,
};

/// What it shows. A test changes it.
#[derive(Default)]
pub struct Shown {
    pub agents: Vec<AgentStatus>,
    pub registrations: Vec<DnRegistration>,
    pub calls: Vec<CallStatus>,
    pub servers: Vec<SipServerStatus>,
    pub alerts: Vec<Alert>,
    pub traced: Vec<TracedDn>,
    pub totals: Totals,
    pub registration_totals: RegistrationTotals,
    pub history: Vec<HistoryItem>,
    pub series: Vec<SeriesPoint>,
    pub not_ready: Vec<NotReady>,
    /// Whoever asks next for the history meets a panic.
    pub stumbles: bool,
    /// `hangup c1 NAME`, by the name of the token.
    pub orders: Vec<String>,
}

#[derive(Default)]
pub struct FakeOperations(pub Mutex<Shown>);

impl FakeOperations {
    pub fn change<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// The next item of the history.
    pub fn happens(&self, kind: &'static str, text: &str) {
        self.change(|shown| {
            let id = shown.history.last().map_or(1, |item| item.id + 1);
            let (text, dn, call) = (text.to_owned(), Some("5001".to_owned()), None);
            shown.history.push(HistoryItem { id, at: 1000 + id, kind, text, dn, call });
        });
    }
}

impl Operations for FakeOperations {
    fn agents(&self) -> Vec<AgentStatus> {
        self.change(|shown| shown.agents.clone())
    }

    fn registrations(&self) -> Vec<DnRegistration> {
        self.change(|shown| shown.registrations.clone())
    }

    fn calls(&self) -> Vec<CallStatus> {
        self.change(|shown| shown.calls.clone())
    }

    fn servers(&self) -> Vec<SipServerStatus> {
        self.change(|shown| shown.servers.clone())
    }

    fn alerts(&self) -> Vec<Alert> {
        self.change(|shown| shown.alerts.clone())
    }

    fn traced(&self) -> Vec<TracedDn> {
        self.change(|shown| shown.traced.clone())
    }

    fn totals(&self) -> Totals {
        self.change(|shown| shown.totals)
    }

    fn registration_totals(&self) -> RegistrationTotals {
        self.change(|shown| shown.registration_totals)
    }

    fn history(&self, after: u64, most: usize) -> Vec<HistoryItem> {
        let stumbles = self.change(|shown| std::mem::take(&mut shown.stumbles));
        assert!(!stumbles, "as the test has told it to");
        self.change(|shown| {
            let newer: Vec<_> = shown.history.iter().filter(|item| item.id > after).collect();
            let skipped = newer.len().saturating_sub(most);
            newer.into_iter().skip(skipped).cloned().collect()
        })
    }

    fn series(&self, minutes: usize) -> Vec<SeriesPoint> {
        self.change(|shown| {
            let skipped = shown.series.len().saturating_sub(minutes);
            shown.series[skipped..].to_vec()
        })
    }

    fn not_ready(&self) -> Vec<NotReady> {
        self.change(|shown| shown.not_ready.clone())
    }

    fn hang_up<'a>(
        &'a self,
        call: &'a str,
        by: OperatedBy,
    ) -> Answer<'a, Result<(), OperationError>> {
        Box::pin(async move {
            self.change(|shown| {
                shown.orders.push(format!("hangup {call} {}", by.name));
                let at = shown.calls.iter().position(|known| known.call_id == call);
                shown.calls.remove(at.ok_or(OperationError::NoSuchCall)?);
                Ok(())
            })
        })
    }

    fn sign_out_dn<'a>(
        &'a self,
        dn: &'a str,
        by: OperatedBy,
    ) -> Answer<'a, Result<(), OperationError>> {
        Box::pin(async move {
            self.change(|shown| {
                shown.orders.push(format!("sign_out {dn} {}", by.name));
                let at = shown.agents.iter().position(|known| known.dn == dn && !known.guest);
                shown.agents.remove(at.ok_or(OperationError::NoSuchDn)?);
                Ok(())
            })
        })
    }

    fn operated(&self, did: Operated, by: OperatedBy) {
        self.change(|shown| shown.orders.push(format!("{did:?} {}", by.name)));
    }
}

pub fn agent(dn: &str) -> AgentStatus {
    AgentStatus {
        dn: dn.to_owned(),
        guest: false,
        id: dn.to_owned(),
        dialect: "jsapi",
        registered_at: Some(1_700_000_000_123),
        state: "ready",
        registration: Some(RegistrationBrief {
            status: "registered",
            last_reason: Some("200 OK".to_owned()),
            server: "udp:192.0.2.9:5060".to_owned(),
        }),
        calls: 0,
    }
}

pub fn call(id: &str, dn: &str) -> CallStatus {
    CallStatus {
        call_id: id.to_owned(),
        agent_id: dn.to_owned(),
        dn: dn.to_owned(),
        remote: "1003".to_owned(),
        remote_name: None,
        direction: "outgoing",
        state: "established",
        call_uuid: None,
        started: 1_700_000_000_000,
        answered: Some(1_700_000_002_000),
        quality: LiveQuality { mos: Some(4.38), sip_loss_percent: Some(0.4), ..Default::default() },
    }
}
