//! The call's state machine under virtual time: no socket, no sleep.

mod support;

mod any_order_of_events;
mod call_waiting_for_the_browser;
mod digits;
mod hold_and_retrieve;
mod incoming_with_offer;
mod offerless_invite;
mod one_offer_at_a_time;
mod outgoing_first_party;
mod reinvite_leaves_browser_alone;
mod renewed_peer_connection;
mod retried_posts;
