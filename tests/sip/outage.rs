//! Ten thousand DNs lose their SIP server and come back: real user agents, the real pacer and the real
//! choice of servers, with a simulated registrar behind a network that loses, under virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rsipstack::sip::{Request, Response, StatusCode};
use wrtc_gateway::sip::pacer::{Pacer, TurnId, Urgency};
use wrtc_gateway::sip::port::{ClientTx, Incoming, Transmit, TxFailure};
use wrtc_gateway::sip::servers::{Outcome, Servers, Target};
use wrtc_gateway::sip::{Command, Event, UserAgent};

use super::support::{PEER, addr, config, header};

const DNS: usize = 10_000;
const RATE: u32 = 200;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Agent {
    ua: UserAgent,
    turn: Option<(Urgency, TurnId, bool)>,
    /// Requests without a final answer.
    open: BTreeMap<ClientTx, Request>,
    timer: Option<Instant>,
    asked: Instant,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A timer of an agent's.
    Timer(usize),
    /// A request is sent, again or for the first time.
    Send(usize, ClientTx, Duration),
    Arrives(usize, ClientTx),
    Answered(usize, ClientTx),
    Pong(Duration),
    Pacer,
    Servers,
    SignIn,
}

/// What the registrar and the line have seen.
#[derive(Default)]
struct Seen {
    arrivals: Vec<Instant>,
    sent: Vec<Instant>,
    signouts: usize,
    failures: usize,
}

struct World {
    start: Instant,
    now: Instant,
    rng: StdRng,
    loss: f64,
    expires: Duration,
    agents: Vec<Agent>,
    pacer: Pacer,
    pacer_at: Option<Instant>,
    by_turn: HashMap<TurnId, usize>,
    servers: Servers,
    servers_at: Option<Instant>,
    reachable: bool,
    /// When the registrar is away.
    away: std::ops::Range<Instant>,
    bindings: HashMap<usize, Instant>,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    number: u64,
    seen: Seen,
    sign_in_took: Option<Duration>,
}

impl World {
    fn new(expires: Duration, away_for: Duration, loss: f64) -> Self {
        let start = Instant::now();
        let mut servers = Servers::new(Some(seconds(10)), 5);
        let hop = addr(PEER);
        let (name, host) = ("sip:registrar".to_owned(), "registrar".to_owned());
        servers.set_targets(vec![Target { hop, name, host, tier: 0 }], start);
        let mut world = Self {
            start,
            now: start,
            rng: StdRng::seed_from_u64(11),
            loss,
            expires,
            agents: Vec::new(),
            pacer: Pacer::new(RATE, start),
            pacer_at: None,
            by_turn: HashMap::new(),
            servers,
            servers_at: None,
            reachable: true,
            away: start + seconds(150)..start + seconds(150) + away_for,
            bindings: HashMap::new(),
            queue: BinaryHeap::new(),
            number: 0,
            seen: Seen::default(),
            sign_in_took: None,
        };
        for number in 0..DNS {
            world.add_agent(number);
        }
        // One more comes while all the others return.
        let late = world.away.end + seconds(25);
        world.push(late, Happening::SignIn);
        world.ask_servers();
        world
    }

    fn add_agent(&mut self, number: usize) {
        let mut config = config(&format!("{}", 10_000 + number), "192.0.2.1:5070", PEER);
        config.expires = self.expires;
        let mut ua = UserAgent::new(config, number as u64);
        ua.set_paced();
        ua.handle_command(Command::Register, self.now);
        let asked = self.now;
        self.agents.push(Agent { ua, turn: None, open: BTreeMap::new(), timer: None, asked });
        self.pump(number);
    }

