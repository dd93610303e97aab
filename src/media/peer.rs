//! One peer connection of the browser: ICE, DTLS and SRTP together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use crate::sdp::IceCredentials;

use super::dtls::{Dtls, Event, Identity};
use super::ice::{Check, Ice, Outcome};
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
    dtls: Dtls,
    srtp: Option<Srtp>,
    identity: Arc<Identity>,
    /// Where the browser's handshake comes from; before a nomination replies go there.
    dtls_from: Option<SocketAddr>,
}

impl Peer {
    pub fn new(local: IceCredentials, identity: Arc<Identity>) -> Self {
        Peer {
            ice: Ice::new(local),
            dtls: Dtls::new(identity.clone()),
            srtp: None,
            identity,
            dtls_from: None,
        }
    }

    pub fn set_remote(&mut self, now: Instant, remote: &BrowserRemote) -> Option<Notice> {
        self.ice.set_remote(remote.ice.clone());
        let event = self.dtls.set_remote(now, remote.fingerprint, remote.setup);
        if self.ice.selected().is_some() {
            self.dtls.handle_reachable(now);
        }
        event.and_then(|event| self.handle_dtls(event))
    }

    pub fn handle_check(&mut self, now: Instant, from: SocketAddr, check: &mut Check) -> Outcome {
        let provider = self.identity.provider().clone();
        let outcome = self.ice.handle_check(now, from, check, provider.crypto());
        if self.ice.selected().is_some() {
            self.dtls.handle_reachable(now);
        }
        outcome
    }

    /// A DTLS datagram from a validated address.
    pub fn handle_handshake(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: &[u8],
    ) -> Option<Notice> {
        self.dtls_from = Some(from);
        let event = self.dtls.handle_datagram(now, data)?;
        self.handle_dtls(event)
    }

    /// A DTLS datagram to send, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, BytesMut)> {
        // Back to where its last flight came from, which may be ahead of the nomination.
        let from = self.dtls_from.filter(|addr| self.ice.is_valid(*addr));
        let to = from.or_else(|| self.ice.selected())?;
        self.dtls.poll_transmit().map(|data| (to, data))
    }

    pub fn open_rtp(&mut self, data: &[u8]) -> Option<Result<BytesMut, Refused>> {
        self.srtp.as_mut().map(|srtp| srtp.open_rtp(data))
    }

    pub fn open_rtcp(&mut self, data: &[u8]) -> Option<Result<BytesMut, Refused>> {
        self.srtp.as_mut().map(|srtp| srtp.open_rtcp(data))
    }

    /// Where and what to send for a plain RTP packet; `None` until connected.
    pub fn seal_rtp(&mut self, packet: &[u8]) -> Option<(SocketAddr, BytesMut)> {
        let to = self.ice.destination(self.dtls_from)?;
        let sealed = self.srtp.as_mut()?.seal_rtp(packet)?;
        Some((to, sealed))
    }

    pub fn seal_rtcp(&mut self, packet: &[u8]) -> Option<(SocketAddr, BytesMut)> {
        let to = self.ice.destination(self.dtls_from)?;
        let sealed = self.srtp.as_mut()?.seal_rtcp(packet)?;
        Some((to, sealed))
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
            Event::Connected { profile, keys } => {
                match Srtp::new(profile, keys, self.identity.provider().clone()) {
                    Ok(srtp) => {
                        self.srtp = Some(srtp);
                        Some(Notice::Connected(MediaEvent::DtlsConnected {
                            profile: profile.name(),
                        }))
                    }
                    Err(_) => Some(Notice::Event(MediaEvent::DtlsFailed {
                        reason: DtlsFailure::NoSrtpProfile,
                    })),
                }
            }
            Event::Failed(reason) => Some(Notice::Event(MediaEvent::DtlsFailed { reason })),
        }
    }
}
