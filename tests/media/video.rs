//! Video through a running engine: numbers rewritten, holes kept, what receivers ask for passed on.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::Call;
use crate::support::phone::{Heard, assert_gapless, packet};
use wrtc_gateway::media::{CallStats, MediaEvent, VideoLocal, VideoRemote, VideoStats};
use wrtc_gateway::sdp::{Feedback, RtcpTarget};

const AT_BROWSER: u8 = 96;
const AT_PHONE: u8 = 120;

/// The SSRC of the browser's camera, and of the phone's.
const CAMERA: u32 = 0xCA3E_4A00;
const PHONE: u32 = 0x0F0E_0D0C;

const PATIENCE: Duration = Duration::from_secs(20);

/// A packet as large as the path takes.
const FULL: usize = 1188;

struct Stage {
    call: Call,
    local: VideoLocal,
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Stage {
    fn new(feedback: Feedback) -> Stage {
        let mut call = Call::open();
        let local = call.bridge.open_video().unwrap();
        call.describe();
        call.phone.gateway = Some(call.bridge.rtp_local());
        call.connect();
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let stage = Stage { call, local, rtp: socket(), rtcp: socket() };
        stage.describe(feedback, true);
        stage
    }

    fn describe(&self, feedback: Feedback, shown: bool) {
        self.call.bridge.set_video(Some(VideoRemote {
            browser_payload: AT_BROWSER,
            sip_payload: AT_PHONE,
            target: Some(self.rtp.local_addr().unwrap()),
            rtcp: RtcpTarget::At(self.rtcp.local_addr().unwrap()),
            feedback,
            to_sip: shown,
            to_browser: shown,
        }));
    }

    fn camera(&mut self, sequence: u16, timestamp: u32, marker: bool) {
        let kind = AT_BROWSER | u8::from(marker) << 7;
        let plain = packet(kind, sequence, timestamp, CAMERA, &[sequence as u8; FULL]);
        let (seal, _) = self.call.browser.srtp.as_mut().unwrap();
        let sealed = seal.encrypt_rtp(&plain).unwrap();
        self.call.browser.transmit(&sealed);
    }

    fn phone(&self, ssrc: u32, sequence: u16, timestamp: u32, marker: bool) {
        let kind = AT_PHONE | u8::from(marker) << 7;
        let plain = packet(kind, sequence, timestamp, ssrc, &[sequence as u8; FULL]);
        self.rtp.send_to(&plain, self.local.rtp).unwrap();
    }

    fn rtcp_port(&self) -> SocketAddr {
        SocketAddr::new(self.local.rtp.ip(), self.local.rtp.port() + 1)
    }

    /// The next datagram of the phone's sockets that `wanted` takes.
    fn at_phone<T>(&mut self, what: &str, rtcp: bool, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 2048];
        loop {
            let socket = if rtcp { &self.rtcp } else { &self.rtp };
            if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let ours = if rtcp { self.rtcp_port() } else { self.local.rtp };
                assert_eq!(from, ours, "symmetric");
                if let Some(found) = wanted(&buffer[..len]) {
                    return found;
                }
                continue;
            }
            assert!(Instant::now() < until, "{what} never came");
            self.call.browser.serve(Duration::from_millis(2));
        }
    }

    fn rtp_at_phone(&mut self) -> Heard {
        self.at_phone("video", false, |data| Some(Heard::parse(data)))
    }

    /// Video that has come to the browser, `count` packets of it at least.
    fn at_browser(&mut self, count: usize) -> Vec<Heard> {
        let until = Instant::now() + PATIENCE;
        loop {
            let heard = self.call.browser.heard.iter().filter(|h| h.payload_type == AT_BROWSER);
            let heard: Vec<Heard> = heard.cloned().collect();
            if heard.len() >= count {
                return heard;
            }
            assert!(Instant::now() < until, "{} of {count} packets came", heard.len());
            self.call.browser.serve(Duration::from_millis(2));
        }
    }

    /// What of RTCP comes to the browser until there is something that `wanted` takes.
    fn rtcp_at_browser<T>(&mut self, what: &str, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            for data in std::mem::take(&mut self.call.browser.rtcp) {
                if let Some(found) = wanted(&data) {
                    return found;
                }
            }
            assert!(Instant::now() < until, "{what} never came");
            self.call.browser.serve(Duration::from_millis(2));
        }
    }

    fn stats(&mut self, what: &str, wanted: impl Fn(&VideoStats) -> bool) -> CallStats {
        self.call.await_stats(what, |stats| stats.video.as_ref().is_some_and(&wanted))
    }
}

/// Packets of a compound by their kind and format.
fn find(data: &[u8], kind: u8, format: u8) -> Option<Vec<u8>> {
    let mut rest = data;
    while rest.len() >= 4 {
        let len = 4 + 4 * usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (packet, after) = rest.split_at(len);
        if (packet[1], packet[0] & 0x1F) == (kind, format) {
            return Some(packet.to_vec());
        }
        rest = after;
    }
    None
}

