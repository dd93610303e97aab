//! The call's state machine under virtual time: no socket, no sleep.

mod support;

mod any_order_of_events;
mod any_order_of_two_calls;
mod attached_data;
mod call_waiting_for_the_browser;
mod codecs;
mod digits;
mod early_media;
mod held_calls;
mod hold_and_retrieve;
mod incoming_with_offer;
mod offerless_invite;
mod one_offer_at_a_time;
mod outgoing_first_party;
mod reinvite_leaves_browser_alone;
mod renewed_peer_connection;
mod replaced;
mod retried_posts;
mod ringback;
mod sdes;
mod second_call;
mod transfers;
mod video;
mod wishes;
