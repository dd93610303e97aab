//! The browser leg: ROAP's numbers, the last description, what is outstanding.

use crate::media::{BrowserLocal, BrowserRemote};
use crate::sdp::write::{self, BrowserSide, Shape};
use crate::sdp::{
    BrowserSdp, Codec, Direction, Format, Origin, PayloadMap, Setup, Wishes, negotiate,
};
use crate::wire::RoapIds;

use super::video::{BrowserVideo, Written};

/// The number Chromium knows telephone-event at 8 kHz by.
const TELEPHONE_EVENT: u8 = 126;

/// An offer on its way between us and the browser. One at a time.
#[derive(Debug, Clone)]
pub(super) enum Exchange {
    Idle,
    /// The browser's, not yet answered.
    Theirs {
        ids: RoapIds,
        sdp: Box<BrowserSdp>,
    },
    /// Ours.
    Ours {
        ids: RoapIds,
        offered: Vec<Codec>,
    },
}

/// A message that may come again because its POST was retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    ids: RoapIds,
    sdp: String,
}

#[derive(Debug)]
pub(super) struct BrowserLeg {
    pub local: BrowserLocal,
    pub exchange: Exchange,
    /// The browser's last usable description.
    pub remote: Option<BrowserSdp>,
    /// What it has been heard to know: an offer of its says all, an answer no more than was asked.
    able: Vec<Format>,
    /// What the two of us settled on; its preferred codec is what the browser sends.
    pub payloads: PayloadMap,
    /// The direction we last wrote toward the browser, as the browser sees its own side.
    pub direction: Direction,
    pub video: BrowserVideo,
    /// What the SIP side has and wishes, as far as it has said so.
    pub across: PayloadMap,
    our_id: u64,
    their_id: Option<u64>,
    seq: u64,
    tiebreaker: u32,
    origin: Origin,
    last_offer: Option<Seen>,
    last_answer: Option<Seen>,
}

impl BrowserLeg {
    pub fn new(local: BrowserLocal, our_id: u32, tiebreaker: u32, origin: u64) -> Self {
        Self {
            local,
            exchange: Exchange::Idle,
            remote: None,
            able: Vec::new(),
            payloads: PayloadMap::default(),
            direction: Direction::SendRecv,
            video: BrowserVideo::default(),
            across: PayloadMap::default(),
            our_id: u64::from(our_id),
            their_id: None,
            seq: 0,
            // RFC-less ROAP reserves both ends of the range.
            tiebreaker: tiebreaker.clamp(1, u32::MAX - 1),
            origin: Origin::new(origin),
            last_offer: None,
            last_answer: None,
        }
    }

    pub fn with_video(self, video: BrowserVideo) -> Self {
        Self { video, ..self }
    }

    /// The browser's peer connection is gone; what comes next is another session.
    pub fn forget(&mut self) {
        self.video.forget();
        self.exchange = Exchange::Idle;
        self.remote = None;
        self.able.clear();
        self.payloads = PayloadMap::default();
        self.direction = Direction::SendRecv;
        self.our_id = self.our_id % u64::from(u32::MAX >> 1) + 1;
        self.their_id = None;
        self.seq = 0;
        self.last_offer = None;
        self.last_answer = None;
    }

    pub fn tiebreaker(&self) -> u32 {
        self.tiebreaker
    }

    /// Whether one of the numbers is one of this session's.
    pub fn knows(&self, ids: RoapIds) -> bool {
        self.their_id == Some(ids.offerer) || ids.answerer == Some(self.our_id)
    }

    /// True for an OFFER whose POST was retried: the one in progress by its numbers, a settled one by
    /// its text too, because a renewed peer connection starts counting again.
    pub fn is_repeated_offer(&self, ids: Option<RoapIds>, sdp: &str) -> bool {
        let (Some(ids), Some(seen)) = (ids, &self.last_offer) else { return false };
        let same = (ids.offerer, ids.seq) == (seen.ids.offerer, seen.ids.seq);
        let in_progress = matches!(&self.exchange, Exchange::Theirs { ids: pending, .. }
            if (pending.offerer, pending.seq) == (ids.offerer, ids.seq));
        in_progress || (same && seen.sdp == sdp)
    }

