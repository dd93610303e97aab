//! The SIP room from outside: user agents under virtual time, two of them over a lossy network,
//! endpoints over loopback UDP.

mod support;

mod digest;
mod endpoint;
mod extra_headers;
mod glare;
mod hostile;
mod in_dialog;
mod invite_in;
mod invite_out;
mod network;
mod registration;
mod reliable;
mod resolve;
mod routing;
mod sequences;
mod stream_framing;
mod streams;
mod tcp;
mod torture;
mod transactions;
mod via_contact;
