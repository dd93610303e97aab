//! From what happened to spans. Pure: entries in, the spans of a call out when it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::journal::{CallRecord, What};
use crate::media::MediaEvent;

/// Calls at a time, as many as a gateway's agents have.
const MAX_CALLS: usize = 32_768;

/// Call-IDs at a time; a call has one, or a few after transfers.
const MAX_LEGS: usize = 65_536;

/// INVITE transactions of a leg that are kept: the first ones tell of the setup.
const MAX_INVITES: usize = 16;

/// A leg that no call has claimed is a refused INVITE, or another's; it is forgotten then.
const UNCLAIMED: Duration = Duration::from_secs(120);

/// A call whose end was missed is forgotten then.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// What of an entry matters here. Small: nothing of a message's body.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Started,
    /// An OFFER or ANSWER of the browser's, after which ICE can begin.
    BrowserSdp,
    Ice,
    Dtls {
        profile: &'static str,
    },
    DtlsFailed {
        reason: String,
    },
    Leg {
        call_id: String,
    },
    Invite {
        call_id: String,
        inbound: bool,
        cseq: u32,
    },
    /// The final answer to one.
    Answer {
        call_id: String,
        cseq: u32,
        code: u16,
    },
    Ended(Box<CallRecord>),
}

impl Seen {
    pub fn of(what: &What) -> Option<Self> {
        Some(match what {
            What::CallStarted { .. } => Seen::Started,
            What::Http { inbound: true, kind, .. }
                if kind.eq_ignore_ascii_case("offer") || kind.eq_ignore_ascii_case("answer") =>
            {
                Seen::BrowserSdp
            }
            What::Media(MediaEvent::IceConnected { .. }) => Seen::Ice,
            What::Media(MediaEvent::DtlsConnected { profile }) => Seen::Dtls { profile },
            What::Media(MediaEvent::DtlsFailed { reason }) => {
                Seen::DtlsFailed { reason: format!("{reason:?}") }
            }
            What::SipLeg { call_id } => Seen::Leg { call_id: call_id.clone() },
            What::Sip { inbound, call_id, text, .. } => return sip(*inbound, call_id, text),
            What::CallEnded(record) => Seen::Ended(record.clone()),
            _ => return None,
        })
    }
}

/// Of INVITEs and their final answers alone.
fn sip(inbound: bool, call_id: &str, text: &str) -> Option<Seen> {
    let code = match text.strip_prefix("SIP/2.0 ") {
        Some(rest) => Some(rest.get(..3)?.parse().ok().filter(|code: &u16| *code >= 200)?),
        None if text.starts_with("INVITE ") => None,
        None => return None,
    };
    let head = text.split("\r\n\r\n").next()?;
    let cseq = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("cseq").then_some(value.trim())
    })?;
    let (cseq, method) = cseq.split_once(char::is_whitespace)?;
    let (cseq, call_id) = (cseq.parse().ok()?, call_id.to_owned());
    Some(match code {
        Some(code) if method.trim() == "INVITE" => Seen::Answer { call_id, cseq, code },
        Some(_) => return None,
        None => Seen::Invite { call_id, inbound, cseq },
    })
}

/// As OTLP counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Score(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    pub name: &'static str,
    pub kind: Kind,
    pub start: SystemTime,
    pub end: SystemTime,
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Open {
    started: SystemTime,
    browser_sdp: Option<SystemTime>,
    ice: Option<SystemTime>,
    dtls: Option<(SystemTime, Result<&'static str, String>)>,
}

#[derive(Debug)]
struct Leg {
    claimed: bool,
    last: SystemTime,
    invites: Vec<Invite>,
}

#[derive(Debug)]
struct Invite {
    inbound: bool,
    cseq: u32,
    began: SystemTime,
    answered: Option<(SystemTime, u16)>,
}

/// The calls that are going on.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: HashMap<Arc<str>, Open>,
    legs: HashMap<String, Leg>,
    swept: Option<SystemTime>,
    dropped: usize,
}

impl Calls {
    /// What there was no room for since it was asked last.
    pub fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    pub fn handle(&mut self, at: SystemTime, call: Option<Arc<str>>, seen: Seen) -> Vec<Span> {
        self.sweep(at);
        match seen {
            Seen::Started => {
                let Some(call) = call else { return Vec::new() };
                if self.open.len() >= MAX_CALLS {
                    self.dropped += 1;
                    return Vec::new();
                }
                let open = Open { started: at, browser_sdp: None, ice: None, dtls: None };
                self.open.insert(call, open);
            }
            Seen::Leg { call_id } => {
                if let Some(leg) = self.leg(call_id, at) {
                    leg.claimed = true;
                }
            }
            Seen::Invite { call_id, inbound, cseq } => {
                let Some(leg) = self.leg(call_id, at) else { return Vec::new() };
                leg.last = at;
                // A repetition is the same transaction.
                let known = leg.invites.iter().any(|i| (i.inbound, i.cseq) == (inbound, cseq));
                if !known && leg.invites.len() < MAX_INVITES {
                    leg.invites.push(Invite { inbound, cseq, began: at, answered: None });
                }
            }
            Seen::Answer { call_id, cseq, code } => {
                if let Some(leg) = self.legs.get_mut(&call_id) {
                    leg.last = at;
                    let open = |i: &&mut Invite| i.cseq == cseq && i.answered.is_none();
                    if let Some(invite) = leg.invites.iter_mut().find(open) {
                        invite.answered = Some((at, code));
                    }
                }
            }
            Seen::Ended(record) => return self.ended(at, &record),
            seen => {
                if let Some(open) = call.and_then(|call| self.open.get_mut(&call)) {
                    open.note(at, seen);
                }
            }
        }
        Vec::new()
    }

