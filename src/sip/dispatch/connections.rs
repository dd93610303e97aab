//! Connections of streams: how they come, stand and end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use super::{Shared, State, canonical};
use crate::sip::endpoint::ConnectionEvent;
use crate::sip::hop::{Hop, Transport};
use crate::sip::stats::count;
use crate::sip::transport::connection::{self, Security};
use crate::sip::transport::fault::ConnectionFault;
use crate::sip::transport::streams::Seat;

impl Shared {
    /// A connection came in.
    pub(crate) fn accepted(&self, stream: TcpStream, transport: Transport, from: SocketAddr) {
        let hop = Hop::new(transport, canonical(from));
        if !self.admits(hop.addr.ip()) {
            return count(&self.counters.strangers);
        }
        let Some(seat) = self.lock().streams.accept(hop, &self.limits) else {
            return count(&self.counters.refused_connections);
        };
        count(&self.counters.accepted);
        let security = match (transport, &*self.tls.load()) {
            (Transport::Tls, Some(tls)) => match &tls.server {
                Some(server) => Security::Tls(Arc::clone(server)),
                None => Security::Missing,
            },
            (Transport::Tls, None) => Security::Missing,
            _ => Security::Plain,
        };
        let task = connection::serve(self.me.clone(), seat, stream, security, self.limits.clone());
        self.runtime.spawn(task);
    }

    /// A connection stands. Tells whether its peer is known to answer keep-alives.
    pub(crate) fn connection_up(&self, seat: &mut Seat) -> bool {
        let (hop, incoming) = (seat.hop, seat.incoming);
        seat.up = true;
        let mut state = self.lock();
        if !incoming {
            count(&self.counters.connected);
            if state.streams.set_fault(hop, None) {
                tracing::info!(%hop, "the SIP peer can be reached again");
            }
        }
        // Whether anybody listens does not matter.
        let _ = self.events.send(ConnectionEvent::Up { hop, incoming });
        state.streams.has_ponged(hop)
    }

    pub(crate) fn connection_ponged(&self, hop: Hop) {
        self.lock().streams.set_ponged(hop);
    }

    pub(crate) fn connection_stays(&self, hop: Hop, incoming: bool) -> bool {
        self.lock().streams.stays(hop, incoming)
    }

    pub(crate) fn ping_missed(&self) {
        count(&self.counters.pings_missed);
    }

    /// A connection is over, or never was.
    pub(crate) fn connection_ended(&self, seat: &Seat, fault: &ConnectionFault) {
        let Seat { hop, incoming, up, .. } = *seat;
        let now = Instant::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if fault.is_framing() {
            count(&self.counters.stream_faults);
        }
        if matches!(fault, ConnectionFault::Stuck(_)) {
            count(&self.counters.stuck_peers);
        }
        if up {
            count(&self.counters.connections_lost);
            let reason = fault.to_string();
            let _ = self.events.send(ConnectionEvent::Down { hop, incoming, reason });
        }
        if fault.is_tls() {
            count(&self.counters.tls_failed);
        } else if !up && !incoming {
            count(&self.counters.connects_failed);
        }
        // None: it was given up before, and its transactions with it; another may stand by now.
        let closed = state.streams.close(hop, seat.id);
        if incoming || closed.is_none() {
            tracing::debug!(%hop, %fault, "SIP connection ended");
        } else {
            self.note_end(state, hop, fault);
        }
        let carried = closed == Some(true);
        if carried && up {
            state.transactions.lost(hop, now);
        } else if carried {
            if hop.transport == Transport::Tcp && !incoming {
                let until = now + self.limits.refusal;
                state.streams.set_refuses_tcp(hop.addr, until, now);
            }
            state.transactions.unreachable(hop, now);
        }
        self.flush(state);
        drop(guard);
        self.timers.notify_one();
    }

    /// Says once what has to be seen to.
    pub(super) fn note_end(&self, state: &mut State, hop: Hop, fault: &ConnectionFault) {
        if !fault.is_trouble() {
            tracing::debug!(%hop, %fault, "SIP connection ended");
        } else if state.streams.set_fault(hop, Some(fault.to_string())) {
            tracing::warn!(%hop, "SIP: {fault}");
        }
    }
}
