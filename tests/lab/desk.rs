//! An agent's desk on paper: the gateway's user agent with its transactions and its call core, and a
//! browser that does what the JSAPI client does. The centre's player sits on the other end of an
//! in-memory pipe, and time is virtual.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsipstack::sip::SipMessage;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::{
    CallConfig, CallEnd, DigitsBy, InviteOffer, Line, MediaLocal, Output, Seed,
};
use wrtc_gateway::lab::centre::{Caller, Player, Setup, Step, Text};
use wrtc_gateway::lab::{Paper, PhoneConfig};
use wrtc_gateway::media::{BrowserLocal, Flow};
use wrtc_gateway::sdp::{Candidate, Codec, Fingerprint, IceCredentials};
use wrtc_gateway::sip::port::{Incoming, Transmit};
use wrtc_gateway::sip::transaction::{self, Arrival, Transactions};
use wrtc_gateway::sip::{Command, Event, Hop, Invited, SessionId, UaConfig, UserAgent, wire};
use wrtc_gateway::wire::{FromBrowser, RoapIds, ToBrowser};

pub const CENTRE: &str = "192.0.2.10:5060";
pub const GATEWAY: &str = "192.0.2.20:5070";
pub const CUSTOMER: &str = "198.51.100.7:16384";

pub fn paper(address: &str) -> Arc<Paper> {
    let config = PhoneConfig { codecs: vec![Codec::Pcmu, Codec::Pcma], ..PhoneConfig::default() };
    Arc::new(Paper::new(config, address.parse().unwrap()))
}

pub struct Desk {
    pub now: Instant,
    pub player: Player,
    /// The player of another call to the same DN.
    pub other: Option<Player>,
    pub customer: Arc<Paper>,
    pub call: Option<Line>,
    pub flow: Flow,
    /// How often the browser's connection was made anew.
    pub renewed: u32,
    /// What the browser was told.
    pub told: Vec<&'static str>,
    pub invited: Option<Invited>,
    pub end: Option<CallEnd>,
    over: Vec<SessionId>,
    /// The browser answers nothing by itself.
    pub browser_sleeps: bool,
    ua: UserAgent,
    transactions: Transactions,
    /// What waits for the agent's word: our OFFER, or an INVITE.
    ringing: Option<Ringing>,
    /// The browser's last OFFER was inactive.
    holds: bool,
    seq: u64,
    /// Toward the gateway, in order, and when.
    flying: VecDeque<(Instant, String)>,
    /// How long a datagram travels.
    pub travel: Duration,
}

enum Ringing {
    /// Its numbers, and the formats it has, for a browser answers with those.
    Offer(RoapIds, String),
    Invite,
}

impl Desk {
    pub fn new() -> Self {
        Self::with(Caller::new("7001"))
    }

    pub fn with(caller: Caller) -> Self {
        let (me, addr): (SocketAddr, SocketAddr) =
            (CENTRE.parse().unwrap(), GATEWAY.parse().unwrap());
        let now = Instant::now();
        let customer = paper(CUSTOMER);
        let config = UaConfig::new("5001", "example.org", Hop::udp(me), addr);
        Self {
            now,
            player: player(caller, customer.clone(), now),
            customer,
            other: None,
            call: None,
            flow: Flow::default(),
            renewed: 0,
            told: Vec::new(),
            invited: None,
            end: None,
            over: Vec::new(),
            browser_sleeps: false,
            ua: UserAgent::new(config, 5),
            transactions: Transactions::default(),
            ringing: None,
            holds: false,
            seq: 0,
            flying: VecDeque::new(),
            travel: Duration::from_micros(200),
        }
    }

    /// The server calls the DN once more. From now on the script is that call's, and with
    /// [`Desk::turns`] the first one's again.
    pub fn calls_again(&mut self, caller: Caller, far: Arc<Paper>) {
        assert!(self.other.is_none(), "two calls are all that this desk has");
        let first = std::mem::replace(&mut self.player, player(caller, far, self.now));
        self.other = Some(first);
    }

    pub fn turns(&mut self) {
        std::mem::swap(&mut self.player, self.other.as_mut().expect("another call"));
    }

