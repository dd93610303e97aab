use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

static IDENTITIES: LazyLock<[Arc<Identity>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Arc::new(Identity::generate().unwrap())));

/// An active and a passive end that expect each other.
fn ends(now: Instant) -> [Dtls; 2] {
    let [a, b] = &*IDENTITIES;
    let mut ends = [Dtls::new(a.clone()), Dtls::new(b.clone())];
    ends[0].set_remote(Some(b.fingerprint()), Setup::Active);
    ends[1].set_remote(Some(a.fingerprint()), Setup::Passive);
    ends[0].handle_reachable(now);
    ends
}

/// Carries datagrams to and fro, each through `through`, until nothing moves.
fn run(
    now: Instant,
    ends: &mut [Dtls; 2],
    mut through: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>>,
) -> [Vec<Event>; 2] {
    let mut events = [Vec::new(), Vec::new()];
    for turn in 0..40usize {
        let (from, to) = (turn % 2, 1 - turn % 2);
        while let Some(datagram) = ends[from].poll_transmit() {
            for datagram in through(from, &datagram) {
                events[to].extend(ends[to].handle_datagram(now, &datagram));
            }
        }
    }
    events
}

fn connected(events: &[Event]) -> bool {
    matches!(events, [Event::Connected { profile: Profile::AeadAes128Gcm, .. }])
}

#[test]
fn two_ends_connect_and_survive_the_same_description() {
    let now = Instant::now();
    let mut ends = ends(now);
    let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
    assert!(connected(&events[0]) && connected(&events[1]));
    assert_eq!(ends[1].poll_timeout(), None);
    let fingerprint = IDENTITIES[0].fingerprint();
    ends[1].set_remote(Some(fingerprint), Setup::Passive);
    assert!(matches!(ends[1].state, State::Connected { .. }));
    ends[1].set_remote(Some(Fingerprint([1; 32])), Setup::Passive);
    assert!(matches!(ends[1].state, State::Idle));
}

#[test]
fn a_lost_flight_is_sent_again() {
    let now = Instant::now();
    let mut ends = ends(now);
    // The server's certificate flight is lost as a whole.
    let mut lost = 0;
    run(now, &mut ends, |from, data| {
        let drop = from == 1 && data.len() > 200 && lost < 10;
        lost += usize::from(drop);
        if drop { vec![] } else { vec![data.to_vec()] }
    });
    assert!(lost > 0 && !matches!(ends[1].state, State::Connected { .. }));
    let later = now + FLIGHT;
    assert!(ends.iter_mut().all(|end| end.handle_timeout(later).is_none()));
    let events = run(later, &mut ends, |_, data| vec![data.to_vec()]);
    assert!(connected(&events[0]) && connected(&events[1]));
}

#[test]
fn what_comes_before_the_description_is_bounded() {
    let now = Instant::now();
    let [mut client, _] = ends(now);
    let hello = client.poll_transmit().unwrap();
    let mut server = Dtls::new(IDENTITIES[1].clone());
    for _ in 0..1000 {
        assert!(server.handle_datagram(now, &hello).is_none());
        assert!(server.early.len() <= MAX_EARLY);
    }
    server.set_remote(Some(IDENTITIES[0].fingerprint()), Setup::Passive);
    assert!(!server.take_early().is_empty(), "the last of it is still there");
}

/// Our last flight is lost, and the browser repeats its own.
#[test]
fn the_last_flight_is_sent_again_a_few_times_to_one_who_asks() {
    let now = Instant::now();
    let mut ends = ends(now);
    let mut asks = Vec::new();
    let events = run(now, &mut ends, |from, data| {
        let is_last = from == 1 && repeats_a_finish(data);
        if from == 0 && repeats_a_finish(data) {
            asks.push(data.to_vec());
        }
        if is_last { vec![] } else { vec![data.to_vec()] }
    });
    assert!(!connected(&events[0]) && connected(&events[1]));
    let [client, server] = &mut ends;
    // Noise and alerts are no question.
    assert!(server.handle_datagram(now, &[21, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 0]).is_none());
    assert!(server.poll_transmit().is_none());
    let mut answers = 0;
    for _ in 0..100 {
        assert!(server.handle_datagram(now, asks.last().unwrap()).is_none());
        while let Some(answer) = server.poll_transmit() {
            answers += 1;
            if let Some(event) = client.handle_datagram(now, &answer) {
                assert!(connected(&[event]));
            }
        }
    }
    assert!(matches!(client.state, State::Connected { .. }));
    assert!((1..=usize::from(MAX_REPEATS) * 2).contains(&answers), "{answers}");
}

