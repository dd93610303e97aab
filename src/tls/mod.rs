//! Certificates: the one that a port of ours shows, and whose of another's is taken.

#[cfg(not(packets_only))]
mod served;
pub mod verify;

#[cfg(not(packets_only))]
pub use served::*;
