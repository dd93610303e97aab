//! The SIP side: one user agent per signed-in DN.
//!
//! The core ([`UserAgent`], and inside it registration and dialogs) is sans-I/O: messages,
//! commands and `Instant`s go in, [`port::Transmit`]s and [`Event`]s come out. Behind the port in
//! [`port`] sit our own transactions, sans-I/O as well ([`transaction`] says why not rsipstack's), and
//! the [`Endpoint`] with its socket. Messages are rsipstack's types; nothing of its dialog layer is
//! used. [`Driven`] puts one of each together for a task to hold.
//!
//! Left for later: TCP and TLS, DNS, session timers (RFC 4028), PRACK (RFC 3262), REFER, Replaces.

mod core;
mod dialog;
pub mod digest;
mod driver;
mod endpoint;
mod hop;
pub(crate) mod message;
mod offers;
pub mod port;
mod registration;
mod routes;
mod sanity;
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
pub use hop::{Hop, Transport};
pub use types::*;
pub use ua::UserAgent;
