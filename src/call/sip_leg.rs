//! The SIP leg: what was offered there, what was agreed.

use std::net::SocketAddr;

use crate::media::SipRemote;
use crate::sdp::write::{self, SipSide};
use crate::sdp::{
    Codec, Crypto, Direction, KeySource, Origin, PayloadMap, RtcpTarget, SdpError, SipSdp,
    SrtpPair, SrtpPolicy, choose, negotiate,
};
use crate::sip::SessionId;

use super::video::SipVideo;

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
    /// One could not be sent: the peer knows nothing of `wanted`.
    pub unsaid: bool,
    pub video: SipVideo,
    /// What the browser has and wishes, as far as it has said so.
    pub across: PayloadMap,
    /// Is telephone-event negotiated at all?
    events: bool,
    srtp: SrtpPolicy,
    keys: KeySource,
    /// The keys in use; `None` while the audio is plain.
    pair: Option<SrtpPair>,
    /// Our numbers in the last description we wrote, and its keys.
    local: PayloadMap,
    crypto: Vec<Crypto>,
    origin: Origin,
}

impl SipLeg {
    /// `keys` is the leg's alone.
    pub fn new(
        session: SessionId,
        rtp: SocketAddr,
        origin: u64,
        events: bool,
        (srtp, keys): (SrtpPolicy, KeySource),
    ) -> Self {
        Self {
            session,
            rtp,
            remote: None,
            wanted: Direction::SendRecv,
            agreed: Direction::Inactive,
            reinviting: false,
            unsaid: false,
            video: SipVideo::default(),
            across: PayloadMap::default(),
            events,
            srtp,
            keys,
            pair: None,
            local: PayloadMap::default(),
            crypto: Vec::new(),
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

    /// What an offer of ours says: as the peer has it, or else by the policy. A plain m-line with keys
    /// beside it (RFC 8643) is what stands a chance with everybody: a 200 that offers RTP/SAVP to an
    /// INVITE without SDP gets no second try.
    fn profile(&self) -> &'static str {
        let theirs = self.remote.as_ref().and_then(|remote| remote.lines.get(remote.audio));
        match theirs.map(|line| line.proto.to_ascii_uppercase()).as_deref() {
            Some("RTP/SAVP") => "RTP/SAVP",
            Some("RTP/SAVPF") => "RTP/SAVPF",
            None if self.srtp == SrtpPolicy::Required => "RTP/SAVP",
            _ => "RTP/AVP",
        }
    }

    fn write_offer(&mut self, wanted: Direction) -> String {
        (self.wanted, self.unsaid) = (wanted, false);
        let profile = self.profile();
        // An m-line that was there once stays, refused if need be (RFC 3264 8).
        let mut like = self.remote.as_ref().map(|remote| {
            let mut lines = remote.lines.clone();
            if let Some(audio) = lines.get_mut(remote.audio) {
                profile.clone_into(&mut audio.proto);
            }
            (lines, remote.audio)
        });
        let video = self.video.offer(wanted, like.as_mut().map(|(lines, _)| lines));
        let side = SipSide {
            direction: wanted,
            profile,
            crypto: &self.crypto,
            video,
            ..SipSide::plain(self.rtp, &self.local)
        };
        write::sip(&mut self.origin, side, like.as_ref().map(|(lines, audio)| (&lines[..], *audio)))
    }

    /// An offer with these codecs, the preferred first. It may be meant for another far end than the one
    /// that is there, which would count rollovers of our sequence numbers from zero: its keys are new.
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
        payloads.wishes = negotiate::wishes(codecs.first().copied(), &self.across);
        self.local = payloads;
        self.crypto = match self.srtp {
            SrtpPolicy::Off => Vec::new(),
            SrtpPolicy::Preferred | SrtpPolicy::Required => self.keys.offer(),
        };
        self.video.begin_offer();
        self.write_offer(wanted)
    }

