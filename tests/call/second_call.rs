//! "Several calls per agent where configured (default one active and one waiting)": one peer connection,
//! several SIP sessions.

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::MediaCommand;
use wrtc_gateway::sdp::{Codec, Direction};
use wrtc_gateway::sip::{Command, End, EndedBy, Event, NotifyEvent, SessionId};
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

fn far(host: u8, direction: &str) -> String {
    sip_sdp(&format!("203.0.113.{host}:30000"), "0 101", direction, 1)
}

fn notified(bench: &mut Bench, session: SessionId, event: NotifyEvent) {
    bench.sip(Event::Notified { session, event });
}

fn agreed(bench: &mut Bench, session: SessionId, sdp: String) {
    bench.sip(Event::ReinviteAnswered { session, sdp: Some(sdp) });
}

fn ended(bench: &mut Bench, session: SessionId) {
    let end = End { by: EndedBy::Peer, code: 200, text: "OK".into(), reason_header: None };
    bench.sip(Event::Ended { session, end });
}

fn reinvited(bench: &Bench) -> Vec<SessionId> {
    let session = |command: &Command| match command {
        Command::Reinvite { session, .. } => Some(*session),
        _ => None,
    };
    bench.to_sip.iter().filter_map(session).collect()
}

fn touched(bench: &Bench) -> bool {
    bench
        .to_media
        .iter()
        .any(|c| matches!(c, MediaCommand::RestartIce | MediaCommand::RenewBrowser))
}

#[test]
fn it_rings_and_waits_without_an_offer_to_the_browser() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    assert_eq!((bench.heard(), bench.sip_heard()), (vec!["waiting"], vec!["progress"]));
    assert_eq!((bench.line.waiting(), bench.line.state(SECOND)), (Some(SECOND), "waiting"));
    assert!(bench.to_media.is_empty());
}

#[test]
fn a_talk_takes_it_and_holds_the_first() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    bench.clear();
    notified(&mut bench, SECOND, NotifyEvent::Talk);
    assert_eq!((bench.line.active(), bench.line.state(SESSION)), (Some(SECOND), "held"));
    assert_eq!(reinvited(&bench), [SESSION]);
    assert_eq!(bench.sip_heard(), ["reinvite", "accept"]);
    assert!(!bench.heard().contains(&"offer") && !touched(&bench));
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.8:30000");
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    assert!(bench.flow().to_sip && bench.flow().to_browser);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.8:30000");

    // And back again.
    bench.clear();
    notified(&mut bench, SESSION, NotifyEvent::Talk);
    assert_eq!(reinvited(&bench), [SESSION, SECOND]);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.5:30000");
    assert_eq!(bench.line.state(SECOND), "held");
}

/// "Call from the agent, dialled in WWE (3pcc)", as a consultation: hold of the first call, an INVITE
/// without SDP, NOTIFY talk at once, the ACK with the answer up to 32 s later.
#[test]
fn a_consultation_by_the_sip_server_moves_the_browser_and_back() {
    let mut bench = Bench::established();
    notified(&mut bench, SESSION, NotifyEvent::Hold);
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.invited(None);
    bench.clear();

    notified(&mut bench, SECOND, NotifyEvent::Talk);
    assert_eq!(bench.sip_heard(), ["accept"], "at once, no human involved");
    assert_eq!(bench.heard(), ["talk"]);
    // The client resumes at the talk: its word is about the call it is with now.
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.line.state(SESSION), "held");
    bench.wait(Duration::from_secs(31));
    assert!(bench.ended.is_none());
    bench.sip(Event::Acked { session: SECOND, sdp: Some(far(8, "sendrecv")) });
    assert!(bench.flow().to_sip && bench.flow().to_browser);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.8:30000");

    // The transfer is completed: the consultation ends, the first call gets the other end.
    bench.clear();
    ended(&mut bench, SECOND);
    assert_eq!(bench.heard(), ["ended"], "the browser's session goes on");
    assert!(!bench.flow().to_sip);
    notified(&mut bench, SESSION, NotifyEvent::Talk);
    assert_eq!(reinvited(&bench), [SESSION]);
    agreed(&mut bench, SESSION, far(9, "sendrecv"));
    assert!(bench.flow().to_sip && bench.flow().to_browser && !touched(&bench));
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.9:30000");
    ended(&mut bench, SESSION);
    assert_eq!(bench.heard().last(), Some(&"bye"));
    assert!(bench.line.is_over());
}

#[test]
fn a_client_that_follows_the_hold_late_does_not_hold_the_second_call() {
    let mut bench = Bench::established();
    notified(&mut bench, SESSION, NotifyEvent::Hold);
    bench.invited(None);
    notified(&mut bench, SECOND, NotifyEvent::Talk);
    bench.sip(Event::Acked { session: SECOND, sdp: Some(far(8, "sendrecv")) });
    bench.clear();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert!(reinvited(&bench).is_empty(), "{:?}", bench.to_sip);
    assert_eq!(bench.line.state(SECOND), "established");
    assert!(bench.flow().to_sip && bench.flow().to_browser);
    // A hold of the agent's own is one.
    bench.offer(ids(103, 4), &browser_offer("u0", 1, "inactive"));
    assert_eq!(reinvited(&bench), [SECOND]);
}

