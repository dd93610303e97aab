//! Who may be shown, and how often who is asked, under virtual time.

use super::*;
use crate::media::call::bench::{Profile, Rig};
use crate::media::handshake::Job;
use crate::media::path::Path;
use crate::media::types::Asked;
use crate::sdp::Feedback;

const AT_BROWSER: u8 = 96;
const AT_PHONE: u8 = 120;
const CAMERA: u32 = 3;
const PHONE: u32 = 4;
/// Our SSRC toward the browser.
const OURS: u32 = 9;

/// What left, by its way.
#[derive(Default)]
struct Out {
    to_browser: usize,
    rtp: usize,
    rtcp: Vec<Vec<u8>>,
    wanted: usize,
}

impl Sink for Out {
    fn to_browser(&mut self, _: Path, _: &[u8]) {
        self.to_browser += 1;
    }
    fn rtp(&mut self, _: SocketAddr, _: &[u8]) {}
    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
    fn video_rtp(&mut self, _: SocketAddr, _: &[u8]) {
        self.rtp += 1;
    }
    fn video_rtcp(&mut self, _: SocketAddr, data: &[u8]) {
        self.rtcp.push(data.to_vec());
    }
    fn event(&mut self, event: MediaEvent) {
        self.wanted += usize::from(event == MediaEvent::PictureWanted);
    }
    fn learned(&mut self, _: Path) {}
    fn forgotten(&mut self, _: Path) {}
    fn void(&mut self, _: &str) {}
    fn handshake(&mut self, job: Job) -> Result<(), Job> {
        Err(job)
    }
}

struct Stage {
    now: Instant,
    call: Call,
    out: Out,
    sequence: u16,
}

fn phone(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], port))
}

fn stranger() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 66], 4000))
}

impl Stage {
    /// Both ends have been seen, and nothing has been asked for a while.
    fn new(feedback: Feedback) -> Stage {
        let now = Instant::now();
        let mut call = Rig::new(Profile::AeadAes128Gcm).unwrap().into_call();
        call.open_video(now, OURS);
        let mut stage = Stage { now, call, out: Out::default(), sequence: 0 };
        stage.describe(feedback, true);
        stage.camera();
        stage.shown(phone(6000));
        stage.now += Duration::from_secs(10);
        stage.out = Out::default();
        stage
    }

    fn describe(&mut self, feedback: Feedback, shown: bool) {
        let remote = VideoRemote {
            browser_payload: AT_BROWSER,
            sip_payload: AT_PHONE,
            target: Some(phone(6000)),
            rtcp: RtcpTarget::NextPort,
            feedback,
            to_sip: shown,
            to_browser: shown,
        };
        self.call.set_video(self.now, Some(remote), &mut self.out);
    }

    fn packet(&mut self, payload_type: u8, ssrc: u32) -> Vec<u8> {
        self.sequence += 1;
        let (sequence, timestamp) = (self.sequence, u32::from(self.sequence) * 3000);
        let payload = &[1; 100];
        let packet = Packet { payload_type, marker: true, sequence, timestamp, ssrc, payload };
        packet.write(&mut [0; 200]).unwrap().to_vec()
    }

    fn camera(&mut self) {
        let data = self.packet(AT_BROWSER, CAMERA);
        let packet = Packet::parse(&data).unwrap();
        self.call.video_from_browser(self.now, &packet, &mut self.out);
    }

    /// A packet of video from there; how many datagrams the browser got for it.
    fn shown(&mut self, from: SocketAddr) -> usize {
        let (data, before) = (self.packet(AT_PHONE, PHONE), self.out.to_browser);
        self.call.handle_video(self.now, from, &data, &mut self.out);
        self.out.to_browser - before
    }

    /// The phone's wish for a whole picture, or one in its name.
    fn phone_asks(&mut self, from: SocketAddr) {
        let ours = self.call.video.as_ref().unwrap().to_sip.ssrc();
        let mut buffer = [0; MESSAGE];
        let len = feedback::write_pli(&mut buffer, PHONE, ours).unwrap();
        self.call.handle_video_rtcp(self.now, from, &buffer[..len], &mut self.out);
    }

    fn browser_asks(&mut self) {
        let mut buffer = [0; MESSAGE];
        let len = feedback::write_pli(&mut buffer, CAMERA, OURS).unwrap();
        self.call.video_browser_rtcp(self.now, &buffer[..len], &mut self.out);
    }

    /// The browser lacks the packet that it was shown last.
    fn browser_lacks_the_last(&mut self) {
        let video = self.call.video.as_ref().unwrap();
        let (_, offset) = video.to_browser.source().unwrap();
        let missing = [(self.sequence.wrapping_add(offset), 0)];
        let mut buffer = [0; MESSAGE];
        let len = feedback::write_nack(&mut buffer, CAMERA, OURS, missing.into_iter()).unwrap();
        self.call.video_browser_rtcp(self.now, &buffer[..len], &mut self.out);
    }

