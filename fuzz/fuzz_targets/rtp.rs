//! RTP and RTCP from both sides of a call.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wrtc_gateway::fuzzing::rtp(data));
