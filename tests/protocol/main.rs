//! The gateway from outside: an HTTP client with a real peer connection in front, a SIP server behind.

mod support;
#[path = "../wrote/keep.rs"]
mod wrote;

mod a_dn_has_one_session;
mod a_registration_lasts;
mod a_sign_in_registers_the_dn;
mod a_sign_out_leaves_nothing_behind;
mod a_timeline_has_what_was_said;
mod an_end_is_told_to_the_other_side;
mod any_order;
mod bad_datagrams;
mod bad_input;
mod browsers_write_offers_in_many_ways;
mod calls_have_sound_both_ways;
mod centre_calls;
mod connector;
mod drain;
mod ends_cross_on_the_way;
mod genesys;
mod guests_call_without_a_dn;
mod hold_music;
mod in_call;
mod nothing_secret_is_logged;
mod only_who_is_named_is_called;
mod operations;
mod pages_of_other_origins_may_ask;
mod refusals_and_ends_are_in_the_log;
mod reload;
mod renegotiation;
mod rest;
mod second_call;
mod secrecy;
mod servers;
mod sign_ins_wait_for_sign_outs;
mod sip_over_tcp;
mod support_selftest;
mod telemetry;
mod third_party;
mod timeline;
mod transfers;
mod wait;
