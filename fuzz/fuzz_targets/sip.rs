//! SIP as the endpoint gets it, datagrams and streams.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wrtc_gateway::fuzzing::sip(data));
