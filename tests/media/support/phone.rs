//! A SIP phone's media: RTP, or SRTP.

use std::net::{SocketAddr, UdpSocket};

use wrtc_gateway::media::SipRemote;
use wrtc_gateway::sdp::PayloadMap;

use super::keys::Locks;
use super::sound::{Tone, expand, purity};
use super::{LOOPBACK, sip_remote};

/// A packet as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
}

impl Heard {
    pub fn parse(data: &[u8]) -> Heard {
        assert_eq!(data[0], 0x80, "a plain header");
        let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        Heard {
            payload_type: data[1] & 0x7F,
            marker: data[1] & 0x80 != 0,
            sequence: word(0) as u16,
            timestamp: word(4),
            ssrc: word(8),
            payload: data[12..].to_vec(),
        }
    }
}

pub fn packet(kind: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut data = vec![0x80, kind];
    data.extend(sequence.to_be_bytes());
    data.extend(timestamp.to_be_bytes());
    data.extend(ssrc.to_be_bytes());
    data.extend(payload);
    data
}

/// Asserts one SSRC, numbers without a hole, and timestamps that go on by whole frames.
pub fn assert_gapless(heard: &[Heard], what: &str) {
    assert!(!heard.is_empty(), "{what}: nothing came");
    for pair in heard.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        assert_eq!(a.ssrc, b.ssrc, "{what}: the SSRC changed");
        assert_eq!(b.sequence.wrapping_sub(a.sequence), 1, "{what}: a hole in the numbers");
        let step = b.timestamp.wrapping_sub(a.timestamp);
        assert!((1..=16_000).contains(&step), "{what}: a timestamp jumped by {step}");
    }
}

/// Purity of a mu-law tone over the packets heard.
pub fn tone_of(heard: &[Heard], frequency: u32) -> f64 {
    let samples: Vec<f64> =
        heard.iter().flat_map(|h| h.payload.iter().map(|byte| expand(*byte))).collect();
    purity(&samples, f64::from(frequency))
}

/// The last `frames` packets that are no silence: the gateway covers with silence for a browser
/// that pauses, as a test does when the machine is busy.
pub fn spoken(heard: &[Heard], frames: usize) -> Vec<Heard> {
    let sound = |h: &&Heard| h.payload.iter().any(|byte| *byte != 0xFF && *byte != 0xD5);
    let all: Vec<Heard> = heard.iter().filter(sound).cloned().collect();
    assert!(all.len() >= frames, "{} frames of sound, not {frames}", all.len());
    all[all.len() - frames..].to_vec()
}

pub struct Phone {
    pub socket: UdpSocket,
    pub rtcp: UdpSocket,
    pub gateway: Option<SocketAddr>,
    pub heard: Vec<Heard>,
    pub tone: Tone,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload_type: u8,
    pub silent: bool,
    /// `None` for plain RTP.
    pub locks: Option<Locks>,
    /// RTCP that came to the RTP port, opened.
    pub reports: Vec<Vec<u8>>,
}

impl Phone {
    pub fn new() -> Phone {
        // The next port is for RTCP, and must be nobody else's.
        let (socket, rtcp) = std::iter::repeat_with(|| {
            let socket = UdpSocket::bind((LOOPBACK, 0)).ok()?;
            let next = socket.local_addr().ok()?.port().checked_add(1)?;
            Some((socket, UdpSocket::bind((LOOPBACK, next)).ok()?))
        })
        .take(1000)
        .flatten()
        .next()
        .expect("two ports side by side");
        socket.set_nonblocking(true).unwrap();
        rtcp.set_nonblocking(true).unwrap();
        Phone {
            socket,
            rtcp,
            gateway: None,
            heard: Vec::new(),
            tone: Tone::new(1000),
            sequence: 65_500,
            timestamp: 0xFFFF_F000,
            ssrc: 0x5050_5050,
            payload_type: 0,
            silent: false,
            locks: None,
            reports: Vec::new(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn remote(&self, payloads: PayloadMap) -> SipRemote {
        sip_remote(Some(self.address()), payloads)
    }

    /// Sends the next 20 ms of the tone.
    pub fn speak(&mut self) {
        let frame = self.tone.frame();
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        if !self.silent {
            self.send(self.payload_type, &frame);
        }
    }

    pub fn send(&mut self, kind: u8, payload: &[u8]) {
        if let Some(gateway) = self.gateway {
            let mut data = packet(kind, self.sequence, self.timestamp, self.ssrc, payload);
            if let Some(locks) = &mut self.locks {
                data = locks.seal(&data);
            }
            self.socket.send_to(&data, gateway).unwrap();
        }
    }

    /// Takes what has come.
    pub fn serve(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
            let data = &buffer[..len];
            let is_report = (200..=207).contains(&data[1]);
            let opened = match &mut self.locks {
                None => Some(data.to_vec()),
                Some(locks) if is_report => locks.open_report(data),
                Some(locks) => locks.open(data),
            };
            match opened {
                Some(data) if is_report => self.reports.push(data),
                Some(data) => self.heard.push(Heard::parse(&data)),
                None => {}
            }
        }
    }
}
