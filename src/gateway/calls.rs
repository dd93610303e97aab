//! A line with what the runtime keeps beside its core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::info;

use crate::call::{CallEnd, Line, MediaCommand, Seed};
use crate::media::{
    Bridge, BrowserLocal, CallStats, Flow, MediaEvent, MediaId, RoundTrips, StreamStats,
};
use crate::sip::{Invited, Party, SessionId};
use crate::wire::{AudioStatistics, CallStatistics, Envelope, StreamStatistics, ToBrowser};

/// Peers that the browser may still call its session's by, because they were that before a transfer.
const MAX_KNOWN: usize = 16;

/// Media events that may wait: some hundred come in ten seconds at most, and nobody waits for one.
pub(super) const MEDIA_EVENTS: usize = 64;

/// The line of an agent who is in a call.
pub(super) struct ActiveLine {
    pub line: Line,
    pub bridge: Bridge,
    pub media: mpsc::Receiver<(MediaId, MediaEvent)>,
    pub calls: Vec<CallInfo>,
    /// Whom the browser has been told to be in a call with, the latest last.
    pub known: Vec<String>,
    /// What the media plane was told last.
    pub flow: Flow,
}

/// What is known of one of its calls beyond the core's business.
pub(super) struct CallInfo {
    pub session: SessionId,
    /// Our own id of the call, for logs and the raw-SDP dialect.
    pub id: String,
    pub peer: String,
    pub peer_name: Option<String>,
    pub diverted_from: Option<String>,
    pub private: bool,
    pub call_uuid: Option<String>,
    pub incoming: bool,
    pub started: Instant,
    /// What the line had counted before.
    pub before: CallStats,
}

impl CallInfo {
    pub fn outgoing(session: SessionId, to: &str, now: Instant) -> Self {
        Self {
            session,
            id: new_call_id(),
            peer: to.to_owned(),
            peer_name: None,
            diverted_from: None,
            private: false,
            call_uuid: None,
            incoming: false,
            started: now,
            before: CallStats::default(),
        }
    }

    /// What the network vouches for goes before what the caller says of itself. Who does not want to
    /// be shown is not shown (RFC 3323).
    pub fn incoming(session: SessionId, invited: Invited, now: Instant) -> Self {
        let Invited { from, display_name, call_uuid, identity, .. } = invited;
        let (peer, peer_name) = match identity.asserted {
            _ if identity.private => ("anonymous".to_owned(), None),
            Some(party) => (party.number, party.display_name.or(display_name)),
            None => (from, display_name),
        };
        Self {
            peer,
            peer_name,
            private: identity.private,
            diverted_from: identity.diverted.into_iter().next().map(|last| last.party.number),
            call_uuid,
            incoming: true,
            ..Self::outgoing(session, "", now)
        }
    }

    fn envelope(&self, message: ToBrowser) -> Envelope {
        Envelope {
            peer: self.peer.clone(),
            peer_name: self.peer_name.clone(),
            call: self.id.clone(),
            call_uuid: self.call_uuid.clone(),
            diverted_from: self.diverted_from.clone(),
            private: self.private,
            message,
        }
    }
}

impl ActiveLine {
    pub fn info(&self, session: SessionId) -> Option<&CallInfo> {
        self.calls.iter().find(|call| call.session == session)
    }

    /// The call that the browser is with, else the last.
    pub fn current(&self) -> Option<&CallInfo> {
        self.line.active().and_then(|session| self.info(session)).or_else(|| self.calls.last())
    }

    /// By our id of it, or by its peer.
    pub fn named(&self, name: &str) -> Option<SessionId> {
        let by_id = self.calls.iter().find(|call| call.id == name);
        by_id.or_else(|| self.calls.iter().find(|call| call.peer == name)).map(|call| call.session)
    }

    pub fn envelope(&mut self, session: SessionId, message: ToBrowser) -> Option<Envelope> {
        let envelope = self.info(session)?.envelope(message);
        if self.known.last() != Some(&envelope.peer) {
            if self.known.len() == MAX_KNOWN {
                self.known.remove(0);
            }
            self.known.push(envelope.peer.clone());
        }
        Some(envelope)
    }

