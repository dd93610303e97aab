//! A POST that comes again is the same message (grtc-wire.md, "message").

use crate::support::*;
use wrtc_gateway::sip::NotifyEvent;

#[test]
fn the_first_offer() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.offer(ids(103, 1), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.sip_heard(), ["invite"]);
    assert!(bench.to_browser.is_empty(), "and no error either");
    bench.answered(&sip_sdp("203.0.113.5:30000", "0", "sendrecv", 1));
    bench.offer(ids(103, 1), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.heard(), ["answer"]);
}

#[test]
fn a_hold_offer() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.notified(NotifyEvent::Talk);
    bench.clear();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    assert!(
        bench.heard().is_empty() && bench.line.state(SESSION) != "held",
        "the old hold does not hold again"
    );
}

#[test]
fn an_answer() {
    let mut bench = Bench::incoming(Some(&sip_sdp("203.0.113.5:30000", "0", "sendrecv", 1)));
    bench.answer(&browser_answer("u1", "sendrecv", "0"));
    bench.answer(&browser_answer("u1", "sendrecv", "0"));
    assert_eq!(bench.heard(), ["offer", "ok"]);
    assert_eq!(bench.sip_heard(), ["progress", "accept"]);
}
