//! What an endpoint counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the endpoint was opened, and what stands now.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct EndpointStats {
            $($(#[$doc])* pub $name: u64,)*
            pub ports: usize,
            pub client_transactions: usize,
            pub server_transactions: usize,
            /// Connections that came in and stand.
            pub connections_in: usize,
            /// Connections of ours that stand or are being made.
            pub connections_out: usize,
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            /// The counters; what stands is for the caller to fill in.
            pub(crate) fn read(&self) -> EndpointStats {
                EndpointStats {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    ..EndpointStats::default()
                }
            }
        }
    };
}

counters! {
    received,
    sent,
    /// What came and is no SIP message.
    malformed,
    /// Datagrams and connections of strangers (see [`super::Endpoint::set_peers`]).
    strangers,
    /// Answers that belong to no request of ours.
    stray_responses,
    /// Requests that nobody claims.
    unclaimed,
    /// Messages that found the inbox of their owner full.
    inbox_full,
    /// Requests beyond [`super::transaction::Transactions::MAX`].
    overload,
    /// Messages that a socket or a connection did not take.
    send_errors,
    /// Answers of ours that came after their transaction was over.
    late_responses,
    /// Connections of ours that were made.
    connected,
    /// Connections that came in.
    accepted,
    /// Connections that were one too many, in all or from their address.
    refused_connections,
    /// Connections of ours that could not be made, TLS aside.
    connects_failed,
    /// TLS handshakes that failed, either way.
    tls_failed,
    /// Connections that stood and ended, whoever ended them.
    connections_lost,
    /// Connections ended for what came over them: not SIP, no Content-Length, too big, incomplete.
    stream_faults,
    /// Connections given up because their peer took nothing.
    stuck_peers,
    /// Keep-alives without an answer.
    pings_missed,
    /// Requests that went by TCP for their size (RFC 3261 18.1.1).
    over_mtu_tcp,
    /// Large requests that went by UDP after all, because the peer takes no TCP.
    over_mtu_udp,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
