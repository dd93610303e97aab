//! What happened, and what stays of it: timelines, within bounds; the store; what is shown to others.

mod entries;
mod support;

mod bounds;
mod collector;
mod finished;
mod hep;
mod legs;
mod pcap;
mod store_damage;
mod store_keeps_calls;
mod store_retention;
mod store_search;
mod store_size;
mod story;
