//! What happened lately, in sentences. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::{Entry, What};
use super::clock::since_epoch;
use crate::agent::{EndReason, HistoryItem};
use crate::media::{DtlsFailure, MediaEvent};
use crate::words::counted_len;

/// Items that are kept: some 300 bytes each.
const ITEMS: usize = 1000;

/// Characters of an item; some of it is what a SIP server or a client wrote.
const TEXT: usize = 300;

/// Items of one kind in [`WINDOW`], for kinds that come in floods when something goes wrong. The
/// others are counted.
const FLOOD: u32 = 20;

/// Milliseconds.
const WINDOW: u64 = 10_000;

#[derive(Default)]
pub(super) struct History {
    items: VecDeque<HistoryItem>,
    last: u64,
    /// Of `registration` and `sign_in_refused`.
    floods: [Flood; 2],
}

#[derive(Default)]
struct Flood {
    began: u64,
    told: u32,
    untold: u64,
}

const FLOODING: [&str; 2] = ["registration", "sign_in_refused"];

impl History {
    pub fn take(&mut self, entry: &Entry) {
        if let Some((kind, text)) = tell(&entry.what) {
            let about = &entry.about;
            let of = |name: &Option<Arc<str>>| name.as_deref().map(str::to_owned);
            self.push(since_epoch(entry.at), kind, text, of(&about.user), of(&about.call));
        }
    }

    /// Tells how many were left out of a flood that is over.
    pub fn look(&mut self, now: u64) {
        for (kind, flood) in FLOODING.iter().zip(0..) {
            let untold = self.close_flood(flood, now);
            if untold > 0 {
                self.add(now, kind, format!("and {untold} more of the kind"), None, None);
            }
        }
    }

    pub fn latest(&self, after: u64, most: usize) -> Vec<HistoryItem> {
        let newer = self.items.partition_point(|item| item.id <= after);
        let from = newer.max(self.items.len().saturating_sub(most));
        self.items.range(from..).cloned().collect()
    }

    fn push(
        &mut self,
        at: u64,
        kind: &'static str,
        text: String,
        dn: Option<String>,
        call: Option<String>,
    ) {
        if let Some(n) = FLOODING.iter().position(|flooding| *flooding == kind) {
            self.look(at);
            let Some(flood) = self.floods.get_mut(n) else { return };
            if flood.told == 0 {
                flood.began = at;
            }
            if flood.told == FLOOD {
                flood.untold += 1;
                return;
            }
            flood.told += 1;
        }
        self.add(at, kind, text, dn, call);
    }

    /// What was left out, when its window is over.
    fn close_flood(&mut self, n: usize, now: u64) -> u64 {
        match self.floods.get_mut(n) {
            Some(flood) if now.abs_diff(flood.began) >= WINDOW => std::mem::take(flood).untold,
            _ => 0,
        }
    }

    fn add(
        &mut self,
        at: u64,
        kind: &'static str,
        mut text: String,
        dn: Option<String>,
        call: Option<String>,
    ) {
        if let Some((end, _)) = text.char_indices().nth(TEXT) {
            text.truncate(end);
            text.push('…');
        }
        self.last += 1;
        if self.items.len() == ITEMS {
            self.items.pop_front();
        }
        self.items.push_back(HistoryItem { id: self.last, at, kind, text, dn, call });
    }
}

/// What an operator wants to read of it, if anything.
fn tell(what: &What) -> Option<(&'static str, String)> {
    Some(match what {
        What::SignedIn { remote, .. } => ("sign_in", format!("signed in from {remote}")),
        What::SignInRefused { remote, detail, .. } => {
            ("sign_in_refused", format!("a sign-in from {remote} was refused: {detail}"))
        }
        What::SessionEnded { why: why @ EndReason::RegistrationLost } => {
            ("registration", format!("the session has ended: {}", why.sentence()))
        }
        What::SessionEnded { why } => ("sign_out", why.sentence().to_owned()),
        What::CallStarted { peer, incoming: true, .. } => {
            ("call_started", format!("a call from {peer}"))
        }
        What::CallStarted { peer, .. } => ("call_started", format!("a call to {peer}")),
        What::CallEnded(record) => {
            let (peer, by, code, reason) =
                (&record.peer, &record.ended_by, record.code, &record.reason);
            let length = match record.talked_ms {
                Some(talked) => format!("after {} s", talked / 1000),
                None => "unanswered".to_owned(),
            };
            let text = format!("the call with {peer} ended {length}, by {by}: {code} {reason}");
            ("call_ended", text)
        }
        What::Media(event) => ("media", tell_media(event)?),
        What::Server { name, up: true, .. } => ("server", format!("the SIP server {name} is up")),
        What::Server { name, reason, .. } => {
            let reason = reason.as_deref().unwrap_or("it does not answer");
            ("server", format!("the SIP server {name} is down: {reason}"))
        }
        What::Store { fault: Some(fault) } => {
            ("store", format!("finished calls are not kept: {fault}"))
        }
        What::Store { fault: None } => ("store", "finished calls are kept again".to_owned()),
        What::Draining { calls } => {
            let text =
                format!("no new sign-ins are taken; {} may end", counted_len(*calls, "call"));
            ("draining", text)
        }
        What::Reloaded { changed } if changed.is_empty() => {
            ("reloaded", "the configuration was read again; nothing has changed".to_owned())
        }
        What::Reloaded { changed } => {
            ("reloaded", format!("the configuration was read again: {}", changed.join(", ")))
        }
        What::Operated { act, detail, by, remote } => {
            let detail = detail.as_deref().map(|detail| format!(" {detail}")).unwrap_or_default();
            ("operator", format!("{by} at {remote} {}{detail}", operated(act)))
        }
        What::Alert { raised: true, text, .. } => ("alert", text.clone()),
        What::Alert { text, .. } => ("alert_over", format!("over: {text}")),
        _ => return None,
    })
}