    /// Adds to the script, and runs until it is done or nothing happens any more.
    #[track_caller]
    pub fn plays(&mut self, steps: Vec<Step>) {
        self.player.play(steps, self.now);
        self.run(Duration::from_secs(120), true);
        if let Some(failure) = self.player.failure() {
            panic!("{failure}\n{}", self.ladder());
        }
        assert!(self.player.is_done(), "{:?}\n{}", self.player.waits_for(), self.ladder());
    }

    /// Lets time pass.
    pub fn passes(&mut self, time: Duration) {
        self.run(time, false);
    }

    pub fn ladder(&self) -> String {
        let rungs = self.player.ladder().rungs().map(|rung| {
            let way = if rung.out { "-->" } else { "<--" };
            format!("{:>10.1} ms {way} {}", rung.at_us as f64 / 1000.0, rung.title)
        });
        rungs.collect::<Vec<_>>().join("\n")
    }

    /// Titles of the ladder: `> ` from the centre, `< ` from the gateway.
    pub fn rungs(&self) -> Vec<String> {
        let way = |out| if out { ">" } else { "<" };
        self.player.ladder().rungs().map(|r| format!("{} {}", way(r.out), r.title)).collect()
    }

    /// The n-th message of this title, as it was.
    #[track_caller]
    pub fn message(&self, title: &str, n: usize) -> String {
        let mut rungs = self.player.ladder().rungs().filter(|rung| rung.title == title);
        let found = rungs.nth(n).unwrap_or_else(|| panic!("no {title}\n{}", self.ladder()));
        found.text.clone()
    }

    /// Between two messages, as the ladder has it.
    pub fn between(&self, from: &str, to: &str) -> Duration {
        let rungs: Vec<_> = self.player.ladder().rungs().collect();
        let start = rungs.iter().position(|rung| rung.title == from).expect(from);
        let end = rungs[start..].iter().find(|rung| rung.title == to).expect(to);
        Duration::from_micros(end.at_us - rungs[start].at_us)
    }

    fn run(&mut self, time: Duration, until_done: bool) {
        let end = self.now + time;
        // A timer that is due and does nothing would go on for ever.
        for turn in 0.. {
            assert!(turn < 10_000, "no end of it: {:?}\n{}", self.timers(), self.ladder());
            self.settle();
            if until_done && (self.player.is_done() || self.player.failure().is_some()) {
                // What is on its way still arrives.
                if self.flying.is_empty() {
                    return;
                }
            }
            let next = self.timers().into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if let Some((at, _)) = self.flying.front()
                && *at <= self.now
            {
                let (_, text) = self.flying.pop_front().unwrap();
                self.arrives(&text);
            }
            self.player.handle_timeout(self.now);
            if let Some(other) = &mut self.other {
                other.handle_timeout(self.now);
            }
            self.ua.handle_timeout(self.now);
            self.transactions.handle_timeout(self.now);
            if let Some(call) = &mut self.call {
                call.handle_timeout(self.now);
            }
        }
        self.now = self.now.max(end);
    }

    /// Of the network, the players, the user agent, its transactions and the call.
    fn timers(&self) -> [Option<Instant>; 6] {
        [
            self.flying.front().map(|(at, _)| *at),
            self.player.poll_timeout(),
            self.other.as_ref().and_then(Player::poll_timeout),
            self.ua.poll_timeout(),
            self.transactions.poll_timeout(),
            self.call.as_ref().and_then(Line::poll_timeout),
        ]
    }

    fn arrives(&mut self, text: &str) {
        let from = Hop::udp(CENTRE.parse().unwrap());
        match wire::parse(text.as_bytes()).expect("the gateway reads what the centre writes") {
            SipMessage::Request(request) => {
                match self.transactions.arrived(request, from, self.now) {
                    Arrival::New { tx, request, .. } => {
                        self.transactions.set_owner(tx, 0);
                        self.ua.handle_incoming(Incoming::Request { tx, request, from }, self.now);
                    }
                    Arrival::Absorbed => {}
                    other => panic!("{other:?}"),
                }
            }
            SipMessage::Response(response) => {
                self.transactions.response(response, from, self.now);
            }
        }
    }

