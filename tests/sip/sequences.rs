//! Any order of commands, messages and time: every session ends once, no timer spins, and nothing is
//! left over.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, Event, NotifyEvent, ReferId, SessionId};

use super::support::*;

const TIMER: &str = "Session-Expires: 90;refresher=uac\r\nSupported: timer\r\n";
const RELIABLE_TIMER: &str =
    "Require: 100rel\r\nAllow: UPDATE\r\nSession-Expires: 600;refresher=uas\r\n";

#[derive(Debug, Clone)]
enum Step {
    Command(u8),
    Peer(u8),
    /// Answers the oldest open request of the user agent's.
    Answer(u8),
    Fail(bool),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Command),
        any::<u8>().prop_map(Step::Peer),
        any::<u8>().prop_map(Step::Answer),
        any::<bool>().prop_map(Step::Fail),
        (0u32..5000).prop_map(Step::Pass),
        // Session timers, guards.
        (0u32..2_000_000).prop_map(Step::Pass),
    ]
}

struct Run {
    bench: Bench,
    /// RSeq of the last reliable provisional answer of ours.
    rseq: u32,
    session: SessionId,
    peer: Peer,
    open: Vec<(ClientTx, Request)>,
    ended: HashMap<SessionId, usize>,
    /// REFERs of ours that are not done, and theirs that came last.
    referring: usize,
    refer: ReferId,
    referred: HashSet<ReferId>,
}

impl Run {
    /// Reads what there is. Every final answer of ours must be for a request that came in.
    fn drain(&mut self) {
        for transmit in self.bench.sent() {
            match transmit {
                Transmit::Request { tx, request, .. } => self.open.push((tx, request)),
                Transmit::Response { response, .. } => {
                    let rseq = header(&response, "RSeq").and_then(|rseq| rseq.parse().ok());
                    self.rseq = rseq.unwrap_or(self.rseq);
                }
                _ => {}
            }
        }
        for event in self.bench.events() {
            if let Event::Transferring { session, done, .. } = event {
                assert!(!self.ended.contains_key(&session), "an event after Ended");
                self.referring = self.referring.checked_sub(done.into()).expect("one is done once");
            } else if let Event::Referred { refer, .. } = event {
                assert!(self.referred.insert(refer), "numbered twice");
                self.refer = refer;
            } else if let Event::Ended { session, .. } = event {
                *self.ended.entry(session).or_default() += 1;
            } else if let Event::Notified { session, .. } | Event::Reinvited { session, .. } = event
            {
                assert!(!self.ended.contains_key(&session), "an event after Ended");
            }
        }
        if let Some(at) = self.bench.ua.poll_timeout() {
            // What is due now may be handled now, but must then be gone.
            if at <= self.bench.now {
                self.bench.ua.handle_timeout(self.bench.now);
                let next = self.bench.ua.poll_timeout();
                assert!(next.is_none_or(|next| next > self.bench.now), "a timer spins");
                self.drain();
            }
        }
    }

    fn command(&mut self, kind: u8) {
        let session = self.session;
        let sdp = || OFFER.to_owned();
        let refer = self.refer;
        let live = !self.ended.contains_key(&session);
        self.bench.command(match kind % 18 {
            0 => Command::Progress { session, code: 180, sdp: None },
            1 => Command::Accept { session, sdp: sdp() },
            2 => Command::Reinvite { session, sdp: Some(sdp()) },
            3 => Command::Reinvite { session, sdp: None },
            4 => Command::AcceptReinvite { session, sdp: sdp() },
            5 => Command::RejectReinvite { session, code: 488 },
            6 => Command::AnswerInAck { session, sdp: sdp() },
            7 => Command::Info { session, content_type: "a/b".into(), body: vec![1] },
            8 => Command::End { session, code: 486, text: String::new() },
            9 => Command::Progress { session, code: 183, sdp: Some(sdp()) },
            10 => Command::Reinvite { session, sdp: Some(OFFER_2.to_owned()) },
            11 => Command::Notify { session, event: NotifyEvent::Hold },
            12 => {
                self.referring += usize::from(live);
                Command::Refer { session, to: "1009".into(), replaces: None }
            }
            13 => Command::AcceptRefer { refer },
            14 => Command::RejectRefer { refer, code: 603 },
            15 => Command::ReferProgress { refer, code: 180, text: String::new() },
            16 => Command::ReferProgress { refer, code: 200, text: String::new() },
            _ => Command::Accept { session, sdp: sdp() },
        });
    }

    fn peer(&mut self, kind: u8) {
        let rack = format!("RAck: {} 101 INVITE\r\n", self.rseq);
        let state = if kind > 128 { "active" } else { "terminated;reason=noresource" };
        let frag = format!(
            "Event: refer\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n"
        );
        let text = match kind % 20 {
            0 => self.peer.request(Method::Ack, "", ""),
            1 => self.peer.request(Method::Ack, "", ANSWER),
            2 => self.peer.request(Method::Invite, "", OFFER),
            3 => self.peer.request(Method::Invite, "", ""),
            4 => self.peer.request(Method::Update, "", OFFER),
            5 => self.peer.request(Method::Notify, "Event: talk\r\n", ""),
            6 => self.peer.request(Method::Cancel, "", ""),
            8 | 9 => self.peer.request(Method::PRack, &rack, ""),
            10 => self.peer.request(Method::PRack, &rack, OFFER_2),
            11 => self.peer.request(Method::Update, TIMER, ""),
            12 => self.peer.request(Method::Update, TIMER, OFFER_2),
            13 => self.peer.request(Method::Invite, TIMER, OFFER),
            14 | 15 => self.peer.request(Method::Refer, "Refer-To: <sip:9@h>\r\n", ""),
            16 => self.peer.request(Method::Notify, &frag, "SIP/2.0 180 Ringing\r\n"),
            17 => self.peer.request(Method::Notify, &frag, "SIP/2.0 200 OK\r\n"),
            18 => self.peer.request(Method::Notify, &frag, ""),
            7 => self.peer.request_numbered(Method::Ack, 101, "", ANSWER),
            _ => self.peer.request(Method::Bye, "", ""),
        };
        self.bench.receive(&text);
    }