    /// Somebody else is at the other end, or goes by another name, as the network says.
    pub fn identified(&mut self, session: SessionId, party: &Party) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.session == session)
            && !call.private
        {
            call.peer.clone_from(&party.number);
            call.peer_name.clone_from(&party.display_name);
        }
    }

    /// Carries out a command. Some bring new parameters that the core wants to hear of.
    pub fn command_media(&mut self, command: MediaCommand) -> Option<BrowserLocal> {
        match command {
            MediaCommand::SetBrowser(remote) => self.bridge.set_browser(remote),
            MediaCommand::SetSip(remote) => self.bridge.set_sip(remote),
            MediaCommand::SetFlow(flow) => {
                self.flow = flow;
                self.bridge.set_flow(flow);
            }
            MediaCommand::SetHeld(legs) => self.bridge.set_held(legs),
            MediaCommand::SetVideo(remote) => self.bridge.set_video(remote),
            MediaCommand::AskBrowser => self.bridge.ask_browser_for_picture(),
            MediaCommand::SendDigits(digits) => self.bridge.send_digits(&digits),
            MediaCommand::PlayDigit(digit) => self.bridge.play_digit(digit),
            MediaCommand::RestartIce => return Some(self.bridge.restart_ice()),
            MediaCommand::RenewBrowser => return Some(self.bridge.renew_browser()),
        }
        None
    }

    pub fn statistics(&self, session: SessionId, now: Instant) -> CallStatistics {
        let stats = self.bridge.stats();
        let answered = self.line.answered_at(session);
        CallStatistics {
            timestamp: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            duration: answered.map_or(0, |at| {
                u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
            }),
            audio: AudioStatistics {
                encrypted: true,
                ..audio(stats.browser_rtt, &stats.from_browser, &stats.to_browser)
            },
            sip: AudioStatistics {
                encrypted: stats.sip_encrypted,
                ..audio(stats.sip_rtt, &stats.from_sip, &stats.to_sip)
            },
        }
    }

    /// The call's last line in the log: who, how long, why it ended, how it sounded. Packets are those of
    /// the line while the call lasted.
    pub fn record(&self, call: &CallInfo, user: &str, end: &CallEnd, now: Instant) {
        let stats = self.bridge.stats();
        let before = &call.before;
        let browser_rx = Heard::new(&stats.from_browser, &before.from_browser);
        let browser_tx = Heard::new(&stats.to_browser, &before.to_browser);
        let sip_rx = Heard::new(&stats.from_sip, &before.from_sip);
        let sip_tx = Heard::new(&stats.to_sip, &before.to_sip);
        let talked = end.answered_at.map(|at| now.saturating_duration_since(at));
        info!(
            call = %call.id,
            user,
            peer = %call.peer,
            diverted_from = call.diverted_from.as_deref().unwrap_or_default(),
            direction = ?end.direction,
            call_uuid = call.call_uuid.as_deref().unwrap_or_default(),
            setup_ms = end
                .answered_at
                .map(|at| at.saturating_duration_since(call.started).as_millis()),
            talked_s = talked.map(|time| time.as_secs_f64()),
            ended_by = end.by.label(),
            code = end.code,
            reason = %end.text,
            sip_reason = end.reason_header.as_deref().unwrap_or_default(),
            transfer = end.transfer,
            digits = end.digits,
            codec = ?end.codec,
            sip_encrypted = stats.sip_encrypted,
            browser_rtt_ms = ms(stats.browser_rtt.average),
            browser_rx = browser_rx.packets,
            browser_lost = browser_rx.lost,
            browser_jitter_ms = ms(Some(stats.from_browser.jitter)),
            browser_mos = browser_rx.mos,
            browser_mos_worst = browser_rx.worst,
            browser_tx = browser_tx.packets,
            browser_tx_lost = browser_tx.lost,
            browser_tx_mos = browser_tx.mos,
            browser_tx_mos_worst = browser_tx.worst,
            sip_rtt_ms = ms(stats.sip_rtt.average),
            sip_rx = sip_rx.packets,
            sip_lost = sip_rx.lost,
            sip_jitter_ms = ms(Some(stats.from_sip.jitter)),
            sip_mos = sip_rx.mos,
            sip_mos_worst = sip_rx.worst,
            sip_tx = sip_tx.packets,
            sip_tx_lost = sip_tx.lost,
            sip_tx_mos = sip_tx.mos,
            sip_tx_mos_worst = sip_tx.worst,
            concealed = stats.from_sip.concealed + stats.from_browser.concealed,
            "call ended"
        );
    }
}