fn operated(act: &str) -> &str {
    match act {
        "hangup" => "ended the call",
        "sign_out" => "signed the DN out",
        "trace_on" => "switched the SIP trace on",
        "trace_off" => "switched the SIP trace off",
        "log" => "set the log level to",
        "reload" => "asked for a reload",
        "drain" => "asked to drain",
        other => other,
    }
}

fn tell_media(event: &MediaEvent) -> Option<String> {
    let side = |from_sip: &bool| if *from_sip { "the SIP side" } else { "the browser" };
    Some(match event {
        MediaEvent::IceLost => "the browser's connection is lost".to_owned(),
        MediaEvent::DtlsFailed { reason } => {
            let why = match reason {
                DtlsFailure::Handshake => "the handshake failed",
                DtlsFailure::FingerprintMismatch => "the certificate is not that of the SDP",
                DtlsFailure::NoSrtpProfile => "no common SRTP profile",
                DtlsFailure::Timeout => "the handshake took too long",
            };
            format!("no encryption with the browser: {why}")
        }
        MediaEvent::Silent { from_sip, time } => {
            format!("no RTP from {} for {} s", side(from_sip), time.as_secs())
        }
        MediaEvent::HeardAgain { from_sip, after } => {
            format!("RTP from {} again, after {} s", side(from_sip), after.as_secs())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::journal::About;

    fn entry(ms: u64, about: About, what: What) -> Entry {
        Entry { at: UNIX_EPOCH + Duration::from_millis(ms), about, what }
    }

    fn refused(ms: u64) -> Entry {
        let remote = [192, 0, 2, 7].into();
        let what = What::SignInRefused { remote, fault: "refused", detail: "401".into() };
        entry(ms, About::user("5001"), what)
    }

    #[test]
    fn tells_what_matters_and_whom_it_is_about() {
        let mut history = History::default();
        history.take(&entry(5, About::call("5001", "c1"), What::CallState("ringing")));
        let started = What::CallStarted {
            agent_id: None,
            peer: "1003".into(),
            incoming: false,
            call_uuid: None,
        };
        history.take(&entry(7, About::call("5001", "c1"), started));
        let item = HistoryItem {
            id: 1,
            at: 7,
            kind: "call_started",
            text: "a call to 1003".into(),
            dn: Some("5001".into()),
            call: Some("c1".into()),
        };
        assert_eq!(history.latest(0, 10), [item]);
    }

    #[test]
    fn the_latest_are_kept_and_asked_for_by_number() {
        let mut history = History::default();
        for n in 0..ITEMS as u64 + 5 {
            let why = EndReason::SignedOut;
            history.take(&entry(n, About::user("5001"), What::SessionEnded { why }));
        }
        let ids = |items: Vec<HistoryItem>| items.iter().map(|item| item.id).collect::<Vec<_>>();
        assert_eq!(history.latest(0, usize::MAX).len(), ITEMS);
        assert_eq!(ids(history.latest(0, 2)), [1004, 1005]);
        assert_eq!(ids(history.latest(1003, 10)), [1004, 1005]);
        assert!(history.latest(1005, 10).is_empty());
    }

    #[test]
    fn a_flood_is_counted() {
        let mut history = History::default();
        for n in 0..500 {
            history.take(&refused(1000 + n));
        }
        assert_eq!(history.latest(0, usize::MAX).len(), FLOOD as usize);
        history.look(1000 + WINDOW);
        history.take(&refused(1000 + WINDOW + 1));
        let items = history.latest(FLOOD.into(), 10);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].text, "and 480 more of the kind");
        assert!(items[1].text.starts_with("a sign-in from 192.0.2.7"));
        history.look(1000 + 3 * WINDOW);
        assert_eq!(history.latest(FLOOD.into(), 10).len(), 2, "nothing was left out since");
    }

    #[test]
    fn no_peer_writes_a_novel() {
        let mut history = History::default();
        let fault = Some("ä".repeat(10_000));
        history.take(&entry(1, About::default(), What::Store { fault }));
        assert_eq!(history.latest(0, 1)[0].text.chars().count(), TEXT + 1);
    }
}
