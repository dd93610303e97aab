//! The lab from outside: plain user agents as telephones, over loopback, each with a lab
//! telephone's ears and voice.

mod bridge;
mod centre_flows;
mod control;
mod desk;
mod extensions;
mod hostile;
mod register;
mod support;
