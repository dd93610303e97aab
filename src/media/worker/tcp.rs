//! Connections of browsers at the worker that has their calls.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Worker;
use super::orders::Counters;
use super::token::Token;
use crate::media::ice::{Check, NoCheck};
use crate::media::path::Path;
use crate::media::rtp::Class;
use crate::media::tcp::{Connection, Delivery};
use crate::media::types::MediaId;

/// Reads from one connection before the others have their turn.
const MAX_ROUNDS: usize = 8;

/// A connection's number: its place below, above it how many came before.
const PLACE: u32 = 32;

/// The connections of this worker's calls. A call has a few at most (see `ice`).
#[derive(Default)]
pub struct Table {
    slots: Vec<Option<Slot>>,
    vacant: Vec<usize>,
    adopted: u64,
    pub outbox: Outbox,
}

struct Slot {
    number: u64,
    connection: Connection,
    /// Whose check came by it. `None` only until the first frame has been read.
    call: Option<MediaId>,
    /// A frame has begun to leave, and there is no room for its rest.
    begun: bool,
}

impl Slot {
    fn path(&self) -> Path {
        Path::Tcp { peer: self.connection.peer(), connection: self.number }
    }
}

fn place_of(number: u64) -> usize {
    (number & ((1 << PLACE) - 1)) as usize
}

impl Table {
    fn vacate(&mut self, place: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(place)?.take()?;
        self.vacant.push(place);
        Some(slot)
    }

    fn is(&self, number: u64) -> bool {
        let slot = self.slots.get(place_of(number)).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.number == number)
    }
}

/// What waits to leave through connections, and connections to be closed after it.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<(u64, usize, usize)>,
    closed: Vec<u64>,
}

impl Outbox {
    pub fn push(&mut self, connection: u64, data: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.entries.push((connection, start, data.len()));
    }

    pub fn close(&mut self, path: Path) {
        if let Path::Tcp { connection, .. } = path {
            self.closed.push(connection);
        }
    }
}

impl Worker {
    /// Takes a connection over from the acceptor, with a check that waits in it.
    pub(super) fn adopt(&mut self, now: Instant, connection: Connection) {
        let table = &mut self.tcp;
        let place = table.vacant.pop().unwrap_or_else(|| {
            table.slots.push(None);
            table.slots.len() - 1
        });
        table.adopted += 1;
        let number = table.adopted << PLACE | place as u64;
        if let Err(error) = self.epoll.add(&connection, Token::Tcp(place)) {
            tracing::error!(%error, "cannot watch a connection with media");
            return table.vacant.push(place);
        }
        if let Some(slot) = table.slots.get_mut(place) {
            *slot = Some(Slot { number, connection, call: None, begun: false });
        }
        self.orders.counters.tcp_connections.fetch_add(1, Ordering::Relaxed);
        self.drain_tcp(now, place);
    }

    /// Something has come by a connection, or there is room in it again.
    pub(super) fn drain_tcp(&mut self, now: Instant, place: usize) {
        // It is out of the table while calls are served, and what they answer waits in the outbox.
        let Some(mut slot) = self.tcp.slots.get_mut(place).and_then(Option::take) else { return };
        let goes_on = self.write_rest(&mut slot, place) && self.serve_connection(now, &mut slot);
        let (path, call) = (slot.path(), slot.call);
        if let Some(empty) = self.tcp.slots.get_mut(place) {
            *empty = Some(slot);
        }
        if goes_on {
            return;
        }
        // An answer may still wait: a refused check is told why.
        self.tcp.outbox.close(path);
        match call {
            None => Counters::add(&self.orders.counters.tcp_refused, 1),
            Some(id) => {
                if let Some(&seat) = self.by_id.get(&id) {
                    self.with(seat, None, |call, _| call.handle_closed(path));
                }
            }
        }
    }