#[test]
fn the_offerless_reinvite_of_an_answered_second_call_retrieves_nothing() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    notified(&mut bench, SECOND, NotifyEvent::Talk);
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.clear();
    for session in [SECOND, SESSION] {
        bench.sip(Event::Reinvited { session, sdp: None });
    }
    assert_eq!(bench.sip_heard(), ["accept-reinvite", "accept-reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendOnly, "the first one stays held");
    assert!(bench.heard().is_empty());
}

#[test]
fn the_raw_sdp_dialect_answers_and_switches_by_command() {
    let mut bench = Bench::incoming_in(Dialect::Rest, Some(&far(5, "sendrecv")));
    let sdp = browser_answer("u0", "sendrecv", "0 126");
    bench
        .browser(FromBrowser::Answer {
            ids: None,
            sdp,
            candidates: Vec::new(),
            attached: Vec::new(),
        })
        .unwrap();
    assert!(bench.browser(FromBrowser::Accept).is_err(), "nothing waits");
    bench.invited(Some(&far(8, "sendrecv")));
    bench.browser(FromBrowser::Accept).unwrap();
    assert_eq!(bench.line.active(), Some(SECOND));
    bench.on(SESSION, FromBrowser::Resume).unwrap();
    assert_eq!((bench.line.active(), bench.line.state(SECOND)), (Some(SESSION), "held"));
    bench.on(SECOND, FromBrowser::Bye).unwrap();
    assert_eq!((bench.line.active(), &bench.over[..]), (Some(SESSION), &[SECOND][..]));
    assert!(!touched(&bench));
}

#[test]
fn one_that_gives_up_waiting_is_told_and_ends_nothing() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    bench.clear();
    ended(&mut bench, SECOND);
    assert_eq!(bench.heard(), ["ended"]);
    assert!(bench.line.has(SESSION) && bench.to_sip.is_empty());
}

#[test]
fn one_that_waits_when_the_first_ends_is_offered_to_a_new_peer_connection() {
    for hung_up_by_browser in [false, true] {
        let mut bench = Bench::established();
        bench.invited(Some(&far(8, "sendrecv")));
        bench.clear();
        if hung_up_by_browser {
            bench.browser(FromBrowser::Bye).unwrap();
            assert_eq!(bench.heard(), ["offer"]);
        } else {
            ended(&mut bench, SESSION);
            assert_eq!(bench.heard(), ["bye", "offer"]);
        }
        let (numbers, sdp) = bench.our_offer();
        assert_eq!((numbers.answerer, numbers.seq), (None, 1), "a session of its own");
        assert_ne!(sdp.ice.unwrap().ufrag, "gw0", "credentials of its own");
        bench.to_sip.clear();
        bench.answer(&browser_answer("u5", "sendrecv", "0 126"));
        assert_eq!(bench.sip_heard(), ["accept"]);
        assert!(bench.flow().to_sip && bench.flow().to_browser);
    }
}

#[test]
fn a_held_call_outlives_the_browsers_good_bye_and_comes_back_with_an_offer() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    notified(&mut bench, SECOND, NotifyEvent::Talk);
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.clear();
    // The JSAPI's client closes its only session.
    bench.browser(FromBrowser::Bye).unwrap();
    assert!(bench.heard().is_empty() && touched(&bench));
    assert_eq!(bench.line.state(SESSION), "held");
    notified(&mut bench, SESSION, NotifyEvent::Talk);
    assert_eq!(bench.heard(), ["offer", "talk"], "the talk accepts what was offered before it");
    bench.answer(&browser_answer("u5", "sendrecv", "0 126"));
    agreed(&mut bench, SESSION, far(5, "sendrecv"));
    assert!(bench.flow().to_sip && bench.flow().to_browser);
    bench.wait(Duration::from_secs(60));
    assert!(bench.line.has(SESSION));
}

#[test]
fn a_second_call_with_another_codec_is_brought_to_the_browser_by_an_offer() {
    let mut bench = Bench::established();
    bench.invited(Some(&sip_sdp("203.0.113.8:30000", "9 101", "sendrecv", 1)));
    bench.clear();
    notified(&mut bench, SECOND, NotifyEvent::Talk);
    assert_eq!(bench.heard(), ["talk", "offer"]);
    assert_eq!(bench.our_offer().1.payloads.preferred().unwrap().codec, Codec::G722);
}

#[test]
fn a_consultation_that_the_agent_dials_leaves_the_first_call_held() {
    let mut bench = Bench::established();
    bench.dialled("1004").unwrap();
    assert_eq!(bench.sip_heard(), ["reinvite", "invite"]);
    assert!(bench.dialled("1005").is_err(), "one at a time");
    bench.clear();
    ended(&mut bench, SECOND);
    let over = ToBrowser::Ended { code: 200, reason: "OK".into() };
    assert_eq!(bench.to_browser, [over]);
    assert_eq!(bench.line.state(SESSION), "held");
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.browser(FromBrowser::Resume).unwrap();
    agreed(&mut bench, SESSION, far(5, "sendrecv"));
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}

#[test]
fn the_end_of_everything_is_one_good_bye() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    bench.clear();
    bench.line.release(480, "signed out");
    bench.drain();
    assert!(bench.line.is_over());
    assert_eq!(bench.over, [SECOND, SESSION]);
    assert_eq!(bench.heard(), ["ended", "bye"]);
    assert!(!touched(&bench));
}

#[test]
fn a_consultation_answered_after_the_agent_went_back_is_held() {
    let mut bench = Bench::established();
    bench.dialled("1004").unwrap();
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    notified(&mut bench, SESSION, NotifyEvent::Talk);
    bench.clear();
    bench.sip(Event::Answered { session: SECOND, sdp: Some(far(8, "sendrecv")) });
    assert_eq!((bench.line.active(), bench.line.state(SECOND)), (Some(SESSION), "held"));
    assert_eq!(reinvited(&bench), [SECOND]);
    let is_held = |command: &MediaCommand| matches!(command, MediaCommand::SetHeld(_));
    assert!(bench.to_media.iter().all(is_held), "{:?}", bench.to_media);
}
