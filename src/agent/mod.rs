//! Sessions of signed-in agents: SSID, DN, lease, mailbox.
//!
//! [`mailbox`] is the pure core: a line of messages with at most one in flight. [`Session`] puts a
//! lock, a wake-up and the connections' testimony around it; [`Sessions`] is the table of them.

mod delivery;
mod lifecycle;
pub mod mailbox;
mod operations;
mod session;
mod sessions;
mod softphone;
mod types;

pub use delivery::{Delivery, Evidence, Verdict};
pub use lifecycle::{Draining, ReloadError, Reloaded};
pub use operations::*;
pub use session::{Poll, Polled, Session, Tap};
pub use sessions::Sessions;
pub use softphone::Softphone;
pub use types::*;
