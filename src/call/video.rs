//! Video of a call: passed through where the browser and the SIP side have a codec in common, refused
//! where not. It follows the audio; nothing of it ever keeps a call from coming about.
//!
//! The SIP side has the first word where it has spoken. Where the browser has to be answered before that
//! (ringing, an offerless INVITE), its video is let stand inactive and opened by an OFFER.

use std::net::SocketAddr;

use crate::media::{Flow, VideoLocal, VideoRemote};
use crate::sdp::write::VideoSide;
use crate::sdp::{
    BrowserSdp, Direction, Feedback, Line as MediaLine, RtcpTarget, RtpTarget, SipSdp,
};
use crate::sdp::{VideoCodec, VideoFormat, negotiate};

use crate::sip;

use super::{Exchange, Line, MediaCommand};

/// How a whole picture is asked for where there is no RTCP feedback (RFC 5168).
pub(super) const MEDIA_CONTROL: &str = "application/media_control+xml";

const PICTURE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<media_control><vc_primitive><to_encoder>\
    <picture_fast_update/></to_encoder></vc_primitive></media_control>\r\n";

/// The first payload type of ours in an offer to the browser.
const FIRST_PAYLOAD: u8 = 96;

/// What the next description for the browser is to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Plan {
    /// The first of these that it has; none: no video.
    Known(Vec<VideoFormat>),
    /// Nobody knows yet; what it offers of these codecs stands inactive.
    Open(Vec<VideoCodec>),
    #[default]
    Never,
}

/// Our video toward the browser, as it was written.
#[derive(Debug)]
pub(super) struct Written {
    index: usize,
    formats: Vec<VideoFormat>,
    direction: Direction,
    ssrc: u32,
}

impl Written {
    pub fn side(&self) -> VideoSide<'_> {
        let Written { index, ref formats, direction, ssrc } = *self;
        VideoSide { index, port: 0, formats, direction, ssrc }
    }
}

/// The browser leg's.
#[derive(Debug, Default)]
pub(super) struct BrowserVideo {
    ssrc: Option<u32>,
    plan: Plan,
    /// In the OFFER of ours that is out.
    offered: Vec<VideoFormat>,
    /// What both have; under the browser's number.
    pub agreed: Option<VideoFormat>,
    /// As the browser sees its own side.
    pub direction: Direction,
    /// It was answered inactive.
    waits: bool,
}

impl BrowserVideo {
    pub fn new(ssrc: Option<u32>) -> Self {
        Self { ssrc, ..Self::default() }
    }

    pub fn forget(&mut self) {
        *self = Self::new(self.ssrc);
    }

    /// Our answer to an offer of the browser's; `None` refuses.
    pub fn answer(&mut self, offer: &BrowserSdp) -> Option<Written> {
        self.agreed = None;
        self.waits = false;
        let (ssrc, theirs) = (self.ssrc?, offer.video.as_ref()?);
        self.direction = theirs.direction;
        let (formats, direction) = match &self.plan {
            Plan::Never => return None,
            Plan::Known(known) => {
                let format = theirs.first_of(known)?;
                self.agreed = Some(format.clone());
                (vec![format.answering()], theirs.direction.reversed())
            }
            Plan::Open(codecs) => {
                let open = theirs.formats.iter().filter(|format| codecs.contains(&format.codec));
                let open: Vec<VideoFormat> = open.map(VideoFormat::answering).collect();
                if open.is_empty() {
                    return None;
                }
                self.waits = true;
                (open, Direction::Inactive)
            }
        };
        Some(Written { index: theirs.index, formats: all_feedback(formats), direction, ssrc })
    }

    /// Our video in an OFFER, which has the m-lines of `remote`. `taken` are the numbers of its audio.
    pub fn offer(
        &mut self,
        remote: Option<&BrowserSdp>,
        direction: Direction,
        taken: &[u8],
    ) -> Option<Written> {
        self.waits = false;
        self.offered.clear();
        let (ssrc, Plan::Known(known)) = (self.ssrc?, &self.plan) else { return None };
        let theirs = match remote {
            Some(remote) => Some(remote.video.as_ref()?),
            None => None,
        };
        let mut next = FIRST_PAYLOAD;
        for format in known {
            let same = theirs.and_then(|theirs| theirs.first_of(std::slice::from_ref(format)));
            let payload = match (same, theirs) {
                (Some(same), _) => same.payload,
                // What it has not named it may have given that number to something else.
                (None, Some(_)) => continue,
                (None, None) => {
                    while taken.contains(&next) {
                        next += 1;
                    }
                    next += 1;
                    next - 1
                }
            };
            if payload <= 127 {
                self.offered.push(VideoFormat { payload, ..format.clone() });
            }
        }
        self.offered = all_feedback(std::mem::take(&mut self.offered));
        let formats = self.offered.clone();
        let index = theirs.map_or(1, |theirs| theirs.index);
        (!formats.is_empty()).then_some(Written { index, formats, direction, ssrc })
    }

