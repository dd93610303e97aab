//! Scripted pings and failures, under virtual time.

use super::*;

const PING: Duration = Duration::from_secs(10);
const RTT: Duration = Duration::from_millis(20);

/// Servers of which each answers pings, or not.
struct Bench {
    servers: Servers,
    now: Instant,
    alive: Vec<(Hop, bool)>,
    pings: u64,
}

fn hop(number: u8) -> Hop {
    Hop::udp(([192, 0, 2, number], 5060).into())
}

fn target(number: u8, tier: u32) -> Target {
    let (hop, host) = (hop(number), format!("s{number}.example"));
    Target { hop, name: format!("sip:{host}"), host, tier }
}

impl Bench {
    fn new(ping: Option<Duration>, count: u8) -> Self {
        let now = Instant::now();
        let mut servers = Servers::new(ping, 3);
        let targets = (1..=count).map(|number| target(number, number.into())).collect();
        servers.set_targets(targets, now);
        let alive = (1..=count).map(|number| (hop(number), true)).collect();
        Self { servers, now, alive, pings: 0 }
    }

    fn set_alive(&mut self, number: u8, alive: bool) {
        let server = self.alive.iter_mut().find(|(server, _)| *server == hop(number));
        server.expect("a server of the bench").1 = alive;
    }

    /// Lets the time pass, with the answers of those that are alive.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some(to) = self.servers.poll_ping(self.now) {
                self.pings += 1;
                if self.alive.contains(&(to, true)) {
                    let outcome = Outcome::Answered { code: 200, rtt: RTT };
                    self.servers.handle_ping(to, outcome, self.now + RTT);
                }
            }
            match self.servers.poll_timeout() {
                Some(at) if at <= end => self.now = at.max(self.now),
                _ => break,
            }
            self.servers.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Runs until another server is current; how long that took.
    fn until(&mut self, number: u8, limit: Duration) -> Duration {
        let start = self.now;
        while self.servers.current() != Some(hop(number)) {
            assert!(self.now - start < limit, "server {number} is not current");
            self.run(Duration::from_millis(100));
        }
        self.now - start
    }

    fn state(&self, number: u8) -> ServerStatus {
        let mut all = self.servers.status().into_iter();
        all.find(|status| status.hop == hop(number)).expect("a server of the bench")
    }
}

#[test]
fn the_first_of_the_list_is_used_while_it_answers() {
    let mut bench = Bench::new(Some(PING), 3);
    assert_eq!(bench.servers.current(), Some(hop(1)));
    bench.run(Duration::from_secs(600));
    assert_eq!(bench.servers.current(), Some(hop(1)));
    let status = bench.state(1);
    assert_eq!((status.state, status.current), (ServerState::Up, true));
    assert_eq!((status.rtt, status.rtt_average), (Some(RTT), Some(RTT)));
    assert_eq!(status.pings_missed, 0);
    // 3 servers, 10 s each, give or take the jitter.
    assert!((170..=200).contains(&bench.pings), "{}", bench.pings);
}

/// OPTIONS pings tell up from down; a list of SIP servers is tried in order.
#[test]
fn silence_is_noticed_and_the_next_one_used_at_once() {
    let mut bench = Bench::new(Some(PING), 3);
    bench.run(Duration::from_secs(60));
    bench.set_alive(1, false);
    bench.set_alive(2, false);
    let took = bench.until(3, Duration::from_secs(40));
    assert!(took <= Duration::from_secs(25), "{took:?}");
    assert_eq!(bench.state(1).state, ServerState::Down);
    assert_eq!(bench.state(1).reason.as_deref(), Some("it does not answer OPTIONS"));
    assert!(bench.servers.reachable().is_ok());
}

#[test]
fn one_lost_answer_is_no_outage() {
    let mut bench = Bench::new(Some(PING), 2);
    bench.run(Duration::from_secs(60));
    for _ in 0..50 {
        bench.set_alive(1, false);
        let missed = bench.state(1).pings_missed;
        while bench.state(1).pings_missed == missed {
            bench.run(Duration::from_millis(100));
        }
        bench.set_alive(1, true);
        bench.run(Duration::from_secs(30));
        assert_eq!(bench.servers.current(), Some(hop(1)));
    }
}

