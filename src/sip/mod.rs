//! The SIP side: one user agent per signed-in DN.
//!
//! The core ([`UserAgent`], and inside it registration and dialogs) is sans-I/O: messages,
//! commands and `Instant`s go in, [`port::Transmit`]s and [`Event`]s come out. Behind the port in
//! [`port`] sit our own transactions, sans-I/O as well ([`transaction`] says why not rsipstack's), and
//! the [`Endpoint`] with its sockets; [`transport`] has the connections of TCP and TLS. Messages are
//! rsipstack's types; nothing of its dialog layer is used. [`Driven`] puts one of each together for a
//! task to hold.

mod acks;
mod core;
mod dialog;
pub mod digest;
mod dispatch;
mod driver;
pub mod dtmf_info;
mod endpoint;
pub(crate) mod extra;
mod flood;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod hop;
mod identity;
mod inform;
pub(crate) mod message;
mod next_server;
mod offers;
pub mod pacer;
pub mod port;
mod redirect;
mod refer;
mod registration;
mod reliable;
mod replaces;
pub mod resolve;
mod returning;
mod routes;
mod sanity;
pub mod servers;
mod session;
mod session_timer;
mod stats;
pub mod timers;
pub mod trace;
pub mod transaction;
pub mod transport;
mod types;
mod ua;
mod uac;
mod uas;
pub mod wire;

pub use driver::Driven;
pub use endpoint::{
    AddressFilter, Claim, ConnectionEvent, Endpoint, EndpointConfig, OpenError, Port,
};
pub use hop::{Hop, Transport};
#[cfg(not(packets_only))]
pub(crate) use message::get as header_of;
pub use stats::EndpointStats;
pub use trace::{Direction, Trace, Traced};
pub use types::*;
pub use ua::UserAgent;
