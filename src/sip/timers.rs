//! RFC 3261 17.1.1.1 and Table 4, for UDP.

use std::time::Duration;

/// Round-trip estimate: first retransmission.
pub const T1: Duration = Duration::from_millis(500);
/// Longest pause between retransmissions of anything but INVITE requests.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may linger in the network.
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H, J, L, M, and D on UDP: how long a transaction tries, or remembers.
pub const T1X64: Duration = Duration::from_secs(32);
