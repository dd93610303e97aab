//! Many handshakes at once, as after a restart, and a call that goes on meanwhile.

use std::time::{Duration, Instant};

use crate::support::browser::Browser;
use crate::support::phone::{assert_gapless, spoken, tone_of};
use crate::support::{Call, PATIENCE, config, map};
use tokio::sync::mpsc::channel;
use wrtc_gateway::media::{Engine, MediaConfig, MediaEvent};
use wrtc_gateway::sdp::Codec;

const BROWSERS: usize = 200;

#[test]
fn two_hundred_handshakes_at_once_leave_no_gap_in_a_call() {
    let range = 30_000 + std::process::id() as u16 % 10 * 600;
    let config = MediaConfig { rtp_ports: range..=range + 599, ..config() };
    let mut call = Call::on(Engine::start(config).unwrap());
    call.describe();
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());

    let (sender, mut events) = channel(2 * BROWSERS);
    let mut others = Vec::new();
    for _ in 0..BROWSERS {
        let bridge = call.engine.open(sender.clone()).unwrap();
        let mut browser = Browser::new();
        bridge.set_browser(browser.remote(map(&[(Codec::Pcmu, 0)], None)));
        assert!(browser.ping(&bridge.browser_local(), PATIENCE));
        others.push((browser, bridge));
    }
    let crowd = std::thread::spawn(move || {
        for (browser, _) in &mut others {
            browser.start_handshake();
        }
        let deadline = Instant::now() + PATIENCE * 3;
        while others.iter().any(|(browser, _)| browser.srtp.is_none()) {
            assert!(Instant::now() < deadline, "the handshakes never ended");
            for (browser, _) in others.iter_mut().filter(|(browser, _)| browser.srtp.is_none()) {
                browser.serve(Duration::from_millis(1));
            }
        }
        others
    });
    while !crowd.is_finished() {
        call.talk(Duration::from_millis(100));
    }
    let others = crowd.join().unwrap();
    call.talk(Duration::from_millis(200));

    assert_eq!(others.len(), BROWSERS);
    let connected = std::iter::from_fn(|| events.try_recv().ok())
        .filter(|(_, event)| matches!(event, MediaEvent::DtlsConnected { .. }))
        .count();
    assert_eq!(connected, BROWSERS);
    assert_gapless(&call.browser.heard, "browser");
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.98, "1 kHz at the browser: {tone}");
    let frames = call.browser.heard.len() - 5;
    let tone = tone_of(&spoken(&call.phone.heard, frames), 440);
    assert!(tone > 0.98, "440 Hz at the phone: {tone}");
    let stats = call.bridge.stats();
    assert_eq!((stats.from_browser.lost, stats.from_sip.lost), (0, 0));
}
