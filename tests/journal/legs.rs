//! SIP messages find their call by the Call-ID, whichever is known first.

use wrtc_gateway::journal::{Kind, Timelines};

use super::support::*;

const INVITE: &str = "INVITE sip:5001@192.0.2.9 SIP/2.0";

#[test]
fn an_invite_that_came_before_its_call_is_in_its_timeline() {
    let timelines = Timelines::default();
    tell(
        &timelines,
        [
            of_call(1, sip(true, INVITE, "leg@h", "INVITE")),
            of_call(2, sip(false, "SIP/2.0 100 Trying", "leg@h", "INVITE")),
            of_call(3, started()),
            of_call(3, leg("leg@h")),
            of_call(4, sip(false, "SIP/2.0 180 Ringing", "leg@h", "INVITE")),
        ],
    );
    let titles = titles(&timelines, CALL);
    let call = "incoming call from 7123";
    let invite = "INVITE sip:5001@192.0.2.9";
    assert_eq!(titles, [invite, "100 Trying (INVITE)", call, "180 Ringing (INVITE)"]);
}

#[test]
fn a_call_is_found_by_all_its_names() {
    let timelines = Timelines::default();
    tell(&timelines, [of_call(1, started()), of_call(2, leg("leg@h")), of_call(3, leg("other@h"))]);
    for key in [CALL, "leg@h", "other@h", "UUID1", DN] {
        assert_eq!(
            timelines.find(key).map(|view| view.record.call).as_deref(),
            Some(CALL),
            "{key}"
        );
    }
    assert_eq!(timelines.find("leg"), None);
}

#[test]
fn both_ends_of_a_proxied_call_see_its_messages() {
    let timelines = Timelines::default();
    let mut other = of_call(2, started());
    other.about = wrtc_gateway::journal::About::call("5002", "c-2");
    let mut claim = of_call(2, leg("leg@h"));
    claim.about = other.about.clone();
    tell(
        &timelines,
        [
            of_call(1, started()),
            of_call(1, leg("leg@h")),
            other,
            claim,
            of_call(3, sip(true, "SIP/2.0 200 OK", "leg@h", "INVITE")),
        ],
    );
    for call in [CALL, "c-2"] {
        let events = timelines.find(call).unwrap().timeline.events;
        assert_eq!(events.iter().filter(|event| event.kind == Kind::Sip).count(), 1, "{call}");
    }
}

#[test]
fn what_belongs_to_no_call_is_in_none() {
    let timelines = Timelines::default();
    tell(
        &timelines,
        [
            of_call(1, sip(false, "REGISTER sip:h SIP/2.0", "reg@h", "REGISTER")),
            of_call(2, started()),
            of_call(3, leg("reg@h")),
            of_call(4, sip(true, "BYE sip:5001@h SIP/2.0", "gone@h", "BYE")),
            of_call(5, leg("gone@h")),
        ],
    );
    assert_eq!(titles(&timelines, CALL), ["incoming call from 7123"]);
}
