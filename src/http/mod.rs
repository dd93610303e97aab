//! The HTTP surfaces: the Genesys JSAPI, raw SDP over plain requests, health, static files.

mod server;

pub use server::{BindError, Server};
