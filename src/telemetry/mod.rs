//! How the gateway is seen from outside: its log, its metrics, the traces of its calls.

pub mod logs;
pub mod metrics;
pub mod traces;