#[test]
fn fail_back_waits_until_the_preferred_one_is_steady() {
    let mut bench = Bench::new(Some(PING), 2);
    bench.run(Duration::from_secs(60));
    bench.set_alive(1, false);
    bench.until(2, Duration::from_secs(40));
    bench.run(Duration::from_secs(60));
    bench.set_alive(1, true);
    let took = bench.until(1, Duration::from_secs(120));
    assert!(took >= Duration::from_secs(20), "three good pings: {took:?}");
    // It relapses soon: more is asked of it, each time.
    let mut last = took;
    for _ in 0..2 {
        bench.set_alive(1, false);
        bench.until(2, Duration::from_secs(40));
        bench.set_alive(1, true);
        let took = bench.until(1, Duration::from_secs(1000));
        assert!(took > last + Duration::from_secs(10), "{took:?} after {last:?}");
        last = took;
    }
    // Long good conduct is rewarded.
    bench.run(Duration::from_secs(1200));
    bench.set_alive(1, false);
    bench.until(2, Duration::from_secs(40));
    bench.set_alive(1, true);
    assert!(bench.until(1, Duration::from_secs(120)) < Duration::from_secs(60));
}

#[test]
fn servers_of_one_tier_are_equally_good() {
    let mut bench = Bench::new(Some(PING), 2);
    bench.servers.set_targets(vec![target(1, 7), target(2, 7)], bench.now);
    bench.run(Duration::from_secs(60));
    bench.set_alive(1, false);
    bench.until(2, Duration::from_secs(40));
    bench.set_alive(1, true);
    // Drawn anew by their weights at each look-up: nobody moves for that.
    bench.servers.set_targets(vec![target(2, 7), target(1, 7)], bench.now);
    bench.run(Duration::from_secs(3600));
    assert_eq!(bench.servers.current(), Some(hop(2)));
}

#[test]
fn with_all_of_them_down_the_first_that_answers_is_used() {
    let mut bench = Bench::new(Some(PING), 3);
    bench.run(Duration::from_secs(30));
    for number in 1..=3 {
        bench.set_alive(number, false);
    }
    bench.run(Duration::from_secs(100));
    assert!(bench.servers.reachable().is_err());
    bench.set_alive(2, true);
    bench.run(Duration::from_secs(15));
    assert_eq!(bench.servers.current(), Some(hop(2)));
    assert!(bench.servers.reachable().is_ok());
}

#[test]
fn what_agents_meet_counts_too() {
    let mut bench = Bench::new(Some(PING), 2);
    bench.run(Duration::from_secs(60));
    // Silence toward some DNs says nothing of a server that answers pings (Genesys: an unknown DN).
    for _ in 0..10 {
        bench.servers.handle_news(hop(1), News::Silent, bench.now);
    }
    assert_eq!(bench.servers.current(), Some(hop(1)));
    // A few 503s among successes neither.
    for _ in 0..10 {
        bench.servers.handle_news(hop(1), News::Unavailable, bench.now);
        bench.servers.handle_news(hop(1), News::Unavailable, bench.now);
        bench.servers.handle_news(hop(1), News::Answered, bench.now);
    }
    assert_eq!(bench.servers.current(), Some(hop(1)));
    for _ in 0..COMPLAINTS {
        bench.servers.handle_news(hop(1), News::Unavailable, bench.now);
    }
    assert_eq!(bench.servers.current(), Some(hop(2)));
    assert_eq!(bench.state(1).reason.as_deref(), Some("it answers REGISTER with 503"));
    // No way there at all.
    bench.servers.handle_news(hop(2), News::Unsent, bench.now);
    assert_eq!(bench.state(2).state, ServerState::Down);
}

#[test]
fn a_ping_answered_with_503_or_408_is_a_missed_one_and_every_other_answer_is_none() {
    for (code, up) in
        [(200, true), (404, true), (405, true), (500, true), (503, false), (408, false)]
    {
        let mut bench = Bench::new(Some(PING), 1);
        for _ in 0..MISSED_PINGS {
            let now = bench.now;
            let outcome = Outcome::Answered { code, rtt: RTT };
            bench.servers.handle_ping(hop(1), outcome, now);
        }
        let state = bench.state(1).state;
        assert_eq!(state == ServerState::Up, up, "{code}: {state:?}");
        assert_eq!(bench.servers.reachable().is_ok(), up);
    }
}

/// There are servers that never answer OPTIONS.
#[test]
fn a_server_that_is_deaf_to_pings_is_used_nevertheless() {
    let mut bench = Bench::new(Some(PING), 1);
    bench.set_alive(1, false);
    bench.run(Duration::from_secs(100));
    assert!(bench.servers.reachable().is_ok(), "it may be tried");
    bench.servers.handle_news(hop(1), News::Answered, bench.now);
    bench.run(Duration::from_secs(600));
    assert_eq!(bench.state(1).state, ServerState::Up);
    // Its silence toward REGISTER is all there is to go by.
    for _ in 0..COMPLAINTS {
        bench.servers.handle_news(hop(1), News::Silent, bench.now);
    }
    assert!(bench.servers.reachable().is_err());
    bench.run(HOLD_DOWN + Duration::from_secs(1));
    assert!(bench.servers.reachable().is_ok(), "it is tried again after a while");
}

