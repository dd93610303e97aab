//! What those hear who are held, and which datagrams are theirs, under virtual time and without a browser.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::unmarshal;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::SourceDescription;

use super::*;
use crate::media::call::Order;
use crate::media::call::report::REPORTS;
use crate::media::dtls::Identity;
use crate::media::handshake::Job;
use crate::media::music::Music;
use crate::media::path::Path;
use crate::media::rtcp::Clock;
use crate::media::rtp::{Class, Packet};
use crate::media::srtp::Opener;
use crate::media::types::{Flow, MediaEvent, SipRemote, Sounds};
use crate::sdp::{Codec, CryptoSuite, Format, IceCredentials, KeySource, PayloadMap, SrtpPair};

const FRAME: Duration = Duration::from_millis(20);
/// A report that cannot be read, and so is counted by whoever tries.
const BROKEN: [u8; 4] = [0x80, 201, 0, 9];

/// What left for SIP, and nothing else: RTP, and what went out by the RTCP port.
#[derive(Default)]
struct Out(Vec<(SocketAddr, Vec<u8>)>, Vec<(SocketAddr, Vec<u8>)>);

impl Sink for Out {
    fn to_browser(&mut self, _: Path, _: &[u8]) {}
    fn rtp(&mut self, to: SocketAddr, data: &[u8]) {
        self.0.push((to, data.to_vec()));
    }
    fn rtcp(&mut self, to: SocketAddr, data: &[u8]) {
        self.1.push((to, data.to_vec()));
    }
    fn event(&mut self, _: MediaEvent) {}
    fn learned(&mut self, _: Path) {}
    fn forgotten(&mut self, _: Path) {}
    fn void(&mut self, _: &str) {}
    fn handshake(&mut self, job: Job) -> Result<(), Job> {
        Err(job)
    }
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

fn remote(target: SocketAddr) -> SipRemote {
    SipRemote {
        target: Some(target),
        rtcp: RtcpTarget::NextPort,
        srtp: None,
        payloads: PayloadMap {
            formats: smallvec::smallvec![Format { codec: Codec::Pcmu, payload: 0 }],
            ..PayloadMap::default()
        },
    }
}

fn held(target: SocketAddr) -> HeldLeg {
    HeldLeg { remote: remote(target), sends: true, music: true }
}

/// A line whose active far end is at that address.
struct Line {
    now: Instant,
    call: Call,
    sequence: u16,
    out: Out,
}

impl Line {
    fn new(active: SipRemote) -> Line {
        let now = Instant::now();
        let identity = Arc::new(Identity::generate().unwrap());
        let ice = IceCredentials { ufrag: "ours".into(), pwd: "gatewaypasswordgatewaypw".into() };
        let clock = Clock::new(now, SystemTime::now());
        let call = Call::new(now, clock, identity, ice, 7, "gw".into());
        let sounds = Sounds { tones: None, music: Some(Arc::new(Music::of_a_tone(500))) };
        let mut line =
            Line { now, call: call.with(sounds, None), sequence: 0, out: Out::default() };
        line.order(Order::SetSip(Box::new(active)));
        line.order(Order::SetFlow(Flow::BOTH));
        line
    }

    fn order(&mut self, order: Order) {
        self.call.handle_order(self.now, order, &mut self.out);
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.call.poll_timeout().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.call.handle_timeout(self.now, &mut self.out);
        }
        self.now = until;
    }

    /// A frame from there; how many have been taken for the active far end's so far.
    fn speaks(&mut self, from: SocketAddr) -> u64 {
        self.sequence += 1;
        let (sequence, timestamp) = (self.sequence, u32::from(self.sequence) * 160);
        let payload = &[0x55; 160];
        let packet =
            Packet { payload_type: 0, marker: false, sequence, timestamp, ssrc: 5, payload };
        let mut data = packet.write(&mut [0; 200]).unwrap().to_vec();
        self.call.handle_rtp(self.now, from, &mut data, &mut self.out);
        self.call.stats().from_sip.packets
    }

