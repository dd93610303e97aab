//! The certificate that a port of ours shows.

mod served;

pub use served::*;