    /// The browser's answer to our OFFER.
    pub fn settle(&mut self, answer: &BrowserSdp) {
        let theirs = answer.video.as_ref();
        self.agreed = theirs.and_then(|theirs| theirs.first_of(&self.offered)).cloned();
        self.direction = theirs.map(|theirs| theirs.direction).unwrap_or_default();
    }
}

/// Browsers have it all, whatever the SIP side has.
fn all_feedback(mut formats: Vec<VideoFormat>) -> Vec<VideoFormat> {
    for format in &mut formats {
        format.feedback = Feedback::ALL;
    }
    formats
}

/// What the SIP side and we settled on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Agreed {
    /// Under the number on that side, with the feedback it takes.
    format: VideoFormat,
    /// Ours.
    direction: Direction,
    target: RtpTarget,
    rtcp: RtcpTarget,
}

/// A SIP leg's.
#[derive(Debug, Default)]
pub(super) struct SipVideo {
    rtp: Option<SocketAddr>,
    /// What the browser can take and give, and which way.
    can: Vec<VideoFormat>,
    can_direction: Direction,
    /// In our last description.
    local: Vec<VideoFormat>,
    wanted: Direction,
    agreed: Option<Agreed>,
}

impl SipVideo {
    pub fn new(rtp: Option<SocketAddr>) -> Self {
        Self { rtp, ..Self::default() }
    }

    /// Before a whole offer: everything that the browser can.
    pub fn begin_offer(&mut self) {
        self.local = match self.rtp {
            Some(_) => self.can.clone(),
            None => Vec::new(),
        };
        if let Some(agreed) = &self.agreed {
            // Numbers in use keep their meaning (RFC 3264 8.3.2).
            for format in self.local.iter_mut().filter(|format| format.fits(&agreed.format)) {
                format.payload = agreed.format.payload;
            }
        }
    }

    /// Before an offer that changes directions only.
    pub fn keep(&mut self) {
        let agreed = self.agreed.as_ref();
        self.local = agreed.map(|agreed| agreed.format.answering()).into_iter().collect();
    }

    /// The part of an offer, among the m-lines that the session has.
    pub fn offer(
        &mut self,
        wanted: Direction,
        lines: Option<&mut Vec<MediaLine>>,
    ) -> Option<VideoSide<'_>> {
        self.wanted = wanted.and(self.can_direction);
        if self.local.is_empty() {
            return None;
        }
        let index = match lines {
            None => 1,
            Some(lines) => {
                lines.iter().position(|line| line.kind == "video").unwrap_or_else(|| {
                    lines.push(MediaLine {
                        kind: "video".to_owned(),
                        proto: "RTP/AVP".to_owned(),
                        formats: String::new(),
                        mid: None,
                    });
                    lines.len() - 1
                })
            }
        };
        self.side(index, self.wanted)
    }

    /// Our part of an answer; `None` refuses.
    pub fn answer(&mut self, offer: &SipSdp, wanted: Direction) -> Option<VideoSide<'_>> {
        self.agreed = None;
        self.local.clear();
        self.rtp?;
        let theirs = offer.video.as_ref()?;
        let format = theirs.first_of(&self.can)?;
        let direction =
            negotiate::answer_direction(theirs.direction, wanted.and(self.can_direction));
        self.local.push(format.answering());
        self.agreed = Some(Agreed {
            format: format.clone(),
            direction,
            target: theirs.target,
            rtcp: theirs.rtcp,
        });
        self.side(theirs.index, direction)
    }

    /// The peer's answer to an offer of ours.
    pub fn settle(&mut self, answer: &SipSdp) {
        let theirs = answer.video.as_ref().filter(|theirs| theirs.target != self.rtp);
        self.agreed = theirs.and_then(|theirs| {
            let format = theirs.first_of(&self.local)?.clone();
            let direction = negotiate::answer_direction(theirs.direction, self.wanted);
            // We have not asked for RTCP on the port of RTP.
            let rtcp = match theirs.rtcp {
                RtcpTarget::Mux => RtcpTarget::NextPort,
                other => other,
            };
            Some(Agreed { format, direction, target: theirs.target, rtcp })
        });
    }

    fn side(&self, index: usize, direction: Direction) -> Option<VideoSide<'_>> {
        let port = self.rtp?.port();
        Some(VideoSide { index, port, formats: &self.local, direction, ssrc: 0 })
    }
}

