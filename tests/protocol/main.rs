//! The gateway from outside: an HTTP client with a real peer connection in front, a SIP server behind.

#[path = "../wrote/keep.rs"]
mod wrote;

mod support;

mod any_order;
mod bad_datagrams;
mod bad_input;
mod calls;
mod centre_calls;
mod connector;
mod drain;
mod genesys;
mod hold_music;
mod in_call;
mod log_lines;
mod operations;
mod reload;
mod renegotiation;
mod rest;
mod second_call;
mod secrecy;
mod servers;
mod signin;
mod sip_over_tcp;
mod support_selftest;
mod telemetry;
mod third_party;
mod timeline;
mod transfers;
mod unsaid;
mod wait;
