//! "REFER out (blind and attended with Replaces) and in; NOTIFY sipfrag to the end."

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::agent::MessageError;
use wrtc_gateway::sip::{Command, End, EndedBy, Event, Referred};
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

fn far(host: u8, direction: &str) -> String {
    sip_sdp(&format!("203.0.113.{host}:30000"), "0 101", direction, 1)
}

fn notified(bench: &mut Bench, code: u16, done: bool) {
    let text = "so".to_owned();
    bench.sip(Event::Transferring { session: SESSION, code, text, done });
}

fn ended(bench: &mut Bench, session: wrtc_gateway::sip::SessionId, code: u16) {
    let end = End { by: EndedBy::Peer, code, text: "so".into(), reason_header: None };
    bench.sip(Event::Ended { session, end });
}

fn progress(bench: &Bench) -> Vec<u16> {
    let code = |command: &Command| match command {
        Command::ReferProgress { code, .. } => Some(*code),
        _ => None,
    };
    bench.to_sip.iter().filter_map(code).collect()
}

#[test]
fn a_blind_transfer_that_succeeds_ends_our_call() {
    let mut bench = Bench::established();
    bench.transferred("1004", None).unwrap();
    assert_eq!(bench.sip_heard(), ["refer"]);
    let twice = bench.transferred("1005", None);
    assert!(matches!(twice, Err(MessageError::WrongState(_))));
    notified(&mut bench, 100, false);
    assert!(!bench.line.is_over());
    notified(&mut bench, 200, true);
    assert_eq!(bench.heard(), ["transfer", "transfer", "bye"]);
    assert_eq!(bench.sip_heard(), ["refer", "end"]);
    assert_eq!(bench.ended.unwrap().transfer, Some(200));
}

#[test]
fn a_failed_transfer_leaves_the_call_as_it_was() {
    let mut bench = Bench::established();
    bench.browser(FromBrowser::Hold).unwrap();
    bench.reinvite_answered(&far(5, "recvonly"));
    bench.clear();
    bench.transferred("1004", None).unwrap();
    notified(&mut bench, 486, true);
    assert_eq!(bench.to_browser, [ToBrowser::Transfer { code: 486, text: "so".into() }]);
    assert_eq!(bench.line.state(SESSION), "held");
    bench.transferred("1005", None).unwrap();
    assert_eq!(bench.sip_heard(), ["refer", "refer"]);
}

#[test]
fn a_peer_that_hangs_up_before_the_last_notify_ends_the_call() {
    let mut bench = Bench::established();
    bench.transferred("1004", None).unwrap();
    notified(&mut bench, 180, false);
    bench.hung_up(200, "OK");
    assert_eq!(bench.heard(), ["transfer", "bye"]);
    assert_eq!(bench.ended.unwrap().transfer, Some(180));
}

#[test]
fn an_attended_transfer_refers_the_one_call_to_the_other() {
    let mut bench = Bench::established();
    bench.dialled("1004").unwrap();
    let answer = Some(far(8, "sendrecv"));
    bench.sip(Event::Answered { session: SECOND, sdp: answer });
    bench.clear();
    bench.transferred("1004", Some(SECOND)).unwrap();
    assert_eq!(
        bench.to_sip,
        [Command::Refer { session: SESSION, to: "1004".into(), replaces: Some(SECOND) }]
    );
    notified(&mut bench, 200, true);
    assert!(bench.line.is_over());
    assert_eq!(bench.over, [SECOND, SESSION]);
    assert_eq!(bench.heard().last(), Some(&"bye"));
    assert_eq!(bench.heard().iter().filter(|m| **m == "bye").count(), 1);
}

#[test]
fn replaces_must_name_another_call() {
    let mut bench = Bench::established();
    for replaces in [SESSION, SECOND] {
        let refused = bench.transferred("1004", Some(replaces));
        assert!(matches!(refused, Err(MessageError::WrongState(_))), "{refused:?}");
    }
    assert!(bench.to_sip.is_empty());
}

fn asked() -> Referred {
    Referred {
        to: "sip:1004@example.com".into(),
        replaces: Some("abc;to-tag=1;from-tag=2".into()),
        referred_by: Some("<sip:5001@example.com>".into()),
        ..Referred::default()
    }
}

