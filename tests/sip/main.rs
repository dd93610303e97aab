//! The SIP room from outside: user agents under virtual time, two of them over a lossy network,
//! endpoints over loopback UDP.

mod support;

mod digest;
mod endpoint;
mod extra_headers;
mod glare;
mod hostile;
mod identity;
mod in_dialog;
mod invite_in;
mod invite_out;
mod network;
mod refer_call;
mod refer_in;
mod refer_out;
mod registration;
mod replaces;
mod routing;
mod sequences;
mod transactions;
mod via_contact;
