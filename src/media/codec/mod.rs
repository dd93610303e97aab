//! What is inside the packets: coders of each codec, the filter between their rates, concealment. Used where
//! two sides have no codec in common, and for what we say ourselves.

mod coder;
mod conceal;
mod frame;
mod halfband;
mod opus;
#[cfg(test)]
mod tests;

pub use coder::{COMPLEXITY, Decoder, Encoder};
pub use frame::{samples, silence};
