//! Offer and answer (RFC 3264), for both sides of the gateway. Pure.
//!
//! What comes in is parsed into [`BrowserSdp`] or [`SipSdp`]; what goes out is written from our own
//! model ([`mod@write`]), never edited from the other side's text.

mod candidate;
mod crypto;
pub mod negotiate;
mod opus;
mod parse;
mod types;
mod video;
pub mod write;

pub use candidate::{Candidate, Transport};
pub use crypto::{
    Crypto, CryptoFault, CryptoSuite, KeySource, SrtpKey, SrtpPair, SrtpPolicy, choose,
};
pub use opus::OpusWishes;
pub use parse::{BrowserSdp, Line, MAX_SDP_BYTES, SdpError, SipSdp};
pub use types::*;
pub use video::{Feedback, UnknownVideo, VideoCodec, VideoFormat, VideoLine};
pub use write::Origin;
