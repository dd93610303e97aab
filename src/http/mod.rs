//! The HTTP surfaces: the Genesys JSAPI, raw SDP over plain requests, WWE's connector, health, static
//! files.
//!
//! HTTP/1.1 only, see `conn.rs`: the delivery guarantee of the poll rests on it.

mod app;
mod assets;
mod body;
mod conn;
mod connector;
mod cors;
mod faults;
mod ice;
mod io;
mod jsapi;
mod lifecycle;
mod logs;
mod metrics;
pub mod openapi;
mod operations;
mod operators;
mod reply;
mod rest;
mod server;
mod table;
mod tcp_state;
mod throttle;
mod tokens;

pub use app::Surroundings;
pub use metrics::{MetricsServer, Scrape};
pub use server::{BindError, Server};