fn ms(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64() * 1000.0)
}

/// Two digits are all that a score is good for.
fn score(mos: Option<f64>) -> Option<f64> {
    mos.map(|mos| (mos * 100.0).round() / 100.0)
}

fn audio(rtt: RoundTrips, rx: &StreamStats, tx: &StreamStats) -> AudioStatistics {
    let stream = |stream: &StreamStats| StreamStatistics {
        packets: stream.packets,
        bytes: stream.bytes,
        lost: stream.lost,
        jitter: stream.jitter.as_secs_f64() * 1000.0,
        reordered: stream.reordered,
        duplicates: stream.duplicates,
        concealed: stream.concealed,
        mos: score(stream.mos.average()),
        mos_worst: score(stream.mos.worst),
    };
    AudioStatistics {
        rtt: ms(rtt.last).unwrap_or(0.0),
        rtt_max: ms(rtt.max).unwrap_or(0.0),
        rtt_average: ms(rtt.average).unwrap_or(0.0),
        encrypted: false,
        rx: stream(rx),
        tx: stream(tx),
    }
}

/// One stream of a call, for its record: what the line had counted before does not belong to it.
struct Heard {
    packets: u64,
    lost: u64,
    mos: Option<f64>,
    worst: Option<f64>,
}

impl Heard {
    fn new(now: &StreamStats, before: &StreamStats) -> Self {
        let mos = now.mos.since(&before.mos);
        Heard {
            packets: now.packets.saturating_sub(before.packets),
            lost: now.lost.saturating_sub(before.lost),
            mos: score(mos.average()),
            worst: score(mos.worst),
        }
    }
}

/// A call id that is unique across restarts: the start of the process and a count.
pub(super) fn new_call_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    });
    format!("{start:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn new_seed() -> Seed {
    Seed {
        // 31 bits: safe in every JavaScript number and never null.
        roap: (rand::random::<u32>() >> 1).max(1),
        tiebreaker: rand::random(),
        origins: [rand::random(), rand::random()],
        keys: rand::random(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Diversion, Identity};

    fn party(number: &str, name: Option<&str>) -> Party {
        let display_name = name.map(str::to_owned);
        Party { display_name, number: number.into(), uri: format!("sip:{number}@x") }
    }

    fn shown(identity: Identity) -> CallInfo {
        let from = Invited {
            from: "7123".into(),
            display_name: Some("Desk".into()),
            identity,
            ..Invited::default()
        };
        CallInfo::incoming(SessionId(1), from, Instant::now())
    }

    #[test]
    fn what_the_network_asserts_goes_before_from() {
        let call = shown(Identity::default());
        assert_eq!((call.peer.as_str(), call.peer_name.as_deref()), ("7123", Some("Desk")));
        let asserted = Some(party("+4930123", Some("Zoë")));
        let diverted = ["5000", "5001"]
            .map(|number| Diversion { party: party(number, None), reason: "no-answer".into() });
        let call = shown(Identity { asserted, diverted: diverted.into(), private: false });
        assert_eq!((call.peer.as_str(), call.peer_name.as_deref()), ("+4930123", Some("Zoë")));
        assert_eq!(call.diverted_from.as_deref(), Some("5000"), "the latest");
    }

    #[test]
    fn who_does_not_want_to_be_shown_is_not() {
        let asserted = Some(party("+4930123", Some("Zoë")));
        let call = shown(Identity { asserted, private: true, ..Identity::default() });
        assert_eq!((call.peer.as_str(), call.peer_name), ("anonymous", None));
        assert!(call.private);
    }
}
