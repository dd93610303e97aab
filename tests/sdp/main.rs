//! Offer and answer, pure: what is read, what is written, and the tables between.

mod browser_descriptions;
mod crypto_lines;
mod hostile_input;
mod offer_answer_tables;
mod sip_descriptions;
mod video;