    pub fn is_repeated_answer(&self, ids: Option<RoapIds>) -> bool {
        let (Some(ids), Some(seen)) = (ids, &self.last_answer) else { return false };
        (ids.offerer, ids.seq) == (seen.ids.offerer, seen.ids.seq)
    }

    pub fn note_answer(&mut self, ids: Option<RoapIds>) {
        self.last_answer = ids.map(|ids| Seen { ids, sdp: String::new() });
    }

    /// Takes an offer of the browser's. An offer of ours that was out is gone: the client ignores it
    /// while its own is outstanding.
    pub fn begin_theirs(&mut self, ids: Option<RoapIds>, text: &str, sdp: BrowserSdp) {
        let ids = ids.unwrap_or(RoapIds { offerer: 0, answerer: None, seq: self.seq + 1 });
        self.their_id = Some(ids.offerer);
        self.seq = ids.seq;
        self.last_offer = Some(Seen { ids, sdp: text.to_owned() });
        self.exchange = Exchange::Theirs { ids, sdp: Box::new(sdp) };
    }

    /// The answer to the offer in progress. `codec` is what the browser shall send, if it has it.
    pub fn answer(&mut self, codec: Option<Codec>) -> Option<(RoapIds, String, BrowserRemote)> {
        let (ids, sdp) = match std::mem::replace(&mut self.exchange, Exchange::Idle) {
            Exchange::Theirs { ids, sdp } => (ids, *sdp),
            // An offer of ours that is out stays out.
            other => {
                self.exchange = other;
                return None;
            }
        };
        let codec = codec
            .filter(|codec| sdp.payloads.payload_of(*codec).is_some())
            .or_else(|| sdp.payloads.preferred().map(|format| format.codec))?;
        let mut written = negotiate::only(&sdp.payloads, codec);
        written.wishes = self.wishes(Some(codec));
        let ours = sdp.direction.reversed();
        let role = our_role(&sdp);
        self.direction = sdp.direction;
        let video = self.video.answer(&sdp);
        let text = write::browser(
            &mut self.origin,
            side(&self.local, role, ours, &written, video.as_ref()),
            Shape::Like(&sdp),
        );
        self.payloads = PayloadMap { wishes: sdp.payloads.wishes, ..written };
        self.able = sdp.payloads.formats.iter().copied().collect();
        let remote = self.remote_of(&sdp, role);
        self.remote = Some(sdp);
        let ids = RoapIds { answerer: Some(self.our_id), ..ids };
        Some((ids, text, remote))
    }

    /// Pauses are not among them: what keeps our direction toward SIP alive would fill them.
    fn wishes(&self, first: Option<Codec>) -> Wishes {
        let mut wishes = negotiate::wishes(first, &self.across);
        wishes.opus.dtx = false;
        wishes
    }

    /// An offer of ours with these codecs, the preferred first.
    pub fn offer(&mut self, codecs: &[Codec]) -> (RoapIds, String) {
        self.seq += 1;
        let ids = RoapIds { offerer: self.our_id, answerer: self.their_id, seq: self.seq };
        let mut payloads = write::offered(codecs);
        payloads.telephone_event = payloads.telephone_event.map(|_| TELEPHONE_EVENT);
        payloads.wishes = self.wishes(codecs.first().copied());
        if let Some(remote) = &self.remote {
            // Numbers once given must not change their meaning within a session.
            for format in &mut payloads.formats {
                if let Some(known) = self.able.iter().find(|known| known.codec == format.codec) {
                    format.payload = known.payload;
                }
            }
            if remote.payloads.has_events() {
                payloads.telephone_event = remote.payloads.telephone_event;
                payloads.telephone_event_48k = remote.payloads.telephone_event_48k;
            }
        }
        let direction = self.direction.reversed();
        let taken: Vec<u8> = payloads.formats.iter().map(|format| format.payload).collect();
        let events = [payloads.telephone_event, payloads.telephone_event_48k];
        let taken: Vec<u8> = taken.into_iter().chain(events.into_iter().flatten()).collect();
        let video = self.video.offer(self.remote.as_ref(), direction, &taken);
        let text = write::browser(
            &mut self.origin,
            side(&self.local, Setup::ActPass, direction, &payloads, video.as_ref()),
            self.remote.as_ref().map_or(Shape::Fresh, Shape::Like),
        );
        self.exchange = Exchange::Ours { ids, offered: codecs.to_vec() };
        (ids, text)
    }