fn word(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().unwrap())
}

/// A receiver report with feedback behind it.
fn feedback(kind: u8, format: u8, media: u32, entries: &[u8]) -> Vec<u8> {
    let words = (8 + entries.len() as u16) / 4;
    let mut data = vec![0x80, 201, 0, 1, 0, 0, 0, 9, 0x80 | format, kind];
    data.extend(words.to_be_bytes());
    data.extend(9u32.to_be_bytes());
    data.extend(media.to_be_bytes());
    data.extend(entries);
    data
}

fn pli(data: &[u8]) -> Option<u32> {
    find(data, 206, 1).map(|packet| word(&packet, 8))
}

#[test]
fn frames_pass_both_ways_with_their_holes_beside_the_sound() {
    let mut stage = Stage::new(Feedback::ALL);
    let mut at_phone = Vec::new();
    // 40 frames of two packets; the sound goes on meanwhile. One packet is lost on its way to us.
    for frame in 0..40u16 {
        for part in 0..2 {
            let sequence = 65_500u16.wrapping_add(2 * frame + part);
            let timestamp = u32::from(frame) * 3000;
            if sequence != 65_511 {
                stage.camera(sequence, timestamp, part == 1);
                at_phone.push(stage.rtp_at_phone());
            }
            stage.phone(PHONE, 7 + 2 * frame + part, 5_000 + timestamp, part == 1);
        }
        stage.call.talk(Duration::from_millis(20));
    }
    let at_browser = stage.at_browser(80);
    assert_eq!((at_phone.len(), at_browser.len()), (79, 80));
    assert!(at_browser.iter().all(|packet| packet.ssrc == stage.local.ssrc));
    assert!(
        at_phone
            .iter()
            .all(|packet| (packet.payload_type, packet.ssrc) == (AT_PHONE, at_phone[0].ssrc))
    );
    assert_ne!(at_phone[0].ssrc, CAMERA);
    let (first, last) = (&at_phone[0], &at_phone[78]);
    assert_eq!(last.sequence.wrapping_sub(first.sequence), 79, "the hole is there");
    assert_eq!(last.timestamp.wrapping_sub(first.timestamp), 39 * 3000);
    for (sent, packet) in (0..80).filter(|n| *n != 11).zip(&at_phone) {
        assert_eq!(packet.payload, [65_500u16.wrapping_add(sent) as u8; FULL]);
        assert_eq!(packet.marker, sent % 2 == 1);
    }
    assert_eq!(at_browser[79].sequence.wrapping_sub(at_browser[0].sequence), 79);
    assert!(at_browser.iter().enumerate().all(|(n, packet)| packet.marker == (n % 2 == 1)));

    let stats = stage.stats("all of it", |video| video.to_browser.packets == 80);
    let video = stats.video.unwrap();
    assert_eq!((video.from_browser.packets, video.from_browser.lost), (79, 1));
    assert_eq!((video.to_sip.packets, video.from_sip.lost), (79, 0));
    assert_eq!(video.from_sip.bytes, 80 * FULL as u64);
    assert_eq!((stats.unknown_payload, stats.malformed, stats.foreign_source), (0, 0, 0));
    let sound: Vec<Heard> =
        stage.call.browser.heard.iter().filter(|h| h.payload_type == 0).cloned().collect();
    assert_gapless(&sound, "the sound at the browser");
    assert_eq!((sound.len(), stats.from_sip.packets), (40, 40));
}

#[test]
fn lost_packets_are_asked_for_by_the_senders_numbers() {
    let mut stage = Stage::new(Feedback::ALL);
    for n in 0..10u16 {
        stage.camera(500 + n, 0, n == 9);
        stage.phone(PHONE, 65_530u16.wrapping_add(n), 0, n == 9);
    }
    let first = stage.rtp_at_phone();
    let shown = stage.at_browser(10);
    // The phone lacks the fourth, and two after it.
    let entry = [&first.sequence.wrapping_add(3).to_be_bytes()[..], &[0, 0b101]].concat();
    let nack = feedback(205, 1, first.ssrc, &entry);
    let to = stage.rtcp_port();
    stage.rtcp.send_to(&nack, to).unwrap();
    let nack = stage.rtcp_at_browser("the NACK", |data| find(data, 205, 1));
    assert_eq!((word(&nack, 8), &nack[12..]), (CAMERA, &[1, 247, 0, 0b101][..]), "503");
    // The browser lacks the eighth: 1 by the phone's count.
    let entry = [&shown[7].sequence.to_be_bytes()[..], &[0, 0]].concat();
    let nack = feedback(205, 1, stage.local.ssrc, &entry);
    stage.call.browser.send_rtcp(&nack);
    let nack = stage.at_phone("the NACK", true, |data| find(data, 205, 1));
    assert_eq!((word(&nack, 8), &nack[12..]), (PHONE, &[0, 1, 0, 0][..]));
    // What comes again goes where it belongs, once.
    stage.camera(512, 3000, true);
    stage.camera(510, 3000, false);
    let places: Vec<u16> =
        (0..11).map(|_| stage.rtp_at_phone().sequence.wrapping_sub(first.sequence)).collect();
    assert_eq!(places, [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10]);
}

