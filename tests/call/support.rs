//! A call with a browser, a SIP peer and a media plane that only write down what they are told.

use std::time::{Duration, Instant};

use wrtc_gateway::agent::{Dialect, MessageError};
use wrtc_gateway::call::{
    CallConfig, CallEnd, DigitsBy, FirstOffer, InviteOffer, Line, MediaCommand, MediaLocal, Output,
    Seed,
};
use wrtc_gateway::media::{BrowserLocal, Flow, SipRemote};
use wrtc_gateway::sdp::{BrowserSdp, Candidate, Codec, Fingerprint, IceCredentials, SipSdp};
use wrtc_gateway::sip::{
    self, Command, End, EndedBy, Event, Invited, NotifyEvent, ReferId, Referred, SessionId,
};
use wrtc_gateway::wire::{DataPair, FromBrowser, RoapIds, ToBrowser};

pub const SESSION: SessionId = SessionId(7);
pub const SECOND: SessionId = SessionId(8);
pub const ALL: [Codec; 4] = Codec::ALL;

pub struct Bench {
    pub line: Line,
    pub now: Instant,
    pub to_browser: Vec<ToBrowser>,
    pub to_sip: Vec<Command>,
    pub to_media: Vec<MediaCommand>,
    pub ended: Option<CallEnd>,
    /// Which calls have ended, in order.
    pub over: Vec<SessionId>,
    restarts: u32,
}

pub fn config() -> CallConfig {
    CallConfig {
        codecs: ALL.to_vec(),
        digits: DigitsBy::Auto,
        ringback: true,
        attached_prefix: "X-Attached-".into(),
        ..CallConfig::default()
    }
}

pub fn local(ufrag: &str) -> BrowserLocal {
    BrowserLocal {
        ice: IceCredentials { ufrag: ufrag.into(), pwd: "gatewaypasswordgatewaypw".into() },
        fingerprint: Fingerprint([7; 32]),
        candidates: Candidate::hosts(&["192.0.2.9:40000".parse().unwrap()], &[]),
        ssrc: 4242,
        cname: "gw".into(),
    }
}

pub fn media_local() -> MediaLocal {
    MediaLocal { browser: local("gw0"), rtp: "192.0.2.9:20000".parse().unwrap(), video: None }
}

pub const SEED: Seed = Seed { roap: 900, tiebreaker: 77, origins: [1, 2], keys: [3; 32] };

impl Bench {
    pub fn with(line: Line) -> Self {
        let mut bench = Self {
            line,
            now: Instant::now(),
            to_browser: Vec::new(),
            to_sip: Vec::new(),
            to_media: Vec::new(),
            ended: None,
            over: Vec::new(),
            restarts: 0,
        };
        bench.drain();
        bench
    }

    pub fn outgoing(offer: &str) -> Self {
        Self::outgoing_with(config(), offer, &[])
    }

    /// By a client of the raw-SDP dialect.
    pub fn outgoing_raw(offer: &str) -> Self {
        let offer = FirstOffer::parse(None, offer.into(), &[], &config()).unwrap();
        let now = Instant::now();
        Self::with(Line::outgoing(config(), SESSION, "1003", offer, media_local(), SEED, now))
    }

    pub fn outgoing_with(config: CallConfig, offer: &str, attached: &[DataPair]) -> Self {
        let ids = Some(ids(103, 1));
        let offer = FirstOffer::parse(ids, offer.into(), attached, &config).unwrap();
        let now = Instant::now();
        Self::with(Line::outgoing(config, SESSION, "1003", offer, media_local(), SEED, now))
    }

    /// A second call comes in.
    pub fn invited(&mut self, sdp: Option<&str>) {
        self.invited_with(config(), sdp);
    }

    pub fn invited_with(&mut self, config: CallConfig, sdp: Option<&str>) {
        let invited = Invited { sdp: sdp.map(str::to_owned), ..Invited::default() };
        let offer = InviteOffer::parse(&invited, &config).unwrap();
        self.line.invited(SECOND, offer, self.now);
        self.drain();
    }

    /// An INVITE that is to take the place of `old`.
    pub fn replaced(&mut self, old: SessionId, sdp: Option<&str>) -> bool {
        let invited = Invited { sdp: sdp.map(str::to_owned), ..Invited::default() };
        let offer = InviteOffer::parse(&invited, &config()).unwrap();
        let taken = self.line.replaced(old, SECOND, offer, self.now);
        self.drain();
        taken
    }

    pub fn referred(&mut self, referred: &Referred) -> bool {
        let taken = self.line.referred(SESSION, ReferId(1), referred, SECOND, self.now);
        self.drain();
        taken
    }

    pub fn dialled(&mut self, to: &str) -> Result<(), MessageError> {
        let result = self.line.dial(SECOND, to, self.now);
        self.drain();
        result
    }

    pub fn transferred(
        &mut self,
        to: &str,
        replaces: Option<SessionId>,
    ) -> Result<(), MessageError> {
        let result = self.line.transfer(None, to, replaces);
        self.drain();
        result
    }

