//! Two user agents with real transactions, over a network that loses, doubles and delays.

use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};
use wrtc_gateway::sip::Hop;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rsipstack::sip::SipMessage;
use wrtc_gateway::sip::port::Transmit;
use wrtc_gateway::sip::transaction::{Arrival, Output, Transactions};
use wrtc_gateway::sip::{Command, Event, SessionId, UaConfig, UserAgent, wire};

use super::support::*;

pub struct Node {
    pub ua: UserAgent,
    pub transactions: Transactions,
    events: Vec<Event>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: std::cmp::Reverse<Instant>,
    number: u64,
    from: Hop,
    to: Hop,
    datagram: Vec<u8>,
}

pub struct Net {
    now: Instant,
    react: fn(&Event) -> Vec<Command>,
    pub nodes: HashMap<Hop, Node>,
    flying: BinaryHeap<Flying>,
    rng: StdRng,
    loss: f64,
    number: u64,
}

pub const A: &str = "192.0.2.1:5060";
pub const B: &str = "192.0.2.2:5060";

impl Net {
    fn new(seed: u64, loss: f64) -> Self {
        Self::with(seed, loss, react, |_| {})
    }

    /// With an application of its own, and a configuration.
    pub fn with(
        seed: u64,
        loss: f64,
        react: fn(&Event) -> Vec<Command>,
        configure: fn(&mut UaConfig),
    ) -> Self {
        let mut nodes = HashMap::new();
        for (user, here, there, seed) in [("a", A, B, seed), ("b", B, A, seed + 1_000_000)] {
            let mut config = config(user, here, there);
            configure(&mut config);
            let ua = UserAgent::new(config, seed);
            let node = Node { ua, transactions: Transactions::default(), events: vec![] };
            nodes.insert(addr(here), node);
        }
        let rng = StdRng::seed_from_u64(seed);
        Self { now: Instant::now(), react, nodes, flying: BinaryHeap::new(), rng, loss, number: 0 }
    }

    pub fn command(&mut self, at: &str, command: Command) {
        let now = self.now;
        self.nodes.get_mut(&addr(at)).unwrap().ua.handle_command(command, now);
        self.settle(addr(at));
    }