    fn push(&mut self, at: Instant, what: Happening) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number, what)));
    }

    fn lost(&mut self) -> bool {
        self.rng.random_bool(self.loss)
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(10..=30))
    }

    /// Carries out what an agent wants.
    fn pump(&mut self, index: usize) {
        loop {
            let agent = &mut self.agents[index];
            while let Some(event) = agent.ua.poll_event() {
                if matches!(event, Event::RegistrationFailed { .. }) {
                    self.seen.failures += 1;
                }
            }
            if let Some((hop, news)) = agent.ua.poll_news() {
                self.servers.handle_news(hop, news, self.now);
            }
            let Some(transmit) = agent.ua.poll_transmit() else { break };
            let Transmit::Request { tx, request, .. } = transmit else { panic!("{transmit:?}") };
            if header(&request, "Expires").as_deref() == Some("0") {
                self.seen.signouts += 1;
            }
            agent.open.insert(tx, request);
            self.push(self.now, Happening::Send(index, tx, Duration::from_millis(500)));
            self.push(self.now + seconds(32), Happening::Send(index, tx, seconds(32)));
        }
        let agent = &mut self.agents[index];
        match agent.ua.awaits_turn() {
            Some(urgency) if agent.turn.is_some_and(|(u, _, come)| u == urgency && !come) => {}
            Some(urgency) => {
                if let Some((_, old, _)) = agent.turn.take() {
                    self.by_turn.remove(&old);
                    self.pacer.release(old, self.now);
                }
                let id = self.pacer.ask(urgency, false);
                agent.turn = Some((urgency, id, false));
                self.by_turn.insert(id, index);
            }
            None if !agent.ua.is_registering() => {
                if let Some((_, old, _)) = agent.turn.take() {
                    self.by_turn.remove(&old);
                    self.pacer.release(old, self.now);
                }
            }
            None => {}
        }
        let due = agent.ua.poll_timeout();
        if due != agent.timer {
            agent.timer = due;
            if let Some(at) = due {
                self.push(at, Happening::Timer(index));
            }
        }
    }

    fn ask_pacer(&mut self) {
        while let Some(id) = self.pacer.poll_turn(self.now) {
            let index = self.by_turn[&id];
            if let Some(turn) = &mut self.agents[index].turn {
                turn.2 = true;
            }
            self.agents[index].ua.take_turn(self.now);
            self.pump(index);
        }
        let next = self.pacer.poll_timeout(self.now);
        if next != self.pacer_at {
            self.pacer_at = next;
            if let Some(at) = next {
                self.push(at, Happening::Pacer);
            }
        }
    }

    fn ask_servers(&mut self) {
        self.servers.handle_timeout(self.now);
        while self.servers.poll_ping(self.now).is_some() {
            // By UDP it comes again after 0.5 and 1.5 s.
            for again in [0, 500, 1500] {
                let (there, back) = (self.delay(), self.delay());
                let arrives = self.now + Duration::from_millis(again) + there;
                if !self.lost() && !self.lost() && !self.away.contains(&arrives) {
                    let rtt = arrives + back - self.now;
                    self.push(arrives + back, Happening::Pong(rtt));
                    break;
                }
            }
        }
        let reachable = self.servers.reachable().is_ok();
        if reachable != self.reachable {
            self.reachable = reachable;
            for index in 0..self.agents.len() {
                let told = if reachable { Ok(()) } else { Err("it does not answer OPTIONS") };
                self.agents[index].ua.set_reachable(told, self.now);
                self.pump(index);
            }
        }
        let next = self.servers.poll_timeout();
        if next != self.servers_at {
            self.servers_at = next;
            if let Some(at) = next {
                self.push(at, Happening::Servers);
            }
        }
    }

    fn handle(&mut self, what: Happening) {
        match what {
            Happening::Timer(index) => {
                self.agents[index].timer = None;
                self.agents[index].ua.handle_timeout(self.now);
                self.pump(index);
            }
            Happening::Send(index, tx, pause) => self.send(index, tx, pause),
            Happening::Arrives(index, tx) => self.arrives(index, tx),
            Happening::Answered(index, tx) => {
                let Some(request) = self.agents[index].open.remove(&tx) else { return };
                let response = granted(&request, self.expires);
                let incoming = Incoming::Response { tx, response, from: addr(PEER) };
                self.agents[index].ua.handle_incoming(incoming, self.now);
                self.pump(index);
                if index >= DNS {
                    let took = self.now - self.agents[index].asked;
                    self.sign_in_took.get_or_insert(took);
                }
            }
            Happening::Pong(rtt) => {
                let outcome = Outcome::Answered { code: 200, rtt };
                self.servers.handle_ping(addr(PEER), outcome, self.now);
            }
            Happening::Pacer => self.pacer_at = None,
            Happening::Servers => self.servers_at = None,
            Happening::SignIn => self.add_agent(DNS),
        }
    }

    fn send(&mut self, index: usize, tx: ClientTx, pause: Duration) {
        if !self.agents[index].open.contains_key(&tx) {
            return;
        }
        if pause == seconds(32) {
            self.agents[index].open.remove(&tx);
            let incoming = Incoming::Failed { tx, why: TxFailure::Timeout };
            self.agents[index].ua.handle_incoming(incoming, self.now);
            return self.pump(index);
        }
        self.seen.sent.push(self.now);
        if !self.lost() {
            let at = self.now + self.delay();
            self.push(at, Happening::Arrives(index, tx));
        }
        let next = (pause * 2).min(seconds(4));
        self.push(self.now + pause, Happening::Send(index, tx, next));
    }

    fn arrives(&mut self, index: usize, tx: ClientTx) {
        if self.away.contains(&self.now) {
            return;
        }
        self.seen.arrivals.push(self.now);
        self.bindings.insert(index, self.now + self.expires);
        if !self.lost() {
            let at = self.now + self.delay();
            self.push(at, Happening::Answered(index, tx));
        }
    }

    fn run(&mut self, until: Instant) {
        while let Some(Reverse((at, ..))) = self.queue.peek() {
            if *at > until {
                break;
            }
            let Some(Reverse((at, _, what))) = self.queue.pop() else { break };
            self.now = at;
            self.handle(what);
            self.ask_servers();
            self.ask_pacer();
        }
        self.now = until;
    }

    fn registered(&self) -> usize {
        self.bindings.values().filter(|until| **until > self.now).count()
    }

    fn at(&self, moment: Instant) -> f64 {
        (moment - self.start).as_secs_f64()
    }
}

