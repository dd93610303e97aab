//! Reliable provisional answers, UPDATE and session timers between two user agents, over the network that
//! loses, doubles and delays.

use std::time::Duration;

use wrtc_gateway::sip::{Command, EndedBy, Event, Reliable, SessionId};

use super::network::{A, B, Net, ended, react, their_session};
use super::support::*;

const ME: SessionId = SessionId(1);

fn call(net: &mut Net) {
    let (to, sdp) = ("b".into(), Some(OFFER.into()));
    net.command(A, Command::Invite { session: ME, to, sdp, headers: vec![] });
}

fn over(net: &mut Net, seed: u64) {
    net.run(Duration::from_secs(200));
    for at in [A, B] {
        assert_eq!(net.count(at, ended), 1, "seed {seed}: {:?}", net.events(at));
        let node = &net.nodes[&addr(at)];
        assert!(node.ua.is_idle(), "seed {seed}");
        assert_eq!(node.ua.poll_timeout(), None, "seed {seed}");
        assert_eq!(node.transactions.counts(), (0, 0), "seed {seed}");
    }
}

/// Answers in a reliable 183, says more than it has to, and accepts before anything of it is acknowledged.
fn early_media(event: &Event) -> Vec<Command> {
    let Event::Invited { session, .. } = event else { return react(event) };
    let session = *session;
    vec![
        Command::Progress { session, code: 183, sdp: Some(ANSWER.into()) },
        Command::Progress { session, code: 180, sdp: None },
        Command::Progress { session, code: 182, sdp: None },
        Command::Accept { session, sdp: "another".into() },
    ]
}

#[test]
fn reliable_answers_come_through() {
    for seed in 0..60 {
        let mut net =
            Net::with(seed, 0.2, early_media, |config| config.reliable = Reliable::WhenSupported);
        call(&mut net);
        net.run(Duration::from_secs(64));
        // What waited when the call was accepted is not sent any more.
        let codes: Vec<u16> = net
            .events(A)
            .iter()
            .filter_map(|e| if let Event::Progressed { code, .. } = e { Some(*code) } else { None })
            .collect();
        assert_eq!(codes, [183], "seed {seed}");
        // Not what Accept said: the answer was given.
        let answered = Event::Answered { session: ME, sdp: Some(ANSWER.into()) };
        assert_eq!(net.count(A, |e| *e == answered), 1, "seed {seed}");
        assert_eq!(net.count(B, |e| matches!(e, Event::Acked { .. })), 1, "seed {seed}");
        net.command(A, Command::End { session: ME, code: 200, text: String::new() });
        over(&mut net, seed);
    }
}

/// Rings with early media until somebody says more.
fn rings(event: &Event) -> Vec<Command> {
    match event {
        Event::Invited { session, .. } => [(180, None), (183, Some(ANSWER.to_owned()))]
            .map(|(code, sdp)| Command::Progress { session: *session, code, sdp })
            .into(),
        other => react(other),
    }
}

#[test]
fn both_offer_at_once_while_it_rings() {
    for seed in 0..60 {
        let mut net =
            Net::with(seed, 0.1, rings, |config| config.reliable = Reliable::WhenSupported);
        call(&mut net);
        net.run(Duration::from_secs(64));
        let theirs = their_session(&net, B);
        net.command(A, Command::Reinvite { session: ME, sdp: Some("from a".into()) });
        net.command(B, Command::Reinvite { session: theirs, sdp: Some("from b".into()) });
        net.run(Duration::from_secs(64));
        for at in [A, B] {
            let answered = net.count(at, |e| matches!(e, Event::ReinviteAnswered { .. }));
            let asked = net.count(at, |e| matches!(e, Event::Reinvited { .. }));
            assert_eq!((answered, asked), (1, 1), "seed {seed} {at}: {:?}", net.events(at));
        }
        net.command(B, Command::Accept { session: theirs, sdp: ANSWER.into() });
        net.run(Duration::from_secs(64));
        assert_eq!(net.count(A, |e| matches!(e, Event::Answered { .. })), 1, "seed {seed}");
        net.command(B, Command::End { session: theirs, code: 200, text: String::new() });
        over(&mut net, seed);
    }
}

/// Two hours of it, half of the datagrams of a refresh lost now and then, and no event at either end.
#[test]
fn a_call_outlives_its_session_timer() {
    for seed in 0..20 {
        let mut net = Net::with(seed, 0.2, react, |config| {
            config.session_timer.expires = Some(Duration::from_secs(180));
        });
        call(&mut net);
        net.run(Duration::from_secs(64));
        let before = (net.events(A).len(), net.events(B).len());
        net.run(Duration::from_secs(7200));
        assert_eq!((net.events(A).len(), net.events(B).len()), before, "seed {seed}");
        net.command(A, Command::End { session: ME, code: 200, text: String::new() });
        over(&mut net, seed);
    }
}

/// "Session timers both roles": whoever is left finds out, the one that refreshes and the one that waits.
#[test]
fn a_peer_that_is_gone_is_noticed_by_the_session_timer() {
    for gone in [A, B] {
        let mut net = Net::with(3, 0.0, react, |config| {
            config.session_timer.expires = Some(Duration::from_secs(180));
        });
        call(&mut net);
        net.run(Duration::from_secs(64));
        net.nodes.remove(&addr(gone));
        let left = if gone == A { B } else { A };
        net.run(Duration::from_secs(180));
        let by_network =
            |e: &Event| matches!(e, Event::Ended { end, .. } if end.by == EndedBy::Network);
        assert_eq!(net.count(left, by_network), 1, "{:?}", net.events(left));
    }
}
