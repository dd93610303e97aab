//! Datagrams as a call gets them, with the keys that a fuzzer cannot guess.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};

use super::bench::association;
use super::{Call, Order, Sink};
use crate::media::dtls::{Dtls, Identity};
use crate::media::handshake::Job;
use crate::media::ice::Check;
use crate::media::path::Path;
use crate::media::rtcp::Clock;
use crate::media::rtp::Class;
use crate::media::srtp::{OVERHEAD, Profile, Srtp};
use crate::media::tcp::FrameReader;
use crate::media::types::{BrowserRemote, Flow, MediaEvent, SipRemote, Sounds, VideoRemote};
use crate::sdp::{Codec, Feedback, IceCredentials, PayloadMap, RtcpTarget, Setup, write};

/// What a worker's buffers hold.
const DATAGRAM: usize = 2048;
const MAX_DATAGRAMS: usize = 64;

/// A key takes longer to make than an input to run: ours and the browser's.
static IDENTITIES: LazyLock<Option<[Arc<Identity>; 2]>> = LazyLock::new(|| {
    Some([Arc::new(Identity::generate().ok()?), Arc::new(Identity::generate().ok()?)])
});

fn path(number: u8) -> Path {
    let peer = SocketAddr::from(([192, 0, 2, 1], 5000 + u16::from(number & 1)));
    if number & 2 == 0 { Path::Udp(peer) } else { Path::Tcp { peer, connection: 1 } }
}

fn phone(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 6000 + u16::from(number)))
}

/// What a call sends: DTLS for the browser is kept, handshakes are done at once.
#[derive(Default)]
struct Exit {
    flights: Vec<Vec<u8>>,
    jobs: Vec<Job>,
}

impl Sink for Exit {
    fn to_browser(&mut self, _: Path, data: &[u8]) {
        if Class::of(data) == Class::Dtls {
            self.flights.push(data.to_vec());
        }
    }
    fn rtp(&mut self, _: SocketAddr, _: &[u8]) {}
    fn rtcp(&mut self, _: SocketAddr, _: &[u8]) {}
    fn event(&mut self, _: MediaEvent) {}
    fn handshake(&mut self, job: Job) -> Result<(), Job> {
        self.jobs.push(job);
        Ok(())
    }
    fn learned(&mut self, _: Path) {}
    fn forgotten(&mut self, _: Path) {}
    fn void(&mut self, _: &str) {}
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.to_owned(), pwd: "p".repeat(24) }
}

struct Bench {
    call: Call,
    exit: Exit,
    now: Instant,
}

impl Bench {
    fn new(setup: Setup, browser: PayloadMap, sip: PayloadMap, video: bool) -> Option<Self> {
        let now = Instant::now();
        let [ours, theirs] = IDENTITIES.as_ref()?;
        let clock = Clock::new(now, SystemTime::UNIX_EPOCH);
        let mut call = Call::new(now, clock, ours.clone(), credentials("ours"), 7, "f".to_owned())
            .with(Sounds::default(), Some(Duration::from_secs(10)))
            .with_opus_complexity(0);
        if video {
            call.open_video(now, 8);
        }
        let remote = BrowserRemote {
            ice: Some(credentials("them")),
            fingerprint: Some(theirs.fingerprint()),
            setup,
            payloads: browser,
        };
        let sip = SipRemote {
            target: Some(phone(0)),
            payloads: sip,
            rtcp: RtcpTarget::default(),
            srtp: None,
        };
        let mut bench = Bench { call, exit: Exit::default(), now };
        bench.order(Order::SetBrowser(Box::new(remote)));
        bench.order(Order::SetSip(Box::new(sip)));
        bench.order(Order::SetFlow(Flow::BOTH));
        if video {
            bench.order(Order::SetVideo(Some(Box::new(VideoRemote {
                browser_payload: 96,
                sip_payload: 97,
                target: Some(phone(2)),
                rtcp: RtcpTarget::default(),
                feedback: Feedback::ALL,
                to_sip: true,
                to_browser: true,
            }))));
        }
        Some(bench)
    }

    fn order(&mut self, order: Order) {
        self.call.handle_order(self.now, order, &mut self.exit);
        self.work();
    }

    /// As a worker does.
    fn browser(&mut self, from: Path, data: &mut [u8]) {
        if Class::of(data) != Class::Stun {
            self.call.handle_browser(self.now, from, data, &mut self.exit);
        } else if let Ok(mut check) = Check::parse(data) {
            self.call.handle_check(self.now, from, &mut check, &mut self.exit);
        }
        self.work();
    }

