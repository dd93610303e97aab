//! Faults of networks, SIP servers, disks and clocks, and what is left of calls, agents and books behind
//! them: the program itself, with the lab as its SIP server and real DTLS-SRTP browsers in front.
//!
//! What wants root or a package is `#[ignore]`d; `bash tests/run.sh faults` installs it, runs those too, and
//! says what this machine cannot have.

#[path = "../journal/made.rs"]
#[allow(dead_code)]
mod made;
#[path = "../cli/served.rs"]
#[allow(dead_code)]
mod served;
#[path = "../protocol/support/mod.rs"]
mod support;

mod between;
mod disk;
mod gateway;
mod net;

mod bad_network;
mod clock_step;
mod disk_full;
mod full_disk_lets_old_calls_go;
mod network_cut;
mod restarted_sip_server;
mod slow_sip_server;
