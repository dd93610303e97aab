//! Plays a script against one DN: writes the messages, waits for the answers, and has the manners of a
//! SIP server meanwhile (answers what comes, repeats what is not answered). Sans-I/O: datagrams and
//! the time go in, datagrams come out.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dialog::{Caller, Content, Dialog};
use super::far::{FarEnd, black_hole, dressed, lowered, receives};
use super::ladder::Ladder;
use super::step::{Body, Expect, Step};
use super::text::Text;
use crate::sip::HeaderPair;

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

    // The script.

    fn advance(&mut self, now: Instant) {
        loop {
            match &self.waiting {
                Some(Waiting::Until(at)) if now < *at => return,
                Some(Waiting::For { expect, since, within }) => {
                    let (expect, due, within) = (*expect, *since + *within, *within);
                    let found = self.inbox.iter().position(|message| fits(expect, message));
                    let cannot = match &self.stage {
                        Stage::Ended(ended) if ended.by_agent => {
                            Some(format!("before the gateway ended the call ({})", ended.code))
                        }
                        _ if now >= due => Some(format!("in {within:?}")),
                        _ => None,
                    };
                    match (found, cannot) {
                        (Some(at), _) => {
                            self.inbox.remove(at);
                        }
                        (None, None) => return,
                        (None, Some(how)) => {
                            let unclaimed = self.inbox.iter().map(Text::label).collect();
                            let wanted = expect.to_string();
                            self.failure.get_or_insert(Failure { wanted, how, unclaimed });
                            self.abandon();
                            return;
                        }
                    }
                }
                _ => {}
            }
            self.waiting = None;
            match self.steps.pop_front() {
                Some(step) => self.carry_out(step, now),
                None => return,
            }
        }
    }

    fn carry_out(&mut self, step: Step, now: Instant) {
        match step {
            Step::Invite(body) | Step::Reinvite(body) => self.invite(body, now),
            Step::Update(body) => self.offer("UPDATE", body, now),
            Step::Notify(event) => {
                if event == "talk" && self.times.answered.is_none() {
                    self.times.talk = Some(now);
                    self.times.talk_ok = None;
                }
                self.request("NOTIFY", &[("Event".to_owned(), event.to_owned())], None, now);
            }
            Step::Info(body) => {
                let content = self.content(&body);
                self.request("INFO", &[], content, now);
            }
            Step::Options => self.request("OPTIONS", &[], None, now),
            Step::Other(method) => self.request(method, &[], None, now),
            Step::Ack(body) => self.acknowledge(&body, false, now),
            Step::AckLost(body) => self.acknowledge(&body, true, now),
            Step::Cancel => {
                if self.inviting {
                    self.cancelled = true;
                    let (cseq, branch) = self.invite.clone();
                    let text = self.dialog.request("CANCEL", cseq, &branch, &[], None);
                    self.repeat("CANCEL", cseq, &text, now);
                    self.send(text, now);
                }
            }
            Step::Bye(reason) => self.bye(reason, now),
            Step::Again => {
                if let Some(text) = self.last_request.clone() {
                    self.send(text, now);
                }
            }
            Step::Expect(expect, within) => {
                self.waiting = Some(Waiting::For { expect, since: now, within });
            }
            Step::Wait(time) => self.waiting = Some(Waiting::Until(now + time)),
            Step::Hold(hold) => self.far.set_hold(hold),
            Step::Connect(far) => {
                std::mem::replace(&mut self.far, far).stop();
            }
        }
    }

    fn content(&mut self, body: &Body) -> Content {
        let last = || self.sdps.back().cloned().unwrap_or_default();
        let sdp = match body {
            Body::Nothing => return None,
            Body::Other(kind, text) => return Some((*kind, text.clone())),
            Body::Offer => dressed(&self.far.offer()),
            Body::Unchanged => {
                self.last_offer.clone().unwrap_or_else(|| dressed(&self.far.offer()))
            }
            Body::Answer => lowered(&self.far.answer(&last()).unwrap_or_else(last)),
            Body::Mirrored => last(),
            Body::BlackHole => black_hole(&lowered(&self.far.answer(&last()).unwrap_or_else(last))),
        };
        if matches!(body, Body::Offer) {
            self.last_offer = Some(sdp.clone());
        }
        Some(("application/sdp", sdp))
    }

    fn invite(&mut self, body: Body, now: Instant) {
        if self.stage == Stage::New {
            self.stage = Stage::Calling;
            self.times.invited = Some(now);
        }
        self.inviting = true;
        self.offer("INVITE", body, now);
    }

    fn offer(&mut self, method: &str, body: Body, now: Instant) {
        self.offered = matches!(body, Body::Offer | Body::Unchanged);
        let content = self.content(&body);
        let timer = ("Session-Expires".to_owned(), "1800;refresher=uac".to_owned());
        // An INVITE has it from its template.
        let extra = if method == "UPDATE" { vec![timer] } else { Vec::new() };
        self.request(method, &extra, content, now);
    }

    fn request(&mut self, method: &str, extra: &[HeaderPair], content: Content, now: Instant) {
        if self.has_ended() {
            return;
        }
        self.dialog.cseq += 1;
        let (cseq, branch) = (self.dialog.cseq, self.dialog.next_branch());
        let text = self.dialog.request(method, cseq, &branch, extra, content);
        if method == "INVITE" {
            self.invite = (cseq, branch);
        }
        self.repeat(method, cseq, &text, now);
        self.last_request = Some(text.clone());
        self.send(text, now);
    }

    fn repeat(&mut self, method: &str, cseq: u32, text: &str, now: Instant) {
        self.repeating.push(Repeating {
            cseq,
            method: method.to_owned(),
            text: text.to_owned(),
            next: now + T1,
            pause: T1,
            until: now + T1X64,
            is_response: false,
        });
    }

    fn acknowledge(&mut self, body: &Body, lost: bool, now: Instant) {
        let Some(cseq) = self.to_ack.take() else { return };
        let content = self.content(body);
        let branch = self.dialog.next_branch();
        let text = self.dialog.request("ACK", cseq, &branch, &[], content);
        self.acks.push((cseq, text.clone()));
        if self.stage == Stage::Answered {
            self.stage = Stage::Up;
        }
        if lost {
            self.ladder.note(&text, true, true, now);
        } else {
            self.send(text, now);
        }
    }

    fn bye(&mut self, reason: Option<&str>, now: Instant) {
        let extra: Vec<_> =
            reason.map(|r| ("Reason".to_owned(), r.to_owned())).into_iter().collect();
        self.request("BYE", &extra, None, now);
        self.end(false, 200, reason.map(str::to_owned));
    }

    // What comes.

    fn handle_response(&mut self, message: Text, now: Instant) {
        let (Some(code), Some((cseq, method))) = (message.status(), message.cseq()) else { return };
        let method = method.to_owned();
        if code >= 200 || method == "INVITE" {
            self.repeating.retain(|r| r.is_response || r.cseq != cseq || r.method != method);
        }
        let refused = method == "INVITE" && code >= 300;
        if self.seen.len() > 64 * REMEMBERED {
            self.seen.clear();
        }
        if !self.seen.insert((code, cseq, method.clone())) {
            self.repeats += 1;
            if let Some((_, ack)) = self.acks.iter().find(|(number, _)| *number == cseq)
                && method == "INVITE"
                && code >= 200
            {
                self.send(ack.clone(), now);
            }
            return;
        }
        if let Some(tag) = message.tag("To")
            && code > 100
            && (self.dialog.their_tag.is_none() || code < 300)
        {
            self.dialog.their_tag = Some(tag.to_owned());
        }
        if let (Some(contact), true) = (message.uri("Contact"), (101..300).contains(&code)) {
            self.dialog.target = contact.to_owned();
        }
        self.note_sdp(&message);
        let first = cseq == 1;
        match (method.as_str(), code) {
            ("INVITE", 101..=199) => {
                if self.stage == Stage::Calling {
                    self.stage = Stage::Ringing;
                    self.times.rang = Some(now);
                }
                if let Some(rseq) = message.header("RSeq") {
                    let rack = ("RAck".to_owned(), format!("{rseq} {cseq} INVITE"));
                    self.request("PRACK", &[rack], None, now);
                }
            }
            ("INVITE", 200..=299) => {
                self.inviting = false;
                self.to_ack = Some(cseq);
                if let Some(sdp) = message.sdp()
                    && self.offered
                {
                    self.far.take_answer(sdp);
                }
                if let Some(sdp) = message.sdp() {
                    self.agent_holds = !receives(sdp);
                }
                if first && !self.has_ended() {
                    self.stage = Stage::Answered;
                    self.times.answered = Some(now);
                }
                // CANCEL came too late (RFC 3261 9.1): the call is there, and ends as calls do.
                if self.cancelled {
                    self.acknowledge(&Body::Nothing, false, now);
                    self.bye(None, now);
                }
            }
            _ if refused => {
                self.inviting = false;
                let (number, branch) = self.invite.clone();
                if number == cseq {
                    let text = self.dialog.request("ACK", cseq, &branch, &[], None);
                    self.acks.push((cseq, text.clone()));
                    self.send(text, now);
                }
                if first || matches!(code, 408 | 481) {
                    let reason = message.header("Reason").map(str::to_owned);
                    let by_agent = !self.cancelled;
                    self.end(by_agent, code, reason);
                }
            }
            ("NOTIFY", 200..=299) if self.times.talk_ok.is_none() => {
                self.times.talk_ok = self.times.talk.map(|_| now);
            }
            ("UPDATE", 200..=299) => {
                if let Some(sdp) = message.sdp() {
                    self.far.take_answer(sdp);
                    self.agent_holds = !receives(sdp);
                }
            }
            _ => {}
        }
        self.keep(message);
    }

    fn handle_request(&mut self, message: Text, now: Instant) {
        let (Some(method), Some((cseq, _))) = (message.method(), message.cseq()) else { return };
        let method = method.to_owned();
        if method == "ACK" {
            let waited = self.repeating.len();
            self.repeating.retain(|r| !r.is_response || r.cseq != cseq);
            if waited > self.repeating.len() {
                self.note_sdp(&message);
                if let Some(sdp) = message.sdp() {
                    self.far.take_answer(sdp);
                    self.agent_holds = !receives(sdp);
                }
                self.keep(message);
            }
            return;
        }
        let via = format!("{method} {}", message.header("Via").unwrap_or_default());
        if let Some((_, answer)) = self.answers.iter().find(|(request, _)| *request == via) {
            let answer = answer.clone();
            return self.send(answer, now);
        }
        self.note_sdp(&message);
        let (code, extra, content) = self.answer_to(&method, &message);
        let text = self.dialog.response(&message, code, &extra, content);
        if method == "INVITE" && code.starts_with('2') {
            self.repeating.push(Repeating {
                cseq,
                method: method.clone(),
                text: text.clone(),
                next: now + T1,
                pause: T1,
                until: now + T1X64,
                is_response: true,
            });
        }
        if self.answers.len() == REMEMBERED {
            self.answers.pop_front();
        }
        self.answers.push_back((via, text.clone()));
        self.send(text, now);
        if method == "BYE" {
            let reason = message.header("Reason").map(str::to_owned);
            self.end(true, 200, reason);
        }
        self.keep(message);
    }

    fn answer_to(
        &mut self,
        method: &str,
        message: &Text,
    ) -> (&'static str, Vec<HeaderPair>, Content) {
        let sdp = |text: String| Some(("application/sdp", lowered(&text)));
        if self.has_ended() && method != "BYE" {
            return ("481 Call/Transaction Does Not Exist", Vec::new(), None);
        }
        match method {
            // Glare (RFC 3261 14.2).
            "INVITE" | "UPDATE" if self.inviting && message.sdp().is_some() => {
                ("491 Request Pending", Vec::new(), None)
            }
            "INVITE" | "UPDATE" => match message.sdp() {
                Some(offer) => match self.far.answer(offer) {
                    Some(answer) => {
                        self.agent_holds = !receives(offer);
                        ("200 OK", Vec::new(), sdp(answer))
                    }
                    None => ("488 Not Acceptable Here", Vec::new(), None),
                },
                None if method == "INVITE" => ("200 OK", Vec::new(), sdp(self.far.offer())),
                None => ("200 OK", Vec::new(), None),
            },
            "BYE" | "INFO" | "OPTIONS" | "NOTIFY" | "PRACK" | "CANCEL" => {
                ("200 OK", Vec::new(), None)
            }
            _ => {
                let allow = "ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, OPTIONS, PRACK, UPDATE";
                let allow = ("Allow".to_owned(), allow.to_owned());
                ("405 Method Not Allowed", vec![allow], None)
            }
        }
    }
}

fn fits(expect: Expect, message: &Text) -> bool {
    let method = message.cseq().map_or("", |(_, method)| method);
    match (expect, message.status()) {
        (Expect::Status(wanted, of), Some(code)) => code == wanted && method == of,
        (Expect::Final(of), Some(code)) => code >= 200 && method == of,
        (Expect::Request(wanted), None) => message.method() == Some(wanted),
        (Expect::HoldOffer, None) => {
            method == "INVITE" && message.sdp().is_some_and(|s| !receives(s))
        }
        (Expect::RetrieveOffer, None) => method == "INVITE" && message.sdp().is_some_and(receives),
        _ => false,
    }
}
