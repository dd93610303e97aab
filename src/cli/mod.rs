//! What the command line does beside serving.

pub mod healthcheck;
