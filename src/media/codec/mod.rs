//! What is inside the packets: lengths and silence of each codec.

mod frame;

pub use frame::{samples, silence};
