//! What becomes of entries in the journal: timelines, within bounds, and lines for collectors.

mod support;

mod bounds;
mod collector;
mod finished;
mod legs;
mod story;
