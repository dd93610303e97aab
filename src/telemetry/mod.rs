//! How the gateway is seen from outside: its log, its metrics.

pub mod logs;
pub mod metrics;
