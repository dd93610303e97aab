//! The program as a person meets it: its commands, its exit codes, what it prints.

#[path = "../wrote/look.rs"]
#[allow(dead_code)]
mod look;
#[path = "../wrote/keep.rs"]
mod wrote;

mod a_disk_that_hangs_holds_up_no_stop;
mod check_tells_every_fault;
mod demo_is_ready_to_try;
mod doctor_tells_what_is_wrong;
mod healthcheck_asks_the_gateway;
mod nothing_written_has_a_secret;
mod restart_is_hardly_noticed;
mod served;
mod signals_are_understood;
mod token_is_made_for_an_operator;
