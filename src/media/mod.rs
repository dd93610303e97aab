//! The media plane: workers outside tokio, each with one browser-side UDP port.
//!
//! Control goes to a worker by a ring, counters and events come back; nothing here knows of SIP
//! dialogs or HTTP. See [`Engine`].
//!
//! From the outside in: [`Engine`] and [`Bridge`] are handles, `worker` owns the sockets, `call` is
//! one call without them, made of `peer` (ICE, DTLS, SRTP toward the browser), `latch` (where the
//! SIP side is) and `relay` (what becomes of a packet between the two).

mod call;
mod codec;
mod dtls;
mod dtmf;
mod engine;
mod feedback;
mod g711;
mod handshake;
mod hello;
mod ice;
mod latch;
mod music;
mod path;
mod peer;
pub(crate) mod ports;
mod quality;
mod reception;
mod relay;
mod rtcp;
mod rtp;
mod socket;
mod srtp;
mod stream;
mod tcp;
mod tones;
mod types;
mod worker;

#[doc(hidden)]
pub use call::bench;
#[cfg(fuzzing)]
pub(crate) use call::fuzzing;
pub use codec::COMPLEXITY as OPUS_COMPLEXITY;
/// A door for `benches/` and `tests/`, and nobody else.
#[doc(hidden)]
pub mod coders {
    pub use super::codec::{Decoder, Encoder};
}
pub use engine::{Bridge, Counters, Engine};
pub use music::{Music, MusicError};
pub use tones::TonePlan;
pub use types::*;
