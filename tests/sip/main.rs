//! The SIP room from outside: user agents under virtual time, two of them over a lossy network,
//! endpoints over loopback UDP.

mod support;

mod challenges;
mod connections;
mod digest;
mod dual_stack;
mod endpoint;
mod extra_headers;
mod forks;
mod genesys;
mod glare;
mod hostile;
mod identity;
mod idle_memory;
mod in_dialog;
mod invite_in;
mod invite_out;
mod lossy;
mod network;
mod next_server;
mod outage;
mod over_mtu;
mod peers_filter;
mod prack;
mod redirect;
mod refer_call;
mod refer_in;
mod refer_lossy;
mod refer_out;
mod registration;
mod reliable;
mod replaces;
mod resolve;
mod routing;
mod sequences;
mod session_timers;
mod stream_framing;
mod streams;
mod tcp;
mod tls;
mod torture;
mod transactions;
mod unclaimed;
mod update;
mod via_contact;
