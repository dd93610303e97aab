//! A call that a REFER asked for is heard while it is set up: its early media, or that it rings.

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::call::MediaCommand;
use wrtc_gateway::media::{Flow, Signal};
use wrtc_gateway::sdp::Codec;
use wrtc_gateway::sip::{Command, End, EndedBy, Event, Referred};
use wrtc_gateway::wire::FromBrowser;

const SOON: Duration = Duration::from_millis(500);
const OLD: &str = "203.0.113.5:30000";
const NEW: &str = "203.0.113.9:30000";

/// In a call whose peer, on hold or not, has referred us elsewhere.
fn referred(held: bool) -> Bench {
    let mut bench = Bench::established();
    if held {
        bench.reinvited(Some(&sip_sdp(OLD, "0 101", "sendonly", 2)));
    }
    let asked = Referred { to: "sip:1004@example.com".into(), ..Referred::default() };
    assert!(bench.referred(&asked));
    bench.clear();
    bench
}

fn says(bench: &mut Bench, code: u16, sdp: Option<&str>) {
    let (text, sdp) = (String::new(), sdp.map(str::to_owned));
    bench.sip(Event::Progressed { session: SECOND, code, text, sdp, early: 1 });
}

fn fails(bench: &mut Bench, code: u16) {
    let end = End { by: EndedBy::Peer, code, text: "no".into(), reason_header: None };
    bench.sip(Event::Ended { session: SECOND, end });
}

fn heard_from(bench: &Bench) -> String {
    bench.remote().target.unwrap().to_string()
}

#[test]
fn its_early_media_are_heard_and_then_itself() {
    let mut bench = referred(true);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    assert_eq!(heard_from(&bench), NEW);
    assert_eq!(bench.flow(), Flow::BOTH);
    assert!(bench.heard().is_empty(), "the browser has no part in it: {:?}", bench.heard());
    assert_eq!(bench.line.active(), Some(SESSION), "what the agent does is about the old call");
    // The way to whoever referred us is kept open.
    let aside = bench.to_media.iter().find_map(|command| match command {
        MediaCommand::SetHeld(legs) => Some(legs.clone()),
        _ => None,
    });
    let aside = aside.expect("the old call stands aside");
    assert_eq!(aside.len(), 1);
    assert_eq!(aside[0].remote.target.unwrap().to_string(), OLD);

    bench.clear();
    bench.sip(Event::Answered { session: SECOND, sdp: Some(sip_sdp(NEW, "0 101", "sendrecv", 1)) });
    assert_eq!(heard_from(&bench), NEW);
    assert_eq!(bench.line.active(), Some(SECOND));
    bench.hung_up(200, "OK");
    assert_eq!((bench.line.active(), bench.line.calls()), (Some(SECOND), 1));
}

#[test]
fn when_it_fails_the_old_call_is_heard_again() {
    let mut bench = referred(false);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    assert_eq!(heard_from(&bench), NEW);
    fails(&mut bench, 486);
    assert_eq!(heard_from(&bench), OLD);
    let held = bench.to_media.iter().rev().find_map(|command| match command {
        MediaCommand::SetHeld(legs) => Some(legs.len()),
        _ => None,
    });
    assert_eq!(held, Some(0), "nobody stands aside any more");
    assert_eq!(bench.line.state(SESSION), "established");
    assert!(!bench.heard().contains(&"bye"));
}

/// The browser has followed its codec: it is to come back with no further word of anybody's.
#[test]
fn when_it_fails_the_browser_has_the_old_calls_codec_again() {
    let mut bench = referred(false);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "9 101", "sendrecv", 1)));
    assert_eq!(bench.our_offer().1.payloads.preferred().unwrap().codec, Codec::G722);
    bench.answer(&browser_answer("u0", "sendrecv", "9 126"));
    bench.clear();
    fails(&mut bench, 486);
    assert_eq!(heard_from(&bench), OLD);
    assert_eq!(bench.our_offer().1.payloads.preferred().unwrap().codec, Codec::Pcmu);
    bench.answer(&browser_answer("u0", "sendrecv", "0 126"));
    assert_eq!(bench.heard(), ["offer", "ok"], "and that is all");
}

/// It fails while the OFFER for its codec is out: the one for the old call's follows the answer.
#[test]
fn when_it_fails_before_the_browser_has_followed_that_is_made_good_after() {
    let mut bench = referred(false);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "9 101", "sendrecv", 1)));
    let first = bench.our_offer().0;
    fails(&mut bench, 486);
    assert_eq!(bench.our_offer().0, first, "one at a time");
    bench.answer(&browser_answer("u0", "sendrecv", "9 126"));
    assert_eq!(bench.our_offer().1.payloads.preferred().unwrap().codec, Codec::Pcmu);
}

/// The one who referred us hangs up as soon as the REFER is accepted.
#[test]
fn it_is_heard_on_when_whoever_asked_for_it_hangs_up() {
    let mut bench = referred(false);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    bench.hung_up(200, "OK");
    assert!(!bench.heard().contains(&"bye"), "{:?}", bench.heard());
    assert_eq!(heard_from(&bench), NEW);
    // In the other order, too.
    let mut bench = referred(false);
    bench.hung_up(200, "OK");
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    assert_eq!((heard_from(&bench).as_str(), bench.flow()), (NEW, Flow::BOTH));
}

#[test]
fn it_rings_where_it_has_nothing_to_say_itself() {
    let mut bench = referred(true);
    says(&mut bench, 180, None);
    bench.wait(SOON);
    let flow = bench.flow();
    assert_eq!(flow.tone, Some(Signal::Ringback));
    assert!(!flow.to_browser, "louder than the music of whoever holds us");
    fails(&mut bench, 486);
    assert_eq!(bench.flow().tone, None);
    assert!(bench.flow().to_browser);
}

/// The agent's hold is the old call's, and nothing is played into it.
#[test]
fn an_agent_who_holds_hears_nothing_of_it() {
    let mut bench = referred(false);
    bench.browser(FromBrowser::Hold).unwrap();
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    says(&mut bench, 180, None);
    bench.wait(SOON);
    let flow = bench.flow();
    assert!(!flow.to_browser && flow.tone.is_none(), "{flow:?}");
    assert!(bench.to_media.iter().all(|command| !matches!(command, MediaCommand::SetSip(_))));
    bench.browser(FromBrowser::Resume).unwrap();
    assert_eq!(heard_from(&bench), NEW);
}

/// Who hangs up meanwhile wants neither of the two.
#[test]
fn a_good_bye_ends_both() {
    let mut bench = referred(false);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    bench.browser(FromBrowser::Bye).unwrap();
    assert!(bench.line.is_over());
    let ended = bench.to_sip.iter().filter(|c| matches!(c, Command::End { .. })).count();
    assert_eq!(ended, 2);
}

/// Its state can be seen, and it can be ended alone, from outside.
#[test]
fn an_operator_ends_it_and_leaves_the_old_one() {
    let mut bench = referred(false);
    says(&mut bench, 183, Some(&sip_sdp(NEW, "0 101", "sendrecv", 1)));
    assert_eq!(bench.line.state(SECOND), "calling");
    bench.line.hang_up(SECOND, "ended by an operator");
    bench.drain();
    assert_eq!(bench.over, [SECOND]);
    assert_eq!(bench.line.state(SESSION), "established");
    assert_eq!(heard_from(&bench), OLD);
}
