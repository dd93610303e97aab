//! Glare between us and the browser, messages out of order, one re-INVITE at a time.

use crate::support::*;
use wrtc_gateway::sdp::Direction;
use wrtc_gateway::sip::Event;
use wrtc_gateway::wire::FromBrowser;

#[test]
fn the_browsers_offer_wins_and_ours_comes_again() {
    let mut bench = Bench::established();
    bench.reinvited(Some(&sip_sdp("203.0.113.5:30000", "9 101", "sendrecv", 2)));
    let (ours, _) = bench.our_offer();
    // The client never saw ours: its own was out already.
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    assert_eq!(
        bench.heard(),
        ["offer", "answer"],
        "the ANSWER has the new codec: no need for more"
    );
    bench.browser(answer(ours, &browser_answer("u0", "sendrecv", "9"))).unwrap();
    assert_eq!(bench.heard().last(), Some(&"error"), "a late ANSWER fits nothing");
}

#[test]
fn an_answer_or_ok_out_of_order_is_an_error_and_nothing_more() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.browser(answer(ids(900, 1), &browser_answer("u0", "sendrecv", "0"))).unwrap();
    bench.browser(FromBrowser::Ok { ids: ids(103, 1) }).unwrap();
    assert_eq!(bench.heard(), ["error", "error"]);
    bench.answered(&sip_sdp("203.0.113.5:30000", "0", "sendrecv", 1));
    assert_eq!(bench.heard(), ["error", "error", "answer"]);
}

#[test]
fn hold_and_resume_in_quick_succession_are_two_reinvites_in_turn() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.offer(ids(103, 3), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.sip_heard(), ["reinvite"], "the second waits");
    bench.reinvite_answered(&sip_sdp("203.0.113.5:30000", "0", "recvonly", 2));
    assert_eq!(bench.sip_heard(), ["reinvite", "reinvite"]);
    assert_eq!(bench.sip_sdp().direction, Direction::SendRecv);
}

#[test]
fn a_refused_hold_is_ours_alone() {
    let mut bench = Bench::established();
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    bench.sip(Event::ReinviteRefused { session: SESSION, code: 488, text: String::new() });
    assert_eq!(bench.sip_heard(), ["reinvite"], "not asked again");
    assert!(!bench.flow().to_sip && bench.ended.is_none());
}