#[test]
fn a_whole_picture_is_asked_of_the_sender() {
    let mut stage = Stage::new(Feedback { fir: true, ..Feedback::default() });
    stage.camera(1, 0, true);
    let ours = stage.rtp_at_phone().ssrc;
    assert_eq!(stage.rtcp_at_browser("our own at the start", pli), CAMERA);
    stage.call.browser.serve(Duration::from_millis(300));
    let to = stage.rtcp_port();
    stage.rtcp.send_to(&feedback(206, 1, ours, &[]), to).unwrap();
    assert_eq!(stage.rtcp_at_browser("the phone's", pli), CAMERA);

    stage.phone(PHONE, 1, 0, true);
    stage.at_browser(1);
    let asked = |data: &[u8]| find(data, 206, 4).map(|fir| (word(&fir, 12), fir[16]));
    let (source, number) = stage.at_phone("our own FIR at the start", true, asked);
    assert_eq!(source, PHONE);
    stage.call.browser.serve(Duration::from_millis(300));
    stage.call.browser.send_rtcp(&feedback(206, 1, stage.local.ssrc, &[]));
    let (source, next) = stage.at_phone("the browser's", true, asked);
    assert_eq!((source, next), (PHONE, number + 1));
    // Another camera, in the same stream for the browser.
    stage.call.browser.serve(Duration::from_millis(300));
    stage.phone(PHONE + 1, 9_000, 77, true);
    assert_eq!(stage.at_phone("ours for a new source", true, asked).0, PHONE + 1);
    let shown = stage.at_browser(2);
    assert_eq!(shown[1].ssrc, shown[0].ssrc);
    assert_eq!(shown[1].sequence.wrapping_sub(shown[0].sequence), 1);
}

#[test]
fn a_far_end_without_feedback_has_it_told_another_way() {
    let mut stage = Stage::new(Feedback::default());
    stage.phone(PHONE, 1, 0, true);
    stage.at_browser(1);
    stage.call.await_event("the wish", |event| *event == MediaEvent::PictureWanted);
    stage.camera(1, 0, true);
    stage.rtcp_at_browser("our own at the start", pli);
    stage.call.browser.serve(Duration::from_millis(300));
    stage.call.bridge.ask_browser_for_picture();
    assert_eq!(stage.rtcp_at_browser("as told by INFO", pli), CAMERA);
}

#[test]
fn reports_are_of_the_streams_that_were_sent() {
    let mut stage = Stage::new(Feedback::ALL);
    for n in 0..5 {
        stage.camera(n, u32::from(n) * 3000, true);
        stage.phone(PHONE, n, u32::from(n) * 3000, true);
    }
    let first = stage.rtp_at_phone();
    stage.at_browser(5);
    let local = stage.local.ssrc;
    let report = stage.rtcp_at_browser("a sender report", |data| {
        find(data, 200, 1).filter(|report| word(report, 4) == local)
    });
    assert_eq!((word(&report, 20), word(&report, 28)), (5, CAMERA), "five packets, and a block");
    let report = stage.at_phone("a sender report", true, |data| find(data, 200, 1));
    assert_eq!((word(&report, 4), word(&report, 28)), (first.ssrc, PHONE));
    // Its time is that of the packets, some second later.
    let since = word(&report, 16).wrapping_sub(first.timestamp + 4 * 3000);
    assert!(since < 90_000 * 20, "{since}");
}

#[test]
fn what_is_held_does_not_pass_and_its_ports_come_back() {
    let mut stage = Stage::new(Feedback::ALL);
    stage.camera(1, 0, true);
    stage.rtp_at_phone();
    let free = stage.call.engine.stats().free_ports;
    stage.describe(Feedback::ALL, false);
    stage.camera(2, 3000, true);
    stage.phone(PHONE, 1, 0, true);
    stage.stats("both counted", |v| v.from_browser.packets == 2 && v.from_sip.packets == 1);
    stage.describe(Feedback::ALL, true);
    stage.camera(3, 6000, true);
    assert_eq!(stage.rtp_at_phone().payload[0], 3, "the second was not passed on");
    let engine = stage.call.engine.clone();
    drop(stage);
    let until = Instant::now() + PATIENCE;
    while engine.stats().free_ports < free + 2 {
        assert!(Instant::now() < until, "{} of {}", engine.stats().free_ports, free + 2);
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
