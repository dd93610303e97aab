//! The media plane: workers outside tokio, each with one browser-side UDP port.
//!
//! Control goes to a worker by a ring, counters and events come back; nothing here knows of SIP
//! dialogs or HTTP. See [`Engine`].

mod engine;
mod types;

pub use engine::{Bridge, Engine};
pub use types::*;