    /// True when a report from there is taken for the active far end's.
    fn is_read(&mut self, from: SocketAddr) -> bool {
        let before = self.call.stats();
        self.call.handle_rtcp(self.now, from, &mut BROKEN.clone());
        let after = self.call.stats();
        assert_eq!(after.foreign_source, before.foreign_source, "{from} is no stranger");
        after.malformed > before.malformed
    }

    /// SSRC, number and whether there is something to hear, of what went there.
    fn heard_at(&self, to: SocketAddr) -> Vec<(u32, u16, bool)> {
        let is_rtp = |data: &[u8]| Class::of(data) == Class::Rtp;
        let there = self.out.0.iter().filter(|(at, data)| *at == to && is_rtp(data));
        let packets = there.map(|(_, data)| {
            let packet = Packet::parse(data).unwrap();
            (packet.ssrc, packet.sequence, packet.payload.iter().any(|byte| byte | 0x80 != 0xFF))
        });
        packets.collect()
    }
}

#[test]
fn only_whom_we_hold_hears_the_music() {
    let mut line = Line::new(remote(address(1, 4000)));
    let (ours, theirs) = (address(2, 4000), address(3, 4000));
    line.order(Order::SetHeld(vec![held(ours), HeldLeg { music: false, ..held(theirs) }]));
    line.run(FRAME * 50);
    for (at, music) in [(ours, true), (theirs, false)] {
        let heard = line.heard_at(at);
        assert!((50..=51).contains(&heard.len()), "{} at {at}", heard.len());
        assert_eq!(heard.iter().any(|(_, _, loud)| *loud), music, "{at}");
    }
}

/// A session refresh with another codec or direction: no new stream for it.
#[test]
fn one_that_is_described_anew_goes_on_in_its_stream() {
    let mut line = Line::new(remote(address(1, 4000)));
    let there = address(2, 4000);
    line.order(Order::SetHeld(vec![held(there)]));
    line.run(FRAME * 10);
    line.order(Order::SetHeld(vec![HeldLeg { music: false, ..held(there) }]));
    line.run(FRAME * 10);
    let heard = line.heard_at(there);
    assert!(heard.len() >= 20, "{}", heard.len());
    let gapless = |pair: &[(u32, u16, bool)]| {
        pair[0].0 == pair[1].0 && pair[1].1.wrapping_sub(pair[0].1) == 1
    };
    assert!(heard.windows(2).all(gapless), "{heard:?}");
}

#[test]
fn no_more_are_held_than_a_line_has_calls() {
    let mut line = Line::new(remote(address(1, 4000)));
    line.order(Order::SetHeld((2..40).map(|host| held(address(host, 4000))).collect()));
    line.run(FRAME * 5);
    let mut hosts: Vec<_> = line.out.0.iter().map(|(to, _)| to.ip()).collect();
    hosts.retain(|ip| *ip != address(1, 0).ip());
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), MAX_HELD);
}

/// Both far ends are behind one media server, and one has turned out to be where the other says it is.
#[test]
fn where_the_active_one_speaks_from_a_held_one_s_address_it_is_heard() {
    let mut line = Line::new(remote(address(1, 4000)));
    let learned = address(1, 5000);
    assert_eq!(line.speaks(learned), 1);
    line.order(Order::SetHeld(vec![held(learned)]));
    assert_eq!(line.speaks(learned), 2);
}

#[test]
fn reports_of_one_that_is_held_are_nobody_s() {
    let mut line = Line::new(remote(address(1, 4000)));
    let (mut announced, mut mux) = (held(address(3, 4000)), held(address(4, 4000)));
    announced.remote.rtcp = RtcpTarget::At(address(9, 7777));
    mux.remote.rtcp = RtcpTarget::Mux;
    line.order(Order::SetHeld(vec![held(address(2, 4000)), announced, mux]));
    for of_held in [address(2, 4001), address(2, 60_000), address(9, 7777), address(4, 4000)] {
        assert!(!line.is_read(of_held), "{of_held}");
    }
    assert!(line.is_read(address(1, 4001)));
}

