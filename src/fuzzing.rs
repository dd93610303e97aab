//! A door for `fuzz/` and nobody else: what datagrams meet in the endpoint and in a call, without their sockets.
//! It may change at any time.

pub use crate::media::fuzzing::{dtls, rtp, stun};
pub use crate::sip::fuzzing::sip;