    pub fn on(&mut self, session: SessionId, message: FromBrowser) -> Result<(), MessageError> {
        let result = self.line.handle_browser(Some(session), message, self.now);
        self.drain();
        result
    }

    pub fn heard_digit(&mut self, digit: char, from_sip: bool) {
        self.line.handle_digit(digit, Duration::from_millis(100), from_sip, self.now);
        self.drain();
    }

    pub fn progressed(&mut self, code: u16, sdp: Option<&str>, early: u32) {
        let sdp = sdp.map(str::to_owned);
        let text = String::new();
        self.sip(Event::Progressed { session: SESSION, code, text, sdp, early });
    }

    pub fn incoming(sdp: Option<&str>) -> Self {
        Self::incoming_in(Dialect::Jsapi, sdp)
    }

    pub fn incoming_in(dialect: Dialect, sdp: Option<&str>) -> Self {
        Self::incoming_with(config(), dialect, sdp)
    }

    pub fn incoming_with(config: CallConfig, dialect: Dialect, sdp: Option<&str>) -> Self {
        let invited = Invited { sdp: sdp.map(str::to_owned), ..Invited::default() };
        let offer = InviteOffer::parse(&invited, &config).unwrap();
        let now = Instant::now();
        Self::with(Line::incoming(config, dialect, SESSION, offer, media_local(), SEED, now))
    }

    /// A call the agent made and the far end took.
    pub fn established() -> Self {
        let mut bench = Self::outgoing(&browser_offer("u0", 1, "sendrecv"));
        bench.answered(&sip_sdp("203.0.113.5:30000", "0 101", "sendrecv", 1));
        bench.clear();
        bench
    }

    pub fn clear(&mut self) {
        self.to_browser.clear();
        self.to_sip.clear();
        self.to_media.clear();
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Browser(_, message) => self.to_browser.push(message),
                Output::Sip(command) => self.to_sip.push(command),
                Output::Media(command) => {
                    let fresh =
                        matches!(command, MediaCommand::RestartIce | MediaCommand::RenewBrowser);
                    self.to_media.push(command);
                    if fresh {
                        self.restarts += 1;
                        self.line.handle_media_local(local(&format!("gw{}", self.restarts)));
                    }
                }
                Output::Ended(session, end) => {
                    assert!(!self.over.contains(&session), "a call ends once");
                    self.over.push(session);
                    self.ended = Some(end);
                }
            }
        }
    }

    pub fn browser(&mut self, message: FromBrowser) -> Result<(), MessageError> {
        let result = self.line.handle_browser(None, message, self.now);
        self.drain();
        result
    }

    pub fn sip(&mut self, event: Event) {
        self.line.handle_sip(event, self.now);
        self.drain();
    }

    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.line.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.line.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    pub fn offer(&mut self, ids: RoapIds, sdp: &str) {
        self.browser(offer(ids, sdp)).unwrap();
    }

    pub fn answer(&mut self, sdp: &str) {
        let ids = self.our_offer().0;
        self.browser(answer(ids, sdp)).unwrap();
    }

    pub fn answered(&mut self, sdp: &str) {
        self.sip(Event::Answered { session: SESSION, sdp: Some(sdp.into()) });
    }

    pub fn acked(&mut self, sdp: Option<&str>) {
        self.sip(Event::Acked { session: SESSION, sdp: sdp.map(str::to_owned) });
    }

    pub fn reinvited(&mut self, sdp: Option<&str>) {
        self.sip(Event::Reinvited { session: SESSION, sdp: sdp.map(str::to_owned) });
    }

    pub fn reinvite_answered(&mut self, sdp: &str) {
        self.sip(Event::ReinviteAnswered { session: SESSION, sdp: Some(sdp.into()) });
    }

    pub fn notified(&mut self, event: NotifyEvent) {
        self.sip(Event::Notified { session: SESSION, event });
    }

    pub fn hung_up(&mut self, code: u16, text: &str) {
        let end = End { by: EndedBy::Peer, code, text: text.into(), reason_header: None };
        self.sip(Event::Ended { session: SESSION, end });
    }

    /// The last SDP that went to the SIP side, in whichever message.
    pub fn sip_text(&self) -> String {
        self.to_sip
            .iter()
            .rev()
            .find_map(|command| match command {
                Command::Invite { sdp, .. } | Command::Reinvite { sdp, .. } => sdp.clone(),
                Command::Accept { sdp, .. }
                | Command::AcceptReinvite { sdp, .. }
                | Command::AnswerInAck { sdp, .. } => Some(sdp.clone()),
                _ => None,
            })
            .expect("an SDP toward SIP")
    }

    pub fn sip_sdp(&self) -> SipSdp {
        SipSdp::parse(&self.sip_text(), &ALL).unwrap()
    }

    pub fn our_offer(&self) -> (RoapIds, BrowserSdp) {
        self.to_browser
            .iter()
            .rev()
            .find_map(|message| match message {
                ToBrowser::Offer { ids, sdp, .. } => {
                    Some((*ids, BrowserSdp::parse(sdp, &ALL).unwrap()))
                }
                _ => None,
            })
            .expect("an OFFER to the browser")
    }

    pub fn our_answer(&self) -> (RoapIds, BrowserSdp, String) {
        self.to_browser
            .iter()
            .rev()
            .find_map(|message| match message {
                ToBrowser::Answer { ids, sdp, .. } => {
                    Some((*ids, BrowserSdp::parse(sdp, &ALL).unwrap(), sdp.clone()))
                }
                _ => None,
            })
            .expect("an ANSWER to the browser")
    }

    pub fn flow(&self) -> Flow {
        self.to_media
            .iter()
            .rev()
            .find_map(|command| match command {
                MediaCommand::SetFlow(flow) => Some(*flow),
                _ => None,
            })
            .expect("a flow")
    }

    pub fn remote(&self) -> SipRemote {
        self.to_media
            .iter()
            .rev()
            .find_map(|command| match command {
                MediaCommand::SetSip(remote) => Some(remote.clone()),
                _ => None,
            })
            .expect("a SIP remote")
    }

    /// Names of what the browser was told, for the eye.
    pub fn heard(&self) -> Vec<&'static str> {
        self.to_browser
            .iter()
            .map(|message| match message {
                ToBrowser::Offer { .. } => "offer",
                ToBrowser::Answer { .. } => "answer",
                ToBrowser::Ok { .. } => "ok",
                ToBrowser::Error { .. } => "error",
                ToBrowser::Ringing => "ringing",
                ToBrowser::Bye { .. } => "bye",
                ToBrowser::Connected => "connected",
                ToBrowser::Waiting => "waiting",
                ToBrowser::Ended { .. } => "ended",
                ToBrowser::Peer => "peer",
                ToBrowser::Transfer { .. } => "transfer",
                ToBrowser::Digit(_) => "digit",
                ToBrowser::Invite => "invite",
                ToBrowser::Talk => "talk",
                ToBrowser::Hold => "hold",
                ToBrowser::PeerHold => "peer-hold",
                ToBrowser::PeerResume => "peer-resume",
                ToBrowser::InfoPeer(_) => "info",
                ToBrowser::Stats(_) => "stats",
                ToBrowser::Dial { .. } => "dial",
                ToBrowser::Replaced => "replaced",
            })
            .collect()
    }

    pub fn sip_heard(&self) -> Vec<&'static str> {
        self.to_sip
            .iter()
            .map(|command| match command {
                Command::Invite { .. } => "invite",
                Command::Progress { .. } => "progress",
                Command::Accept { .. } => "accept",
                Command::End { .. } => "end",
                Command::Reinvite { .. } => "reinvite",
                Command::AcceptReinvite { .. } => "accept-reinvite",
                Command::RejectReinvite { .. } => "reject-reinvite",
                Command::AnswerInAck { .. } => "answer-in-ack",
                Command::Info { .. } => "info",
                Command::Refer { .. } => "refer",
                Command::AcceptRefer { .. } => "accept-refer",
                Command::RejectRefer { .. } => "reject-refer",
                Command::ReferProgress { .. } => "refer-progress",
                _ => "other",
            })
            .collect()
    }

    pub fn end_code(&self) -> u16 {
        self.to_sip
            .iter()
            .find_map(|command| match command {
                sip::Command::End { code, .. } => Some(*code),
                _ => None,
            })
            .expect("an End toward SIP")
    }
}

