//! What becomes of entries in the journal: timelines, within bounds, lines for collectors, and what stays.

mod made;
mod support;

mod bounds;
mod collector;
mod collector_torn_line;
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
