//! The outside of the gateway: a browser, a JSAPI client and what they measure.
//! Each test binary uses a part of it.
#![allow(dead_code)]

pub mod browser;
pub mod driver;
pub mod far;
pub mod gateway;
pub mod heard;
pub mod jsapi;
pub mod roap;
pub mod sdp;
pub mod secrecy;
#[path = "../../edge/support/sse.rs"]
pub mod sse;
pub mod tone;
pub mod trunk;
pub mod voice;
pub mod wire;
pub mod witness;
