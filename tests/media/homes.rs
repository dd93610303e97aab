//! A host with several addresses, of which the browser uses one.

use std::time::Duration;

use crate::support::phone::{assert_gapless, spoken, tone_of};
use crate::support::{Call, config};
use wrtc_gateway::media::{Engine, MediaConfig, MediaEvent};

/// All of 127.0.0.0/8 is the host's; left to itself the kernel answers from 127.0.0.1. The browser's
/// socket is connected, and so hears nobody but the address that it asked.
#[test]
fn a_browser_is_answered_from_the_address_it_asked() {
    for (listen, advertise) in [
        ("0.0.0.0:0", ["127.0.0.1", "127.0.0.77"]),
        ("0.0.0.0:0", ["127.0.0.77", "127.0.0.1"]),
        ("[::]:0", ["127.0.0.1", "127.0.0.77"]),
    ] {
        let advertise = advertise.map(|ip| ip.parse().unwrap()).to_vec();
        let listen = listen.parse().unwrap();
        let engine = Engine::start(MediaConfig { listen, advertise, ..config() }).unwrap();
        let mut call = Call::on(engine);
        call.describe();
        call.phone.gateway = Some(call.bridge.rtp_local());
        let mut local = call.bridge.browser_local();
        // The last of them.
        let asked = local.candidates.pop().unwrap();
        call.browser.socket.connect(asked.address).unwrap();
        local.candidates = vec![asked];
        call.browser.connect(&local);
        call.await_event("DTLS", |e| matches!(e, MediaEvent::DtlsConnected { .. }));
        call.talk(Duration::from_millis(600));
        assert_gapless(&call.browser.heard, "browser");
        assert!(tone_of(&call.browser.heard, 1000) > 0.98);
        assert!(tone_of(&spoken(&call.phone.heard, 25), 440) > 0.98);
    }
}