    fn work(&mut self) {
        while let Some(job) = self.exit.jobs.pop() {
            let done = job.run(self.now);
            self.call.handle_handshaken(self.now, done, &mut self.exit);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.call.poll_timeout().is_some_and(|at| at <= self.now) {
            self.call.handle_timeout(self.now, &mut self.exit);
            self.work();
        }
    }

    /// The browser has nominated its first path.
    fn reach(&mut self) -> Option<()> {
        let mut check = Message::new();
        check.write_header();
        BINDING_REQUEST.add_to(&mut check).ok()?;
        check.add(ATTR_USERNAME, b"ours:them");
        check.add(ATTR_USE_CANDIDATE, &[]);
        let check = signed(check, "ours", true)?;
        self.browser(path(0), &mut check.clone());
        self.call.peer.ice.selected().map(|_| ())
    }
}

/// With the integrity of that user, where one is given, and the fingerprint.
fn signed(mut message: Message, ufrag: &str, integrity: bool) -> Option<Vec<u8>> {
    let [ours, _] = IDENTITIES.as_ref()?;
    if integrity {
        let password = credentials(ufrag).pwd;
        let crypto = ours.provider().crypto();
        MessageIntegrity::new_raw_integrity_with_provider(password.as_bytes(), crypto)
            .add_to(&mut message)
            .ok()?;
    }
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// Datagrams: a byte of what is to be done with it, one of its length, itself.
fn pieces(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([what, len], rest) = input.split_first_chunk::<2>()?;
        // The high ones are four bytes a step, for long datagrams.
        let len = usize::from(*len);
        let len = if len < 128 { len } else { 128 + (len - 128) * 15 };
        let (piece, rest) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        input = rest;
        Some((*what, piece))
    })
    .take(MAX_DATAGRAMS)
}

/// STUN from a browser, by UDP or in the frames of ICE-TCP.
pub fn stun(input: &[u8]) {
    let payloads = write::offered(&[Codec::Pcmu]);
    let Some(mut bench) = Bench::new(Setup::Passive, payloads.clone(), payloads, false) else {
        return;
    };
    let mut frames = FrameReader::new();
    for (what, piece) in pieces(input) {
        if what & 0x10 != 0 {
            bench.order(Order::RestartIce(credentials("next")));
        }
        if what & 0x20 != 0 {
            bench.wait(Duration::from_secs(11));
        }
        let mut message = Message::new();
        // As it is, with its fingerprint made right, or its integrity, too.
        let mut data = match what & 3 {
            0 => piece.to_vec(),
            mode => match message.unmarshal_binary(piece) {
                Ok(()) => signed(message, "ours", mode & 1 == 0).unwrap_or_default(),
                Err(_) => piece.to_vec(),
            },
        };
        data.truncate(DATAGRAM);
        if what & 4 == 0 {
            bench.browser(path(what >> 3 & 1), &mut data);
            continue;
        }
        let framed = what & 0x40 == 0;
        let prefix = (data.len() as u16).to_be_bytes();
        let stream = if framed { [&prefix[..], &data[..]].concat() } else { data };
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let space = frames.space();
            let taken = rest.len().min(space.len());
            let (now, after) = rest.split_at(taken);
            space.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            frames.filled(taken);
            rest = after;
            if frames.peek().is_err() {
                return;
            }
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => bench.browser(path(2), frame),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    }
    bench.wait(Duration::from_secs(31));
}

/// DTLS from a browser: alone, or woven into the handshake of one that is in order.
pub fn dtls(input: &[u8]) {
    let Some((mode, input)) = input.split_first() else { return };
    let payloads = write::offered(&[Codec::Pcmu]);
    let setup = if mode & 1 == 0 { Setup::Passive } else { Setup::Active };
    let Some(mut bench) = Bench::new(setup, payloads.clone(), payloads, false) else { return };
    if bench.reach().is_none() {
        return;
    }
    if mode & 2 == 0 {
        for (what, piece) in pieces(input) {
            bench.browser(path(0), &mut piece.to_vec());
            bench.wait(Duration::from_millis(u64::from(what & 0xF) * 100));
        }
    } else {
        handshake(&mut bench, setup, input);
    }
    bench.wait(Duration::from_secs(31));
}

