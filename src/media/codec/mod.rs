//! What is inside the packets: coders of each codec, the filter between their rates, concealment, and a
//! [`Transcoder`] made of them for where two sides have no codec in common.

mod coder;
mod conceal;
mod frame;
mod halfband;
mod jitter;
mod opus;
#[cfg(test)]
mod tests;
mod transcoder;

pub use coder::{COMPLEXITY, Decoder, Encoder};
pub use frame::{samples, silence};
pub use jitter::Stamp;
pub use transcoder::Transcoder;
