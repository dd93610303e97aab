//! What a worker does when it is told to: calls opened, ordered about and closed.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::orders::{Command, Opening, VideoSockets};
use super::seat::{Faults, Seat};
use super::token::Token;
use super::{MAX_EVENTS, Worker};
use crate::media::types::MediaId;

impl Worker {
    pub(super) fn obey(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.commands.pop() {
            if !self.carry_out(now, command) {
                return false;
            }
        }
        for command in self.orders.take_overflow() {
            if !self.carry_out(now, command) {
                return false;
            }
        }
        true
    }

    fn carry_out(&mut self, now: Instant, command: Command) -> bool {
        match command {
            Command::Open { id, call } => self.open(now, id, *call),
            Command::Order { id, order, ufrag } => {
                if let Some(&seat) = self.by_id.get(&id) {
                    if let Some(ufrag) = ufrag {
                        self.routes.by_ufrag.insert(ufrag, seat);
                    }
                    self.with(seat, None, |call, exit| call.handle_order(now, order, exit));
                    // A new description opens the window: strangers have to be heard again.
                    if let Some(Some(seat)) = self.seats.get_mut(seat) {
                        seat.settle(now);
                    }
                }
            }
            Command::Handshaken { id, done } => {
                if let Some(&seat) = self.by_id.get(&id) {
                    self.with(seat, None, |call, exit| call.handle_handshaken(now, *done, exit));
                }
            }
            Command::Video { id, video } => self.open_video(now, id, video),
            Command::Close(id) => self.close(now, id),
            Command::Adopt(connection) => self.adopt(now, *connection),
            Command::Stop => return false,
            #[cfg(test)]
            Command::Stumble => panic!("as the test has told it to"),
        }
        true
    }

    fn open(&mut self, now: Instant, id: MediaId, opening: Opening) {
        let Opening { call, ufrag, rtp, rtcp, port, events, published } = opening;
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let added = self
            .epoll
            .add(&rtp, Token::Rtp(index))
            .and_then(|()| self.epoll.add(&rtcp, Token::Rtcp(index)));
        if let Err(error) = added {
            tracing::error!(%error, call = id.0, "cannot watch the RTP sockets of a call");
        }
        self.seats[index] = Some(Box::new(Seat {
            id,
            call,
            rtp,
            rtcp,
            far_end: None,
            is_connected: false,
            port,
            video: None,
            events,
            events_left: MAX_EVENTS,
            events_since: now,
            published,
            dirty: true,
            armed: None,
            counted: Faults::default(),
        }));
        self.by_id.insert(id, index);
        self.routes.by_ufrag.insert(ufrag, index);
        self.with(index, None, |_, _| ());
    }

    fn open_video(&mut self, now: Instant, id: MediaId, video: Box<VideoSockets>) {
        let index = self.by_id.get(&id).copied();
        let Some((index, seat)) =
            index.and_then(|index| Some((index, self.seats.get_mut(index)?.as_mut()?)))
        else {
            self.ports.lock().unwrap_or_else(PoisonError::into_inner).release(now, video.port);
            return;
        };
        let added = self
            .epoll
            .add(&video.rtp, Token::Video(index))
            .and_then(|()| self.epoll.add(&video.rtcp, Token::VideoRtcp(index)));
        if let Err(error) = added {
            tracing::error!(%error, call = id.0, "cannot watch the video sockets of a call");
        }
        let ssrc = video.ssrc;
        seat.video = Some(video);
        self.with(index, None, |call, _| call.open_video(now, ssrc));
    }

    pub(super) fn close(&mut self, now: Instant, id: MediaId) {
        let Some(index) = self.by_id.remove(&id) else { return };
        self.with(index, None, |call, exit| call.say_goodbye(now, exit));
        // What the call still wanted to say leaves first.
        self.send.flush(&self.socket);
        if let Some(mut seat) = self.seats[index].take() {
            let (ufrags, paths) = seat.call.routes();
            for ufrag in ufrags {
                self.routes.by_ufrag.remove(&ufrag);
            }
            for path in paths {
                self.routes.forget(path, index);
                self.tcp.outbox.close(path);
            }
            let port = seat.port;
            let video = seat.video.as_ref().map(|video| video.port);
            seat.publish(&self.orders.counters);
            drop(seat);
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.release(now, port);
            if let Some(port) = video {
                ports.release(now, port);
            }
        }
        self.vacant.push(index);
        self.orders.counters.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
