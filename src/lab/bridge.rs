//! DN to DN: two legs, and between them whatever one says goes to the other. Pure.
//!
//! SDP passes as it is, so the telephones' media go from end to end. One offer at a time is under
//! way in the whole call; a second one is refused with 491 (RFC 3261 14.2).

use crate::sip::{Command, End, EndedBy, Event, SessionId};

/// The leg of the caller, or that of the called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// Offer and answer on their way through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exchange {
    from: Side,
    /// It began without SDP: the answer comes in `from`'s ACK.
    delayed: bool,
}

#[derive(Debug)]
pub struct Bridge {
    a: SessionId,
    b: SessionId,
    exchange: Option<Exchange>,
    /// The SDP of a provisional answer: a 200 without one means this.
    early: Option<String>,
    answered: bool,
    a_ended: bool,
    b_ended: bool,
    end: Option<(Side, End)>,
}

impl Bridge {
    /// `offerless`: the INVITE held no SDP.
    pub fn new(a: SessionId, b: SessionId, offerless: bool) -> Self {
        Self {
            a,
            b,
            exchange: offerless.then_some(Exchange { from: Side::A, delayed: true }),
            early: None,
            answered: false,
            a_ended: false,
            b_ended: false,
            end: None,
        }
    }

    pub fn answered(&self) -> bool {
        self.answered
    }

    /// Both legs are over.
    pub fn over(&self) -> bool {
        self.a_ended && self.b_ended
    }

    /// Which leg ended first, and how.
    pub fn end(&self) -> Option<&(Side, End)> {
        self.end.as_ref()
    }

    pub fn session(&self, side: Side) -> SessionId {
        match side {
            Side::A => self.a,
            Side::B => self.b,
        }
    }

    /// What a leg tells; what the legs are to do about it goes into `out`.
    pub fn handle(&mut self, side: Side, event: Event, out: &mut Vec<(Side, Command)>) {
        let other = side.other();
        let (this_session, session) = (self.session(side), self.session(other));
        match event {
            Event::Progressed { code, sdp, .. } if side == Side::B && !self.answered => {
                if sdp.is_some() {
                    self.early.clone_from(&sdp);
                }
                out.push((other, Command::Progress { session, code, sdp }));
            }
            Event::Answered { sdp, .. } if side == Side::B && !self.answered => {
                self.answered = true;
                match sdp.or(self.early.take()) {
                    Some(sdp) => out.push((other, Command::Accept { session, sdp })),
                    None => self.close(488, "No SDP in the answer", out),
                }
            }
            Event::Acked { sdp, .. } => {
                let delayed = Exchange { from: side, delayed: true };
                if self.exchange != Some(delayed) {
                    return;
                }
                self.exchange = None;
                match sdp {
                    Some(sdp) => out.push((other, Command::AnswerInAck { session, sdp })),
                    None => self.close(488, "No answer in ACK", out),
                }
            }
            Event::Reinvited { sdp, .. } => {
                if self.exchange.is_some() || !self.answered {
                    let session = this_session;
                    out.push((side, Command::RejectReinvite { session, code: 491 }));
                } else {
                    self.exchange = Some(Exchange { from: side, delayed: sdp.is_none() });
                    out.push((other, Command::Reinvite { session, sdp }));
                }
            }
            Event::ReinviteAnswered { sdp, .. } => {
                let Some(exchange) = self.exchange.filter(|e| e.from == other) else { return };
                if !exchange.delayed {
                    self.exchange = None;
                }
                match sdp {
                    Some(sdp) => out.push((other, Command::AcceptReinvite { session, sdp })),
                    None => self.close(488, "No SDP in the answer", out),
                }
            }
            Event::ReinviteRefused { code, .. } => {
                let waits = self.exchange.take_if(|e| e.from == other);
                out.extend(waits.map(|_| (other, Command::RejectReinvite { session, code })));
            }
            Event::ReinviteUnsent { .. } => {
                let waits = self.exchange.take_if(|e| e.from == other);
                out.extend(waits.map(|_| (other, Command::RejectReinvite { session, code: 503 })));
            }
            Event::Informed { content_type, body, .. } => {
                out.push((other, Command::Info { session, content_type, body }));
            }
            Event::Notified { event, .. } => {
                out.push((other, Command::Notify { session, event }));
            }
            Event::Ended { end, .. } => self.ended(side, end, out),
            _ => {}
        }
    }

    fn ended(&mut self, side: Side, end: End, out: &mut Vec<(Side, Command)>) {
        match side {
            Side::A => self.a_ended = true,
            Side::B => self.b_ended = true,
        }
        let other_ended = match side {
            Side::A => self.b_ended,
            Side::B => self.a_ended,
        };
        if self.end.is_none() {
            self.end = Some((side, end.clone()));
        }
        // Of two that end by our own word none has to be told.
        if other_ended || end.by == EndedBy::Us {
            return;
        }
        let reason = end.reason_header.as_deref().and_then(sip_reason);
        let (code, text) = match (side, self.answered, reason) {
            // The caller gets a final answer: the callee's own, unless it leads elsewhere.
            (Side::B, false, _) if end.code >= 400 => (end.code, end.text),
            (Side::B, false, _) => (480, "Temporarily Unavailable".to_owned()),
            (_, _, Some(reason)) => reason,
            (_, _, None) => (end.code, end.text),
        };
        let session = self.session(side.other());
        out.push((side.other(), Command::End { session, code, text }));
    }

