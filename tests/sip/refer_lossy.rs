//! A transfer over the network that loses, doubles and delays.

use std::time::Duration;

use wrtc_gateway::sip::{Command, Event, SessionId};

use super::network::{A, B, Net, ended, react};
use super::support::*;

const ME: SessionId = SessionId(1);

/// Does what it is asked to, in a hurry: all of the story is told in the moment of the REFER.
fn does_as_told(event: &Event) -> Vec<Command> {
    let Event::Referred { refer, .. } = event else { return react(event) };
    let refer = *refer;
    let word = |code, text: &str| Command::ReferProgress { refer, code, text: text.into() };
    vec![Command::AcceptRefer { refer }, word(180, "Ringing"), word(486, "Busy Here")]
}

#[test]
fn the_outcome_comes_through_once_and_in_order() {
    for seed in 0..60 {
        let mut net = Net::with(seed, 0.2, does_as_told, |_| {});
        let (to, sdp) = ("b".into(), Some(OFFER.into()));
        net.command(A, Command::Invite { session: ME, to, sdp, headers: vec![] });
        net.run(Duration::from_secs(64));
        net.command(A, Command::Refer { session: ME, to: "c".into(), replaces: None });
        net.run(Duration::from_secs(100));
        let told: Vec<(u16, bool)> = net
            .events(A)
            .iter()
            .filter_map(|event| match event {
                Event::Transferring { code, done, .. } => Some((*code, *done)),
                _ => None,
            })
            .collect();
        // What nobody had seen yet when the outcome was known is not told.
        assert_eq!(told, [(100, false), (486, true)], "seed {seed}");
        assert_eq!(net.count(B, |e| matches!(e, Event::Referred { .. })), 1, "seed {seed}");
        net.command(A, Command::End { session: ME, code: 200, text: String::new() });
        net.run(Duration::from_secs(200));
        for at in [A, B] {
            assert_eq!(net.count(at, ended), 1, "seed {seed}");
            let node = &net.nodes[&addr(at)];
            assert!(node.ua.is_idle(), "seed {seed}");
            assert_eq!(node.ua.poll_timeout(), None, "seed {seed}");
            assert_eq!(node.transactions.counts(), (0, 0), "seed {seed}");
        }
    }
}
