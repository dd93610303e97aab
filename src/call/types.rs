//! What goes into a call and what comes out of it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::media::{
    BrowserLocal, BrowserRemote, Flow, HeldLeg, SipRemote, VideoLocal, VideoRemote,
};
use crate::sdp::{Codec, SrtpPolicy, VideoCodec};
use crate::sip::{self, SessionId};
use crate::wire::ToBrowser;

/// What all calls of a gateway share.
#[derive(Debug, Clone, Default)]
pub struct CallConfig {
    /// Allowed codecs, the preferred first.
    pub codecs: Vec<Codec>,
    pub digits: DigitsBy,
    /// The browser hears tones while there is nothing else to hear; an OFFER of its own is answered for
    /// it when the far end rings.
    pub ringback: bool,
    /// What stands before a key of attached data to make a header's name of it. Empty: none is made.
    pub attached_prefix: String,
    /// SRTP toward SIP.
    pub srtp: SrtpPolicy,
    /// Video codecs that are passed on; none: video is refused.
    pub video: Vec<VideoCodec>,
}

/// How a digit reaches the SIP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DigitsBy {
    /// RFC 4733 where it was negotiated, else INFO.
    #[default]
    Auto,
    Rtp,
    /// INFO alone: telephone-event is not negotiated.
    Info,
}

/// The media plane's side of a new call.
#[derive(Debug, Clone)]
pub struct MediaLocal {
    pub browser: BrowserLocal,
    /// Our RTP address, for the SDP toward SIP.
    pub rtp: SocketAddr,
    /// Where the call may have video.
    pub video: Option<VideoLocal>,
}

/// Random numbers of a call, drawn outside so that the core stays pure. Secret: no `Debug`.
#[derive(Clone, Copy)]
pub struct Seed {
    /// Our ROAP session number.
    pub roap: u32,
    pub tiebreaker: u32,
    /// `o=` session ids toward the browser and toward SIP.
    pub origins: [u64; 2],
    /// For the SRTP keys toward SIP.
    pub keys: [u8; 32],
}

/// What a line wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A message about that call.
    Browser(SessionId, ToBrowser),
    Sip(sip::Command),
    Media(MediaCommand),
    /// The last output about that call; what its SIP dialog still has to say it says itself. When the
    /// line [is over](super::Line::is_over) with it, the media can be released.
    Ended(SessionId, CallEnd),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    SetBrowser(BrowserRemote),
    SetSip(SipRemote),
    SetFlow(Flow),
    /// The other calls that are up, all of them. Comes before the `SetSip` of the one that takes the
    /// browser.
    SetHeld(Vec<HeldLeg>),
    /// `None`: nothing of it is passed on.
    SetVideo(Option<VideoRemote>),
    /// Wants [`super::Line::handle_media_local`] in return, at once.
    RestartIce,
    /// Wants [`super::Line::handle_media_local`] in return, at once.
    RenewBrowser,
    SendDigits(String),
    /// A digit of the far end's that came as INFO, for the browser to hear.
    PlayDigit(char),
    /// The far end has asked by INFO for a whole picture.
    AskBrowser,
}

/// Whose doing the end of a call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEndedBy {
    /// The agent hung up, cancelled or rejected.
    Browser,
    /// The SIP side hung up, cancelled or rejected.
    Peer,
    /// Time-outs and transport faults toward SIP.
    Network,
    /// The gateway itself: unusable SDP, a browser that did not answer, sign-out.
    Gateway,
}

impl CallEndedBy {
    /// The word in logs, metrics and call records.
    pub fn label(self) -> &'static str {
        match self {
            CallEndedBy::Browser => "browser",
            CallEndedBy::Peer => "peer",
            CallEndedBy::Network => "network",
            CallEndedBy::Gateway => "gateway",
        }
    }
}

/// Why a call ended, once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallEnd {
    pub by: CallEndedBy,
    /// A SIP status code; 200 for an ordinary hang-up.
    pub code: u16,
    pub text: String,
    /// The peer's Reason header, verbatim.
    pub reason_header: Option<String>,
    pub answered_at: Option<Instant>,
    /// The last status of a transfer that the agent asked for.
    pub transfer: Option<u16>,
    /// Digits the agent has sent.
    pub digits: u32,
    pub direction: CallDirection,
    /// The codec spoken toward SIP.
    pub codec: Option<Codec>,
}

impl CallEnd {
    /// Of a call that came in and was refused before there was anything to it.
    pub fn refused(code: u16, text: &str) -> Self {
        Self {
            by: CallEndedBy::Gateway,
            code,
            text: text.to_owned(),
            reason_header: None,
            answered_at: None,
            transfer: None,
            digits: 0,
            direction: CallDirection::Incoming,
            codec: None,
        }
    }
}

/// Which side started the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallDirection {
    Incoming,
    Outgoing,
}
