//! The media plane over loopback: what is asserted is sound.

mod support;

mod burst;
mod call;
mod hostile;
mod load;
mod source;
