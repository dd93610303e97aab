//! A line with what the runtime keeps beside its core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::agent::Session;
use crate::call::{CallDirection, CallEnd, Line, MediaCommand, Seed};
use crate::journal::watch::BrowserPath;
use crate::journal::{CallRecord, LegRecord, What, unix_ms, video_figures};
use crate::media::{
    Bridge, BrowserLocal, CallStats, Flow, MediaEvent, MediaId, RoundTrips, StreamStats,
};
use crate::sip::{Invited, Party, SessionId};
use crate::wire::{AudioStatistics, CallStatistics, Envelope, StreamStatistics, ToBrowser};

use super::cadence::{Cadence, Noted};

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
    pub cadence: Cadence,
    /// What the media plane was told last.
    pub flow: Flow,
    /// Of the peer connection there is now.
    pub path: BrowserPath,
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
    pub clock: SystemTime,
    /// The SIP Call-ID, and that of an INVITE that took its place.
    pub sip_call_ids: Vec<String>,
    /// What the line had counted before.
    pub before: CallStats,
    /// As it was noted last.
    pub state: &'static str,
    /// By us and by the far end, as noted last.
    pub held: (bool, bool),
    pub holds: u32,
    /// The side that was complained of last.
    pub silent: Option<&'static str>,
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
            clock: SystemTime::now(),
            sip_call_ids: Vec::new(),
            before: CallStats::default(),
            state: "",
            held: (false, false),
            holds: 0,
            silent: None,
        }
    }

    /// What the network vouches for goes before what the caller says of itself. Who does not want to
    /// be shown is not shown (RFC 3323).
    pub fn incoming(session: SessionId, invited: Invited, now: Instant) -> Self {
        let Invited { from, display_name, call_uuid, identity, call_id, .. } = invited;
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
            sip_call_ids: vec![call_id],
            incoming: true,
            ..Self::outgoing(session, "", now)
        }
    }

    /// What stays of it. `stats` are the line's at its end; packets are those of while it lasted.
    pub fn record(
        &self,
        session: &Session,
        end: &CallEnd,
        stats: &CallStats,
        now: Instant,
    ) -> CallRecord {
        let stats = stats.since(&self.before);
        let span = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
        };
        let started = unix_ms(self.clock);
        let setup = end.answered_at.map(|at| span(self.started, at));
        CallRecord {
            call: self.id.clone(),
            sip_call_ids: self.sip_call_ids.clone(),
            call_uuid: self.call_uuid.clone(),
            user: session.identity().user().to_owned(),
            agent_id: session.client_id().map(str::to_owned),
            peer: self.peer.clone(),
            peer_name: self.peer_name.clone(),
            diverted_from: self.diverted_from.clone(),
            incoming: end.direction == CallDirection::Incoming,
            dialect: session.dialect().label().to_owned(),
            started,
            answered: setup.map(|setup| started + setup),
            ended: started + span(self.started, now),
            setup_ms: setup,
            talked_ms: end.answered_at.map(|at| span(at, now)),
            ended_by: end.by.label().to_owned(),
            code: end.code,
            reason: end.text.clone(),
            sip_reason: end.reason_header.clone(),
            transfer: end.transfer,
            digits: end.digits,
            holds: self.holds,
            codec: end.codec.map(|codec| codec.name().to_owned()),
            sip_encrypted: stats.sip_encrypted,
            silent: self.silent.map(str::to_owned),
            browser: LegRecord::new(stats.browser_rtt, &stats.from_browser, &stats.to_browser),
            sip: LegRecord::new(stats.sip_rtt, &stats.from_sip, &stats.to_sip),
            concealed: stats.from_sip.concealed + stats.from_browser.concealed,
            video: stats.video.as_ref().map(video_figures),
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

    /// Somebody else is at the other end, or goes by another name, as the network says; unless they are
    /// not to be shown.
    pub fn identified(&mut self, session: SessionId, party: &Party) -> Option<&CallInfo> {
        let of = |call: &&mut CallInfo| call.session == session && !call.private;
        let call = self.calls.iter_mut().find(of)?;
        call.peer.clone_from(&party.number);
        call.peer_name.clone_from(&party.display_name);
        Some(call)
    }

    /// An INVITE with this Call-ID takes the place of a call.
    pub fn took_place(&mut self, old: SessionId, call_id: &str) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.session == old) {
            call.sip_call_ids.push(call_id.to_owned());
        }
    }

    /// That side of the current call is not heard.
    pub fn silent(&mut self, side: &'static str) {
        let session = self.current().map(|call| call.session);
        if let Some(call) = self.calls.iter_mut().find(|call| Some(call.session) == session) {
            call.silent = Some(side);
        }
    }

    /// What there is to note of the current call's sound: that it is heard, and every few seconds how.
    pub fn sound(&mut self, now: Instant) -> Option<(&CallInfo, What)> {
        if now < self.cadence.due() {
            return None;
        }
        let stats = self.bridge.stats();
        let noted = self.cadence.look(stats.from_browser.packets, now)?;
        let call = self.current()?;
        if noted == Noted::FirstSound {
            return Some((call, What::BrowserMedia));
        }
        let stats = stats.since(&call.before);
        let any = stats.from_browser.packets + stats.from_sip.packets > 0;
        any.then(|| (call, What::Quality(Box::new(stats))))
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
            MediaCommand::RenewBrowser => {
                self.path = BrowserPath::default();
                return Some(self.bridge.renew_browser());
            }
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
