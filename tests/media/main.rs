//! The media plane over loopback: what is asserted is sound.

mod support;

mod address_change;
mod burst;
mod call;
mod codecs;
mod held;
mod homes;
mod hostile;
mod load;
mod sdes;
mod source;
mod tcp;
mod video;