    /// From the gateway, to the player whose call it is about.
    fn returns(&mut self, datagram: &[u8]) {
        let message = Text::parse(datagram).expect("the centre reads what the gateway writes");
        let players = std::iter::once(&mut self.player).chain(&mut self.other);
        let mut of = players.filter(|player| message.call_id() == Some(player.call_id()));
        of.next().expect("a call").handle_datagram(datagram, self.now);
    }

    /// Carries out what everybody wants until nobody wants anything more.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            assert!(self.told.len() < 200, "no end of it: {:?}", &self.told[..20]);
            for player in std::iter::once(&mut self.player).chain(&mut self.other) {
                while let Some((_, text)) = player.poll_transmit() {
                    idle = false;
                    self.flying.push_back((self.now + self.travel, text));
                }
            }
            while let Some(transmit) = self.ua.poll_transmit() {
                idle = false;
                self.transmit(transmit);
            }
            while let Some(output) = self.transactions.poll() {
                idle = false;
                match output {
                    transaction::Output::Send { datagram, .. } => {
                        self.returns(&datagram);
                    }
                    transaction::Output::UnheardByTcp { .. } => {}
                    transaction::Output::Deliver { incoming, .. } => {
                        self.ua.handle_incoming(incoming, self.now);
                    }
                }
            }
            while let Some(event) = self.ua.poll_event() {
                idle = false;
                self.event(event);
            }
            idle &= !self.drain_call();
            if idle {
                return;
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let now = self.now;
        match transmit {
            Transmit::Request { tx, request, to } => {
                self.transactions.request(Some(0), tx, request, to, now);
            }
            Transmit::Cancel { invite, request, to } => {
                self.transactions.cancel(0, invite, request, to, now);
            }
            Transmit::Abandon { tx } => self.transactions.abandon(0, tx),
            Transmit::Ack { request, .. } => {
                self.returns(&request.to_bytes());
            }
            Transmit::Response { tx, response } => {
                self.transactions.respond(tx, &response, now);
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.now;
        if let Event::Invited { session, invite } = event {
            let config = CallConfig {
                codecs: Codec::ALL.to_vec(),
                digits: DigitsBy::Auto,
                attached_prefix: String::new(),
                ..CallConfig::default()
            };
            let Ok(offer) = InviteOffer::parse(&invite, &config) else {
                let text = String::new();
                return self.ua.handle_command(Command::End { session, code: 488, text }, now);
            };
            self.invited = Some(*invite);
            if let Some(line) = &mut self.call {
                return line.invited(session, offer, now);
            }
            let local = MediaLocal {
                browser: local(),
                rtp: "192.0.2.20:20000".parse().unwrap(),
                video: None,
            };
            let seed = Seed { roap: 900, tiebreaker: 77, origins: [1, 2], keys: [3; 32] };
            let call = Line::incoming(config, Dialect::Jsapi, session, offer, local, seed, now);
            self.call = Some(call);
        } else if let Some(call) = &mut self.call {
            call.handle_sip(event, now);
        }
    }

    fn drain_call(&mut self) -> bool {
        let mut busy = false;
        while let Some(output) = self.call.as_mut().and_then(Line::poll_output) {
            busy = true;
            match output {
                Output::Sip(command) => self.ua.handle_command(command, self.now),
                Output::Media(command) => self.media(command),
                Output::Browser(_, message) => self.browser(message),
                Output::Ended(session, end) => {
                    assert!(!self.over.contains(&session), "a call ends once");
                    self.over.push(session);
                    self.end = Some(end);
                }
            }
        }
        busy
    }

    fn media(&mut self, command: wrtc_gateway::call::MediaCommand) {
        use wrtc_gateway::call::MediaCommand::{RenewBrowser, RestartIce, SetFlow};
        match command {
            SetFlow(flow) => self.flow = flow,
            RestartIce | RenewBrowser => {
                self.renewed += 1;
                self.call.as_mut().unwrap().handle_media_local(local());
            }
            _ => {}
        }
    }

    /// What the JSAPI client does when it hears this.
    fn browser(&mut self, message: ToBrowser) {
        let established = self
            .call
            .as_ref()
            .and_then(|line| Some(line.state(line.active()?)))
            .is_some_and(|state| matches!(state, "established" | "held"));
        match message {
            ToBrowser::Offer { ids, sdp, .. } => {
                self.told.push("OFFER");
                let audio = sdp.lines().find(|line| line.starts_with("m=audio ")).unwrap();
                let formats = audio.splitn(4, ' ').nth(3).unwrap().to_owned();
                self.ringing = Some(Ringing::Offer(ids, formats));
                if established && !self.browser_sleeps {
                    self.accept();
                }
            }
            ToBrowser::Invite => {
                self.told.push("INVITE");
                if established && !self.browser_sleeps {
                    self.offer("sendrecv");
                } else {
                    self.ringing = Some(Ringing::Invite);
                }
            }
            ToBrowser::Talk => {
                self.told.push("EVENT-TALK");
                if !self.browser_sleeps {
                    if self.ringing.is_some() {
                        self.accept();
                    } else if std::mem::take(&mut self.holds) {
                        self.offer("sendrecv");
                    }
                }
            }
            ToBrowser::Hold => {
                self.told.push("EVENT-HOLD");
                if !self.browser_sleeps {
                    self.holds = true;
                    self.offer("inactive");
                }
            }
            ToBrowser::Answer { .. } => self.told.push("ANSWER"),
            ToBrowser::Ok { .. } => self.told.push("OK"),
            ToBrowser::Bye { .. } => self.told.push("BYE"),
            ToBrowser::Error { detail, .. } => panic!("the browser was told an ERROR: {detail}"),
            ToBrowser::Waiting => self.told.push("WAITING"),
            ToBrowser::Ended { .. } => self.told.push("ENDED"),
            _ => self.told.push("else"),
        }
    }

    /// The agent takes the call, or the client does by itself.
    pub fn accept(&mut self) {
        match self.ringing.take() {
            Some(Ringing::Offer(ids, formats)) => {
                let sdp = browser_sdp("active", "sendrecv", &formats);
                let candidates = Vec::new();
                let answer =
                    FromBrowser::Answer { ids: Some(ids), sdp, candidates, attached: Vec::new() };
                self.says(answer);
            }
            Some(Ringing::Invite) => self.offer("sendrecv"),
            None => panic!("nothing rings"),
        }
    }

    /// An OFFER of the browser's.
    pub fn offer(&mut self, direction: &str) {
        self.seq += 1;
        let ids = RoapIds { offerer: 44, answerer: None, seq: self.seq };
        self.says(FromBrowser::Offer {
            ids: Some(ids),
            tiebreaker: Some(5),
            sdp: browser_sdp("actpass", direction, "111 9 0 8 126"),
            candidates: Vec::new(),
            attached: Vec::new(),
        });
    }

    /// The agent hangs up.
    pub fn hangs_up(&mut self) {
        self.says(FromBrowser::Bye);
        self.passes(Duration::from_secs(1));
    }

    fn says(&mut self, message: FromBrowser) {
        let now = self.now;
        self.call.as_mut().expect("a call").handle_browser(None, message, now).expect("taken");
    }
}

fn player(caller: Caller, far: Arc<Paper>, now: Instant) -> Player {
    let (me, addr) = (CENTRE.parse().unwrap(), GATEWAY.parse().unwrap());
    let contact = format!("sip:5001@{GATEWAY}");
    Player::new(Setup { caller, me, dn: "5001".into(), contact, addr }, far, now)
}

fn local() -> BrowserLocal {
    BrowserLocal {
        ice: IceCredentials { ufrag: "gw".into(), pwd: "gatewaypasswordgatewaypw".into() },
        fingerprint: Fingerprint([7; 32]),
        candidates: Candidate::hosts(&["192.0.2.20:40000".parse().unwrap()], &[]),
        ssrc: 4242,
        cname: "gw".into(),
    }
}

fn browser_sdp(setup: &str, direction: &str, formats: &str) -> String {
    let fingerprint = Fingerprint([1; 32]);
    format!(
        "v=0\r\no=- 30547 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:u0\r\n\
         a=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:{setup}\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:126 telephone-event/8000\r\n"
    )
}
