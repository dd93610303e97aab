//! Plays a script against one DN: writes the messages, waits for the answers, and has the manners of a
//! SIP server meanwhile (answers what comes, repeats what is not answered). Sans-I/O: datagrams and
//! the time go in, datagrams come out.

mod heard;
mod script;

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dialog::{Caller, Dialog};
use super::far::FarEnd;
use super::ladder::Ladder;
use super::step::{Expect, Step};
use super::text::Text;

/// RFC 3261 17.1.1.1.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const T1X64: Duration = Duration::from_secs(32);
/// Messages that wait for an Expect, and SDPs that are remembered: more than any script has.
const REMEMBERED: usize = 64;

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The script has not called yet.
    New,
    Calling,
    Ringing,
    /// A 2xx is here, its ACK is not out.
    Answered,
    Up,
    Ended(Ended),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// By the gateway; otherwise by the centre.
    pub by_agent: bool,
    /// Of the refusal; 200 for a BYE, 487 for a CANCEL, 408 for silence.
    pub code: u16,
    /// Its Reason header.
    pub reason: Option<String>,
}

/// Why a script stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} did not come {how}; unclaimed: {unclaimed:?}")]
pub struct Failure {
    pub wanted: String,
    /// `in 15 s`, or why it cannot come any more.
    pub how: String,
    pub unclaimed: Vec<String>,
}

/// When the moments came that people ask about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub invited: Option<Instant>,
    pub rang: Option<Instant>,
    /// NOTIFY talk went out, its 200 came, and the 200 to the INVITE.
    pub talk: Option<Instant>,
    pub talk_ok: Option<Instant>,
    pub answered: Option<Instant>,
}

/// Whom a player calls.
#[derive(Debug, Clone)]
pub struct Setup {
    pub caller: Caller,
    /// The centre's own address.
    pub me: SocketAddr,
    pub dn: String,
    /// The Contact of the DN's registration.
    pub contact: String,
    /// Where that is.
    pub addr: SocketAddr,
}

/// A request that is repeated until it is answered, or a 2xx until its ACK is here.
#[derive(Debug)]
struct Repeating {
    cseq: u32,
    method: String,
    text: String,
    next: Instant,
    pause: Duration,
    until: Instant,
    is_response: bool,
}

#[derive(Debug)]
enum Waiting {
    Until(Instant),
    For { expect: Expect, since: Instant, within: Duration },
}

#[derive(Debug)]
pub struct Player {
    dialog: Dialog,
    dn: String,
    addr: SocketAddr,
    far: Arc<dyn FarEnd>,
    steps: VecDeque<Step>,
    waiting: Option<Waiting>,
    stage: Stage,
    failure: Option<Failure>,
    /// What came and no Expect has claimed yet.
    inbox: VecDeque<Text>,
    out: VecDeque<(SocketAddr, String)>,
    repeating: Vec<Repeating>,
    /// Responses that came, for a repeated one is no new one.
    seen: HashSet<(u16, u32, String)>,
    /// Our answers to requests, for their repetitions.
    answers: VecDeque<(String, String)>,
    /// Number and branch of the INVITE that a CANCEL or the ACK of a refusal belongs to.
    invite: (u32, String),
    /// An INVITE of ours has no final answer yet.
    inviting: bool,
    /// Our last INVITE or UPDATE held an offer.
    offered: bool,
    cancelled: bool,
    to_ack: Option<u32>,
    /// ACKs that are out, to be repeated with their 2xx.
    acks: Vec<(u32, String)>,
    last_request: Option<String>,
    last_offer: Option<String>,
    sdps: VecDeque<String>,
    repeats: u32,
    agent_holds: bool,
    times: Times,
    ladder: Ladder,
}

