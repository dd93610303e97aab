//! What the gateway tells of itself: metrics, the log, traces, and what is shipped to look at them with.

mod support;

mod documents;
mod log_file;
mod log_level;
mod metrics;
mod panics;
mod shipped;
mod traces;