    /// Carries out what a node wants until it wants nothing more.
    fn settle(&mut self, here: Hop) {
        let now = self.now;
        loop {
            let node = self.nodes.get_mut(&here).unwrap();
            let mut idle = true;
            while let Some(transmit) = node.ua.poll_transmit() {
                idle = false;
                match transmit {
                    Transmit::Request { tx, request, to } => {
                        node.transactions.request(Some(0), tx, request, to, now);
                    }
                    Transmit::Cancel { invite, request, to } => {
                        node.transactions.cancel(0, invite, request, to, now);
                    }
                    Transmit::Abandon { tx } => node.transactions.abandon(0, tx),
                    Transmit::Ack { request, to } => {
                        let datagram = request.to_bytes();
                        fly(
                            &mut self.flying,
                            &mut self.rng,
                            self.loss,
                            &mut self.number,
                            now,
                            here,
                            to,
                            datagram,
                        );
                    }
                    Transmit::Response { tx, response } => {
                        node.transactions.respond(tx, &response, now);
                    }
                }
            }
            while let Some(output) = node.transactions.poll() {
                idle = false;
                match output {
                    Output::Send { to, datagram, .. } => {
                        let datagram = datagram.to_vec();
                        fly(
                            &mut self.flying,
                            &mut self.rng,
                            self.loss,
                            &mut self.number,
                            now,
                            here,
                            to,
                            datagram,
                        );
                    }
                    Output::UnheardByTcp { .. } => {}
                    Output::Deliver { incoming, .. } => node.ua.handle_incoming(incoming, now),
                }
            }
            while let Some(event) = node.ua.poll_event() {
                idle = false;
                let commands = (self.react)(&event);
                node.events.push(event);
                for command in commands {
                    node.ua.handle_command(command, now);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn arrive(&mut self, flying: Flying) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&flying.to) else { return };
        match wire::parse(&flying.datagram).expect("what we send we can read") {
            SipMessage::Request(request) => {
                match node.transactions.arrived(request, flying.from, now) {
                    Arrival::New { tx, request, .. } => {
                        node.transactions.set_owner(tx, 0);
                        let from = flying.from;
                        let incoming =
                            wrtc_gateway::sip::port::Incoming::Request { tx, request, from };
                        node.ua.handle_incoming(incoming, now);
                    }
                    Arrival::Absorbed => {}
                    other => panic!("{other:?}"),
                }
            }
            SipMessage::Response(response) => {
                node.transactions.response(response, flying.from, now);
            }
        }
        self.settle(flying.to);
    }

    pub fn run(&mut self, for_how_long: Duration) {
        let end = self.now + for_how_long;
        loop {
            let mut next = self.flying.peek().map(|f| f.at.0);
            for node in self.nodes.values() {
                for due in [node.ua.poll_timeout(), node.transactions.poll_timeout()] {
                    next = [next, due].into_iter().flatten().min();
                }
            }
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if self.flying.peek().is_some_and(|f| f.at.0 <= self.now) {
                let flying = self.flying.pop().unwrap();
                self.arrive(flying);
                continue;
            }
            let mut nodes: Vec<Hop> = self.nodes.keys().copied().collect();
            nodes.sort();
            for here in nodes {
                let node = self.nodes.get_mut(&here).unwrap();
                node.ua.handle_timeout(self.now);
                node.transactions.handle_timeout(self.now);
                self.settle(here);
            }
        }
        self.now = end;
    }

    pub fn events(&self, at: &str) -> &[Event] {
        &self.nodes[&addr(at)].events
    }

    pub fn count(&self, at: &str, test: impl Fn(&Event) -> bool) -> usize {
        self.events(at).iter().filter(|event| test(event)).count()
    }
}

#[allow(clippy::too_many_arguments)]
fn fly(
    flying: &mut BinaryHeap<Flying>,
    rng: &mut StdRng,
    loss: f64,
    number: &mut u64,
    now: Instant,
    from: Hop,
    to: Hop,
    datagram: Vec<u8>,
) {
    let copies = if rng.random_bool(loss / 2.0) { 2 } else { 1 };
    for _ in 0..copies {
        if !rng.random_bool(loss) {
            *number += 1;
            let at = now + Duration::from_millis(rng.random_range(5..120));
            let at = std::cmp::Reverse(at);
            flying.push(Flying { at, number: *number, from, to, datagram: datagram.clone() });
        }
    }
}

/// A willing application.
pub fn react(event: &Event) -> Vec<Command> {
    match event {
        Event::Invited { session, invite } => vec![
            Command::Progress { session: *session, code: 180, sdp: None },
            Command::Accept {
                session: *session,
                sdp: if invite.sdp.is_some() { ANSWER.into() } else { OFFER.into() },
            },
        ],
        Event::Answered { session, sdp: Some(sdp) }
        | Event::ReinviteAnswered { session, sdp: Some(sdp) }
            if sdp == OFFER =>
        {
            vec![Command::AnswerInAck { session: *session, sdp: ANSWER.into() }]
        }
        Event::Reinvited { session, sdp } => vec![Command::AcceptReinvite {
            session: *session,
            sdp: if sdp.is_some() { ANSWER.into() } else { OFFER.into() },
        }],
        _ => vec![],
    }
}

pub fn their_session(net: &Net, at: &str) -> SessionId {
    net.events(at)
        .iter()
        .find_map(|event| match event {
            Event::Invited { session, .. } => Some(*session),
            _ => None,
        })
        .expect("invited")
}

pub fn ended(event: &Event) -> bool {
    matches!(event, Event::Ended { .. })
}

#[test]
fn calls_come_through_a_network_that_loses_a_fifth() {
    for seed in 0..60 {
        let mut net = Net::new(seed, 0.2);
        let session = SessionId(1);
        let sdp = (seed % 2 == 0).then(|| OFFER.to_owned());
        net.command(A, Command::Invite { session, to: "b".into(), sdp, headers: vec![] });
        net.run(Duration::from_secs(25));
        assert_eq!(net.count(A, |e| matches!(e, Event::Answered { .. })), 1, "seed {seed}");
        assert_eq!(net.count(B, |e| matches!(e, Event::Invited { .. })), 1, "seed {seed}");
        assert_eq!(net.count(B, |e| matches!(e, Event::Acked { .. })), 1, "seed {seed}");
        // Both want to offer in the same moment: glare, settled.
        let theirs = their_session(&net, B);
        net.command(A, Command::Reinvite { session, sdp: Some(OFFER.into()) });
        net.command(B, Command::Reinvite { session: theirs, sdp: Some(OFFER.into()) });
        net.run(Duration::from_secs(60));
        for at in [A, B] {
            let answered = net.count(at, |e| matches!(e, Event::ReinviteAnswered { .. }));
            assert_eq!(answered, 1, "seed {seed} {at}: {:?}", net.events(at));
        }
        // And both hang up in the same moment.
        net.command(A, Command::End { session, code: 200, text: "a".into() });
        net.command(B, Command::End { session: theirs, code: 200, text: "b".into() });
        net.run(Duration::from_secs(120));
        for at in [A, B] {
            assert_eq!(net.count(at, ended), 1, "seed {seed}: {:?}", net.events(at));
            let node = &net.nodes[&addr(at)];
            assert!(node.ua.is_idle(), "seed {seed}");
            assert_eq!(node.ua.poll_timeout(), None, "seed {seed}");
            assert_eq!(node.transactions.counts(), (0, 0), "seed {seed}");
        }
    }
}

#[test]
fn giving_up_at_any_moment_leaves_nothing_behind() {
    for step in 0..80 {
        let mut net = Net::new(step, 0.1);
        let session = SessionId(1);
        let sdp = Some(OFFER.to_owned());
        net.command(A, Command::Invite { session, to: "b".into(), sdp, headers: vec![] });
        net.run(Duration::from_millis(step * 7));
        net.command(A, Command::End { session, code: 487, text: "no".into() });
        net.run(Duration::from_secs(200));
        assert_eq!(net.count(A, ended), 1, "step {step}");
        let invited = net.count(B, |e| matches!(e, Event::Invited { .. }));
        assert_eq!(net.count(B, ended), invited, "step {step}: {:?}", net.events(B));
        for node in net.nodes.values() {
            assert!(node.ua.is_idle(), "step {step}");
            assert_eq!(node.transactions.counts(), (0, 0), "step {step}");
        }
    }
}

#[test]
fn a_peer_that_is_gone_ends_the_call() {
    let mut net = Net::new(1, 0.0);
    let session = SessionId(1);
    let sdp = Some(OFFER.to_owned());
    net.command(A, Command::Invite { session, to: "b".into(), sdp, headers: vec![] });
    net.run(Duration::from_secs(2));
    net.nodes.remove(&addr(B));
    net.command(A, Command::Reinvite { session, sdp: Some(OFFER.into()) });
    net.run(Duration::from_secs(31));
    assert_eq!(net.count(A, ended), 0);
    net.run(Duration::from_secs(2));
    assert_eq!(net.count(A, ended), 1);
}
