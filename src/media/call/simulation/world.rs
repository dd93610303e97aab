//! A browser, a phone, a network that is not to be relied on, and a clock that only we turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};

use crate::media::call::{Call, Order, Sink};
use crate::media::dtls::{Dtls, Event, Identity};
use crate::media::handshake::Job;
use crate::media::ice::Check;
use crate::media::path::Path;
use crate::media::rtcp::Clock;
use crate::media::rtp::Packet;
use crate::media::srtp::{OVERHEAD, Srtp};
use crate::media::stream::units;
use crate::media::types::{BrowserRemote, Flow, MediaEvent, SipRemote, Sounds};
use crate::sdp::{Codec, Format, IceCredentials, PayloadMap, RtcpTarget, Setup};

pub const FRAME: Duration = Duration::from_millis(20);

/// Browsers prove their consent every 4 to 6 s (RFC 7675 5.1).
const CONSENT: Duration = Duration::from_secs(5);

/// What either end says, in any law: no silence of any of them.
const SPEECH: u8 = 0x2B;

const EVENT_AT_BROWSER: u8 = 126;
const EVENT_AT_PHONE: u8 = 101;

static IDENTITIES: LazyLock<[Arc<Identity>; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Arc::new(Identity::generate().unwrap())));

/// What a network does to one packet in so many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network {
    pub lost: f64,
    pub repeated: f64,
    /// By up to 60 ms, so that others overtake it.
    pub late: f64,
    /// Nothing gets through at all.
    pub dead: bool,
}

#[derive(Debug)]
enum Datagram {
    /// From the gateway.
    ToBrowser(Vec<u8>),
    ToPhone(Vec<u8>),
    FromBrowser(Vec<u8>),
    FromPhone(SocketAddr, Vec<u8>),
}

/// Only kept, for whoever calls the call to take.
#[derive(Default)]
struct Out {
    datagrams: Vec<Datagram>,
    reports: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<MediaEvent>,
    jobs: Vec<Job>,
}

impl Sink for Out {
    fn to_browser(&mut self, _: Path, data: &[u8]) {
        self.datagrams.push(Datagram::ToBrowser(data.to_vec()));
    }

    fn rtp(&mut self, _: SocketAddr, data: &[u8]) {
        self.datagrams.push(Datagram::ToPhone(data.to_vec()));
    }

    fn rtcp(&mut self, to: SocketAddr, data: &[u8]) {
        self.reports.push((to, data.to_vec()));
    }

    fn event(&mut self, event: MediaEvent) {
        self.events.push(event);
    }

    fn learned(&mut self, _: Path) {}
    fn forgotten(&mut self, _: Path) {}
    fn void(&mut self, _: &str) {}

    fn handshake(&mut self, job: Job) -> Result<(), Job> {
        self.jobs.push(job);
        Ok(())
    }
}

/// A packet as an end heard it.
#[derive(Debug, Clone)]
pub struct Heard {
    pub at: Instant,
    pub payload_type: u8,
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub is_speech: bool,
}

/// What one end sends.
pub struct Speaker {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload_type: u8,
    pub silent: bool,
    pub said: u32,
}

impl Speaker {
    fn frame(&mut self) -> Option<Vec<u8>> {
        self.timestamp = self.timestamp.wrapping_add(160);
        if self.silent {
            return None;
        }
        self.said += 1;
        Some(self.packet(self.payload_type, &[SPEECH; 160]))
    }

    fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let (ssrc, sequence, timestamp) = (self.ssrc, self.sequence, self.timestamp);
        let packet = Packet { payload_type, marker: false, sequence, timestamp, ssrc, payload };
        packet.write(&mut [0; 400]).unwrap().to_vec()
    }
}

pub struct World {
    pub start: Instant,
    pub now: Instant,
    call: Call,
    dtls: Dtls,
    srtp: Option<Srtp>,
    pub browser: Speaker,
    pub phone: Speaker,
    pub phone_address: SocketAddr,
    pub to_gateway: Network,
    pub from_phone: Network,
    pub flow: Flow,
    pub events: Vec<MediaEvent>,
    pub at_browser: Vec<Heard>,
    pub at_phone: Vec<Heard>,
    /// RTCP for the phone: when it left, and where it went.
    pub reports: Vec<(Instant, SocketAddr, Vec<u8>)>,
    /// Of the phone's packets: those that the network has taken, and those that are not passed on, whose number
    /// is skipped where the next overtakes them.
    pub lost: u64,
    /// Of the phone's packets; those that come after a digit or a tone has begun are dropped, rightly.
    pub late: u64,
    dice: StdRng,
    under_way: BinaryHeap<Reverse<(Instant, u64)>>,
    parcels: BTreeMap<u64, Datagram>,
    count: u64,
    tick_at: Instant,
    consent_at: Instant,
}