    /// The same description again with another direction: hold and retrieve.
    pub fn offer_direction(&mut self, wanted: Direction, codecs: &[Codec]) -> String {
        if self.local.formats.is_empty() {
            return self.offer(codecs, wanted);
        }
        if let Some(pair) = &self.pair {
            // What was agreed stays so: no other line may be chosen now. Early dialogs may not have.
            self.crypto.retain(|line| line.key == pair.local);
        }
        self.video.keep();
        self.write_offer(wanted)
    }

    /// Our answer to `offer` with one codec, so that there is no doubt what is sent.
    pub fn answer(&mut self, offer: SipSdp, codec: Codec, wanted: Direction) -> String {
        self.local = negotiate::only(&offer.payloads, codec);
        if !self.events {
            self.local = std::mem::take(&mut self.local).without_events();
        }
        self.local.wishes = negotiate::wishes(Some(codec), &self.across);
        (self.wanted, self.unsaid) = (wanted, false);
        self.agreed = negotiate::answer_direction(offer.direction, wanted);
        self.take_key(&offer);
        let video = self.video.answer(&offer, wanted);
        let side = SipSide {
            direction: self.agreed,
            crypto: &self.crypto,
            rtcp_mux: offer.rtcp == RtcpTarget::Mux,
            video,
            ..SipSide::plain(self.rtp, &self.local)
        };
        let text = write::sip(&mut self.origin, side, Some((&offer.lines, offer.audio)));
        let payloads = PayloadMap { wishes: offer.payloads.wishes, ..self.local.clone() };
        self.remote = Some(SipSdp { payloads, ..offer });
        text
    }

    /// Chooses among an offer's keys. Whoever keeps its own finds ours unchanged, and both go on where
    /// they were; a new one may well be a new far end's.
    fn take_key(&mut self, offer: &SipSdp) {
        let before = self.pair.take();
        self.crypto.clear();
        let Some(Crypto { tag, key: remote }) = choose(&offer.crypto).cloned() else { return };
        let local = match before {
            Some(pair) if pair.remote == remote => pair.local,
            _ => self.keys.key(remote.suite()),
        };
        self.crypto.push(Crypto { tag, key: local.clone() });
        self.pair = Some(SrtpPair { local, remote });
    }

    /// Does the key of an answer fit one that we offered? An answer that brings none is for plain RTP.
    pub fn check_answer(&self, answer: &SipSdp) -> Result<(), SdpError> {
        let plain = answer.crypto.is_empty() || self.crypto.is_empty();
        if plain || self.answered(answer).is_some() { Ok(()) } else { Err(SdpError::WrongKey) }
    }

    /// The key of ours that an answer takes, and its own.
    fn answered(&self, answer: &SipSdp) -> Option<SrtpPair> {
        answer.crypto.iter().find_map(|theirs| {
            let fits =
                |ours: &&Crypto| ours.tag == theirs.tag && ours.key.suite() == theirs.key.suite();
            let ours = self.crypto.iter().find(fits)?;
            let (local, remote) = (ours.key.clone(), theirs.key.clone());
            Some(SrtpPair { local, remote })
        })
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
        if answer.rtcp == RtcpTarget::Mux {
            // We have not asked for it.
            answer.rtcp = RtcpTarget::NextPort;
        }
        self.video.settle(&answer);
        self.agreed = negotiate::answer_direction(answer.direction, self.wanted);
        self.pair = None;
        if let Some(pair) = self.answered(&answer) {
            self.pair = Some(pair);
        } else if self.srtp == SrtpPolicy::Required {
            // A black hole without keys, see `Line::parse_answer`: nothing plain is heard from it.
            self.agreed = Direction::Inactive;
        }
        self.remote = Some(answer);
    }

    pub fn media(&self) -> Option<SipRemote> {
        let remote = self.remote.as_ref()?;
        Some(SipRemote {
            target: remote.target,
            rtcp: remote.rtcp,
            srtp: self.pair.clone().map(Box::new),
            payloads: remote.payloads.clone(),
        })
    }
}
