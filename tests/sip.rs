//! The SIP room from outside: user agents under virtual time, two of them over a lossy network,
//! endpoints over loopback UDP.

mod sip {
    pub mod support;

    mod endpoint;
}