/// 200 by a server that copies Via and adds `received` but no `rport`.
fn granted(request: &Request, expires: Duration) -> Response {
    let copied = request.headers.iter().filter(|header| {
        ["Via", "From", "To", "Call-ID", "CSeq", "Contact"].contains(&header.name())
    });
    let mut response = Response {
        version: rsipstack::sip::Version::V2,
        status_code: StatusCode::OK,
        wire_reason: None,
        headers: copied.cloned().collect::<Vec<_>>().into(),
        body: Vec::new(),
    };
    let expires = rsipstack::sip::Expires::new(expires.as_secs().to_string());
    response.headers.push(rsipstack::sip::Header::Expires(expires));
    response
}

/// The most in any second.
fn busiest(moments: &[Instant]) -> usize {
    let mut moments = moments.to_vec();
    moments.sort();
    let (mut from, mut most) = (0, 0);
    for (to, at) in moments.iter().enumerate() {
        while *at - moments[from] >= seconds(1) {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}

fn outage(expires: Duration, away_for: Duration) {
    let mut world = World::new(expires, away_for, 0.02);
    let away = world.away.clone();
    world.run(away.start);
    assert_eq!(world.registered(), DNS, "all are in before");
    // Whoever was registered is forgotten.
    world.bindings.clear();
    world.run(away.end);
    // In vain: only until the pings have told, and what was under way then.
    let late = away.start + seconds(70);
    let vain = world.seen.sent.iter().filter(|at| **at >= late && **at < away.end).count();
    assert_eq!(vain, 0, "REGISTERs to a server that is known to be down");
    assert_eq!(world.registered(), 0);
    let mut back = away.end;
    while world.registered() < DNS {
        back += seconds(1);
        assert!(back < away.end + seconds(240), "{} are back", world.registered());
        world.run(back);
    }
    let end = world.now + seconds(60);
    world.run(end);
    assert_eq!(world.registered(), DNS + 1, "and stay");
    let busiest = busiest(&world.seen.arrivals);
    println!(
        "expiry {expires:?}, away for {away_for:?}: {DNS} DNs back {:.0} s after the server; busiest second {busiest} of \
         {RATE}; {} REGISTERs arrived in {:.0} s; a sign-in meanwhile took {:?}",
        (back - away.end).as_secs_f64(),
        world.seen.arrivals.len(),
        world.at(world.now),
        world.sign_in_took,
    );
    assert!(busiest <= RATE as usize, "the ceiling: {busiest}");
    // Ten seconds until a ping, then as fast as the ceiling lets them, with some loss.
    let took = back - away.end;
    assert!(took <= seconds(12 + DNS as u64 / u64::from(RATE) * 3 / 2), "{took:?}");
    let sign_in = world.sign_in_took.expect("the late one is in");
    assert!(sign_in < seconds(2), "a person waits no longer: {sign_in:?}");
    assert_eq!(world.seen.signouts, 0, "no Expires: 0 but at sign-out");
}

/// After a SIP server outage all DNs return with jittered back-off, without end and without a stampede.
/// The outage is longer than what was granted.
#[test]
fn ten_thousand_dns_return_after_their_bindings_have_run_out() {
    outage(seconds(300), seconds(600));
}

/// The same where bindings outlive the outage, but not in the server's memory.
#[test]
fn ten_thousand_dns_return_though_their_bindings_have_not_run_out() {
    outage(seconds(1800), seconds(600));
}
