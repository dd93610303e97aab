//! The HTTP surfaces: the Genesys JSAPI, raw SDP over plain requests, WWE's connector, health, static
//! files.
//!
//! HTTP/1.1 only, see `conn.rs`: the delivery guarantee of the poll rests on it.

mod accept;
mod app;
mod assets;
mod body;
mod conn;
mod connections;
mod connector;
mod control;
mod cors;
mod faults;
mod forwarded;
mod hosts;
mod ice;
mod io;
mod jsapi;
mod lifecycle;
mod logs;
mod metrics;
pub mod openapi;
mod operations;
mod operators;
mod policy;
mod reply;
mod rest;
mod seats;
mod secrets;
mod server;
mod table;
mod tcp_state;
mod throttle;
mod tokens;

pub use app::Surroundings;
pub use control::Control;
pub use metrics::{MetricsServer, Scrape};
pub(crate) use server::certificate_fault;
pub use server::{BindError, Server};
