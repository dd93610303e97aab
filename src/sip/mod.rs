//! The SIP side: one user agent per signed-in DN.
//!
//! The core ([`UserAgent`], and inside it registration and dialogs) is sans-I/O: messages,
//! commands and `Instant`s go in, [`Transmit`]s and [`Event`]s come out. Messages are
//! rsipstack's types; its transactions and transports sit behind the port in [`port`], and
//! nothing of its dialog layer is used.

mod core;
mod dialog;
pub mod digest;
mod driver;
mod endpoint;
pub(crate) mod message;
mod offers;
pub mod port;
mod registration;
mod routes;
mod session;
pub mod timers;
pub mod trace;
pub mod transaction;
mod types;
mod ua;
mod uac;
mod uas;
pub mod wire;

pub use driver::Driven;
pub use endpoint::{Claim, Direction, Endpoint, EndpointStats, Port, Trace};
pub use types::*;
pub use ua::UserAgent;
