//! One peer connection of the browser: ICE, DTLS and SRTP together.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::sdp::IceCredentials;

use super::dtls::{Event, Identity};
use super::handshake::{Done, Handshake, Job};
use super::ice::{Check, Ice, Outcome};
use super::path::Path;
use super::srtp::{Refused, Srtp};
use super::types::{BrowserRemote, DtlsFailure, MediaEvent};

/// What a peer connection has noticed.
#[derive(Debug)]
pub enum Notice {
    Connected(MediaEvent),
    Event(MediaEvent),
}

pub struct Peer {
    pub ice: Ice,
    dtls: Handshake,
    srtp: Option<Srtp>,
    identity: Arc<Identity>,
    /// Where the browser's handshake comes from; before a nomination replies go there.
    dtls_from: Option<Path>,
}

impl Peer {
    /// The number is one that no other peer connection of the call has had.
    pub fn new(number: u32, local: IceCredentials, identity: Arc<Identity>) -> Self {
        Peer {
            ice: Ice::new(local),
            dtls: Handshake::new(number, identity.clone()),
            srtp: None,
            identity,
            dtls_from: None,
        }
    }

    pub fn number(&self) -> u32 {
        self.dtls.number()
    }

    pub fn set_remote(&mut self, remote: &BrowserRemote) {
        self.ice.set_remote(remote.ice.clone());
        self.dtls.set_remote(remote.fingerprint, remote.setup);
        if self.ice.selected().is_some() {
            self.dtls.handle_reachable();
        }
    }

    pub fn handle_check(&mut self, now: Instant, from: Path, check: &mut Check) -> Outcome {
        let provider = self.identity.provider().clone();
        let outcome = self.ice.handle_check(now, from, check, provider.crypto());
        if self.ice.selected().is_some() {
            self.dtls.handle_reachable();
        }
        outcome
    }

    /// Keys without a handshake, for benchmarks.
    pub fn install(&mut self, srtp: Srtp) {
        self.srtp = Some(srtp);
    }

    /// A DTLS datagram from a validated address.
    pub fn handle_handshake(&mut self, now: Instant, from: Path, data: &[u8]) -> Option<Notice> {
        self.dtls_from = Some(from);
        let event = self.dtls.handle_datagram(now, data)?;
        self.handle_dtls(event)
    }

    /// Work of the handshake, to be done elsewhere.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.dtls.poll_job()
    }

    pub fn handle_refused(&mut self, job: Job) {
        self.dtls.handle_refused(job);
    }

    pub fn handle_done(&mut self, done: Done) -> Vec<Notice> {
        let events = self.dtls.handle_done(done);
        events.into_iter().filter_map(|event| self.handle_dtls(event)).collect()
    }

    /// A DTLS datagram to send, and where to.
    pub fn poll_transmit(&mut self) -> Option<(Path, BytesMut)> {
        // Back to where its last flight came from, which may be ahead of the nomination.
        let from = self.dtls_from.filter(|addr| self.ice.is_valid(*addr));
        let to = from.or_else(|| self.ice.selected())?;
        self.dtls.poll_transmit().map(|data| (to, data))
    }

    /// Opens a packet in place; `None` until connected.
    pub fn open_rtp<'a>(&mut self, data: &'a mut [u8]) -> Option<Result<&'a [u8], Refused>> {
        self.srtp.as_mut().map(|srtp| srtp.open_rtp(data))
    }

    /// See [`Srtp::age`].
    pub fn age(&mut self) {
        if let Some(srtp) = &mut self.srtp {
            srtp.age();
        }
    }

    pub fn open_rtcp<'a>(&mut self, data: &'a mut [u8]) -> Option<Result<&'a [u8], Refused>> {
        self.srtp.as_mut().map(|srtp| srtp.open_rtcp(data))
    }

    /// Seals the plain RTP packet `buffer[..len]` in place; where to, and what. `None` until connected.
    pub fn seal_rtp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<(Path, &'a [u8])> {
        let to = self.ice.destination(self.dtls_from)?;
        Some((to, self.srtp.as_mut()?.seal_rtp(buffer, len)?))
    }

    pub fn seal_rtcp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<(Path, &'a [u8])> {
        let to = self.ice.destination(self.dtls_from)?;
        Some((to, self.srtp.as_mut()?.seal_rtcp(buffer, len)?))
    }

    pub fn is_secure(&self) -> bool {
        self.srtp.is_some()
    }

    pub fn malformed(&self) -> u64 {
        self.dtls.malformed()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ice.poll_timeout().into_iter().chain(self.dtls.poll_timeout()).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) -> [Option<Notice>; 2] {
        let lost = self.ice.handle_timeout(now).then_some(Notice::Event(MediaEvent::IceLost));
        let dtls = self.dtls.handle_timeout(now).and_then(|event| self.handle_dtls(event));
        [lost, dtls]
    }

    fn handle_dtls(&mut self, event: Event) -> Option<Notice> {
        match event {
            Event::Connected { profile, keys } => match Srtp::new(profile, &keys) {
                Some(srtp) => {
                    self.srtp = Some(srtp);
                    Some(Notice::Connected(MediaEvent::DtlsConnected { profile: profile.name() }))
                }
                None => Some(Notice::Event(MediaEvent::DtlsFailed {
                    reason: DtlsFailure::NoSrtpProfile,
                })),
            },
            Event::Failed(reason) => Some(Notice::Event(MediaEvent::DtlsFailed { reason })),
        }
    }
}