    fn stats(&self) -> VideoStats {
        self.call.video.as_ref().unwrap().stats()
    }

    /// A hundred times in two seconds.
    fn again_and_again(&mut self, mut ask: impl FnMut(&mut Stage)) {
        for _ in 0..100 {
            ask(self);
            self.now += Duration::from_millis(20);
        }
    }
}

#[test]
fn the_browser_is_asked_four_times_a_second_at_most() {
    let mut stage = Stage::new(Feedback::ALL);
    let before = stage.stats().asked_browser.pictures;
    stage.again_and_again(|stage| stage.phone_asks(phone(6001)));
    let asked = stage.stats().asked_browser.pictures - before;
    assert!((7..=8).contains(&asked), "{asked}");
}

#[test]
fn the_sip_side_is_asked_four_times_a_second_at_most() {
    let mut stage = Stage::new(Feedback::ALL);
    stage.again_and_again(Stage::browser_asks);
    assert!((7..=8).contains(&stage.out.rtcp.len()), "{}", stage.out.rtcp.len());
    assert_eq!(stage.out.wanted, 0);
}

/// By INFO, which costs the SIP server something too.
#[test]
fn a_far_end_without_feedback_is_told_once_a_second_at_most() {
    let mut stage = Stage::new(Feedback::default());
    stage.again_and_again(Stage::browser_asks);
    assert_eq!((stage.out.wanted, stage.out.rtcp.len()), (2, 0));
}

#[test]
fn a_stranger_s_picture_is_not_shown() {
    let mut stage = Stage::new(Feedback::ALL);
    assert_eq!(stage.shown(stranger()), 0);
    assert_eq!(stage.call.stats().foreign_source, 1);
    assert_eq!(stage.shown(phone(6000)), 1);
}

#[test]
fn a_stranger_s_wishes_are_not_passed_on() {
    let mut stage = Stage::new(Feedback::ALL);
    stage.phone_asks(stranger());
    assert_eq!((stage.call.stats().foreign_source, stage.out.to_browser), (1, 0));
    stage.phone_asks(phone(6001));
    assert_eq!(stage.out.to_browser, 1);
}

#[test]
fn nothing_is_shown_while_it_is_held_and_a_whole_picture_afterwards() {
    let mut stage = Stage::new(Feedback::ALL);
    stage.describe(Feedback::ALL, false);
    // With the first after a description the browser is asked for a picture.
    stage.shown(phone(6000));
    assert_eq!(stage.shown(phone(6000)), 0);
    stage.now += Duration::from_secs(1);
    stage.camera();
    assert_eq!((stage.out.rtp, stage.out.rtcp.len()), (0, 0));
    let asked = stage.stats();
    stage.describe(Feedback::ALL, true);
    let after = stage.stats();
    assert_eq!(after.asked_browser.pictures, asked.asked_browser.pictures + 1);
    assert_eq!(after.asked_sip.pictures, asked.asked_sip.pictures + 1);
    assert_eq!(stage.shown(phone(6000)), 1);
}

#[test]
fn a_far_end_that_repeats_nothing_is_not_asked_to() {
    for nack in [true, false] {
        let mut stage = Stage::new(Feedback { nack, ..Feedback::ALL });
        assert_eq!(stage.shown(phone(6000)), 1);
        stage.browser_lacks_the_last();
        assert_eq!(stage.out.rtcp.len(), usize::from(nack));
    }
}

/// Of each stream, whoever its receiver is: packets again, and whole pictures.
#[test]
fn what_is_asked_for_is_counted() {
    let mut stage = Stage::new(Feedback::ALL);
    let before = stage.stats();
    stage.camera();
    stage.shown(phone(6000));
    stage.browser_lacks_the_last();
    let ours = stage.call.video.as_ref().unwrap().to_sip.ssrc();
    let (_, offset) = stage.call.video.as_ref().unwrap().to_sip.source().unwrap();
    let last = (stage.sequence - 1).wrapping_add(offset);
    let mut buffer = [0; MESSAGE];
    let missing = [(last.wrapping_sub(2), 0b11)];
    let len = feedback::write_nack(&mut buffer, PHONE, ours, missing.into_iter()).unwrap();
    stage.call.handle_video_rtcp(stage.now, phone(6001), &buffer[..len], &mut stage.out);
    stage.browser_asks();
    stage.phone_asks(phone(6001));
    stage.phone_asks(phone(6001));
    let stats = stage.stats().since(&before);
    let asked = |packets, pictures| Asked { packets, pictures };
    assert_eq!(stats.browser_asked, asked(1, 1));
    assert_eq!(stats.asked_sip, asked(1, 1));
    assert_eq!(stats.sip_asked, asked(3, 2));
    assert_eq!(stats.asked_browser, asked(3, 1), "a picture is asked for once in a while");
    assert_eq!((stats.from_browser.packets, stats.to_browser.packets), (1, 1));
}
