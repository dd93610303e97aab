//! A call of the lab, from its first message to its report.

use std::time::Instant;

use super::bridge::{Bridge, Side};
use super::control::LegId;
use super::leg::PhoneLeg;
use super::report::{CallReport, Party, ReportedEnd, Way};
use super::tone::round;
use crate::sip::{End, EndedBy};

pub enum Kind {
    /// With a telephone of the lab, on side A.
    Phone(Box<PhoneLeg>),
    Bridge(Bridge),
}

/// The clock rang for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// It has rung long enough: answer.
    Answer,
    /// It has rung too long.
    GiveUp,
}

pub struct Call {
    pub id: u64,
    pub way: Way,
    pub number: String,
    pub caller: String,
    pub kind: Kind,
    pub a: LegId,
    pub b: Option<LegId>,
    pub started: Instant,
    pub answered: Option<Instant>,
    pub alarm: Option<(Instant, Alarm)>,
}

impl Call {
    pub fn leg(&self, side: Side) -> Option<LegId> {
        match side {
            Side::A => Some(self.a),
            Side::B => self.b,
        }
    }

    /// The DN at the other end of a telephone of the lab.
    pub fn dn(&self) -> &str {
        match self.way {
            Way::FromPhone => &self.caller,
            Way::FromLab => &self.number,
        }
    }

    pub fn phone(&self) -> Option<&PhoneLeg> {
        match &self.kind {
            Kind::Phone(phone) => Some(phone),
            Kind::Bridge(_) => None,
        }
    }

    /// Notes when the call was answered.
    pub fn note_answer(&mut self, now: Instant) {
        let answered = match &self.kind {
            Kind::Phone(phone) => phone.answered(),
            Kind::Bridge(bridge) => bridge.answered(),
        };
        if answered {
            self.answered.get_or_insert(now);
            self.alarm = None;
        }
    }

    /// What is left of it; `side` is the leg that ended first.
    pub fn report(&self, side: Side, end: &End, call_id: &str, now: Instant) -> CallReport {
        // On side A stands the caller, but when the lab calls it is the one called.
        let (this, other) = match (self.way, side) {
            (Way::FromPhone, Side::A) | (Way::FromLab, Side::B) => (Party::Caller, Party::Callee),
            (Way::FromPhone, Side::B) | (Way::FromLab, Side::A) => (Party::Callee, Party::Caller),
        };
        let by = match (end.by, &self.kind) {
            (EndedBy::Peer, _) => this,
            (EndedBy::Us, Kind::Phone(_)) => other,
            (EndedBy::Us, Kind::Bridge(_)) => Party::Lab,
            (EndedBy::Network, _) => Party::Network,
        };
        let seconds = |from: Instant, to: Instant| {
            round(to.saturating_duration_since(from).as_secs_f64(), 100.0)
        };
        let phone = self.phone().map(PhoneLeg::phone);
        CallReport {
            call: self.id,
            way: self.way,
            number: self.number.clone(),
            caller: self.caller.clone(),
            call_id: call_id.to_owned(),
            ringing: seconds(self.started, self.answered.unwrap_or(now)),
            talked: self.answered.map(|answered| seconds(answered, now)),
            heard: phone.map(|phone| phone.heard()),
            sent: phone.map(|phone| phone.sent()),
            end: ReportedEnd {
                by,
                code: end.code,
                // An ordinary end has the text of no refusal: what counts is that it was a BYE.
                text: if end.code == 200 { "BYE".to_owned() } else { end.text.clone() },
                reason: end.reason_header.clone(),
            },
        }
    }
}