/// One media server for both: what it sends from the port that is the active one's is that one's, and from
/// one that is nobody's too. The held one has its own all the same.
#[test]
fn reports_of_the_active_one_are_read_though_both_have_one_host() {
    let mut line = Line::new(remote(address(1, 4000)));
    let mut other = held(address(1, 6000));
    line.order(Order::SetHeld(vec![other.clone()]));
    assert!(line.is_read(address(1, 4001)) && line.is_read(address(1, 60_000)));
    assert!(!line.is_read(address(1, 6001)));
    other.remote.rtcp = RtcpTarget::At(address(1, 4001));
    line.order(Order::SetHeld(vec![other]));
    assert!(line.is_read(address(1, 4001)), "the same port for both is the active one's");
}

/// A call that was held, and is over when the next one is described: another far end may have its address.
#[test]
fn one_that_has_left_is_not_come_back_to_later() {
    let mut line = Line::new(remote(address(1, 4000)));
    let there = address(2, 4000);
    line.order(Order::SetHeld(vec![held(there)]));
    line.run(FRAME * 10);
    line.order(Order::SetHeld(vec![]));
    line.order(Order::SetSip(Box::new(remote(address(3, 4000)))));
    line.order(Order::SetSip(Box::new(remote(there))));
    let before = line.heard_at(there);
    line.run(Duration::from_secs(1));
    let heard = line.heard_at(there);
    assert!(heard.len() > before.len() + 20);
    assert_ne!(heard.last().unwrap().0, before.last().unwrap().0, "a stream of its own");
}

/// A call that waits has never been the active one, whose keys are known from its description.
#[test]
fn one_that_waits_hears_us_with_its_own_keys() {
    let mut line = Line::new(remote(address(1, 4000)));
    let mut keys = KeySource::new([9; 32]);
    let mut key = || keys.key(CryptoSuite::AeadAes128Gcm);
    let pair = SrtpPair { local: key(), remote: key() };
    let mut waiting = held(address(2, 4000));
    waiting.remote.srtp = Some(Box::new(pair.clone()));
    line.order(Order::SetHeld(vec![waiting]));
    line.run(FRAME * 10);
    let mut opener = Opener::new(&pair.local).unwrap();
    let there = line.out.0.iter_mut().filter(|(to, _)| *to == address(2, 4000));
    let opened = there.map(|(_, data)| opener.open_rtp(data).unwrap().len());
    assert!(opened.filter(|len| *len == 172).count() >= 10);
}

/// What a report says of our stream: its SSRC, and what was sent of it.
fn read(data: &[u8]) -> (u32, Option<(u32, u32)>) {
    let packets = unmarshal(&mut &*data).unwrap();
    assert!(packets[1].as_any().is::<SourceDescription>());
    match packets[0].as_any().downcast_ref::<SenderReport>() {
        Some(report) => (report.ssrc, Some((report.packet_count, report.octet_count))),
        None => (packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap().ssrc, None),
    }
}

