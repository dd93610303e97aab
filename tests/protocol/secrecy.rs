//! The watch over the log that every test of this folder has: it sees, and it finds.

use crate::support::gateway::{Demo, PASSWORD};
use crate::support::secrecy;

#[tokio::test]
async fn what_is_logged_is_seen() {
    let demo = Demo::start().await;
    let _phone = demo.phone("5001").await;
    assert!(secrecy::logged() > 1000, "{} bytes at level trace", secrecy::logged());
}

#[tokio::test]
#[should_panic(expected = "the password in")]
async fn a_secret_in_the_log_fails_the_test() {
    let _demo = Demo::start().await;
    tracing::debug!(target: "wrtc_gateway::test", said = PASSWORD, "a slip");
}
