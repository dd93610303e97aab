//! A call's timeline: what is in it, and in which order.

use std::time::Duration;

use wrtc_gateway::journal::{Kind, Scalar, Timelines, What};
use wrtc_gateway::media::{CallStats, MediaEvent, StreamStats};

use super::support::*;

#[test]
fn events_stand_by_their_time_and_not_by_their_coming() {
    let timelines = Timelines::default();
    let offer = of_call(1, http(true, "OFFER", None, "v=0"));
    tell(
        &timelines,
        [
            of_call(2, started()),
            of_call(5, What::CallState("established")),
            offer,
            of_call(4, What::CallState("ringing")),
        ],
    );
    let titles = titles(&timelines, CALL);
    assert_eq!(titles, ["OFFER", "incoming call from 7123", "ringing", "established"]);
    let view = timelines.find(CALL).unwrap();
    assert_eq!((view.state, view.record.setup_ms), ("ringing", Some(3)));
}

#[test]
fn a_message_for_the_browser_tells_how_long_it_waited_for_a_poll() {
    let timelines = Timelines::default();
    let waited = |ms| Some(Duration::from_millis(ms));
    tell(
        &timelines,
        [
            of_call(0, started()),
            of_call(1, http(false, "OFFER", None, "v=0")),
            of_call(2, http(false, "OFFER", None, "v=1")),
            of_call(9, http(false, "OFFER", waited(8), "")),
        ],
    );
    let events = timelines.find(CALL).unwrap().timeline.events;
    assert_eq!(events.len(), 3);
    assert_eq!(events[1].detail.get("waited_ms"), Some(&Scalar::Integer(8)), "{:?}", events[1]);
    assert_eq!(events[1].detail.get("fetched"), None);
    assert_eq!(events[2].detail.get("fetched"), Some(&Scalar::Bool(false)), "nobody came for it");
}

#[test]
fn digits_are_counted_and_no_more() {
    let timelines = Timelines::default();
    let pressed = |ms, digit, from_sip| {
        let duration = Duration::from_millis(160);
        of_call(ms, What::Media(MediaEvent::Digit { digit, duration, from_sip }))
    };
    tell(&timelines, [of_call(0, started())]);
    tell(&timelines, "4711".chars().zip(1..).map(|(digit, ms)| pressed(ms, digit, false)));
    tell(&timelines, [pressed(10, '7', true)]);
    let view = timelines.find(CALL).unwrap();
    let json = serde_json::to_string(&view.timeline).unwrap();
    let dtmf = view.timeline.events.iter().filter(|event| event.kind == Kind::Dtmf);
    let counts: Vec<_> = dtmf.map(|event| event.detail.get("digits").cloned()).collect();
    assert_eq!(counts, [Some(Scalar::Integer(4)), Some(Scalar::Integer(1))]);
    assert!(!json.contains("4711") && !json.contains("\"7\""), "{json}");
}

#[test]
fn the_end_has_both_sides_reasons() {
    let timelines = Timelines::default();
    tell(&timelines, [of_call(0, started()), of_call(9, ended())]);
    let view = timelines.find(CALL).unwrap();
    let end = view.timeline.events.last().unwrap();
    assert_eq!((end.kind, &*end.title), (Kind::End, "ended by peer: 200 hung up"));
    assert_eq!(end.detail.get("q850_cause"), Some(&Scalar::Integer(16)));
    assert!(end.detail.text("sip_reason").unwrap().starts_with("Q.850"));
    assert_eq!(view.state, "ended");
}

#[test]
fn quality_is_told_by_interval() {
    let timelines = Timelines::default();
    let heard = |packets, lost| {
        let from_sip = StreamStats { packets, lost, ..StreamStats::default() };
        What::Quality(Box::new(CallStats { from_sip, ..CallStats::default() }))
    };
    tell(
        &timelines,
        [of_call(0, started()), of_call(5_000, heard(250, 0)), of_call(10_000, heard(375, 125))],
    );
    let view = timelines.find(CALL).unwrap();
    let loss: Vec<f32> = view.timeline.quality.iter().map(|p| p.sip.rx.loss_percent).collect();
    assert_eq!(loss, [0.0, 50.0]);
    assert_eq!(view.record.sip.rx.packets, 375, "a live call's record has the whole");
}

#[test]
fn a_dn_remembers_its_registrations() {
    let timelines = Timelines::default();
    let about = wrtc_gateway::journal::About::user(DN);
    for n in 0..100 {
        let what = What::RegistrationFailed { code: 503, text: n.to_string(), will_retry: true };
        let entry = wrtc_gateway::journal::Entry { at: at(n), about: about.clone(), what };
        tell(&timelines, [entry]);
    }
    let events = timelines.of_dn(DN);
    assert!((4..=32).contains(&events.len()), "{}", events.len());
    assert_eq!(&*events.last().unwrap().text, "registration failed: 503 99");
    assert!(timelines.of_dn("5002").is_empty());
}