/// Browsers repeat theirs after 50 ms, long before we would: that must not keep us from it.
#[test]
fn a_lost_flight_is_sent_again_though_the_client_repeats_its_own_first() {
    let now = Instant::now();
    let mut ends = ends(now);
    let certificate = |from, data: &[u8]| from == 1 && data.len() > 200;
    run(
        now,
        &mut ends,
        |from, data| {
            if certificate(from, data) { vec![] } else { vec![data.to_vec()] }
        },
    );
    // The client's repeated hello comes just before our own time is up, its answer is lost too.
    let early = now + FLIGHT - Duration::from_millis(1);
    let [client, server] = &mut ends;
    let mut hello = None;
    assert!(client.handle_timeout(now + FLIGHT).is_none());
    while let Some(datagram) = client.poll_transmit() {
        hello = Some(datagram);
    }
    assert!(server.handle_datagram(early, &hello.unwrap()).is_none());
    while server.poll_transmit().is_some() {}
    let mut at = early;
    let mut sent = Vec::new();
    while sent.is_empty() && at < early + 3 * FLIGHT {
        at = server.poll_timeout().unwrap();
        assert!(server.handle_timeout(at).is_none());
        sent.extend(std::iter::from_fn(|| server.poll_transmit()));
    }
    assert!(!sent.is_empty(), "the flight never comes again");
    for datagram in sent {
        assert!(client.handle_datagram(at, &datagram).is_none());
    }
    let events = run(at, &mut ends, |_, data| vec![data.to_vec()]);
    assert!(connected(&events[0]) && connected(&events[1]));
}

/// A browser goes on for a minute, and its hello is never one to begin anew with.
#[test]
fn a_handshake_outlives_an_outage_of_ten_seconds() {
    let start = Instant::now();
    let mut ends = ends(start);
    run(
        start,
        &mut ends,
        |from, data| {
            if from == 1 && data.len() > 200 { vec![] } else { vec![data.to_vec()] }
        },
    );
    let [_, server] = &mut ends;
    let mut now = start;
    while now < start + Duration::from_secs(10) {
        now = server.poll_timeout().unwrap();
        assert!(server.handle_timeout(now).is_none(), "given up after {:?}", now - start);
        if now < start + Duration::from_secs(10) {
            while server.poll_transmit().is_some() {}
        }
    }
    let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
    assert!(connected(&events[0]) && connected(&events[1]));
}

#[test]
fn silence_ends_in_a_timeout() {
    let start = Instant::now();
    let [mut client, mut server] = ends(start);
    let hello = client.poll_transmit().unwrap();
    assert!(server.handle_datagram(start, &hello).is_none());
    for end in [client, server].iter_mut() {
        let mut failed = None;
        while let (None, Some(at)) = (&failed, end.poll_timeout()) {
            assert!(at <= start + HANDSHAKE);
            failed = end.handle_timeout(at);
        }
        assert!(matches!(failed, Some(Event::Failed(DtlsFailure::Timeout))));
    }
}

/// To an address that ICE has validated, and even so no fountain.
#[test]
fn who_says_hello_and_no_more_gets_a_bounded_answer() {
    let start = Instant::now();
    let sent = |server: &mut Dtls| -> usize {
        std::iter::from_fn(|| server.poll_transmit()).map(|data| data.len()).sum()
    };
    let [mut client, mut server] = ends(start);
    let hello = client.poll_transmit().unwrap();
    assert!(server.handle_datagram(start, &hello).is_none());
    // A cookie, shorter than what asked for it, and for the cookie the certificate.
    let cookie = server.poll_transmit().unwrap();
    assert!(cookie.len() < hello.len() && server.poll_transmit().is_none());
    assert!(client.handle_datagram(start, &cookie).is_none());
    while let Some(hello) = client.poll_transmit() {
        assert!(server.handle_datagram(start, &hello).is_none());
    }
    let first = sent(&mut server);
    let (mut all, mut ended) = (first, false);
    while let (false, Some(at)) = (ended, server.poll_timeout()) {
        ended = server.handle_timeout(at).is_some();
        all += sent(&mut server);
    }
    // Some one a second, until it is given up.
    assert!(ended && first > 200 && all <= 40 * first, "{first} bytes, then {all}");
    // Small datagrams that ask for it again and again come to an end too.
    let [mut client, mut server] = ends(start);
    let hello = client.poll_transmit().unwrap();
    let (mut taken, mut given) = (0, 0);
    for _ in 0..10_000 {
        taken += hello.len();
        assert!(server.handle_datagram(start, &hello).is_none());
        given += sent(&mut server);
    }
    assert!(taken > 10 * MAX_INPUT && given < 10 * MAX_INPUT, "{given} bytes for {taken}");
}

