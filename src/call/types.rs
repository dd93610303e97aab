//! What goes into a call and what comes out of it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::media::{BrowserLocal, BrowserRemote, Flow, SipRemote};
use crate::sdp::Codec;
use crate::sip;
use crate::wire::ToBrowser;

/// What all calls of a gateway share.
#[derive(Debug, Clone)]
pub struct CallConfig {
    /// Allowed codecs, the preferred first.
    pub codecs: Vec<Codec>,
}

/// The media plane's side of a new call.
#[derive(Debug, Clone)]
pub struct MediaLocal {
    pub browser: BrowserLocal,
    /// Our RTP address, for the SDP toward SIP.
    pub rtp: SocketAddr,
}

/// Random numbers of a call, drawn outside so that the core stays pure.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    /// Our ROAP session number.
    pub roap: u32,
    pub tiebreaker: u32,
    /// `o=` session ids toward the browser and toward SIP.
    pub origins: [u64; 2],
}

/// What a call wants done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Browser(ToBrowser),
    Sip(sip::Command),
    Media(MediaCommand),
    /// The last output. The media can be released; what the SIP dialog still has to say it says itself.
    Ended(CallEnd),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    SetBrowser(BrowserRemote),
    SetSip(SipRemote),
    SetFlow(Flow),
    /// Wants [`super::Call::handle_media_local`] in return, at once.
    RestartIce,
    /// Wants [`super::Call::handle_media_local`] in return, at once.
    RenewBrowser,
    SendDigits(String),
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
}

/// Which side started the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallDirection {
    Incoming,
    Outgoing,
}