pub fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 4000))
}

const BROWSER: u8 = 1;

fn local() -> IceCredentials {
    IceCredentials { ufrag: "gateway".into(), pwd: "gatewaypasswordgatewaypw".into() }
}

fn map(codecs: &[(Codec, u8)], telephone_event: u8) -> PayloadMap {
    PayloadMap {
        formats: codecs.iter().map(|&(codec, payload)| Format { codec, payload }).collect(),
        telephone_event: Some(telephone_event),
        ..PayloadMap::default()
    }
}

fn is_negotiated_at_phone(payload_type: u8) -> bool {
    [0, 8, EVENT_AT_PHONE].contains(&payload_type)
}

impl World {
    /// A call that stands, PCMU at the browser, PCMU and PCMA at the phone.
    pub fn new(seed: u64, sounds: Sounds, silence_alarm: Option<Duration>) -> World {
        let now = Instant::now();
        let clock = Clock::new(now, SystemTime::now());
        let [ours, theirs] = &*IDENTITIES;
        let call = Call::new(now, clock, ours.clone(), local(), 7, "gw".into())
            .with(sounds, silence_alarm);
        let mut dtls = Dtls::new(theirs.clone());
        dtls.set_remote(Some(ours.fingerprint()), Setup::Active);
        let speaker = |ssrc, sequence| Speaker {
            ssrc,
            sequence,
            timestamp: u32::MAX - 100_000,
            payload_type: 0,
            silent: false,
            said: 0,
        };
        let mut world = World {
            start: now,
            now,
            call,
            dtls,
            srtp: None,
            // Below 2^15, as browsers do: the first packet to arrive may not be the first (RFC 3711 3.3.1).
            browser: speaker(0xB0B0, 30_000),
            phone: speaker(0x5050, 65_000),
            phone_address: address(5),
            to_gateway: Network::default(),
            from_phone: Network::default(),
            flow: Flow::NONE,
            events: Vec::new(),
            at_browser: Vec::new(),
            at_phone: Vec::new(),
            reports: Vec::new(),
            lost: 0,
            late: 0,
            dice: StdRng::seed_from_u64(seed),
            under_way: BinaryHeap::new(),
            parcels: BTreeMap::new(),
            count: 0,
            tick_at: now,
            consent_at: now,
        };
        let ice = IceCredentials { ufrag: "them".into(), pwd: "browserpasswordbrowserpw".into() };
        world.order(Order::SetBrowser(Box::new(BrowserRemote {
            ice: Some(ice),
            fingerprint: Some(theirs.fingerprint()),
            setup: Setup::Passive,
            payloads: map(&[(Codec::Pcmu, 0)], EVENT_AT_BROWSER),
        })));
        world.connect();
        world.described();
        world.set_flow(Flow::BOTH);
        world
    }

    fn connect(&mut self) {
        self.consent();
        self.dtls.handle_reachable(self.now);
        while self.srtp.is_none() {
            while let Some(flight) = self.dtls.poll_transmit() {
                let mut flight = flight.to_vec();
                self.with(|call, now, out| {
                    call.handle_browser(now, Path::Udp(address(BROWSER)), &mut flight, out);
                });
            }
            assert!(!self.parcels.is_empty(), "the handshake stands still");
            self.run(Duration::from_millis(1));
        }
    }

    /// The SDP of the SIP side, as it is or as it has become.
    pub fn described(&mut self) {
        self.order(Order::SetSip(Box::new(SipRemote {
            target: Some(self.phone_address),
            rtcp: RtcpTarget::NextPort,
            srtp: None,
            payloads: map(&[(Codec::Pcmu, 0), (Codec::Pcma, 8)], EVENT_AT_PHONE),
        })));
    }

    pub fn set_flow(&mut self, flow: Flow) {
        self.flow = flow;
        self.order(Order::SetFlow(flow));
    }

    pub fn order(&mut self, order: Order) {
        self.with(|call, now, out| call.handle_order(now, order, out));
    }

    /// Comfort noise, and then a pause until the phone is told otherwise.
    pub fn comfort_noise(&mut self) {
        let packet = self.phone.packet(13, &[60]);
        self.lost += 1;
        self.send_from_phone(packet);
    }

    /// A payload nobody has heard of.
    pub fn nonsense(&mut self) {
        let packet = self.phone.packet(97, &[1, 2, 3]);
        self.lost += 1;
        self.send_from_phone(packet);
    }

