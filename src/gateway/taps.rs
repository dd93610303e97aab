//! What browsers say and hear, for the journal: by name, and without what is secret in it.

use std::time::Duration;

use crate::agent::{Session, Tap};
use crate::journal::{About, Journal, What};
use crate::sip::trace::redact;
use crate::wire::{DataPair, Envelope, FromBrowser, ToBrowser};
use crate::words::counted_len;

/// A message by its name, with what may be shown of it.
pub(super) struct Said {
    pub kind: &'static str,
    pub body: String,
}

impl Said {
    fn new(kind: &'static str, body: impl Into<String>) -> Option<Self> {
        Some(Self { kind, body: body.into() })
    }

    /// `None` for what is no part of a call's story: questions for statistics come every few seconds.
    pub fn by_browser(message: &FromBrowser) -> Option<Self> {
        match message {
            FromBrowser::Offer { sdp, attached, .. } => {
                Self::new("OFFER", description(sdp, attached))
            }
            FromBrowser::Answer { sdp, attached, .. } => {
                Self::new("ANSWER", description(sdp, attached))
            }
            FromBrowser::Ok { .. } => Self::new("OK", ""),
            FromBrowser::Error { error, .. } => Self::new("ERROR", error.word()),
            FromBrowser::Bye => Self::new("BYE", ""),
            FromBrowser::InfoMap(data) | FromBrowser::InfoPeer(data) => {
                Self::new("INFO", bytes(data))
            }
            FromBrowser::GetStats => None,
            FromBrowser::Hold => Self::new("HOLD", ""),
            FromBrowser::Resume => Self::new("RESUME", ""),
            FromBrowser::Dtmf(digits) => {
                Self::new("DTMF", counted_len(digits.chars().count(), "digit"))
            }
            FromBrowser::Accept => Self::new("ACCEPT", ""),
            FromBrowser::Call { to } => Self::new("CALL", to.as_str()),
            FromBrowser::Transfer { to, .. } => Self::new("TRANSFER", to.as_str()),
        }
    }

    pub fn to_browser(message: &ToBrowser) -> Option<Self> {
        let body = match message {
            ToBrowser::Offer { sdp, attached, .. } => description(sdp, attached),
            ToBrowser::Answer { sdp, .. } => description(sdp, &[]),
            ToBrowser::Error { error, detail, .. } => format!("{}: {detail}", error.word()),
            ToBrowser::Transfer { code, text } => format!("{code} {text}"),
            ToBrowser::Ended { code, reason } | ToBrowser::Bye { code, reason } => {
                format!("{code} {reason}")
            }
            ToBrowser::Digit(_) => "1 digit".to_owned(),
            ToBrowser::InfoPeer(data) => bytes(data),
            ToBrowser::Dial { to } => to.clone(),
            _ => String::new(),
        };
        Some(Self { kind: name(message)?, body })
    }
}

fn name(message: &ToBrowser) -> Option<&'static str> {
    Some(match message {
        ToBrowser::Offer { .. } => "OFFER",
        ToBrowser::Answer { early: true, .. } => "ANSWER (early)",
        ToBrowser::Answer { .. } => "ANSWER",
        ToBrowser::Ok { .. } => "OK",
        ToBrowser::Error { .. } => "ERROR",
        ToBrowser::Ringing => "RINGING",
        ToBrowser::Connected => "CONNECTED",
        ToBrowser::Waiting => "WAITING",
        ToBrowser::Ended { .. } => "ENDED",
        ToBrowser::Peer => "PEER",
        ToBrowser::Transfer { .. } => "TRANSFER",
        ToBrowser::Digit(_) => "DTMF",
        ToBrowser::Bye { .. } => "BYE",
        ToBrowser::Invite => "INVITE",
        ToBrowser::Talk => "TALK",
        ToBrowser::Hold => "HOLD",
        ToBrowser::PeerHold => "PEER-HOLD",
        ToBrowser::PeerResume => "PEER-RESUME",
        ToBrowser::InfoPeer(_) => "INFO",
        ToBrowser::Stats(_) => return None,
        ToBrowser::Dial { .. } => "DIAL",
        ToBrowser::Replaced => "REPLACED",
    })
}

/// Attached data by its names: the values are the customer's.
fn description(sdp: &str, attached: &[DataPair]) -> String {
    let mut text = redact(sdp.as_bytes());
    for (name, _) in attached {
        text.push_str(&format!("\r\nattached {name}: ..."));
    }
    text
}

/// User data is somebody's; that there was some has to do.
fn bytes(data: &str) -> String {
    counted_len(data.len(), "byte")
}

/// Notes when a poll takes a message.
pub(super) struct Polls(pub Journal);

impl Tap for Polls {
    fn handed_out(&self, session: &Session, envelope: &Envelope, waited: Duration) {
        if envelope.call.is_empty() {
            return;
        }
        let Some(kind) = name(&envelope.message) else { return };
        let about = About::call(session.identity().user(), &envelope.call);
        let waited = Some(waited);
        let what = What::Http { inbound: false, kind, waited, body: String::new(), fault: None };
        self.0.note(about, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_digits_and_data_do_not_show() {
        let sdp = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:hush1\r\n".to_owned();
        let attached = vec![("AccountNumber".to_owned(), "hush2".to_owned())];
        let (ids, tiebreaker, candidates) = (None, None, Vec::new());
        let offer = FromBrowser::Offer { ids, tiebreaker, sdp, candidates, attached };
        for message in
            [offer, FromBrowser::Dtmf("hush3".into()), FromBrowser::InfoMap("hush4".into())]
        {
            let said = Said::by_browser(&message).unwrap();
            assert!(!said.body.contains("hush"), "{}", said.body);
        }
        let said = Said::to_browser(&ToBrowser::Digit('7')).unwrap();
        assert!(!said.body.contains('7'), "{}", said.body);
    }
}