impl Line {
    pub(super) fn video_port(local: Option<VideoLocal>) -> (BrowserVideo, SipVideo) {
        (BrowserVideo::new(local.map(|l| l.ssrc)), SipVideo::new(local.map(|l| l.rtp)))
    }

    fn allowed(&self, formats: &[VideoFormat]) -> Vec<VideoFormat> {
        let allowed = |format: &&VideoFormat| self.config.video.contains(&format.codec);
        formats.iter().filter(allowed).cloned().collect()
    }

    /// Before the SIP side gets a description: what the browser has to offer.
    pub(super) fn plan_sip_video(&mut self, i: usize) {
        if self.video.is_none() {
            return;
        }
        let video = &self.browser.video;
        let described = match &self.browser.exchange {
            Exchange::Theirs { sdp, .. } => Some(&**sdp),
            _ if video.waits => self.browser.remote.as_ref(),
            _ => None,
        };
        let described = described.and_then(|sdp| sdp.video.as_ref());
        let (can, direction) = match (&video.agreed, described) {
            (Some(agreed), _) => (vec![agreed.clone()], video.direction),
            (None, Some(theirs)) => (self.allowed(&theirs.formats), theirs.direction),
            (None, None) => (Vec::new(), Direction::Inactive),
        };
        let sip = &mut self.legs[i].sip.video;
        (sip.can, sip.can_direction) = (can, direction);
    }

    /// Before the browser gets a description in call `i`: what the SIP side has to offer.
    pub(super) fn plan_browser_video(&mut self, i: usize) {
        if self.video.is_none() {
            return;
        }
        let sip = &self.legs[i].sip;
        let plan = match (&self.browser.video.agreed, &sip.video.agreed, &sip.remote) {
            // What the browser has it keeps, whatever the call it is with has.
            (Some(format), ..) => Plan::Known(vec![format.clone()]),
            (None, Some(agreed), _) => Plan::Known(vec![agreed.format.clone()]),
            (None, None, None) => Plan::Open(self.config.video.clone()),
            (None, None, Some(offer)) if self.legs[i].is_ringing() => {
                let formats = offer.video.as_ref().map(|video| self.allowed(&video.formats));
                Plan::Known(formats.unwrap_or_default())
            }
            (None, None, Some(_)) => Plan::Never,
        };
        self.browser.video.plan = plan;
    }

    /// The browser's video was let stand, and call `i` has it too.
    pub(super) fn opens_video(&self, i: usize) -> bool {
        self.browser.video.waits && self.legs[i].sip.video.agreed.is_some()
    }

    /// The browser has to see a whole picture.
    pub fn handle_picture_wanted(&mut self) {
        let active = self.active_index().filter(|i| self.legs[*i].is_established());
        if let Some(i) = active
            && self.video_remote.is_some()
        {
            let session = self.legs[i].sip.session;
            self.tell_sip(sip::Command::Info {
                session,
                content_type: MEDIA_CONTROL.to_owned(),
                body: PICTURE.as_bytes().to_vec(),
            });
        }
    }

    /// The one thing that is understood of media control. What else it says asks for nothing we have.
    pub(super) fn media_control(&mut self, i: usize, body: &[u8]) {
        let asks = String::from_utf8_lossy(body).contains("picture_fast_update");
        if asks && self.active == Some(self.legs[i].sip.session) && self.video_remote.is_some() {
            self.tell_media(MediaCommand::AskBrowser);
        }
    }

    /// The media plane follows.
    pub(super) fn update_video(&mut self, flow: Flow) {
        if self.video.is_none() {
            return;
        }
        let sip = self.heard_index().filter(|i| self.legs[*i].is_up());
        let sip = sip.and_then(|i| self.legs[i].sip.video.agreed.as_ref());
        let browser = &self.browser.video;
        let wanted = match (sip, &browser.agreed) {
            (Some(sip), Some(format)) if sip.format.fits(format) => Some(VideoRemote {
                browser_payload: format.payload,
                sip_payload: sip.format.payload,
                target: sip.target,
                rtcp: sip.rtcp,
                feedback: sip.format.feedback,
                to_sip: flow.to_sip && sip.direction.sends() && browser.direction.sends(),
                to_browser: flow.to_browser
                    && sip.direction.receives()
                    && browser.direction.receives(),
            }),
            _ => None,
        };
        if wanted != self.video_remote {
            self.video_remote.clone_from(&wanted);
            self.tell_media(MediaCommand::SetVideo(wanted));
        }
    }
}
