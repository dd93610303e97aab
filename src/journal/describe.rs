//! What an entry looks like in a timeline.

use crate::media::{DtlsFailure, MediaEvent};

use super::event::{Details, Kind, Party, TimelineEvent, Way};
use super::record::CallRecord;
use super::sip::Glance;
use super::{Entry, What};

/// That a message has not been taken by a poll.
pub(super) const FETCHED: &str = "fetched";

impl TimelineEvent {
    fn new(kind: Kind, title: impl Into<Box<str>>) -> Self {
        Self {
            at: 0,
            kind,
            direction: None,
            from: None,
            to: None,
            title: title.into(),
            detail: Details::default(),
            body: None,
        }
    }

    fn between(self, party: Party, inbound: bool) -> Self {
        let (from, to) = match inbound {
            true => (party, Party::Gateway),
            false => (Party::Gateway, party),
        };
        let direction = Some(if inbound { Way::In } else { Way::Out });
        Self { direction, from: Some(from), to: Some(to), ..self }
    }

    fn detail(self, detail: Details) -> Self {
        Self { detail, ..self }
    }
}

/// `None` for what is no line of its own.
pub(super) fn event(entry: &Entry) -> Option<TimelineEvent> {
    let details = Details::default;
    Some(match &entry.what {
        What::CallStarted { peer, incoming, call_uuid, .. } => {
            let title = match incoming {
                true => format!("incoming call from {peer}"),
                false => format!("outgoing call to {peer}"),
            };
            let detail = details().with_some("call_uuid", call_uuid.as_deref());
            TimelineEvent::new(Kind::State, title).detail(detail)
        }
        What::CallState(state) => TimelineEvent::new(Kind::State, *state),
        What::Peer { number, name } => {
            let detail = details().with_some("name", name.as_deref());
            TimelineEvent::new(Kind::State, format!("the call is with {number}")).detail(detail)
        }
        What::Rerouted { server } => {
            TimelineEvent::new(Kind::State, format!("goes by the next SIP server, {server}"))
        }
        What::Http { inbound, kind, waited: None, body, fault } => {
            let mut detail = details().with_some("fault", fault.as_deref());
            if !inbound {
                detail.set(FETCHED, false);
            }
            let body = Some(body.as_str()).filter(|body| !body.is_empty()).map(Box::from);
            let event = TimelineEvent { body, ..TimelineEvent::new(Kind::Http, *kind) };
            event.detail(detail).between(Party::Browser, *inbound)
        }
        What::Media(event) => media(event)?,
        What::BrowserMedia => {
            TimelineEvent::new(Kind::Rtp, "RTP from the browser").between(Party::Browser, true)
        }
        What::Hold { by_browser, held } => {
            let whose = if *by_browser { "the agent" } else { "the far end" };
            let title = match held {
                true => format!("held by {whose}"),
                false => format!("taken off hold by {whose}"),
            };
            let by = if *by_browser { "browser" } else { "sip" };
            TimelineEvent::new(Kind::Hold, title)
                .detail(details().with("by", by).with("held", *held))
        }
        What::Sip { inbound, transport, local, peer, text, .. } => {
            let event = sip(&Glance::new(text), transport, text).between(Party::Sip, *inbound);
            let mut event = event;
            event.detail.set("local", local.to_string());
            event.detail.set("peer", peer.to_string());
            event
        }
        What::CallEnded(record) => end(record),
        _ => return None,
    })
}

fn sip(glance: &Glance<'_>, transport: &str, text: &str) -> TimelineEvent {
    let detail = Details::default()
        .with("transport", transport)
        .with("call_id", glance.call_id)
        .with("method", glance.method.unwrap_or(glance.cseq_method))
        .with_some("code", glance.code)
        .with_some("reason", Some(glance.reason).filter(|reason| !reason.is_empty()));
    let event = TimelineEvent::new(Kind::Sip, glance.title()).detail(detail);
    TimelineEvent { body: Some(text.into()), ..event }
}

fn media(event: &MediaEvent) -> Option<TimelineEvent> {
    let details = Details::default();
    let of = |from_sip: bool| if from_sip { Party::Sip } else { Party::Browser };
    let side = |from_sip: bool| if from_sip { "the SIP side" } else { "the browser" };
    Some(match event {
        MediaEvent::IceConnected { remote } => TimelineEvent::new(Kind::Ice, "ICE connected")
            .detail(details.with("remote", remote.to_string()))
            .between(Party::Browser, true),
        MediaEvent::IceLost => TimelineEvent::new(Kind::Ice, "ICE lost: no consent check for 30 s"),
        MediaEvent::DtlsConnected { profile } => TimelineEvent::new(Kind::Dtls, "DTLS connected")
            .detail(details.with("profile", *profile))
            .between(Party::Browser, true),
        MediaEvent::DtlsFailed { reason } => {
            let why = match reason {
                DtlsFailure::Handshake => "the handshake failed",
                DtlsFailure::FingerprintMismatch => "the certificate is not the SDP's",
                DtlsFailure::NoSrtpProfile => "no SRTP profile in common",
                DtlsFailure::Timeout => "no answer in time",
            };
            TimelineEvent::new(Kind::Dtls, format!("DTLS failed: {why}"))
        }
        MediaEvent::SipMedia { from } => TimelineEvent::new(Kind::Rtp, "RTP from the SIP side")
            .detail(details.with("remote", from.to_string()))
            .between(Party::Sip, true),
        MediaEvent::Silent { from_sip, time } => {
            let title = format!("no RTP from {} for {} s", side(*from_sip), time.as_secs());
            TimelineEvent::new(Kind::Rtp, title).between(of(*from_sip), true)
        }
        MediaEvent::HeardAgain { from_sip, after } => {
            let title = format!("RTP from {} again, after {} s", side(*from_sip), after.as_secs());
            TimelineEvent::new(Kind::Rtp, title).between(of(*from_sip), true)
        }
        MediaEvent::Digit { from_sip, .. } => TimelineEvent::new(Kind::Dtmf, "DTMF")
            .detail(details.with("digits", 1_u16))
            .between(of(*from_sip), true),
        MediaEvent::PictureWanted => return None,
    })
}

fn end(record: &CallRecord) -> TimelineEvent {
    let title = format!("ended by {}: {} {}", record.ended_by, record.code, record.reason);
    let sip_reason = record.sip_reason.as_deref();
    let detail = Details::default()
        .with("ended_by", record.ended_by.as_str())
        .with("code", record.code)
        .with("reason", record.reason.as_str())
        .with_some("sip_reason", sip_reason)
        .with_some("q850_cause", sip_reason.and_then(q850))
        .with_some("transfer", record.transfer);
    TimelineEvent::new(Kind::End, title).detail(detail)
}

/// The cause of a Reason header (RFC 3326), where it is one of ISDN's.
fn q850(reason: &str) -> Option<u16> {
    let value = reason.split(',').find_map(|value| {
        let (protocol, rest) = value.trim().split_once(';')?;
        protocol.trim().eq_ignore_ascii_case("Q.850").then_some(rest)
    })?;
    value.split(';').find_map(|parameter| {
        let (name, cause) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("cause").then(|| cause.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isdns_cause_in_a_reason() {
        assert_eq!(q850("Q.850;cause=16;text=\"Normal\""), Some(16));
        assert_eq!(q850("SIP;cause=200, q.850 ; cause = 17"), Some(17));
        assert_eq!(q850("SIP;cause=486"), None);
        assert_eq!(q850("Q.850;cause=x"), None);
    }
}