    /// Settles our offer with the browser's answer. `None` where no such offer is out.
    ///
    /// An answer may name formats that were not offered, but what is sent is of the offer (RFC 3264
    /// 6.1): the offered ones come first, or each answer of that kind would cost one more OFFER.
    pub fn settle(&mut self, ids: Option<RoapIds>, mut sdp: BrowserSdp) -> Option<BrowserRemote> {
        if !self.awaits_answer(ids) {
            return None;
        }
        if let Exchange::Ours { offered, .. } =
            std::mem::replace(&mut self.exchange, Exchange::Idle)
        {
            sdp.payloads.formats.sort_by_key(|format| !offered.contains(&format.codec));
            // What it was offered and has not taken it does not know after all.
            let answered = &sdp.payloads;
            let stays = |codec| !offered.contains(&codec) && answered.payload_of(codec).is_none();
            self.able.retain(|format| stays(format.codec));
            self.able.extend(answered.formats.iter().copied());
        }
        if let Some(answerer) = ids.and_then(|ids| ids.answerer) {
            self.their_id = Some(answerer);
        }
        self.payloads = sdp.payloads.clone();
        self.direction = sdp.direction;
        self.video.settle(&sdp);
        let role = our_role(&sdp);
        let remote = self.remote_of(&sdp, role);
        self.remote = Some(sdp);
        self.note_answer(ids);
        Some(remote)
    }

    /// Whether an ANSWER with these numbers fits the offer of ours that is out.
    pub fn awaits_answer(&self, ids: Option<RoapIds>) -> bool {
        match (&self.exchange, ids) {
            (Exchange::Ours { .. }, None) => true,
            (Exchange::Ours { ids: ours, .. }, Some(ids)) => {
                (ids.offerer, ids.seq) == (ours.offerer, ours.seq)
            }
            _ => false,
        }
    }

    /// The codec that the browser sends.
    pub fn sends(&self) -> Option<Codec> {
        self.payloads.preferred().map(|format| format.codec)
    }

    /// Codecs the browser has said it can do, ours in our order until it has said anything.
    pub fn codecs(&self, configured: &[Codec]) -> Vec<Codec> {
        let knows = |codec: &Codec| match &self.exchange {
            Exchange::Theirs { sdp, .. } => sdp.payloads.payload_of(*codec).is_some(),
            _ => self.remote.is_none() || self.able.iter().any(|format| format.codec == *codec),
        };
        configured.iter().copied().filter(knows).collect()
    }

    fn remote_of(&self, sdp: &BrowserSdp, role: Setup) -> BrowserRemote {
        BrowserRemote {
            ice: sdp.ice.clone(),
            fingerprint: sdp.fingerprint,
            setup: role,
            payloads: self.payloads.clone(),
        }
    }
}

fn side<'a>(
    local: &'a BrowserLocal,
    setup: Setup,
    direction: Direction,
    payloads: &'a PayloadMap,
    video: Option<&'a Written>,
) -> BrowserSide<'a> {
    BrowserSide {
        ice: &local.ice,
        fingerprint: local.fingerprint,
        candidates: &local.candidates,
        ssrc: local.ssrc,
        cname: &local.cname,
        setup,
        direction,
        payloads,
        video: video.map(Written::side),
    }
}

/// The DTLS server, unless the browser insists on being that itself (RFC 5763 5).
fn our_role(sdp: &BrowserSdp) -> Setup {
    if sdp.setup == Setup::Passive { Setup::Active } else { Setup::Passive }
}
