//! The SIP side: one user agent per signed-in DN.
//!
//! The core ([`UserAgent`], and inside it registration and dialogs) is sans-I/O: messages,
//! commands and `Instant`s go in, [`Transmit`]s and [`Event`]s come out. Messages are
//! rsipstack's types; its transactions and transports sit behind the port in [`port`], and
//! nothing of its dialog layer is used.

mod driver;
mod endpoint;
pub mod port;
mod types;
mod ua;

pub use driver::Driven;
pub use endpoint::{Claim, Endpoint, EndpointStats, Port};
pub use types::*;
pub use ua::UserAgent;
