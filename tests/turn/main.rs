//! The embedded TURN server.
#[path = "../wrote/keep.rs"]
mod wrote;

mod support;

mod allocations;
mod credentials;
mod errors;
mod hostile;
mod ice_list;
mod peers;
mod quotas;
mod real_client;
mod streams;