    /// Ends both legs.
    pub fn close(&self, code: u16, text: &str, out: &mut Vec<(Side, Command)>) {
        for side in [Side::A, Side::B] {
            let session = self.session(side);
            out.push((side, Command::End { session, code, text: text.to_owned() }));
        }
    }
}

/// Cause and text of a Reason header of protocol SIP (RFC 3326); the first such value counts.
pub fn sip_reason(header: &str) -> Option<(u16, String)> {
    // Commas separate values, but also stand in quoted texts: those of ours come first.
    let mut rest = header.trim();
    while !rest.get(..3)?.eq_ignore_ascii_case("SIP") {
        rest = rest.split_once(',')?.1.trim_start();
    }
    let (mut cause, mut text) = (None, String::new());
    for parameter in rest.get(3..)?.split(';') {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "cause" => {
                let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
                cause = digits.parse().ok().filter(|code| (200..700).contains(code));
            }
            "text" => {
                let value = value.trim();
                let value = value
                    .strip_prefix('"')
                    .map_or(value, |quoted| quoted.split('"').next().unwrap_or_default());
                text = value.to_owned();
            }
            _ => {}
        }
    }
    Some((cause?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId(SessionId::INCOMING);
    const B: SessionId = SessionId(1);

    fn told(bridge: &mut Bridge, side: Side, event: Event) -> String {
        let mut out = Vec::new();
        bridge.handle(side, event, &mut out);
        out.iter().map(|(side, command)| format!("{side:?} {command:?}\n")).collect()
    }

    fn end(by: EndedBy, code: u16, reason: Option<&str>) -> End {
        End { by, code, text: String::new(), reason_header: reason.map(str::to_owned) }
    }

    fn up() -> Bridge {
        let mut bridge = Bridge::new(A, B, false);
        told(&mut bridge, Side::B, Event::Answered { session: B, sdp: Some("answer".into()) });
        bridge
    }

    #[test]
    fn a_delayed_offer_goes_all_the_way_round() {
        let mut bridge = Bridge::new(A, B, true);
        let answered = Event::Answered { session: B, sdp: Some("offer".into()) };
        assert!(told(&mut bridge, Side::B, answered).starts_with("A Accept"));
        // Nobody else gets a word in until the ACK has come.
        let early = Event::Reinvited { session: B, sdp: Some("x".into()) };
        assert!(told(&mut bridge, Side::B, early).contains("code: 491"));
        let acked = Event::Acked { session: A, sdp: Some("answer".into()) };
        assert!(told(&mut bridge, Side::A, acked).starts_with("B AnswerInAck"));
    }

    #[test]
    fn a_reinvite_passes_and_a_second_at_the_same_time_does_not() {
        let mut bridge = up();
        let offer = Event::Reinvited { session: B, sdp: None };
        assert!(told(&mut bridge, Side::B, offer).starts_with("A Reinvite"));
        let glare = Event::Reinvited { session: A, sdp: Some("x".into()) };
        assert!(told(&mut bridge, Side::A, glare).starts_with("A RejectReinvite"));
        let answered = Event::ReinviteAnswered { session: A, sdp: Some("offer".into()) };
        assert!(told(&mut bridge, Side::A, answered).starts_with("B AcceptReinvite"));
        let acked = Event::Acked { session: B, sdp: Some("answer".into()) };
        assert!(told(&mut bridge, Side::B, acked).starts_with("A AnswerInAck"));
        let refused = Event::Reinvited { session: A, sdp: Some("x".into()) };
        told(&mut bridge, Side::A, refused);
        let refusal = Event::ReinviteRefused { session: B, code: 488, text: String::new() };
        assert!(told(&mut bridge, Side::B, refusal).contains("A RejectReinvite"));
    }

    #[test]
    fn an_end_takes_its_reason_along() {
        let mut bridge = up();
        let bye = end(EndedBy::Peer, 200, Some("SIP;cause=403;text=\"not, allowed\""));
        let told_b = told(&mut bridge, Side::A, Event::Ended { session: A, end: bye });
        assert!(told_b.contains("code: 403, text: \"not, allowed\""), "{told_b}");
        let ours = end(EndedBy::Us, 403, None);
        assert_eq!(told(&mut bridge, Side::B, Event::Ended { session: B, end: ours }), "");
        assert!(bridge.over());
        assert_eq!(bridge.end().map(|(side, _)| *side), Some(Side::A));
    }

    #[test]
    fn busy_passes() {
        let mut bridge = Bridge::new(A, B, false);
        let busy = Event::Ended { session: B, end: end(EndedBy::Peer, 486, None) };
        assert!(
            told(&mut bridge, Side::B, busy)
                .contains("A End { session: SessionId(9223372036854775808), code: 486")
        );
    }

    #[test]
    fn reasons_are_read() {
        assert_eq!(
            sip_reason("SIP;cause=200;text=\"Call completed elsewhere\""),
            Some((200, "Call completed elsewhere".into()))
        );
        assert_eq!(sip_reason("Q.850;cause=16, sip ; cause=486"), Some((486, String::new())));
        assert_eq!(sip_reason("Q.850;cause=16;text=\"é\""), None);
        assert_eq!(sip_reason("é"), None);
        assert_eq!(sip_reason(""), None);
        assert_eq!(sip_reason("SIP;cause=99999"), None);
    }
}
