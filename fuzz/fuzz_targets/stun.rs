//! Connectivity checks, by UDP and by ICE-TCP.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wrtc_gateway::fuzzing::stun(data));