    /// False where the connection has ended.
    fn write_rest(&mut self, slot: &mut Slot, place: usize) -> bool {
        if !slot.begun {
            return true;
        }
        match slot.connection.flush() {
            Ok(true) => {
                slot.begun = false;
                self.epoll.watch_writing(&slot.connection, Token::Tcp(place), false).is_ok()
            }
            Ok(false) => true,
            Err(_) => false,
        }
    }

    /// Reads what there is, within bounds; false where the connection has ended, or has to.
    fn serve_connection(&mut self, now: Instant, slot: &mut Slot) -> bool {
        let path = slot.path();
        for round in 0..=MAX_ROUNDS {
            // What came with the check that brought the connection here is served first.
            if round > 0 {
                match slot.connection.receive() {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(_) => return false,
                }
            }
            loop {
                match slot.connection.reader().next_frame() {
                    Ok(Some(frame)) => {
                        self.packets += 1;
                        if !self.frame(now, path, &mut slot.call, frame) {
                            return false;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => {
                        Counters::add(&self.orders.counters.malformed, 1);
                        return false;
                    }
                }
            }
        }
        true
    }

    /// One frame; false where no call goes with the connection.
    fn frame(
        &mut self,
        now: Instant,
        path: Path,
        owner: &mut Option<MediaId>,
        data: &mut [u8],
    ) -> bool {
        if Class::of(data) == Class::Stun {
            match Check::parse(data) {
                Ok(check) => self.tcp_check(now, path, owner, check),
                Err(NoCheck::Malformed) => Counters::add(&self.orders.counters.malformed, 1),
                Err(NoCheck::OtherMessage) => {}
            }
            return owner.is_some();
        }
        let Some(&seat) = owner.as_ref().and_then(|id| self.by_id.get(id)) else { return false };
        self.with(seat, None, |call, exit| call.handle_browser(now, path, data, exit));
        true
    }

    fn tcp_check(
        &mut self,
        now: Instant,
        path: Path,
        owner: &mut Option<MediaId>,
        mut check: Check,
    ) {
        let seat = self.routes.by_ufrag.get(check.ufrag()).copied();
        let found = seat.and_then(|index| Some((index, self.seats.get(index)?.as_ref()?.id)));
        match found {
            // A connection has one call.
            Some((seat, id)) if owner.is_none_or(|owner| owner == id) => {
                self.with(seat, None, |call, exit| call.handle_check(now, path, &mut check, exit));
                let seated = self.seats.get(seat).and_then(Option::as_ref);
                if seated.is_some_and(|seated| seated.id == id && seated.call.is_valid(path)) {
                    *owner = Some(id);
                }
            }
            _ => Counters::add(&self.orders.counters.unknown_datagrams, 1),
        }
    }

    /// Sends what has gathered, then closes what has to be closed.
    pub(super) fn flush_tcp(&mut self) {
        if self.tcp.outbox.entries.is_empty() && self.tcp.outbox.closed.is_empty() {
            return;
        }
        let Table { slots, outbox, .. } = &mut self.tcp;
        for (number, start, len) in outbox.entries.drain(..) {
            let place = place_of(number);
            let Some(slot) = slots.get_mut(place).and_then(Option::as_mut) else { continue };
            let Some(data) = outbox.bytes.get(start..start + len) else { continue };
            if slot.number != number {
                continue;
            }
            match slot.connection.send(data) {
                Delivery::Sent => {}
                Delivery::Begun => {
                    let token = Token::Tcp(place);
                    slot.begun = self.epoll.watch_writing(&slot.connection, token, true).is_ok();
                }
                Delivery::Dropped => Counters::add(&self.orders.counters.tcp_dropped, 1),
                // Reading it says so too, and then the call is told.
                Delivery::Closed => {}
            }
        }
        outbox.bytes.clear();
        for number in std::mem::take(&mut self.tcp.outbox.closed) {
            if self.tcp.is(number) && self.tcp.vacate(place_of(number)).is_some() {
                self.orders.counters.tcp_connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