fn handshake(bench: &mut Bench, setup: Setup, input: &[u8]) {
    let Some([ours, theirs]) = IDENTITIES.as_ref() else { return };
    let mut browser = Dtls::new(theirs.clone());
    let role = if setup == Setup::Passive { Setup::Active } else { Setup::Passive };
    browser.set_remote(Some(ours.fingerprint()), role);
    browser.handle_reachable(bench.now);
    let mut pieces = pieces(input);
    for _ in 0..24 {
        let mut moved = false;
        while let Some(datagram) = browser.poll_transmit() {
            moved = true;
            let mut data = datagram.to_vec();
            match pieces.next() {
                // Left alone.
                None => {}
                Some((what, _)) if what & 7 == 0 => {}
                // Before it, instead of it, over a part of it, at its end, cut off.
                Some((what, piece)) => match what & 7 {
                    1 => bench.browser(path(0), &mut piece.to_vec()),
                    2 => data = piece.to_vec(),
                    3 | 4 => {
                        let at = usize::from(what >> 3) * if what & 7 == 3 { 1 } else { 9 };
                        data.iter_mut().skip(at).zip(piece).for_each(|(to, from)| *to = *from);
                    }
                    5 => data.extend_from_slice(piece),
                    6 => data.truncate(data.len().saturating_sub(usize::from(what >> 3))),
                    _ => bench.browser(path(0), &mut data.clone()),
                },
            }
            data.truncate(DATAGRAM);
            bench.browser(path(0), &mut data);
        }
        for flight in std::mem::take(&mut bench.exit.flights) {
            moved = true;
            browser.handle_datagram(bench.now, &flight);
        }
        if !moved {
            return;
        }
    }
}

/// RTP and RTCP from both sides, with audio of several codecs and video.
pub fn rtp(input: &[u8]) {
    let Some((mode, input)) = input.split_first() else { return };
    let codecs = [Codec::Pcmu, Codec::Opus, Codec::G722, Codec::Pcma];
    let chosen = |bits: u8| {
        let first = codecs.get(usize::from(bits & 3)).copied().unwrap_or(Codec::Pcmu);
        let mut all = vec![first];
        all.extend(codecs.into_iter().filter(|codec| *codec != first));
        write::offered(&all)
    };
    let profile = if mode & 0x20 == 0 { Profile::AeadAes128Gcm } else { Profile::Aes128CmSha1_80 };
    let video = mode & 0x10 != 0;
    let bench = Bench::new(Setup::Passive, chosen(*mode), chosen(mode >> 2), video);
    let (Some(mut bench), Some([gateway, mut browser])) = (bench, association(profile)) else {
        return;
    };
    if bench.reach().is_none() {
        return;
    }
    bench.call.peer.install(gateway);
    for (what, piece) in pieces(input) {
        let mut data = piece.to_vec();
        data.truncate(DATAGRAM);
        let from = phone(if what & 0x08 == 0 { 0 } else { 4 });
        let Bench { call, exit, now } = &mut bench;
        match what & 7 {
            0 => call.handle_rtp(*now, from, &mut data, exit),
            1 => call.handle_rtcp(*now, phone(1), &mut data),
            2 | 3 => {
                if let Some(mut sealed) = sealed(&mut browser, data, what & 1 == 1) {
                    call.handle_browser(*now, path(0), &mut sealed, exit);
                }
            }
            4 => call.handle_video(*now, phone(2), &data, exit),
            5 => call.handle_video_rtcp(*now, phone(3), &data, exit),
            6 => call.handle_browser(*now, path(0), &mut data, exit),
            _ => bench.act(piece),
        }
        bench.wait(Duration::from_millis(u64::from(what >> 4) * 10));
    }
    for _ in 0..4 {
        bench.wait(Duration::from_secs(3));
    }
    let _ = bench.call.stats();
}

impl Bench {
    fn act(&mut self, what: &[u8]) {
        match what {
            [b'd', digit, ..] => self.order(Order::SendDigits(char::from(*digit).to_string())),
            [b'p', digit, ..] => self.order(Order::PlayDigit(char::from(*digit))),
            [b'v', ..] => self.order(Order::AskBrowser),
            [b'f', bits, ..] => self.order(Order::SetFlow(Flow {
                to_sip: bits & 1 != 0,
                to_browser: bits & 2 != 0,
                keep_alive: bits & 4 != 0,
                ..Flow::NONE
            })),
            _ => {}
        }
    }
}

/// What the browser would have sent.
fn sealed(browser: &mut Srtp, mut data: Vec<u8>, is_rtcp: bool) -> Option<Vec<u8>> {
    let len = data.len();
    data.resize(len + 2 * OVERHEAD, 0);
    let sealed = match is_rtcp {
        true => browser.seal_rtcp(&mut data, len),
        false => browser.seal_rtp(&mut data, len),
    };
    sealed.map(<[u8]>::to_vec)
}
