//! Configuration: one TOML file, the environment, `--set`; validated whole before a port is opened.

mod fault;
mod guard;
mod journal;
mod keys;
mod lifecycle;
mod load;
mod operations;
mod parse;
mod ports;
mod reload;
mod secrets;
mod security;
mod sign_ins;
mod sources;
mod telemetry;
mod token_keys;
mod tokens;
mod turn;
mod types;

pub use fault::{ConfigErrors, Fault, Origin};
pub use guard::{ForwardedHeader, Guard, Limits};
pub use keys::{KEYS, environment_name};
pub use ports::{Protocol, Wanted, wanted};
pub use reload::{Commit, Reload};
pub use secrets::{DnSecrets, MAX_SECRET as MAX_DN_SECRET, SecretsFor};
pub use security::{OperatorToken, Operators, Role, is_name as is_operator_name};
pub use sign_ins::{SignInBy, SignIns};
pub use sources::{Reading, Sources};
pub use telemetry::{Collector, Log, LogFile, LogFormat, Metrics, Tracing, check_log_level};
pub use token_keys::TokenKeys;
pub use turn::is_secret as is_turn_secret;
pub use types::*;
