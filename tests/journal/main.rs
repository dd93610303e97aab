//! What happened, and what stays of it.

mod support;

mod hep;
mod pcap;
mod store_damage;
mod store_keeps_calls;
mod store_retention;
mod store_search;
mod store_size;
