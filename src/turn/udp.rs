//! Clients over UDP: one task for all of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::MAX_FRAME;
use super::relay::{Packet, Relays};
use super::server::now;
use super::session::{Core, Session, Transport};
use super::stats::count;

/// Packets of the media plane that wait: 20 ms of 2000 calls.
const QUEUE: usize = 2048;

/// Allocations last for minutes.
const TICK: Duration = Duration::from_secs(1);

struct Client {
    session: Session,
    relays: Relays,
}

pub(super) async fn run(socket: UdpSocket, core: Arc<Core>, stop: CancellationToken) {
    let (sender, mut packets) = mpsc::channel(QUEUE);
    let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
    let mut ticks = tokio::time::interval(TICK);
    let mut buffer = [0; MAX_FRAME];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let data = buffer.get(..length).unwrap_or_default();
                    let client = clients.entry(from).or_insert_with(|| Client {
                        session: Session::new(
                            Arc::clone(&core),
                            Transport::Datagram,
                            SocketAddr::new(from.ip().to_canonical(), from.port()),
                        ),
                        relays: Relays::new(from, Arc::clone(&core), sender.clone()),
                    });
                    client.session.handle_client(data, now());
                    client.carry_out(&socket, from, &core);
                    // Only allocations are remembered, and those have their quota.
                    if !client.session.is_open() {
                        clients.remove(&from);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the TURN port could not be read");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(packet) = packets.recv() => {
                let Packet { client: to, leg, .. } = packet;
                if let Some(client) = clients.get_mut(&to)
                    && client.relays.is_current(&packet)
                {
                    client.session.handle_peer(leg, &packet.data, Instant::now());
                    client.carry_out(&socket, to, &core);
                }
            }
            _ = ticks.tick() => {
                let now = Instant::now();
                clients.retain(|_, client| {
                    client.session.handle_timeout(now);
                    client.session.is_open()
                });
            }
        }
    }
}

impl Client {
    fn carry_out(&mut self, socket: &UdpSocket, to: SocketAddr, core: &Core) {
        self.relays.carry_out(&mut self.session, Instant::now(), |bytes| {
            if socket.try_send_to(&bytes, to).is_err() {
                count(&core.counters.dropped);
            }
        });
    }
}
