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

pub mod agent;
pub mod call;
pub mod config;
pub mod demo;
pub mod doctor;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod http;
pub mod journal;
pub mod lab;
pub mod media;
pub mod panics;
pub mod sdp;
pub mod secret;
pub mod sip;
pub mod telemetry;
pub mod tls;
pub mod turn;
pub mod watch;
pub mod wire;
