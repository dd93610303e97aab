//! "INVITE with Replaces": another SIP session takes a call's place, the browser stays untouched.

use crate::support::*;
use wrtc_gateway::call::MediaCommand;
use wrtc_gateway::sip::Command;
use wrtc_gateway::wire::FromBrowser;

fn far(host: u8, direction: &str) -> String {
    sip_sdp(&format!("203.0.113.{host}:30000"), "0 101", direction, 1)
}

fn untouched(bench: &Bench) -> bool {
    !bench.to_media.iter().any(|command| {
        matches!(
            command,
            MediaCommand::SetBrowser(_) | MediaCommand::RestartIce | MediaCommand::RenewBrowser
        )
    })
}

#[test]
fn the_new_call_is_answered_at_once_and_the_old_one_ended() {
    let mut bench = Bench::established();
    assert!(bench.replaced(SESSION, Some(&far(9, "sendrecv"))));
    assert_eq!(bench.sip_heard(), ["accept", "end"], "no ringing");
    assert!(bench.to_sip.iter().any(|c| matches!(c, Command::End { session: SESSION, .. })));
    assert_eq!(bench.heard(), ["peer"], "no good-bye");
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.9:30000");
    assert!(untouched(&bench));
    assert_eq!((bench.line.active(), &bench.over[..]), (Some(SECOND), &[SESSION][..]));
    bench.browser(FromBrowser::Bye).unwrap();
    assert!(bench.line.is_over());
}

#[test]
fn one_without_sdp_flows_with_the_ack() {
    let mut bench = Bench::established();
    assert!(bench.replaced(SESSION, None));
    assert!(!bench.flow().to_browser);
    bench.sip(wrtc_gateway::sip::Event::Acked { session: SECOND, sdp: Some(far(9, "sendrecv")) });
    assert!(bench.flow().to_sip && bench.flow().to_browser && untouched(&bench));
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.9:30000");
}

#[test]
fn a_held_call_stays_held() {
    let mut bench = Bench::established();
    bench.browser(FromBrowser::Hold).unwrap();
    bench.reinvite_answered(&far(5, "recvonly"));
    assert!(bench.replaced(SESSION, Some(&far(9, "sendrecv"))));
    assert_eq!(bench.line.state(SECOND), "held");
    assert_eq!(bench.sip_sdp().direction, wrtc_gateway::sdp::Direction::SendOnly);
}

#[test]
fn an_early_call_of_ours_is_picked_up() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(180, None, 1);
    bench.clear();
    assert!(bench.replaced(SESSION, Some(&far(9, "sendrecv"))));
    assert_eq!(bench.sip_heard(), ["accept", "end"]);
    assert_eq!(bench.heard(), ["peer", "answer"], "its OFFER was waiting for this");
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    let mut bench = Bench::incoming(Some(&far(5, "sendrecv")));
    assert!(!bench.replaced(SESSION, Some(&far(9, "sendrecv"))), "early, and not ours");
    assert_eq!(bench.end_code(), 481);
}
