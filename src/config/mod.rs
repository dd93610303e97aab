//! Configuration: one TOML file, the environment, `--set`; validated whole before a port is opened.

mod fault;
mod journal;
mod keys;
mod lifecycle;
mod load;
mod operations;
mod parse;
mod reload;
mod sources;
mod telemetry;
mod tokens;
mod turn;
mod types;

pub use fault::{ConfigErrors, Fault, Origin};
pub use keys::{KEYS, environment_name};
pub use reload::{Commit, Reload};
pub use sources::{Reading, Sources};
pub use turn::is_secret as is_turn_secret;
pub use types::*;