impl Player {
    pub fn new(setup: Setup, far: Arc<dyn FarEnd>, now: Instant) -> Self {
        let Setup { caller, me, dn, contact, addr } = setup;
        Self {
            dialog: Dialog::new(caller, me, &dn, &contact),
            dn,
            addr,
            far,
            steps: VecDeque::new(),
            waiting: None,
            stage: Stage::New,
            failure: None,
            inbox: VecDeque::new(),
            out: VecDeque::new(),
            repeating: Vec::new(),
            seen: HashSet::new(),
            answers: VecDeque::new(),
            invite: (0, String::new()),
            inviting: false,
            offered: false,
            cancelled: false,
            to_ack: None,
            acks: Vec::new(),
            last_request: None,
            last_offer: None,
            sdps: VecDeque::new(),
            repeats: 0,
            agent_holds: false,
            times: Times::default(),
            ladder: Ladder::new(now),
        }
    }

    pub fn dn(&self) -> &str {
        &self.dn
    }

    pub fn caller(&self) -> &Caller {
        &self.dialog.caller
    }

    pub fn call_id(&self) -> &str {
        &self.dialog.call_id
    }

    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Nothing is left of the script.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }

    /// Why the script stopped before its end.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What the script waits for.
    pub fn waits_for(&self) -> Option<String> {
        match &self.waiting {
            Some(Waiting::For { expect, .. }) => Some(expect.to_string()),
            _ => None,
        }
    }

    /// Responses that came again, 200s above all.
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// The gateway's last SDP does not hear.
    pub fn agent_holds(&self) -> bool {
        self.agent_holds
    }

    pub fn times(&self) -> Times {
        self.times
    }

    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// SDPs of the gateway's, the newest last.
    pub fn sdps(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.sdps.iter().map(String::as_str)
    }

    /// Adds to the script and plays what can be played of it.
    pub fn play(&mut self, steps: impl IntoIterator<Item = Step>, now: Instant) {
        self.steps.extend(steps);
        self.advance(now);
    }

    /// Forgets what is left of the script.
    pub fn abandon(&mut self) {
        self.steps.clear();
        self.waiting = None;
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, String)> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = match &self.waiting {
            Some(Waiting::Until(at)) => Some(*at),
            Some(Waiting::For { since, within, .. }) => Some(*since + *within),
            None => None,
        };
        waiting.into_iter().chain(self.repeating.iter().map(|r| r.next.min(r.until))).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let mut due = Vec::new();
        let mut given_up = false;
        self.repeating.retain_mut(|repeating| {
            if repeating.until <= now {
                given_up |= repeating.method == "INVITE" && !repeating.is_response;
                return false;
            }
            if repeating.next <= now {
                due.push(repeating.text.clone());
                repeating.pause *= 2;
                if repeating.is_response || repeating.method != "INVITE" {
                    repeating.pause = repeating.pause.min(T2);
                }
                repeating.next = now + repeating.pause;
            }
            true
        });
        for text in due {
            self.send(text, now);
        }
        if given_up {
            self.end(true, 408, None);
        }
        self.advance(now);
    }

    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) {
        let Some(message) = Text::parse(datagram) else { return };
        self.ladder.note(&String::from_utf8_lossy(datagram), false, false, now);
        if message.status().is_some() {
            self.handle_response(message, now);
        } else {
            self.handle_request(message, now);
        }
        self.advance(now);
    }

    fn send(&mut self, text: String, now: Instant) {
        self.ladder.note(&text, true, false, now);
        self.out.push_back((self.addr, text));
    }

    fn end(&mut self, by_agent: bool, code: u16, reason: Option<String>) {
        if !self.has_ended() {
            self.far.stop();
            self.stage = Stage::Ended(Ended { by_agent, code, reason });
        }
        self.repeating.retain(|r| r.method == "BYE");
    }

    fn keep(&mut self, message: Text) {
        if self.inbox.len() == REMEMBERED {
            self.inbox.pop_front();
        }
        self.inbox.push_back(message);
    }

    fn note_sdp(&mut self, message: &Text) {
        if let Some(sdp) = message.sdp() {
            if self.sdps.len() == REMEMBERED {
                self.sdps.pop_front();
            }
            self.sdps.push_back(sdp.to_owned());
        }
    }
}