/// RFC 3264 8.4, for those that the agent is not with too: who is sent music or silence is told how much,
/// and who is entitled to nothing that we are there.
#[test]
fn one_that_is_held_gets_reports() {
    let mut line = Line::new(remote(address(1, 4000)));
    let (sends, mute, mux) = (address(2, 4000), address(3, 4000), address(4, 4000));
    let mut muxed = held(mux);
    muxed.remote.rtcp = RtcpTarget::Mux;
    line.order(Order::SetHeld(vec![held(sends), HeldLeg { sends: false, ..held(mute) }, muxed]));
    line.run(REPORTS * 4);
    let at = |sent: &[(SocketAddr, Vec<u8>)], to: SocketAddr| -> Vec<(u32, Option<(u32, u32)>)> {
        let there = sent.iter().filter(|(at, data)| *at == to && Class::of(data) == Class::Rtcp);
        there.map(|(_, data)| read(data)).collect()
    };
    let heard = line.heard_at(sends);
    for told in [at(&line.out.1, address(2, 4001)), at(&line.out.0, mux)] {
        assert_eq!(told.len(), 4);
        assert!(told.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1));
        let (packets, octets) = told[3].1.unwrap();
        assert!((packets as usize).abs_diff(heard.len()) <= 1 && octets == packets * 160);
    }
    assert_eq!(at(&line.out.1, address(2, 4001))[0].0, heard[0].0, "of the stream that it hears");
    let told = at(&line.out.1, address(3, 4001));
    assert!(told.len() == 4 && told.iter().all(|(_, sent)| sent.is_none()), "{told:?}");
    let before = line.out.1.len();
    line.call.say_goodbye(line.now, &mut line.out);
    let last: Vec<&Vec<u8>> = line.out.1[before..].iter().map(|(_, data)| data).collect();
    assert!(last.len() >= 2);
    for data in last {
        assert!(unmarshal(&mut data.as_slice()).unwrap().last().unwrap().as_any().is::<Goodbye>());
    }
}

/// There and back again: the same stream, counted on, and reports to the port that a NAT has made of theirs.
#[test]
fn reports_of_one_that_is_come_back_to_go_on() {
    let mut line = Line::new(remote(address(1, 4000)));
    let (first, nat) = (address(1, 4000), address(1, 60_123));
    let report = rtcp::write(1 << 40, 5, "them", None, None, Last::No);
    line.call.handle_rtcp(line.now, nat, &mut report.clone());
    line.run(REPORTS);
    line.order(Order::SetHeld(vec![held(first)]));
    line.order(Order::SetSip(Box::new(remote(address(2, 4000)))));
    line.run(REPORTS * 2);
    line.order(Order::SetHeld(vec![]));
    line.order(Order::SetSip(Box::new(remote(first))));
    line.run(REPORTS * 2);
    let there = line.out.1.iter().filter(|(to, _)| *to == nat);
    let told: Vec<_> = there.map(|(_, data)| read(data)).collect();
    assert_eq!(told.len(), 5);
    let goes_on = told.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1);
    assert!(goes_on, "{told:?}");
    let packets = told[4].1.unwrap().0 as usize;
    assert!(packets.abs_diff(line.heard_at(first).len()) <= 1, "{told:?}");
}

#[test]
fn reports_of_one_that_is_held_are_sealed_with_its_own_keys() {
    let mut line = Line::new(remote(address(1, 4000)));
    let mut keys = KeySource::new([9; 32]);
    let mut key = || keys.key(CryptoSuite::AesCm128HmacSha1_80);
    let pair = SrtpPair { local: key(), remote: key() };
    let mut waiting = held(address(2, 4000));
    waiting.remote.srtp = Some(Box::new(pair.clone()));
    line.order(Order::SetHeld(vec![waiting]));
    line.run(REPORTS * 2);
    let mut opener = Opener::new(&pair.local).unwrap();
    let there = line.out.1.iter_mut().filter(|(to, _)| *to == address(2, 4001));
    let opened = there.map(|(_, data)| read(opener.open_rtcp(data).unwrap()).1.is_some());
    assert_eq!(opened.collect::<Vec<_>>(), [true, true]);
}

/// A session that begins with `inactive`: nothing is sent or heard, and both are there.
#[test]
fn reports_are_sent_before_anything_else_is() {
    let mut line = Line::new(remote(address(1, 4000)));
    line.order(Order::SetFlow(Flow::NONE));
    line.run(REPORTS * 2);
    assert_eq!(line.out.0, []);
    let told: Vec<_> = line.out.1.iter().map(|(to, data)| (*to, read(data).1)).collect();
    assert_eq!(told, [(address(1, 4001), None); 2]);
}
