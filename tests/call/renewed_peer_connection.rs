//! ICE restart and a whole new peer connection: the media plane changes, SIP hears nothing.

use crate::support::*;
use wrtc_gateway::call::MediaCommand;

#[test]
fn new_ice_credentials_restart_ice() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u1", 1, "sendrecv"));
    assert!(matches!(bench.to_media[0], MediaCommand::RestartIce));
    assert_eq!(bench.our_answer().1.ice.unwrap().ufrag, "gw1", "new credentials of ours too");
    assert!(bench.to_sip.is_empty());
}

#[test]
fn a_new_fingerprint_renews_the_whole_leg_and_may_count_from_one_again() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 1), &browser_offer("u1", 2, "sendrecv"));
    assert!(matches!(bench.to_media[0], MediaCommand::RenewBrowser));
    let (answer_ids, sdp, _) = bench.our_answer();
    assert_eq!((answer_ids.offerer, answer_ids.seq), (103, 1));
    assert_eq!(sdp.ice.unwrap().ufrag, "gw1");
    assert!(bench.to_sip.is_empty());
}

#[test]
fn the_same_credentials_touch_no_transport() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    let renewed =
        |c: &MediaCommand| matches!(c, MediaCommand::RestartIce | MediaCommand::RenewBrowser);
    assert!(!bench.to_media.iter().any(renewed));
    assert_eq!(bench.our_answer().1.ice.unwrap().ufrag, "gw0");
}