    fn leg(&mut self, call_id: String, at: SystemTime) -> Option<&mut Leg> {
        if self.legs.len() >= MAX_LEGS && !self.legs.contains_key(&call_id) {
            self.dropped += 1;
            return None;
        }
        let new = || Leg { claimed: false, last: at, invites: Vec::new() };
        Some(self.legs.entry(call_id).or_insert_with(new))
    }

    /// Now and then: entries can be lost, and not every INVITE becomes a call.
    fn sweep(&mut self, at: SystemTime) {
        let since = |then: SystemTime| at.duration_since(then).unwrap_or_default();
        if self.swept.is_some_and(|swept| since(swept) < UNCLAIMED) {
            return;
        }
        self.swept = Some(at);
        self.open.retain(|_, open| since(open.started) < FORGOTTEN);
        self.legs
            .retain(|_, leg| since(leg.last) < if leg.claimed { FORGOTTEN } else { UNCLAIMED });
    }

    fn ended(&mut self, at: SystemTime, record: &CallRecord) -> Vec<Span> {
        let legs: Vec<(&String, Leg)> = record
            .sip_call_ids
            .iter()
            .filter_map(|call_id| Some((call_id, self.legs.remove(call_id)?)))
            .collect();
        let open = self.open.remove(record.call.as_str()).unwrap_or(Open {
            started: from_unix_ms(record.started),
            browser_sdp: None,
            ice: None,
            dtls: None,
        });
        let (trace, root) = (rand::random(), rand::random());
        let kind = if record.incoming { Kind::Server } else { Kind::Client };
        let mut call = Span {
            trace,
            id: root,
            parent: None,
            name: "call",
            kind,
            start: open.started,
            end: at,
            attributes: attributes(record),
            error: failure(record),
        };
        let up = record.answered.map_or(at, from_unix_ms).clamp(open.started, at.max(open.started));
        let child = |parent, name, start: SystemTime, end: SystemTime| Span {
            trace,
            id: rand::random(),
            parent: Some(parent),
            name,
            kind: Kind::Internal,
            start,
            end: end.max(start),
            attributes: Vec::new(),
            error: None,
        };
        let mut setup = child(root, "setup", open.started, up);
        if record.answered.is_none() {
            setup.error.clone_from(&call.error);
        }
        let mut spans = Vec::with_capacity(8);
        // How ICE and DTLS went: a call that was answered and stayed silent shows it here.
        if let Some(began) = open.browser_sdp {
            let mut ice = child(setup.id, "ICE", began, open.ice.unwrap_or(at));
            if open.ice.is_none() && record.answered.is_some() {
                ice.error = Some("no candidate pair was ever nominated".to_owned());
            }
            if open.ice.is_some() || ice.error.is_some() {
                spans.push(ice);
            }
        }
        if let (Some(began), Some((ended, outcome))) = (open.ice, open.dtls) {
            let mut dtls = child(setup.id, "DTLS", began, ended);
            match outcome {
                Ok(profile) => {
                    dtls.attributes.push(("wrtc.srtp_profile", Value::Text(profile.to_owned())));
                }
                Err(reason) => dtls.error = Some(reason),
            }
            spans.push(dtls);
        }
        for (call_id, leg) in legs {
            for invite in leg.invites {
                // One that was never answered ended with the call.
                let (ended, code) = invite.answered.map_or((at, None), |(at, c)| (at, Some(c)));
                let parent = if invite.began < up { setup.id } else { root };
                let mut span = child(parent, "SIP INVITE", invite.began, ended);
                span.kind = if invite.inbound { Kind::Server } else { Kind::Client };
                span.attributes.push(("sip.call_id", Value::Text(call_id.clone())));
                span.attributes.push(("sip.cseq", Value::Number(invite.cseq.into())));
                if let Some(code) = code {
                    span.attributes.push(("sip.status_code", Value::Number(code.into())));
                    span.error = is_failure(code).then(|| format!("{code}"));
                } else {
                    span.error = Some("no final answer".to_owned());
                }
                spans.push(span);
            }
        }
        call.end = call.end.max(call.start);
        spans.insert(0, setup);
        spans.insert(0, call);
        spans
    }
}

