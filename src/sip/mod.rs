//! The SIP side: one user agent per signed-in DN.
//!
//! The core ([`UserAgent`], and inside it registration and dialogs) is sans-I/O: messages,
//! commands and `Instant`s go in, [`Transmit`]s and [`Event`]s come out. Messages are
//! rsipstack's types; its transactions and transports sit behind the port in [`port`], and
//! nothing of its dialog layer is used.

pub mod port;
mod types;

pub use types::*;
