//! A flood costs no more than a call may cost, and the beginning and the end stay.

use wrtc_gateway::journal::{Timelines, What};

use super::support::*;

/// What a call may take: 96 KiB of text, and room for its lines.
const MOST: usize = 96 * 1024;

#[test]
fn a_flood_of_messages_keeps_the_beginning_and_the_end() {
    let timelines = Timelines::default();
    tell(&timelines, [of_call(0, started()), of_call(1, leg("leg@h"))]);
    let body = "INFO sip:5001@h SIP/2.0\r\nX: ".to_owned() + &"x".repeat(20_000);
    for n in 0..5_000 {
        tell(&timelines, [of_call(10 + n, sip(true, &body, "leg@h", "INFO"))]);
    }
    tell(&timelines, [of_call(9_000, ended())]);
    let (calls, bytes, _) = timelines.sizes();
    assert_eq!(calls, 1);
    assert!(bytes <= MOST, "{bytes}");
    let timeline = timelines.find(CALL).unwrap().timeline;
    assert!(timeline.events.len() <= 160, "{}", timeline.events.len());
    assert_eq!(usize::try_from(timeline.left_out).unwrap() + timeline.events.len(), 5_002);
    assert_eq!(&*timeline.events[0].title, "incoming call from 7123");
    assert_eq!(&*timeline.events.last().unwrap().title, "ended by peer: 200 hung up");
    assert!(
        timeline
            .events
            .iter()
            .any(|event| event.body.is_none() && event.detail.get("body_left_out").is_some())
    );
}

#[test]
fn a_long_body_is_cut_and_says_so() {
    let timelines = Timelines::default();
    let body = "ü".repeat(20_000);
    tell(&timelines, [of_call(0, started()), of_call(1, http(true, "OFFER", None, &body))]);
    let timeline = timelines.find(CALL).unwrap().timeline;
    let offer = &timeline.events[1];
    assert!(offer.body.as_ref().unwrap().len() <= 8 * 1024);
    assert_eq!(offer.detail.get("body_bytes"), Some(&40_000_u64.into()));
}

#[test]
fn invites_that_nobody_takes_are_let_go() {
    let timelines = Timelines::default();
    for n in 0..100_000 {
        let invite = sip(true, "INVITE sip:5001@h SIP/2.0", &format!("{n}@h"), "INVITE");
        tell(&timelines, [of_call(n, invite)]);
    }
    tell(&timelines, [of_call(1, started()), of_call(2, leg("99999@h"))]);
    assert_eq!(titles(&timelines, CALL).len(), 1, "there was no room for that one any more");
    // As it is for those that did have some, when their time is over.
    let later = std::time::Instant::now() + std::time::Duration::from_secs(11);
    timelines.sweep(later);
    tell(&timelines, [of_call(3, leg("0@h"))]);
    assert_eq!(titles(&timelines, CALL).len(), 1);
}

/// The figures that stand beside the bounds: `cargo nextest run --test journal figures --no-capture`.
#[test]
fn figures_of_an_ordinary_call() {
    let timelines = Timelines::default();
    let browser = "v=0\r\n".to_owned() + &"a=some attribute of a browser\r\n".repeat(100);
    let other = "v=0\r\n".to_owned() + &"a=some attribute of a phone\r\n".repeat(20);
    tell(&timelines, [of_call(0, started()), of_call(1, leg("leg@h"))]);
    for (inbound, kind) in [(false, "OFFER"), (true, "ANSWER"), (false, "OK"), (false, "BYE")] {
        tell(&timelines, [of_call(2, http(inbound, kind, None, &browser))]);
    }
    for start in [
        "INVITE sip:5001@h SIP/2.0",
        "SIP/2.0 100 Trying",
        "SIP/2.0 180 Ringing",
        "SIP/2.0 200 OK",
        "ACK sip:5001@h SIP/2.0",
        "BYE sip:5001@h SIP/2.0",
        "SIP/2.0 200 OK",
    ] {
        let start = format!("{start}\r\nX: {other}");
        tell(&timelines, [of_call(3, sip(true, &start, "leg@h", "INVITE"))]);
    }
    for state in ["ringing", "established", "held", "established"] {
        tell(&timelines, [of_call(4, What::CallState(state))]);
    }
    let (_, bytes, _) = timelines.sizes();
    println!("{bytes} bytes a call");
    assert!(bytes < 32 * 1024, "{bytes}");
}