impl Open {
    /// The first of each: what comes later belongs to a call that was up.
    fn note(&mut self, at: SystemTime, seen: Seen) {
        match seen {
            Seen::BrowserSdp => _ = self.browser_sdp.get_or_insert(at),
            Seen::Ice => _ = self.ice.get_or_insert(at),
            Seen::Dtls { profile } => _ = self.dtls.get_or_insert((at, Ok(profile))),
            Seen::DtlsFailed { reason } => _ = self.dtls.get_or_insert((at, Err(reason))),
            _ => {}
        }
    }
}

/// Never whom the call was with: a trace is seen by more people than a call record.
fn attributes(record: &CallRecord) -> Vec<(&'static str, Value)> {
    let text = |value: &str| Value::Text(value.to_owned());
    let direction = if record.incoming { "incoming" } else { "outgoing" };
    let mut all = vec![
        ("wrtc.call_id", text(&record.call)),
        ("wrtc.dn", text(&record.user)),
        ("wrtc.direction", text(direction)),
        ("wrtc.dialect", text(&record.dialect)),
        ("wrtc.ended_by", text(&record.ended_by)),
        ("wrtc.end_reason", text(&record.reason)),
        ("sip.status_code", Value::Number(record.code.into())),
    ];
    let texts = [
        ("sip.call_id", record.sip_call_ids.first()),
        ("genesys.call_uuid", record.call_uuid.as_ref()),
        ("wrtc.codec", record.codec.as_ref()),
    ];
    all.extend(texts.into_iter().filter_map(|(name, value)| Some((name, text(value?)))));
    let scores = [
        ("wrtc.mos.browser_rx", record.browser.rx.mos),
        ("wrtc.mos.browser_tx", record.browser.tx.mos),
        ("wrtc.mos.sip_rx", record.sip.rx.mos),
        ("wrtc.mos.sip_tx", record.sip.tx.mos),
    ];
    all.extend(scores.into_iter().filter_map(|(name, mos)| Some((name, Value::Score(mos?)))));
    all
}

/// Busy, declined, not there, gone away: a call that came to nothing, and no fault.
fn is_failure(code: u16) -> bool {
    code >= 400 && !matches!(code, 401 | 407 | 480 | 486 | 487 | 600 | 603)
}

fn failure(record: &CallRecord) -> Option<String> {
    is_failure(record.code).then(|| format!("{} {}", record.code, record.reason))
}

fn from_unix_ms(time: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_of_sip() {
        let cseq = "\r\nCall-ID: x\r\nCSeq:  7  INVITE\r\n\r\nCSeq: 9 BYE";
        let invite = sip(true, "x", &format!("INVITE sip:a@b SIP/2.0{cseq}"));
        assert!(matches!(invite, Some(Seen::Invite { inbound: true, cseq: 7, .. })));
        let answer = sip(false, "x", &format!("SIP/2.0 486 Busy Here{cseq}"));
        assert!(matches!(answer, Some(Seen::Answer { cseq: 7, code: 486, .. })));
        for nothing in [
            format!("SIP/2.0 180 Ringing{cseq}"),
            "SIP/2.0 200 OK\r\nCSeq: 8 BYE\r\n\r\n".to_owned(),
            "SIP/2.0 2é".to_owned(),
            "INVITE sip:a@b SIP/2.0\r\n\r\n".to_owned(),
            "INVITE sip:a@b SIP/2.0\r\nCSeq: many INVITE\r\n\r\n".to_owned(),
            format!("BYE sip:a@b SIP/2.0{cseq}"),
        ] {
            assert!(sip(true, "x", &nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn what_belongs_to_no_call_is_forgotten() {
        let mut calls = Calls::default();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let invite = |n: u32| Seen::Invite { call_id: n.to_string(), inbound: true, cseq: 1 };
        for n in 0..100 {
            calls.handle(at(0), None, invite(n));
        }
        calls.handle(at(1), None, Seen::Leg { call_id: "7".into() });
        calls.handle(at(1), Some("c1".into()), Seen::Started);
        calls.handle(at(200), None, Seen::Ice);
        assert_eq!((calls.legs.len(), calls.open.len()), (1, 1));
        calls.handle(at(2 * 86_400), None, Seen::Ice);
        assert_eq!((calls.legs.len(), calls.open.len()), (0, 0));
    }

    #[test]
    fn bounded() {
        let mut calls = Calls::default();
        let at = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for n in 0..MAX_LEGS + 5 {
            let call_id = n.to_string();
            calls.handle(at, None, Seen::Invite { call_id, inbound: false, cseq: 1 });
        }
        for n in 0..MAX_CALLS + 5 {
            calls.handle(at, Some(n.to_string().into()), Seen::Started);
        }
        assert_eq!((calls.legs.len(), calls.open.len()), (MAX_LEGS, MAX_CALLS));
        assert_eq!(calls.take_dropped(), 10);
        for cseq in 0..100 {
            calls.handle(at, None, Seen::Invite { call_id: "1".into(), inbound: false, cseq });
        }
        assert_eq!(calls.legs["1"].invites.len(), MAX_INVITES);
    }
}
