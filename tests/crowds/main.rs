//! The program among many: pages that come and go together, polls by the thousand, clients that dawdle,
//! and floods on each of its ports.
//!
//! `CROWD_POLLS` and `CROWD_TABS` say how many, where the default is not enough.

#[path = "../cli/served.rs"]
#[allow(dead_code)]
mod served;
#[path = "../protocol/support/mod.rs"]
mod support;
#[path = "../wrote/keep.rs"]
mod wrote;

mod a_thousand_tabs_close;
mod crowd;
mod dawdlers_are_cut;
mod floods_disturb_no_call;
mod idle_polls_cost_little;
mod probes_are_answered_in_a_flood;
