//! The program as a person meets it: its commands, its exit codes, what it prints.

mod check_tells_every_fault;
mod demo_is_ready_to_try;
mod healthcheck_asks_the_gateway;
mod nothing_written_has_a_secret;
mod token_is_made_for_an_operator;
