//! Media over TCP, for browsers whose network lets no datagram through (RFC 6544, passive).
//!
//! One port serves all workers, so that a firewall has one rule, for 443 if need be. A thread accepts
//! ([`Acceptor`]) and keeps a connection until its first frame, a connectivity check, names a
//! ufrag: its first letters say which worker owns the call, and that one gets the connection. From there
//! on frames are datagrams (RFC 4571), and what does not fit into the connection at once is lost
//! like them: late voice is of no use.

mod acceptor;
mod connection;
mod frame;

pub use acceptor::{Acceptor, listen};
pub use connection::{Connection, Delivery};
#[cfg(fuzzing)]
pub use frame::FrameReader;