    fn answer(&mut self, kind: u8) {
        if self.open.is_empty() {
            return;
        }
        let (tx, request) = self.open[0].clone();
        let contact = "Contact: <sip:peer@192.0.2.9>\r\n";
        let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
        let reliable =
            format!("{contact}Allow: UPDATE\r\nRequire: 100rel\r\nRSeq: {}\r\n", kind / 64);
        let timer = format!("{contact}{TIMER}Allow: UPDATE\r\n");
        let (status, extra, body) = match kind % 20 {
            0 => ("100 Trying", "", ""),
            1 => ("183 Progress", contact, ANSWER),
            2 | 3 => ("200 OK", contact, ANSWER),
            4 => ("200 OK", contact, ""),
            5 => ("401 Unauthorized", challenge, ""),
            6 => ("491 Request Pending", "", ""),
            7 => ("500 Later", "Retry-After: 1\r\n", ""),
            8 => ("481 Gone", "", ""),
            9 | 10 => ("183 Progress", reliable.as_str(), ANSWER),
            11 => ("180 Ringing", reliable.as_str(), ""),
            12 | 13 => ("200 OK", timer.as_str(), ANSWER),
            14 => ("302 Moved", "Contact: <sip:a@h>, <sip:b@h>;q=0.1\r\n", ""),
            15 => ("422 Too Small", "Min-SE: 2000\r\n", ""),
            17 => ("202 Accepted", contact, ""),
            18 => ("202 Accepted", "Refer-Sub: false\r\n", ""),
            16 => ("420 Bad Extension", "Unsupported: 100rel, timer\r\n", ""),
            _ => ("486 Busy Here", "", ""),
        };
        let tag = if kind > 128 { ";tag=peer" } else { ";tag=other" };
        self.bench.answer_as(tx, &request, status, tag, extra, body);
        let final_answer = !status.starts_with('1');
        // A 2xx to INVITE may come again.
        if final_answer && (kind % 10 != 3 || request.method != Method::Invite) {
            self.open.remove(0);
        }
    }
}

fn run(outgoing: bool, extra: &str, steps: Vec<Step>) -> Run {
    let mut bench = Bench::new();
    let mut open = vec![];
    let (session, peer) = if outgoing {
        let session = SessionId(1);
        let sdp = (steps.len().is_multiple_of(2)).then(|| OFFER.to_owned());
        bench.command(Command::Invite { session, to: "1".into(), sdp, headers: vec![] });
        let (tx, invite, _) = bench.request();
        let peer = Peer::callee(&invite);
        open.push((tx, invite));
        (session, peer)
    } else {
        bench.ring_with(extra, if steps.len().is_multiple_of(2) { OFFER } else { "" })
    };
    let mut run = Run {
        bench,
        rseq: 1,
        session,
        peer,
        open,
        ended: HashMap::new(),
        referring: 0,
        refer: ReferId(u64::MAX),
        referred: HashSet::new(),
    };
    for step in steps {
        match step {
            Step::Command(kind) => run.command(kind),
            Step::Peer(kind) => run.peer(kind),
            Step::Answer(kind) => run.answer(kind),
            Step::Fail(timeout) if !run.open.is_empty() => {
                let (tx, _) = run.open.remove(0);
                run.bench.fail(tx, if timeout { TxFailure::Timeout } else { TxFailure::Transport });
            }
            Step::Fail(_) => {}
            Step::Pass(ms) => run.bench.advance(Duration::from_millis(ms.into())),
        }
        run.drain();
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_session_ends_once_and_leaves_nothing(
        outgoing in any::<bool>(),
        extra in 0usize..4,
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let extra = ["", "Require: 100rel\r\n", TIMER, RELIABLE_TIMER][extra];
        let mut run = run(outgoing, extra, steps);
        let session = run.session;
        run.bench.command(Command::End { session, code: 200, text: String::new() });
        run.drain();
        // The transactions give everything up in the end, and time does the rest.
        // A REFER that was accepted is told of for five minutes.
        for _ in 0..12 {
            while let Some((tx, _)) = run.open.pop() {
                run.bench.fail(tx, TxFailure::Timeout);
                run.drain();
            }
            run.bench.advance(Duration::from_secs(40));
            run.drain();
        }
        prop_assert_eq!(run.bench.ua.poll_timeout(), None);
        run.bench.advance(Duration::from_secs(100_000));
        prop_assert_eq!(run.ended.get(&session), Some(&1));
        prop_assert_eq!(run.referring, 0, "each REFER of ours has one end");
        prop_assert!(run.ended.values().all(|times| *times == 1));
        prop_assert_eq!(run.bench.ua.live_sessions(), 0);
        prop_assert!(run.bench.ua.is_idle());
        prop_assert_eq!(run.bench.ua.poll_timeout(), None);
    }
}
