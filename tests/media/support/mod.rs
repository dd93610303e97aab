//! A browser and a phone for the media tests, made of rtc-dtls, rtc-srtp and rtc-stun: other code
//! than a whole peer connection, and every step of it can be done wrong on purpose.
#![allow(dead_code)]

pub mod browser;
pub mod keys;
pub mod phone;
pub mod sound;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, channel};
use wrtc_gateway::media::{
    Bridge, CallStats, Engine, Flow, MediaConfig, MediaEvent, MediaId, SipRemote, Sounds,
};
use wrtc_gateway::sdp::{Codec, Format, PayloadMap, RtcpTarget};

use browser::Browser;
use phone::Phone;

/// Generous: a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Tests of one binary run as processes or threads side by side: each engine takes a range of
/// its own, spread by the process's number.
static NEXT_RANGE: AtomicU16 = AtomicU16::new(0);

/// From 10 000 on. A gateway's own begin with 20 000, and other tests have gateways.
const BLOCKS: u16 = 500;

pub fn config() -> MediaConfig {
    let process = std::process::id() as u16 % BLOCKS * 37;
    let block = (process + NEXT_RANGE.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
    let first = 10_000 + block * 20;
    MediaConfig {
        listen: SocketAddr::new(LOOPBACK, 0),
        tcp_listen: None,
        advertise: Vec::new(),
        rtp_address: LOOPBACK,
        rtp_ports: first..=first + 19,
        workers: 1,
        port_rest: Duration::from_millis(200),
        sounds: Sounds::default(),
        silence_alarm: None,
        opus_complexity: 5,
    }
}

pub fn map(formats: &[(Codec, u8)], telephone_event: Option<u8>) -> PayloadMap {
    let formats = formats.iter().map(|&(codec, payload)| Format { codec, payload }).collect();
    PayloadMap { formats, telephone_event, ..PayloadMap::default() }
}

pub const FLOW: Flow = Flow::BOTH;

/// A call over a running engine with a browser and a phone at its ends.
pub struct Call {
    pub engine: Engine,
    pub bridge: Bridge,
    pub events: Receiver<(MediaId, MediaEvent)>,
    pub seen: Vec<MediaEvent>,
    pub browser: Browser,
    pub phone: Phone,
}

impl Call {
    pub fn open() -> Call {
        Call::on(Engine::start(config()).unwrap())
    }

    pub fn on(engine: Engine) -> Call {
        let (sender, events) = channel(64);
        let bridge = engine.open(sender).unwrap();
        let (browser, phone) = (Browser::new(), Phone::new());
        Call { engine, bridge, events, seen: Vec::new(), browser, phone }
    }

    /// PCMU both ways, telephone-event 126 at the browser and 101 at the phone.
    pub fn describe(&self) {
        self.describe_browser();
        self.bridge.set_sip(self.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101))));
        self.bridge.set_flow(FLOW);
    }

    pub fn describe_browser(&self) {
        self.bridge.set_browser(self.browser.remote(map(&[(Codec::Pcmu, 0)], Some(126))));
    }

    pub fn connect(&mut self) {
        let local = self.bridge.browser_local();
        self.browser.connect(&local);
        self.await_event("DTLS", |e| matches!(e, MediaEvent::DtlsConnected { .. }));
    }

    /// Everything set up and talking.
    pub fn established() -> Call {
        let mut call = Call::open();
        call.describe();
        call.connect();
        call
    }

    pub fn collect_events(&mut self) {
        while let Ok((id, event)) = self.events.try_recv() {
            assert_eq!(id, self.bridge.id());
            self.seen.push(event);
        }
    }

    pub fn await_event(&mut self, what: &str, wanted: impl Fn(&MediaEvent) -> bool) -> MediaEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.collect_events();
            if let Some(event) = self.seen.iter().find(|e| wanted(e)) {
                return event.clone();
            }
            assert!(Instant::now() < deadline, "{what} never came; seen: {:?}", self.seen);
            self.browser.serve(Duration::from_millis(5));
        }
    }

    pub fn await_stats(&mut self, what: &str, wanted: impl Fn(&CallStats) -> bool) -> CallStats {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = self.bridge.stats();
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < deadline, "{what}: {stats:?}");
            self.browser.serve(Duration::from_millis(5));
        }
    }

    /// Both ends send a frame every 20 ms and hear what comes.
    pub fn talk(&mut self, time: Duration) {
        let (frames, frame) = ((time.as_millis() / 20) as u32, Duration::from_millis(20));
        let start = Instant::now();
        for n in 1..=frames {
            self.browser.speak();
            self.phone.speak();
            let until = start + frame * n;
            while let left @ 1.. = until.saturating_duration_since(Instant::now()).as_millis() {
                self.browser.serve(Duration::from_millis(left.min(5) as u64));
                self.phone.serve();
            }
        }
        // What is still on its way, on a machine that may be busy with other things.
        let (mut quiet, mut heard) = (0, self.browser.heard.len());
        while quiet < 8 {
            self.browser.serve(frame);
            self.phone.serve();
            let now = self.browser.heard.len();
            quiet = if now == heard { quiet + 1 } else { 0 };
            heard = now;
        }
        self.collect_events();
    }
}

pub fn sip_remote(target: Option<SocketAddr>, payloads: PayloadMap) -> SipRemote {
    SipRemote { target, rtcp: RtcpTarget::NextPort, srtp: None, payloads }
}
