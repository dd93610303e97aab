//! The media plane over loopback: what is asserted is sound.

mod support;

mod call;
mod hostile;
mod load;
mod sdes;
