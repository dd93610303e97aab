//! Real SIP peers: Kamailio, SIPp and Asterisk, started on loopback, against the gateway in this process with a
//! real DTLS-SRTP browser in front.
//!
//! Every test is `#[ignore]`d, so that `cargo test` passes on a machine that has none of the peers. `bash
//! tests/run.sh peers` installs them, runs what it can have, and says plainly what it skipped and why. README.md
//! here tells how to run one of them by hand, and which bullet of sip-behaviour.md is tested where.

#[path = "../protocol/support/mod.rs"]
mod support;
#[path = "../wrote/keep.rs"]
mod wrote;

mod gateway;
mod process;

mod asterisk;
mod kamailio;
mod sipp;