pub fn ids(offerer: u64, seq: u64) -> RoapIds {
    RoapIds { offerer, answerer: None, seq }
}

pub fn offer(ids: RoapIds, sdp: &str) -> FromBrowser {
    FromBrowser::Offer {
        ids: Some(ids),
        tiebreaker: Some(5),
        sdp: sdp.into(),
        candidates: Vec::new(),
        attached: Vec::new(),
    }
}

pub fn answer(ids: RoapIds, sdp: &str) -> FromBrowser {
    FromBrowser::Answer {
        ids: Some(ids),
        sdp: sdp.into(),
        candidates: Vec::new(),
        attached: Vec::new(),
    }
}

/// Chromium's audio in small: Opus first, the old profile name, telephone-event twice.
pub fn browser_offer(ufrag: &str, fingerprint: u8, direction: &str) -> String {
    browser_sdp(ufrag, fingerprint, direction, "111 9 0 8 110 126", "actpass")
}

pub fn browser_answer(ufrag: &str, direction: &str, formats: &str) -> String {
    browser_sdp(ufrag, 1, direction, formats, "active")
}

fn browser_sdp(ufrag: &str, fp: u8, direction: &str, formats: &str, setup: &str) -> String {
    let fingerprint = Fingerprint([fp; 32]);
    format!(
        "v=0\r\no=- 30547 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\na=mid:0\r\na={direction}\r\n\
         a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
         a=rtpmap:126 telephone-event/8000\r\n"
    )
}

pub fn sip_sdp(addr: &str, formats: &str, direction: &str, version: u32) -> String {
    let (ip, port) = addr.rsplit_once(':').unwrap();
    format!(
        "v=0\r\no=phone 55 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}
