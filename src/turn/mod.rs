//! An embedded TURN server (RFC 8656): the last resort of browsers whose network lets no UDP out.
//!
//! The only peer that anybody needs here is the gateway itself, so it relays to the browser-side media
//! sockets and to nothing else ([`Peers`]): it is no way into the network around it. Each relay socket
//! is connected to one media socket of this host, which is why it needs no open port in a firewall and
//! hears nobody else. Credentials last for a while and are made of a secret ([`Authority`]).
//!
//! `session` is one client's side of it, without sockets; `message` and `frame` are its bytes; `quota`
//! counts; `udp`, `stream` and `relay` are the sockets. Nothing here is the packet path of a call that
//! can do without.

mod allocation;
mod auth;
mod credentials;
mod frame;
mod message;
mod peers;
mod quota;
mod relay;
mod server;
mod session;
mod stats;
mod stream;
mod udp;

pub use credentials::{Authority, Issued};
pub use peers::Peers;
pub use server::{BindError, Server, TurnConfig};
pub use session::{Core, Limits, Now, Output, Session, Transport};
pub use stats::{RanOut, TurnStats};
