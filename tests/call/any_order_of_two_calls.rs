//! Two calls on one line, whatever comes in whatever order: no panic, each ends once, the browser is with
//! one of them at most, and every re-INVITE waits for the answer of the one before.

use std::time::Duration;

use proptest::prelude::*;

use crate::support::*;
use wrtc_gateway::sip::{Command, End, EndedBy, Event, NotifyEvent, Referred, SessionId};
use wrtc_gateway::wire::FromBrowser;

#[derive(Debug, Clone)]
enum Action {
    Invited(bool),
    Replaced(bool),
    Referred,
    Dialled,
    Transferred(bool),
    Transferring(bool),
    Accept,
    Hold(bool, bool),
    Bye(bool),
    Offer(u64, bool),
    Answer,
    Progressed(bool),
    Answered(bool),
    Acked(bool, bool),
    Reinvited(bool, bool),
    ReinviteAnswered(bool),
    Notified(bool, bool),
    Ended(bool),
    Digit(bool),
    Wait(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let two = || (any::<bool>(), any::<bool>());
    prop_oneof![
        any::<bool>().prop_map(Action::Invited),
        any::<bool>().prop_map(Action::Replaced),
        Just(Action::Referred),
        Just(Action::Dialled),
        any::<bool>().prop_map(Action::Transferred),
        any::<bool>().prop_map(Action::Transferring),
        Just(Action::Accept),
        two().prop_map(|(second, held)| Action::Hold(second, held)),
        any::<bool>().prop_map(Action::Bye),
        (2..9u64, any::<bool>()).prop_map(|(seq, holds)| Action::Offer(seq, holds)),
        Just(Action::Answer),
        any::<bool>().prop_map(Action::Progressed),
        any::<bool>().prop_map(Action::Answered),
        two().prop_map(|(second, sdp)| Action::Acked(second, sdp)),
        two().prop_map(|(second, sdp)| Action::Reinvited(second, sdp)),
        any::<bool>().prop_map(Action::ReinviteAnswered),
        two().prop_map(|(second, talk)| Action::Notified(second, talk)),
        any::<bool>().prop_map(Action::Ended),
        any::<bool>().prop_map(Action::Digit),
        (0..30u64).prop_map(Action::Wait),
    ]
}

fn which(second: bool) -> SessionId {
    if second { SECOND } else { SESSION }
}

fn apply(bench: &mut Bench, action: Action) {
    let far = |second: bool| {
        let host = if second { 8 } else { 5 };
        sip_sdp(&format!("203.0.113.{host}:30000"), "0 101", "sendrecv", 1)
    };
    // The user agent gives out a session once.
    let fresh = !bench.line.has(SECOND) && !bench.over.contains(&SECOND) && !bench.line.is_over();
    match action {
        Action::Invited(sdp) if fresh => bench.invited(sdp.then(|| far(true)).as_deref()),
        Action::Replaced(sdp) if fresh => {
            bench.replaced(SESSION, sdp.then(|| far(true)).as_deref());
        }
        Action::Referred if fresh => {
            bench.referred(&Referred { to: "sip:1004@x".into(), ..Referred::default() });
        }
        Action::Dialled if fresh => drop(bench.dialled("1004")),
        Action::Transferred(attended) => {
            let _ = bench.transferred("1004", attended.then_some(SECOND));
        }
        Action::Transferring(done) => {
            let code = if done { 200 } else { 100 };
            bench.sip(Event::Transferring { session: SESSION, code, text: String::new(), done });
        }
        Action::Accept => drop(bench.browser(FromBrowser::Accept)),
        Action::Hold(second, true) => drop(bench.on(which(second), FromBrowser::Hold)),
        Action::Hold(second, false) => drop(bench.on(which(second), FromBrowser::Resume)),
        Action::Bye(true) => drop(bench.on(SECOND, FromBrowser::Bye)),
        Action::Bye(false) => drop(bench.browser(FromBrowser::Bye)),
        Action::Offer(seq, holds) => {
            let direction = if holds { "inactive" } else { "sendrecv" };
            let _ = bench.browser(offer(ids(103, seq), &browser_offer("u0", 1, direction)));
        }
        Action::Answer => {
            let sdp = browser_answer("u0", "sendrecv", "0 8 126");
            let numbers = [900, 901, 902].map(|id| ids(id, 1));
            for ids in numbers {
                let _ = bench.browser(answer(ids, &sdp));
            }
        }
        Action::Progressed(sdp) => bench.sip(Event::Progressed {
            session: SECOND,
            code: 183,
            text: String::new(),
            sdp: sdp.then(|| far(true)),
            early: 1,
        }),
        Action::Answered(second) => {
            bench.sip(Event::Answered { session: which(second), sdp: Some(far(second)) });
        }
        Action::Acked(second, sdp) => {
            bench.sip(Event::Acked { session: which(second), sdp: sdp.then(|| far(second)) });
        }
        Action::Reinvited(second, sdp) => {
            bench.sip(Event::Reinvited { session: which(second), sdp: sdp.then(|| far(second)) });
        }
        Action::ReinviteAnswered(second) => {
            bench.sip(Event::ReinviteAnswered { session: which(second), sdp: Some(far(second)) });
        }
        Action::Notified(second, talk) => {
            let event = if talk { NotifyEvent::Talk } else { NotifyEvent::Hold };
            bench.sip(Event::Notified { session: which(second), event });
        }
        Action::Ended(second) => {
            let text = "OK".to_owned();
            let end = End { by: EndedBy::Peer, code: 200, text, reason_header: None };
            bench.sip(Event::Ended { session: which(second), end });
        }
        Action::Digit(from_sip) => bench.heard_digit('5', from_sip),
        Action::Wait(seconds) => bench.wait(Duration::from_secs(seconds)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn keeps_the_rules(
        ringing in any::<bool>(),
        actions in proptest::collection::vec(action(), 0..60),
    ) {
        let sdp = sip_sdp("203.0.113.5:30000", "0 8 101", "sendrecv", 1);
        let mut bench = if ringing { Bench::incoming(Some(&sdp)) } else { Bench::established() };
        let mut outstanding = [0i32; 2];
        for action in actions {
            bench.clear();
            if let Action::ReinviteAnswered(second) = action {
                if outstanding[usize::from(second)] == 0 {
                    continue;
                }
                outstanding[usize::from(second)] -= 1;
            }
            apply(&mut bench, action);
            for command in &bench.to_sip {
                if let Command::Reinvite { session, .. } = command {
                    outstanding[usize::from(*session == SECOND)] += 1;
                }
            }
            prop_assert!(outstanding.iter().all(|n| *n <= 1), "two re-INVITEs at a time");
            let up = |session| bench.line.state(session) == "established";
            let both = up(SESSION) && up(SECOND);
            // The one that a transfer leaves behind is nobody's any more.
            prop_assert!(!both || bench.line.calls() < 2, "two calls with one browser");
            let is_there = bench.line.active().is_none_or(|session| bench.line.has(session));
            prop_assert!(is_there, "the browser is with a call that is over");
            let heir = bench.line.active() == Some(SECOND);
            prop_assert!(bench.line.is_over() || bench.line.calls() > 0 || heir, "what is left?");
        }
    }
}
