//! The SIP leg: what was offered there, what was agreed.

use std::net::SocketAddr;

use crate::media::SipRemote;
use crate::sdp::write::{self, SipSide};
use crate::sdp::{Codec, Direction, Origin, PayloadMap, SipSdp, negotiate};
use crate::sip::SessionId;

#[derive(Debug)]
pub(super) struct SipLeg {
    pub session: SessionId,
    pub rtp: SocketAddr,
    /// The peer's last usable description.
    pub remote: Option<SipSdp>,
    /// Our direction as we last wrote it, before the peer had its say.
    pub wanted: Direction,
    /// Our direction as agreed.
    pub agreed: Direction,
    /// A re-INVITE of ours is out.
    pub reinviting: bool,
    /// Is telephone-event negotiated at all?
    events: bool,
    /// Our numbers in the last description we wrote.
    local: PayloadMap,
    origin: Origin,
}

impl SipLeg {
    pub fn new(session: SessionId, rtp: SocketAddr, origin: u64, events: bool) -> Self {
        Self {
            session,
            rtp,
            remote: None,
            wanted: Direction::SendRecv,
            agreed: Direction::Inactive,
            reinviting: false,
            events,
            local: PayloadMap::default(),
            origin: Origin::new(origin),
        }
    }

    /// The codec in use.
    pub fn codec(&self) -> Option<Codec> {
        let remote = self.remote.as_ref()?;
        remote.payloads.preferred().map(|format| format.codec)
    }

    /// Can digits be sent as RFC 4733 events?
    pub fn takes_digits(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.payloads.has_events())
    }

    /// An offer with these codecs, the preferred first.
    pub fn offer(&mut self, codecs: &[Codec], wanted: Direction) -> String {
        let mut payloads = write::offered(codecs);
        // Numbers in use keep their meaning (RFC 3264 8.3.2).
        for format in &mut payloads.formats {
            format.payload = self.local.payload_of(format.codec).unwrap_or(format.payload);
        }
        payloads.telephone_event = self.local.telephone_event.or(payloads.telephone_event);
        payloads.telephone_event_48k =
            self.local.telephone_event_48k.or(payloads.telephone_event_48k);
        if !self.events {
            payloads = payloads.without_events();
        }
        self.local = payloads;
        self.wanted = wanted;
        write::sip(
            &mut self.origin,
            SipSide { direction: wanted, ..SipSide::plain(self.rtp, &self.local) },
            None,
        )
    }

    /// The same description again with another direction: hold and retrieve.
    pub fn offer_direction(&mut self, wanted: Direction, codecs: &[Codec]) -> String {
        if self.local.formats.is_empty() {
            return self.offer(codecs, wanted);
        }
        self.wanted = wanted;
        write::sip(
            &mut self.origin,
            SipSide { direction: wanted, ..SipSide::plain(self.rtp, &self.local) },
            None,
        )
    }

    /// Our answer to `offer` with one codec, so that there is no doubt what is sent.
    pub fn answer(&mut self, offer: SipSdp, codec: Codec, wanted: Direction) -> String {
        self.local = negotiate::only(&offer.payloads, codec);
        if !self.events {
            self.local = std::mem::take(&mut self.local).without_events();
        }
        self.wanted = wanted;
        self.agreed = negotiate::answer_direction(offer.direction, wanted);
        let text = write::sip(
            &mut self.origin,
            SipSide { direction: self.agreed, ..SipSide::plain(self.rtp, &self.local) },
            Some((&offer.lines, offer.audio)),
        );
        let payloads = self.local.clone();
        self.remote = Some(SipSdp { payloads, ..offer });
        text
    }

    /// Takes the peer's answer to an offer of ours. Our own description sent back to us, as Genesys does
    /// for a call that failed, names nowhere to send to.
    pub fn settle(&mut self, mut answer: SipSdp) {
        if answer.target == Some(self.rtp) {
            answer.target = None;
        }
        if !self.events {
            answer.payloads = answer.payloads.without_events();
        }
        self.agreed = negotiate::answer_direction(answer.direction, self.wanted);
        self.remote = Some(answer);
    }

    pub fn media(&self) -> Option<SipRemote> {
        let remote = self.remote.as_ref()?;
        Some(SipRemote {
            target: remote.target,
            rtcp: remote.rtcp,
            srtp: None,
            payloads: remote.payloads.clone(),
            ptime: remote.ptime,
        })
    }
}
