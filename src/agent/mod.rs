//! Sessions of signed-in agents: SSID, DN, lease, mailbox.

mod session;
mod types;

pub use session::Session;
pub use types::*;