#[test]
fn of_several_that_never_answered_each_has_its_turn() {
    let mut bench = Bench::new(Some(PING), 2);
    bench.set_alive(1, false);
    bench.set_alive(2, false);
    bench.run(Duration::from_secs(15));
    let first = bench.servers.current().expect("one of them");
    bench.servers.handle_news(first, News::Silent, bench.now);
    bench.run(Duration::from_secs(1));
    assert_ne!(bench.servers.current(), Some(first));
}

#[test]
fn without_pings_only_failures_count() {
    let mut bench = Bench::new(None, 2);
    bench.run(Duration::from_secs(3600));
    assert_eq!((bench.pings, bench.servers.current()), (0, Some(hop(1))));
    for _ in 0..COMPLAINTS {
        bench.servers.handle_news(hop(1), News::Silent, bench.now);
    }
    assert_eq!(bench.servers.current(), Some(hop(2)));
    // Nobody knows whether the first is back: all stay where they are until that one fails.
    bench.run(Duration::from_secs(3600));
    assert_eq!(bench.servers.current(), Some(hop(2)));
    bench.servers.handle_news(hop(2), News::Unsent, bench.now);
    assert_eq!(bench.servers.current(), Some(hop(1)));
}

#[test]
fn what_is_known_of_a_server_outlives_a_look_up() {
    let mut bench = Bench::new(Some(PING), 2);
    bench.run(Duration::from_secs(60));
    bench.set_alive(1, false);
    bench.until(2, Duration::from_secs(40));
    bench.servers.set_targets(vec![target(1, 1), target(2, 2)], bench.now);
    assert_eq!(bench.servers.current(), Some(hop(2)));
    // The current one is gone from DNS.
    bench.set_alive(1, true);
    bench.run(Duration::from_secs(15));
    bench.servers.set_targets(vec![target(1, 1), target(3, 2)], bench.now);
    assert_eq!(bench.servers.current(), Some(hop(1)));
    assert_eq!(bench.servers.status().len(), 2);
}

/// A call that the current one does not take goes by these.
#[test]
fn the_others_are_those_that_answer_and_then_those_unheard_of() {
    let mut bench = Bench::new(Some(PING), 4);
    bench.set_alive(2, false);
    bench.run(Duration::from_secs(1));
    let others: Vec<Hop> = bench.servers.others().collect();
    assert_eq!(others, [hop(3), hop(4), hop(2)], "the second has not answered yet");
    bench.run(PING);
    let others: Vec<Hop> = bench.servers.others().collect();
    assert_eq!(others, [hop(3), hop(4)], "and is down by now");
    bench.set_alive(1, false);
    bench.set_alive(2, true);
    bench.until(2, PING * 4);
    let others: Vec<Hop> = bench.servers.others().collect();
    assert_eq!(others, [hop(3), hop(4)]);
}

#[test]
fn no_more_servers_are_watched_than_there_is_room_for() {
    let mut servers = Servers::new(Some(PING), 1);
    let targets = (0..200).map(|number| target(number, 0)).collect();
    servers.set_targets(targets, Instant::now());
    assert_eq!(servers.status().len(), MAX_SERVERS);
}

/// "dead connections are noticed and replaced": a reset is no outage, and costs no fail-over.
#[test]
fn a_connection_that_breaks_is_no_server_that_is_down() {
    let (mut servers, mut now) = (Servers::new(Some(PING), 3), Instant::now());
    let tcp = |number| Hop::new(crate::sip::Transport::Tcp, hop(number).addr);
    let of = |number: u8| Target { hop: tcp(number), ..target(number, number.into()) };
    servers.set_targets(vec![of(1), of(2)], now);
    let good = Outcome::Answered { code: 200, rtt: RTT };
    while let Some(to) = servers.poll_ping(now) {
        servers.handle_ping(to, good, now);
    }
    // The REGISTERs that were under way fail, all together.
    for _ in 0..100 {
        servers.handle_news(tcp(1), News::Unsent, now);
    }
    assert_eq!(servers.poll_ping(now), Some(tcp(1)), "at once");
    servers.handle_ping(tcp(1), good, now);
    assert_eq!(servers.current(), Some(tcp(1)));
    // Lost with a ping under way: one more.
    now += PING * 2;
    while servers.poll_ping(now).is_some() {}
    servers.handle_ping(tcp(1), Outcome::Unsent, now);
    assert_eq!(servers.poll_ping(now), Some(tcp(1)));
    assert_eq!(servers.current(), Some(tcp(1)));
    servers.handle_ping(tcp(1), Outcome::Unsent, now);
    assert_eq!(servers.current(), Some(tcp(2)), "no connection to be had");
}
