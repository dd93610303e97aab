//! DTMF: RFC 4733 where the far end takes it, INFO otherwise.

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::agent::MessageError;
use wrtc_gateway::call::{CallConfig, DigitsBy, MediaCommand};
use wrtc_gateway::sip::{Command, Event};
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

#[test]
fn digits_go_to_the_media_plane() {
    let mut bench = Bench::established();
    bench.browser(FromBrowser::Dtmf("12#a".into())).unwrap();
    assert_eq!(bench.to_media, [MediaCommand::SendDigits("12#A".into())]);
}

/// A far end that has not said telephone-event, in a call with `digits` configured so.
fn without_events(digits: DigitsBy) -> Bench {
    let config = CallConfig { digits, ..config() };
    let mut bench = Bench::outgoing_with(config, &browser_offer("u0", 1, "sendrecv"), &[]);
    bench.answered(&sip_sdp("203.0.113.5:30000", "0", "sendrecv", 1).replace("101", "102"));
    bench.clear();
    bench
}

fn informed(bench: &Bench) -> Vec<String> {
    let body = |command: &Command| match command {
        Command::Info { content_type, body, .. } => {
            assert_eq!(content_type, "application/dtmf-relay");
            Some(String::from_utf8(body.clone()).unwrap())
        }
        _ => None,
    };
    bench.to_sip.iter().filter_map(body).collect()
}

#[test]
fn a_far_end_without_telephone_event_takes_none_by_rtp() {
    let mut bench = without_events(DigitsBy::Rtp);
    let refused = bench.browser(FromBrowser::Dtmf("1".into()));
    assert!(matches!(refused, Err(MessageError::WrongState(_))), "{refused:?}");
    bench.heard_digit('5', false);
    assert!(bench.to_media.is_empty() && bench.to_sip.is_empty());
}

/// "INFO both ways (user data, `application/dtmf-relay`, `application/dtmf`)."
#[test]
fn it_gets_them_as_info_one_after_the_other() {
    let mut bench = without_events(DigitsBy::Auto);
    bench.browser(FromBrowser::Dtmf("1,#".into())).unwrap();
    assert_eq!(informed(&bench), ["Signal=1\r\nDuration=160\r\n"]);
    bench.wait(Duration::from_millis(2200));
    assert_eq!(informed(&bench).len(), 1, "the comma is a pause");
    bench.wait(Duration::from_millis(100));
    assert_eq!(informed(&bench)[1], "Signal=#\r\nDuration=160\r\n");
    assert!(bench.to_media.is_empty());
    bench.hung_up(200, "OK");
    assert_eq!(bench.ended.unwrap().digits, 2);
}

#[test]
fn digits_the_browser_plays_itself_go_on_as_info() {
    let mut bench = without_events(DigitsBy::Auto);
    bench.heard_digit('7', false);
    assert_eq!(informed(&bench), ["Signal=7\r\nDuration=100\r\n"]);
    // Where the SIP side takes events, the media plane has sent it.
    let mut bench = Bench::established();
    bench.heard_digit('7', false);
    assert!(bench.to_sip.is_empty());
}

#[test]
fn info_alone_negotiates_no_telephone_event() {
    let config = CallConfig { digits: DigitsBy::Info, ..config() };
    let mut bench = Bench::outgoing_with(config, &browser_offer("u0", 1, "sendrecv"), &[]);
    assert_eq!(bench.sip_sdp().payloads.telephone_event, None);
    bench.answered(&sip_sdp("203.0.113.5:30000", "0 101", "sendrecv", 1));
    assert_eq!(bench.remote().payloads.telephone_event, None);
    bench.clear();
    bench.browser(FromBrowser::Dtmf("9".into())).unwrap();
    assert_eq!(informed(&bench).len(), 1);
}

#[test]
fn a_refused_info_takes_the_rest_with_it() {
    let mut bench = without_events(DigitsBy::Auto);
    bench.browser(FromBrowser::Dtmf("123".into())).unwrap();
    bench.sip(Event::InfoRefused { session: SESSION, code: 415 });
    bench.wait(Duration::from_secs(5));
    assert_eq!(informed(&bench).len(), 1);
    assert!(bench.ended.is_none(), "the call stands");
}

#[test]
fn the_far_ends_digits_are_told() {
    let mut bench = Bench::established();
    bench.heard_digit('5', true);
    for (content_type, body) in
        [("application/dtmf-relay", "Signal= 6\r\nDuration= 160\r\n"), ("application/dtmf", "7")]
    {
        bench.sip(Event::Informed {
            session: SESSION,
            content_type: content_type.into(),
            body: body.into(),
        });
    }
    let digits = ['5', '6', '7'].map(ToBrowser::Digit);
    assert_eq!(bench.to_browser, digits);
}

#[test]
fn what_is_no_digit_is_refused() {
    let mut bench = Bench::established();
    for digits in ["", "12x", &"1".repeat(65)] {
        let refused = bench.browser(FromBrowser::Dtmf(digits.into()));
        assert!(matches!(refused, Err(MessageError::BadRequest(_))), "{refused:?}");
    }
}
