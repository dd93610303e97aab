//! Whatever comes in whatever order: no panic, one end, one offer at a time each way.

use std::time::Duration;

use proptest::prelude::*;

use crate::support::*;
use wrtc_gateway::sip::{Event, NotifyEvent};
use wrtc_gateway::wire::FromBrowser;

#[derive(Debug, Clone)]
enum Action {
    Offer { seq: u64, direction: usize, ufrag: u8, fingerprint: u8 },
    Answer { seq: u64, direction: usize },
    Ok,
    Error,
    Bye,
    Hold(bool),
    Progressed,
    Answered { formats: usize },
    Acked(Option<usize>),
    Reinvited(Option<(usize, usize)>),
    ReinviteAnswered(usize),
    ReinviteRefused,
    Talk,
    NotifyHold,
    HungUp,
    Garbage,
    Wait(u64),
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
const FORMATS: [&str; 5] = ["0 101", "8 0 101", "9 101", "18", "9 0 8"];

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (1..4u64, 0..4usize, 0..3u8, 1..3u8).prop_map(|(seq, direction, ufrag, fingerprint)| {
            Action::Offer { seq, direction, ufrag, fingerprint }
        }),
        (1..4u64, 0..4usize).prop_map(|(seq, direction)| Action::Answer { seq, direction }),
        Just(Action::Ok),
        Just(Action::Error),
        Just(Action::Bye),
        any::<bool>().prop_map(Action::Hold),
        Just(Action::Progressed),
        (0..5usize).prop_map(|formats| Action::Answered { formats }),
        proptest::option::of(0..5usize).prop_map(Action::Acked),
        proptest::option::of((0..5usize, 0..4usize)).prop_map(Action::Reinvited),
        (0..5usize).prop_map(Action::ReinviteAnswered),
        Just(Action::ReinviteRefused),
        Just(Action::Talk),
        Just(Action::NotifyHold),
        Just(Action::HungUp),
        Just(Action::Garbage),
        (0..400u64).prop_map(Action::Wait),
    ]
}

fn apply(bench: &mut Bench, action: Action) {
    let far = |formats: usize, direction: usize| {
        sip_sdp("203.0.113.5:30000", FORMATS[formats], DIRECTIONS[direction], 1)
    };
    match action {
        Action::Offer { seq, direction, ufrag, fingerprint } => {
            let sdp = browser_offer(&format!("u{ufrag}"), fingerprint, DIRECTIONS[direction]);
            let _ = bench.browser(offer(ids(103, seq), &sdp));
        }
        Action::Answer { seq, direction } => {
            let sdp = browser_answer("u0", DIRECTIONS[direction], "0 8 126");
            let _ = bench.browser(answer(ids(900, seq), &sdp));
        }
        Action::Ok => drop(bench.browser(FromBrowser::Ok { ids: ids(103, 1) })),
        Action::Error => {
            let error = wrtc_gateway::wire::RoapError::Failed;
            let _ = bench.browser(FromBrowser::Error { ids: None, error });
        }
        Action::Bye => drop(bench.browser(FromBrowser::Bye)),
        Action::Hold(true) => drop(bench.browser(FromBrowser::Hold)),
        Action::Hold(false) => drop(bench.browser(FromBrowser::Resume)),
        Action::Progressed => {
            let text = String::new();
            bench.sip(Event::Progressed { session: SESSION, code: 180, text, sdp: None, early: 0 });
        }
        Action::Answered { formats } => bench.answered(&far(formats, 0)),
        Action::Acked(formats) => bench.acked(formats.map(|f| far(f, 0)).as_deref()),
        Action::Reinvited(sdp) => bench.reinvited(sdp.map(|(f, d)| far(f, d)).as_deref()),
        Action::ReinviteAnswered(formats) => bench.reinvite_answered(&far(formats, 0)),
        Action::ReinviteRefused => {
            bench.sip(Event::ReinviteRefused { session: SESSION, code: 491, text: String::new() });
        }
        Action::Talk => bench.notified(NotifyEvent::Talk),
        Action::NotifyHold => bench.notified(NotifyEvent::Hold),
        Action::HungUp => bench.hung_up(200, "OK"),
        Action::Garbage => bench.reinvited(Some("v=0\r\nm=audio")),
        Action::Wait(seconds) => bench.wait(Duration::from_secs(seconds)),
    }
}

proptest! {
    #[test]
    fn keeps_the_rules(
        kind in 0..3usize,
        actions in proptest::collection::vec(action(), 0..40),
    ) {
        let mut bench = match kind {
            0 => Bench::outgoing(&browser_offer("u0", 1, "sendrecv")),
            1 => Bench::incoming(Some(&sip_sdp("203.0.113.5:30000", "0 8 101", "sendrecv", 1))),
            _ => Bench::incoming(None),
        };
        let mut outstanding = 0i32;
        for action in actions {
            let settles =
                matches!(action, Action::ReinviteAnswered(_) | Action::ReinviteRefused);
            bench.clear();
            let ended = bench.ended.is_some();
            // A 2xx or refusal without a re-INVITE cannot happen: the dialog layer sees to that.
            if settles && outstanding == 0 {
                continue;
            }
            apply(&mut bench, action);
            outstanding -= i32::from(settles);
            outstanding += bench.sip_heard().iter().filter(|c| **c == "reinvite").count() as i32;
            prop_assert!(outstanding <= 1, "two re-INVITEs at a time");
            if ended {
                prop_assert!(bench.to_browser.is_empty() && bench.to_sip.is_empty());
            }
            if bench.line.is_over() {
                prop_assert!(bench.ended.is_some());
            }
        }
    }
}
