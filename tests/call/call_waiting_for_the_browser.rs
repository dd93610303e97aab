//! Limits: nobody answers, the browser does not take up a call that was answered for it.

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::call::CallEndedBy;
use wrtc_gateway::sip::NotifyEvent;

const FAR: &str = "203.0.113.5:30000";

#[test]
fn a_browser_that_does_not_follow_talk() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "0", "sendrecv", 1)));
    bench.notified(NotifyEvent::Talk);
    bench.wait(Duration::from_secs(19));
    assert!(bench.ended.is_none());
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.ended.unwrap().by, CallEndedBy::Gateway);
}

#[test]
fn a_call_that_rings_for_ever() {
    let mut bench = Bench::incoming(None);
    bench.wait(Duration::from_secs(299));
    assert!(bench.ended.is_none());
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.end_code(), 480);
}

#[test]
fn an_established_call_has_no_limit() {
    let mut bench = Bench::established();
    bench.wait(Duration::from_secs(48 * 3600));
    assert!(bench.ended.is_none());
}

#[test]
fn the_withheld_ack_is_waited_for() {
    let mut bench = Bench::incoming(None);
    bench.notified(NotifyEvent::Talk);
    bench.offer(ids(5, 1), &browser_offer("u0", 1, "sendrecv"));
    bench.wait(Duration::from_secs(31));
    bench.acked(Some(&sip_sdp(FAR, "0", "sendrecv", 1)));
    assert!(bench.flow().to_sip && bench.ended.is_none());
}
