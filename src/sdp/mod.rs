//! Offer and answer (RFC 3264), for both sides of the gateway. Pure.
//!
//! What comes in is parsed into [`BrowserSdp`] or [`SipSdp`]; what goes out is written from our own
//! model, never edited from the other side's text.

mod types;

pub use types::*;