#[test]
fn a_refer_calls_the_target_and_the_new_call_takes_the_browser() {
    let mut bench = Bench::established();
    assert!(bench.referred(&asked()));
    assert_eq!(bench.sip_heard(), ["accept-refer", "refer-progress", "invite"]);
    let Some(Command::Invite { headers, .. }) = bench.to_sip.last() else { panic!() };
    assert_eq!(headers[0], ("Replaces".into(), "abc;to-tag=1;from-tag=2".into()));
    assert_eq!(headers[1], ("Referred-By".into(), "<sip:5001@example.com>".into()));
    bench.sip(Event::Progressed {
        session: SECOND,
        code: 180,
        text: "Ringing".into(),
        sdp: Some(far(9, "sendrecv")),
        early: 1,
    });
    assert!(bench.heard().is_empty(), "the old call goes on");
    assert_eq!(bench.line.active(), Some(SESSION));
    bench.sip(Event::Answered { session: SECOND, sdp: Some(far(9, "sendrecv")) });
    assert_eq!(progress(&bench), [100, 180, 200]);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.9:30000");
    assert!(!bench.heard().contains(&"bye") && !bench.heard().contains(&"offer"));
    // The one that asked hangs up.
    ended(&mut bench, SESSION, 200);
    assert!(!bench.heard().contains(&"bye") && !bench.heard().contains(&"ended"));
    assert_eq!((bench.line.active(), bench.line.calls()), (Some(SECOND), 1));
}

#[test]
fn an_old_call_that_nobody_hangs_up_is_hung_up_by_us() {
    let mut bench = Bench::established();
    bench.referred(&asked());
    bench.sip(Event::Answered { session: SECOND, sdp: Some(far(9, "sendrecv")) });
    bench.clear();
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.sip_heard(), ["end"]);
    assert_eq!(bench.over, [SESSION]);
    assert!(bench.heard().is_empty());
}

#[test]
fn a_target_that_refuses_leaves_the_old_call() {
    let mut bench = Bench::established();
    bench.referred(&asked());
    ended(&mut bench, SECOND, 486);
    assert_eq!(progress(&bench), [100, 486]);
    assert!(bench.heard().is_empty());
    assert_eq!((bench.line.active(), bench.line.calls()), (Some(SESSION), 1));
    assert!(bench.referred(&asked()), "and may be referred again");
}

#[test]
fn one_that_refers_and_hangs_up_at_once_leaves_the_new_call_to_the_browser() {
    let mut bench = Bench::established();
    bench.referred(&asked());
    ended(&mut bench, SESSION, 200);
    assert!(bench.heard().is_empty() && !bench.line.is_over());
    bench.sip(Event::Answered { session: SECOND, sdp: Some(far(9, "sendrecv")) });
    assert!(bench.flow().to_sip);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.9:30000");
}

/// The agent is not left with a browser in a call that nobody is in.
#[test]
fn one_that_refers_and_hangs_up_at_once_to_a_target_that_refuses_ends_the_browsers_call() {
    let mut bench = Bench::established();
    bench.referred(&asked());
    ended(&mut bench, SESSION, 200);
    ended(&mut bench, SECOND, 486);
    assert_eq!(progress(&bench), [100, 486]);
    assert_eq!(bench.heard(), ["bye"]);
    assert!(bench.line.is_over());
    // Nobody answers either.
    let mut bench = Bench::established();
    bench.referred(&asked());
    ended(&mut bench, SESSION, 200);
    bench.wait(Duration::from_secs(300));
    assert_eq!(bench.heard(), ["bye"]);
    assert!(bench.line.is_over());
}

#[test]
fn an_agent_who_hangs_up_is_not_called_on() {
    let mut bench = Bench::established();
    bench.referred(&asked());
    bench.browser(FromBrowser::Bye).unwrap();
    assert!(bench.line.is_over());
    assert_eq!(progress(&bench).last(), Some(&487));
}

#[test]
fn a_second_refer_and_one_out_of_a_ringing_call_are_refused() {
    let mut bench = Bench::established();
    assert!(bench.referred(&asked()));
    assert!(!bench.referred(&asked()));
    assert_eq!(bench.sip_heard().last(), Some(&"reject-refer"));
    let mut bench = Bench::incoming(None);
    assert!(!bench.referred(&asked()));
}

#[test]
fn an_agent_who_hangs_up_after_a_transfer_is_free_at_once() {
    let mut bench = Bench::established();
    bench.referred(&asked());
    bench.sip(Event::Answered { session: SECOND, sdp: Some(far(9, "sendrecv")) });
    bench.browser(FromBrowser::Bye).unwrap();
    assert!(bench.line.is_over(), "the peer of the old call is not waited for");
    assert_eq!(bench.over, [SECOND, SESSION]);
}