#[test]
fn another_certificate_fails_on_either_side() {
    let now = Instant::now();
    for (wrong, setup) in [(0, Setup::Active), (1, Setup::Passive)] {
        let mut ends = ends(now);
        ends[wrong].set_remote(Some(Fingerprint([9; 32])), setup);
        ends[wrong].handle_reachable(now);
        let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
        let mismatch = DtlsFailure::FingerprintMismatch;
        assert!(events[wrong].iter().any(|e| matches!(e, Event::Failed(r) if *r == mismatch)));
        assert!(!matches!(ends[wrong].state, State::Connected { .. }));
    }
}

/// A message in fragments of one byte each, which never ends, before and after the handshake.
#[test]
fn fragments_without_end_are_not_kept() {
    let now = Instant::now();
    let mut ends = ends(now);
    let flood = |server: &mut Dtls| {
        let refused = server.malformed();
        for n in 0..20_000u32 {
            let [_, o0, o1, o2] = (n + 1).to_be_bytes();
            let [_, _, s0, s1] = (n + 1000).to_be_bytes();
            let mut data = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, s0, s1, 0, 13];
            data.extend([11, 0xFF, 0xFF, 0xFF, 0, 2, o0, o1, o2, 0, 0, 1, 0]);
            assert!(server.handle_datagram(now, &data).is_none());
        }
        server.malformed() - refused
    };
    let hello = ends[0].poll_transmit().unwrap();
    assert!(ends[1].handle_datagram(now, &hello).is_none());
    assert!(flood(&mut ends[1]) > 18_000);
    let mut ends = self::ends(now);
    let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
    assert!(connected(&events[1]));
    flood(&mut ends[1]);
    assert!(matches!(ends[1].state, State::Connected { .. }));
}

#[test]
fn tries_are_bounded() {
    let now = Instant::now();
    let mut server = Dtls::new(IDENTITIES[1].clone());
    server.set_remote(Some(Fingerprint([9; 32])), Setup::Passive);
    let mut failures = 0;
    for _ in 0..10 {
        let mut client = Dtls::new(IDENTITIES[0].clone());
        client.set_remote(Some(IDENTITIES[1].fingerprint()), Setup::Active);
        client.handle_reachable(now);
        let mut both = [client, server];
        failures += run(now, &mut both, |_, data| vec![data.to_vec()])[1].len();
        [_, server] = both;
    }
    assert_eq!(failures, usize::from(MAX_TRIES));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Datagrams bent, cut, doubled and swapped at any point: no panic, and no end that
    /// believes itself connected without the other's certificate.
    #[test]
    fn bent_handshakes_never_panic(
        bends in prop::collection::vec((0..24usize, any::<u16>(), any::<u8>(), 0..4u8), 1..12),
    ) {
        let now = Instant::now();
        let mut ends = ends(now);
        let mut count = 0;
        run(now, &mut ends, |_, data| {
            let mut all = vec![data.to_vec()];
            for (_, at, byte, how) in bends.iter().filter(|bend| bend.0 == count) {
                let mut bent = data.to_vec();
                let at = usize::from(*at) % bent.len();
                match how {
                    0 => bent[at] = *byte,
                    1 => bent.truncate(at),
                    2 => bent.extend_from_slice(data),
                    // Keeps the framing right, so that it gets further.
                    _ => {
                        let body = &mut bent[13.min(data.len() - 1)..];
                        let by = at % body.len();
                        body.rotate_left(by);
                    }
                }
                all.insert(0, bent);
            }
            count += 1;
            all
        });
    }
}
