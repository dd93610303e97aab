//! A client over TCP or TLS: a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frame::{self, MAX_FRAME};
use super::relay::Relays;
use super::server::now;
use super::session::{Core, Session, Transport};
use super::stats::count;

/// A connection without an allocation is of no use for longer.
const IDLE: Duration = Duration::from_secs(30);

/// Messages that wait for the client: some two seconds of sound. More would only be late.
const QUEUE: usize = 128;

/// Messages that leave in one write.
const BATCH: usize = 32;

/// A client that takes nothing for so long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn serve<S>(stream: S, client: SocketAddr, core: Arc<Core>)
where
    S: AsyncRead + AsyncWrite,
{
    let (mut reader, writer) = tokio::io::split(stream);
    let (to_client, queue) = mpsc::channel(QUEUE);
    let (sender, mut packets) = mpsc::channel(QUEUE);
    let mut session = Session::new(Arc::clone(&core), Transport::Stream, client);
    let mut relays = Relays::new(client, Arc::clone(&core), sender);
    let mut buffer = BytesMut::new();
    let mut idle_since = Instant::now();
    let writing = write(writer, queue);
    tokio::pin!(writing);
    loop {
        // Never more than a message and what follows it.
        buffer.reserve(MAX_FRAME);
        let deadline = session.poll_timeout().unwrap_or(idle_since + IDLE);
        tokio::select! {
            () = &mut writing => return,
            read = reader.read_buf(&mut buffer) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
                loop {
                    match frame::next(&buffer) {
                        Ok(Some(length)) => {
                            session.handle_client(buffer.get(..length).unwrap_or_default(), now());
                            buffer.advance(length);
                            carry_out(&mut relays, &mut session, &to_client, &core);
                        }
                        Ok(None) => break,
                        Err(frame::Lost) => return count(&core.counters.malformed),
                    }
                }
            }
            Some(packet) = packets.recv() => {
                if relays.is_current(&packet) {
                    session.handle_peer(packet.leg, &packet.data, Instant::now());
                }
            }
            () = tokio::time::sleep_until(deadline.into()) => {
                session.handle_timeout(Instant::now());
                if !session.is_open() {
                    return;
                }
            }
        }
        carry_out(&mut relays, &mut session, &to_client, &core);
        if session.is_open() {
            idle_since = Instant::now();
        }
    }
}

fn carry_out(
    relays: &mut Relays,
    session: &mut Session,
    to_client: &mpsc::Sender<Vec<u8>>,
    core: &Core,
) {
    relays.carry_out(session, Instant::now(), |bytes| {
        if to_client.try_send(bytes).is_err() {
            count(&core.counters.dropped);
        }
    });
}

/// Ends when the client takes nothing any more.
async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut bytes = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        bytes.clear();
        batch.drain(..).for_each(|message| bytes.extend_from_slice(&message));
        let writing = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if !matches!(tokio::time::timeout(WRITE_LIMIT, writing).await, Ok(Ok(()))) {
            return;
        }
    }
}
