//! Sessions of signed-in agents: SSID, DN, lease, mailbox.

mod session;
mod sessions;
mod types;

pub use session::Session;
pub use sessions::Sessions;
pub use types::*;
