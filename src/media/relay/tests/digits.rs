//! Digits, each way: passed on, made here, and ended with what they were for.

use super::*;

#[test]
fn events_change_their_number_and_are_reported_once() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 3);
    let started = page.timestamp.wrapping_add(160);
    for n in 1..=7u16 {
        page.sequence += 1;
        page.timestamp = started;
        let event = Event { code: 5, end: n > 4, volume: 10, duration: 160 * n.min(5) };
        bench.browser(page.packet(126, &event.payload()));
        bench.wait(FRAME);
    }
    page.timestamp = started.wrapping_add(160 * 6);
    bench.browser_talks(&mut page, 3);

    assert_eq!(bench.to_sip.len(), 13);
    let events = &bench.to_sip[3..10];
    assert!(events.iter().all(|p| p.payload_type == 101));
    assert!(events.iter().all(|p| p.timestamp == events[0].timestamp));
    assert_eq!(events[0].timestamp.wrapping_sub(bench.to_sip[2].timestamp), 160);
    assert_eq!(bench.to_sip[10].timestamp.wrapping_sub(events[0].timestamp), 7 * 160);
    let digit =
        MediaEvent::Digit { digit: '5', duration: Duration::from_millis(100), from_sip: false };
    assert_eq!(bench.relay.poll_event(), Some(digit));
    assert_eq!(bench.relay.poll_event(), None);

    // And from SIP.
    let phone = Speaker::new(1, 1, 1);
    let event = Event { code: 11, end: true, volume: 10, duration: 800 };
    bench.sip(phone.packet(101, &event.payload()));
    assert_eq!(bench.to_browser[0].payload_type, 126);
    assert!(matches!(
        bench.relay.poll_event(),
        Some(MediaEvent::Digit { digit: '#', from_sip: true, .. })
    ));
}

#[test]
fn digits_are_sent_in_place_of_audio() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 10);
    let now = bench.now;
    bench.relay.press(now, "12");
    bench.wait(Duration::ZERO);
    bench.browser_talks(&mut page, 30);
    for pair in bench.to_sip.windows(2) {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) <= 8 * 160);
    }
    let events: Vec<&Out> = bench.to_sip.iter().filter(|p| p.payload_type == 101).collect();
    assert_eq!(events.len(), 14);
    assert_eq!(events.iter().filter(|p| p.marker).count(), 2);
    assert_eq!(events[6].payload, [1, 0x80 | 10, 3, 0x20]);
    assert_eq!(events[7].payload[0], 2);
    assert!(events[7].timestamp.wrapping_sub(events[0].timestamp) >= 150 * 8);
    assert_eq!(bench.to_sip.last().map(|p| p.payload_type), Some(0));
}

/// A transfer to an end without telephone-event in the middle of a digit: the worker would spin on
/// a deadline that nothing meets, and the audio would wait for ever.
#[test]
fn a_digit_ends_when_the_sip_side_loses_its_telephone_event() {
    let mut bench = Bench::new();
    bench.relay.press(bench.now, "12");
    bench.wait(FRAME);
    let now = bench.now;
    bench.relay.set_sip(now, map(&[(Codec::Pcmu, 0)], None));
    assert!(bench.relay.poll_timeout().is_none_or(|at| at > now), "a deadline without an end");
    let sent = bench.to_sip.len();
    let mut browser = Speaker::new(1, 1, 1);
    bench.browser(browser.next(&[0x55; 160]));
    assert_eq!(bench.to_sip.len(), sent + 1, "the audio goes on");
}

/// The SIP side holds us with `inactive` or wants to be the only one to speak.
#[test]
fn no_digit_goes_where_nothing_may_go() {
    let mut bench = Bench::new();
    bench.relay.press(bench.now, "1");
    bench.wait(FRAME);
    let (now, sent) = (bench.now, bench.to_sip.len());
    bench.relay.set_flow(now, Flow { to_browser: true, ..Flow::NONE });
    bench.relay.press(now, "2");
    bench.wait(FRAME * 50);
    assert_eq!(bench.to_sip.len(), sent);
    assert_eq!(bench.relay.poll_timeout(), None);
}

#[test]
fn digits_that_nobody_asks_for_are_bounded() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    page.payload_type = 126;
    for _ in 0..1000 {
        bench.browser(page.next(&[5, 0x8A, 3, 32]));
    }
    let events = std::iter::from_fn(|| bench.relay.poll_event());
    let five = |event: &MediaEvent| matches!(event, MediaEvent::Digit { digit: '5', .. });
    assert_eq!(events.filter(five).count(), super::super::MAX_EVENTS);
}

#[test]
fn a_digit_for_the_browser_ends_with_a_hold() {
    let mut bench = Bench::new();
    let mut phone = Speaker::new(1, 100, 0);
    bench.sip_talks(&mut phone, 5);
    let now = bench.now;
    bench.relay.play_digit(now, '5');
    bench.wait(FRAME);
    let before = bench.to_browser.len();
    for flow in [HELD, BOTH] {
        let now = bench.now;
        bench.relay.set_flow(now, flow);
        bench.wait(FRAME * 3);
    }
    bench.sip_talks(&mut phone, 3);
    assert!(bench.to_browser[before..].iter().all(|packet| packet.payload_type != 126));
    assert_eq!(bench.to_browser.len(), before + 3);
}

/// What was queued for one far end is none of the next one's business.
#[test]
fn digits_end_where_the_far_end_is_exchanged() {
    let mut bench = Bench::new();
    let now = bench.now;
    bench.relay.press(now, "1234");
    bench.wait(FRAME);
    bench.relay.exchange(super::super::Outlet::new());
    let before = bench.to_sip.len();
    bench.wait(Duration::from_secs(2));
    assert!(bench.to_sip[before..].iter().all(|packet| packet.payload_type == 0));
}
