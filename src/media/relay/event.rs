//! Passing a telephone event on, between payload numbers and clocks.

use std::time::Instant;

use crate::media::dtmf::Event;
use crate::media::rtp::Packet;
use crate::media::stream::{Place, Stream};

use super::forward::source;

/// An event that goes on under a timestamp of ours, for the two sides count time differently.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renamed {
    ssrc: u32,
    timestamp: u32,
    /// The newest number of its packets.
    sequence: u16,
    ours: u32,
}

/// What is known of the two sides when an event comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// Of the event that came.
    pub from: u32,
    /// Of the event that goes.
    pub to: u32,
    /// Of the audio that the event goes out among.
    pub audio: u32,
    /// The audio of this source does not pass as it is.
    pub transcoded: bool,
}

/// The place of an event's packet, and the event in the units of the other side. `None` for a packet that
/// came before.
pub(super) fn pass(
    stream: &mut Stream,
    renamed: &mut Option<Renamed>,
    now: Instant,
    packet: &Packet<'_>,
    event: Event,
    clocks: Clocks,
) -> Option<(Place, Event)> {
    let Clocks { from, to, audio, transcoded } = clocks;
    if from == to && from == audio && !transcoded {
        let place = stream.follow(now, source(packet, 0, from))?;
        return Some((place, event));
    }
    let event = event.at(from, to);
    if let Some(last) = renamed.as_mut().filter(|last| last.ssrc == packet.ssrc) {
        let ahead = packet.sequence.wrapping_sub(last.sequence) as i16;
        if ahead <= 0 {
            // Repeated or late; the next one says it all again.
            return None;
        }
        last.sequence = packet.sequence;
        if last.timestamp == packet.timestamp {
            return Some((stream.repeat(now, last.ours), event));
        }
    }
    let place = stream.insert(now, 0, audio);
    *renamed = Some(Renamed {
        ssrc: packet.ssrc,
        timestamp: packet.timestamp,
        sequence: packet.sequence,
        ours: place.timestamp,
    });
    Some((Place { marker: true, ..place }, event))
}