    /// A digit of the phone's, all of its packets at once.
    pub fn key(&mut self, code: u8) {
        for n in 1..=7u16 {
            let duration = (160 * n.min(5)).to_be_bytes();
            let payload = [code, if n > 4 { 0x8A } else { 0x0A }, duration[0], duration[1]];
            let packet = self.phone.packet(EVENT_AT_PHONE, &payload);
            self.send_from_phone(packet);
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = [
                Some(self.tick_at),
                Some(self.consent_at),
                self.call.poll_timeout(),
                self.under_way.peek().map(|Reverse((at, _))| *at),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(until);
            if next >= until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            if self.call.poll_timeout().is_some_and(|at| at <= self.now) {
                self.with(|call, now, out| call.handle_timeout(now, out));
                let at = self.call.poll_timeout();
                assert!(at.is_none_or(|at| at > self.now), "a deadline that nothing moves");
            }
            while let Some(Reverse((at, id))) = self.under_way.peek().copied()
                && at <= self.now
            {
                self.under_way.pop();
                let datagram = self.parcels.remove(&id).unwrap();
                self.deliver(datagram);
            }
            if self.consent_at <= self.now {
                self.consent();
            }
            if self.tick_at <= self.now {
                self.tick_at += FRAME;
                self.speak();
            }
        }
    }

    fn speak(&mut self) {
        if let Some(srtp) = &mut self.srtp
            && let Some(plain) = self.browser.frame()
        {
            let mut buffer = vec![0; plain.len() + OVERHEAD];
            buffer[..plain.len()].copy_from_slice(&plain);
            let sealed = srtp.seal_rtp(&mut buffer, plain.len()).unwrap().to_vec();
            self.send(self.to_gateway, Datagram::FromBrowser(sealed));
        }
        if let Some(packet) = self.phone.frame() {
            self.send_from_phone(packet);
        }
    }

    fn send_from_phone(&mut self, packet: Vec<u8>) {
        self.send(self.from_phone, Datagram::FromPhone(self.phone_address, packet));
    }

    fn send(&mut self, network: Network, datagram: Datagram) {
        if network.dead || self.dice.random_bool(network.lost) {
            self.lost += u64::from(matches!(datagram, Datagram::FromPhone(..)));
            return;
        }
        let delay = if self.dice.random_bool(network.late) {
            self.late += u64::from(matches!(datagram, Datagram::FromPhone(..)));
            Duration::from_millis(self.dice.random_range(20..=60))
        } else {
            Duration::from_millis(self.dice.random_range(5..=9))
        };
        if self.dice.random_bool(network.repeated) {
            let again = match &datagram {
                Datagram::FromPhone(from, data) => Datagram::FromPhone(*from, data.clone()),
                Datagram::FromBrowser(data) => Datagram::FromBrowser(data.clone()),
                Datagram::ToBrowser(data) => Datagram::ToBrowser(data.clone()),
                Datagram::ToPhone(data) => Datagram::ToPhone(data.clone()),
            };
            self.post(delay + Duration::from_millis(3), again);
        }
        self.post(delay, datagram);
    }

    fn post(&mut self, delay: Duration, datagram: Datagram) {
        self.count += 1;
        self.under_way.push(Reverse((self.now + delay, self.count)));
        self.parcels.insert(self.count, datagram);
    }

    fn deliver(&mut self, datagram: Datagram) {
        match datagram {
            Datagram::FromBrowser(mut data) => self.with(|call, now, out| {
                call.handle_browser(now, Path::Udp(address(BROWSER)), &mut data, out);
            }),
            Datagram::FromPhone(from, mut data) => {
                self.with(|call, now, out| call.handle_rtp(now, from, &mut data, out));
            }
            Datagram::ToBrowser(data) => self.browser_hears(data),
            Datagram::ToPhone(data) => {
                let heard = self.heard(&data);
                assert!(is_negotiated_at_phone(heard.payload_type), "{heard:?}");
                self.at_phone.push(heard);
            }
        }
    }

    fn browser_hears(&mut self, mut data: Vec<u8>) {
        match data[0] {
            0..=3 => {}
            20..=63 => {
                if let Some(Event::Connected { profile, keys }) =
                    self.dtls.handle_datagram(self.now, &data)
                {
                    self.srtp = Srtp::new(profile, &keys);
                }
            }
            _ if (192..=223).contains(&data[1]) => {
                let srtp = self.srtp.as_mut().unwrap();
                assert!(srtp.open_rtcp(&mut data).is_ok());
            }
            _ => {
                let srtp = self.srtp.as_mut().unwrap();
                // A number that comes twice is refused here.
                let plain = srtp.open_rtp(&mut data).expect("an authentic, fresh packet").to_vec();
                let heard = self.heard(&plain);
                assert!([0, EVENT_AT_BROWSER].contains(&heard.payload_type), "{heard:?}");
                self.at_browser.push(heard);
            }
        }
    }

    fn heard(&self, plain: &[u8]) -> Heard {
        let packet = Packet::parse(plain).unwrap();
        // Either law's byte, whatever it has become on the way.
        let silent = packet.payload.iter().all(|byte| [0xFF, 0xD5].contains(byte));
        Heard {
            at: self.now,
            payload_type: packet.payload_type,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            is_speech: !silent && packet.payload.len() == 160,
        }
    }

    fn consent(&mut self) {
        self.consent_at = self.now + CONSENT;
        let mut message = Message::new();
        message.write_header();
        BINDING_REQUEST.add_to(&mut message).unwrap();
        message.add(ATTR_USERNAME, b"gateway:them");
        message.add(ATTR_USE_CANDIDATE, &[]);
        let provider = IDENTITIES[0].provider().clone();
        let pwd = local().pwd;
        MessageIntegrity::new_raw_integrity_with_provider(pwd.as_bytes(), provider.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        let mut check = Check::parse(&message.raw).unwrap();
        self.with(|call, now, out| {
            call.handle_check(now, Path::Udp(address(BROWSER)), &mut check, out)
        });
    }

    fn with(&mut self, act: impl FnOnce(&mut Call, Instant, &mut Out)) {
        let mut out = Out::default();
        act(&mut self.call, self.now, &mut out);
        while let Some(job) = out.jobs.pop() {
            self.call.handle_handshaken(self.now, job.run(self.now), &mut out);
        }
        self.events.extend(out.events);
        let now = self.now;
        self.reports.extend(out.reports.into_iter().map(|(to, data)| (now, to, data)));
        for datagram in out.datagrams {
            // What the gateway sends arrives: its own way out is not what is tested.
            self.post(Duration::from_millis(1), datagram);
        }
    }

    pub fn stats(&self) -> crate::media::types::CallStats {
        self.call.stats()
    }

    /// Frames of speech that an end has heard since.
    pub fn spoken(heard: &[Heard], since: Instant) -> u32 {
        heard.iter().filter(|h| h.at >= since && h.is_speech).count() as u32
    }

    /// One SSRC, each number once, no hole but what the network has made, timestamps that go with
    /// the clock.
    pub fn assert_browser_stream(&self) {
        let mut packets = Vec::new();
        let mut highest = None;
        for heard in &self.at_browser {
            assert_eq!(heard.ssrc, 7);
            let before = *highest.get_or_insert(i64::from(heard.sequence));
            let step = i64::from(heard.sequence.wrapping_sub(before as u16) as i16);
            packets.push((before + step, heard));
            highest = Some(before.max(before + step));
        }
        packets.sort_by_key(|(sequence, _)| *sequence);
        let mut holes = 0;
        for pair in packets.windows(2) {
            let [(a, before), (b, after)] = pair else { unreachable!() };
            holes += u64::try_from(b - a - 1).expect("a number came twice");
            let step = after.timestamp.wrapping_sub(before.timestamp) as i32;
            let least = i32::from(after.payload_type == 0);
            assert!(step >= least, "time goes back by {step}: {before:?} {after:?}");
        }
        // What was under way when the SIP side moved came from a stranger.
        let lost = self.lost + self.late + self.stats().foreign_source;
        assert!(holes <= lost, "{holes} holes, and {lost} packets were lost");
        let (_, first) = packets[0];
        for (_, heard) in &packets {
            let sent = i64::from(heard.timestamp.wrapping_sub(first.timestamp));
            let passed = i64::from(units(heard.at - first.at, 8000));
            // A late packet, or one after the other of what two clocks disagree on.
            let off = (sent - passed) / 8;
            assert!((-300..=300).contains(&off), "{off} ms off the clock: {heard:?}");
        }
    }

    /// Within an SSRC numbers without a hole but for what the network lost of the browser's, and
    /// timestamps that do not go back.
    pub fn assert_phone_stream(&self) {
        let mut before: Option<&Heard> = None;
        let mut sorted: Vec<&Heard> = self.at_phone.iter().collect();
        sorted.sort_by_key(|h| h.at);
        for heard in sorted {
            if let Some(last) = before
                && last.ssrc == heard.ssrc
            {
                let step = heard.sequence.wrapping_sub(last.sequence) as i16;
                if step > 0 {
                    let time = heard.timestamp.wrapping_sub(last.timestamp) as i32;
                    assert!(time >= 0, "time goes back: {last:?} {heard:?}");
                } else {
                    continue;
                }
            }
            before = Some(heard);
        }
    }

    /// The longest the phone has heard nothing within a time.
    pub fn longest_pause_at_phone(&self, since: Instant) -> Duration {
        let mut last = since;
        let mut longest = Duration::ZERO;
        for heard in self.at_phone.iter().filter(|h| h.at >= since) {
            longest = longest.max(heard.at.saturating_duration_since(last));
            last = heard.at;
        }
        longest.max(self.now.saturating_duration_since(last))
    }
}
