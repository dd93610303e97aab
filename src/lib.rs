//! A WebRTC gateway for Genesys SIP Server, Asterisk and their kin.
//!
//! One process is everything between an agent's browser and the SIP server: HTTP long-poll
//! signalling in front, a SIP user agent per signed-in DN behind, and a media bridge between
//! DTLS-SRTP and RTP. `ARCHITECTURE.md` shows the rooms and what each may know.
// Nothing that comes over the network may end the process; outside of tests nothing even could.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unreachable
    )
)]

// `packets_only`: see Cargo.toml.
#[cfg(not(packets_only))]
pub mod agent;
#[cfg(not(packets_only))]
pub mod call;
#[cfg(not(packets_only))]
pub mod config;
#[cfg(not(packets_only))]
pub mod demo;
#[cfg(not(packets_only))]
pub mod doctor;
mod due;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(packets_only))]
pub mod gateway;
#[cfg(not(packets_only))]
pub mod http;
#[cfg(not(packets_only))]
pub mod journal;
#[cfg(not(packets_only))]
pub mod lab;
pub mod media;
pub mod panics;
pub mod sdp;
pub mod secret;
pub mod sip;
#[cfg(not(packets_only))]
pub mod telemetry;
pub mod tls;
#[cfg(not(packets_only))]
pub mod turn;
#[cfg(not(packets_only))]
pub mod watch;
pub mod wire;
#[cfg(not(packets_only))]
pub mod words;
