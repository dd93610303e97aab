//! The documents for operators say what the code does.

mod configuration_is_generated;
mod files;
mod links_lead_somewhere;
mod what_is_named_exists;
