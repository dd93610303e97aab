//! The bytes of each HTTP dialect as types. Pure.
//!
//! [`FromBrowser`] and [`ToBrowser`] are what a call deals in; a dialect only reads and writes them.

pub mod connector;
pub mod jsapi;
pub mod rest;
mod types;

pub use types::*;
