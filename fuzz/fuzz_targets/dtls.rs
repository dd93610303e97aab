//! DTLS of a browser, up to the end of the handshake.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wrtc_gateway::fuzzing::dtls(data));
