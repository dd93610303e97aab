//! Hold by the browser, by NOTIFY and by the peer; each side's survives the other's.

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::sdp::Direction;
use wrtc_gateway::sip::{Event, NotifyEvent};
use wrtc_gateway::wire::FromBrowser;

const FAR: &str = "203.0.113.5:30000";

#[test]
fn the_browsers_offer_holds_and_resumes() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    assert_eq!(bench.our_answer().1.direction, Direction::Inactive);
    assert_eq!(bench.sip_sdp().direction, Direction::SendOnly);
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    let flow = bench.flow();
    assert!(!flow.to_sip && !flow.to_browser && flow.keep_alive, "silence keeps the path open");

    bench.clear();
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.our_answer().1.direction, Direction::SendRecv);
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "sendrecv", 3));
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}

#[test]
fn notify_hold_reinvites_before_the_browser_follows() {
    let mut bench = Bench::established();
    bench.notified(NotifyEvent::Hold);
    assert_eq!(bench.sip_heard(), ["reinvite"]);
    assert_eq!(bench.heard(), ["hold"]);
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    assert_eq!(bench.sip_heard(), ["reinvite"], "its OFFER says nothing new");
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));

    bench.clear();
    bench.notified(NotifyEvent::Talk);
    assert_eq!(bench.sip_heard(), ["reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "sendrecv", 3));
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}

#[test]
fn an_offerless_reinvite_retrieves_through_the_browser() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    bench.clear();
    bench.reinvited(None);
    assert_eq!(bench.heard(), ["invite"]);
    assert!(bench.to_sip.is_empty(), "its OFFER goes into the 200");
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.sip_heard(), ["accept-reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
    bench.acked(Some(&sip_sdp(FAR, "0 101", "sendrecv", 3)));
    assert!(bench.flow().to_sip);
}

/// NOTIFY hold, and the retrieving re-INVITE while the browser's own hold is still on its way: that OFFER is
/// none that could go into the 200.
#[test]
fn a_retrieve_right_behind_a_hold_waits_for_the_offer_that_is_its_own() {
    let mut bench = Bench::established();
    bench.notified(NotifyEvent::Hold);
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    bench.clear();
    bench.reinvited(None);
    assert_eq!(bench.heard(), ["invite"]);
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    assert!(bench.to_sip.is_empty(), "the echo of the hold: {:?}", bench.sip_heard());
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.sip_heard(), ["accept-reinvite"], "and no re-INVITE behind it");
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
    bench.acked(Some(&sip_sdp(FAR, "0 101", "sendrecv", 3)));
    assert!(bench.flow().to_sip && bench.flow().to_browser);
    assert_eq!(bench.line.state(SESSION), "established");
}

#[test]
fn a_browser_that_does_not_retrieve_stays_on_hold() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    bench.clear();
    bench.reinvited(None);
    bench.wait(Duration::from_secs(5));
    assert_eq!(bench.sip_heard(), ["accept-reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendOnly);
}

#[test]
fn our_hold_survives_the_peers() {
    let mut bench = Bench::established();
    bench.browser(FromBrowser::Hold).unwrap();
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    bench.clear();
    bench.reinvited(Some(&sip_sdp(FAR, "0 101", "sendonly", 3)));
    assert_eq!(bench.sip_sdp().direction, Direction::Inactive);
    bench.reinvited(Some(&sip_sdp(FAR, "0 101", "sendrecv", 4)));
    assert_eq!(bench.sip_sdp().direction, Direction::SendOnly, "we still hold");
    assert_eq!(bench.heard(), ["peer-hold", "peer-resume"]);
    bench.browser(FromBrowser::Resume).unwrap();
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
}

#[test]
fn the_peers_hold_is_heard_through() {
    for (direction, address, ours) in [
        ("sendonly", FAR, Direction::RecvOnly),
        ("inactive", FAR, Direction::Inactive),
        ("sendrecv", "0.0.0.0:30000", Direction::RecvOnly),
    ] {
        let mut bench = Bench::established();
        bench.reinvited(Some(&sip_sdp(address, "0 101", direction, 2)));
        assert_eq!(bench.sip_sdp().direction, ours, "{direction} {address}");
        assert!(!bench.flow().to_sip && !bench.flow().keep_alive);
        assert_eq!(bench.flow().to_browser, ours.receives(), "music on hold comes through");
    }
}

#[test]
fn an_ice_restart_of_a_held_call_resumes_nothing() {
    let mut bench = Bench::established();
    bench.notified(NotifyEvent::Hold);
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    // The browser has not followed the hold yet and restarts ICE as it stands.
    bench.offer(ids(103, 2), &browser_offer("u9", 1, "sendrecv"));
    assert_eq!(bench.line.state(SESSION), "held");
}

#[test]
fn sixty_minutes_of_holds_of_eleven_minutes() {
    let mut bench = Bench::established();
    let mut version = 2;
    let mut seq = 2;
    for _ in 0..5 {
        for direction in ["inactive", "sendrecv"] {
            bench.offer(ids(103, seq), &browser_offer("u0", 1, direction));
            let theirs = if direction == "inactive" { "recvonly" } else { "sendrecv" };
            bench.reinvite_answered(&sip_sdp(FAR, "0 101", theirs, version));
            bench.wait(Duration::from_secs(if direction == "inactive" { 660 } else { 60 }));
            seq += 1;
            version += 1;
        }
    }
    assert!(bench.ended.is_none() && bench.flow().to_sip);
}

#[test]
fn a_hold_is_silent_both_ways_before_the_peer_has_agreed() {
    let mut bench = Bench::established();
    bench.notified(NotifyEvent::Hold);
    let flow = bench.flow();
    assert!(!flow.to_sip && !flow.to_browser, "{flow:?}");
    // And stays so if the peer takes no notice.
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "sendrecv", 2));
    let flow = bench.flow();
    assert!(!flow.to_sip && !flow.to_browser && flow.keep_alive, "{flow:?}");
}

/// A resume during an outage that outlasts all its tries is said with what comes next, or the agent would hear nothing
/// for good.
#[test]
fn what_could_not_be_said_for_long_is_said_with_what_comes_next() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "recvonly", 2));
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    bench.clear();
    let text = "Service Unavailable".to_owned();
    bench.sip(Event::ReinviteRefused { session: SESSION, code: 503, text });
    assert!(bench.to_sip.is_empty(), "not at once: {:?}", bench.sip_heard());
    bench.offer(ids(103, 4), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.sip_heard(), ["reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
}

/// A hold that was lost with its connection is not said again behind a resume.
#[test]
fn what_could_not_be_sent_is_said_again_as_it_is_wanted_by_then() {
    let unsent = || Event::ReinviteUnsent { session: SESSION };
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.clear();
    bench.sip(unsent());
    assert_eq!(bench.sip_heard(), ["reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendOnly);
    bench.clear();
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert!(bench.to_sip.is_empty(), "one at a time: {:?}", bench.sip_heard());
    bench.sip(unsent());
    assert_eq!(bench.sip_heard(), ["reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
    bench.reinvite_answered(&sip_sdp(FAR, "0 101", "sendrecv", 2));
    assert_eq!(bench.sip_heard(), ["reinvite"], "and nothing behind it");
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}
