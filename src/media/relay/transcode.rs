//! Where the two sides have no codec in common.

use std::time::Instant;

use super::{PACKET, Relay, write};
use crate::media::codec::{Stamp, Transcoder, samples};
use crate::media::rtp::Packet;
use crate::media::stream::{Place, Stream};
use crate::sdp::{Codec, Format, PayloadMap};

/// The most that any codec makes of 60 ms.
const PAYLOAD: usize = 1275;

/// One direction's coders, while they are needed. Boxed, so that a call without pays little.
#[derive(Default)]
pub(super) struct Coder {
    at_work: Option<Box<Transcoder>>,
    /// Frames that were made up by those let go of.
    concealed: u64,
}

impl Coder {
    pub fn is_at_work(&self) -> bool {
        self.at_work.is_some()
    }

    pub fn as_mut(&mut self) -> Option<&mut Transcoder> {
        self.at_work.as_deref_mut()
    }

    pub fn let_go(&mut self) {
        if let Some(coder) = self.at_work.take() {
            self.concealed += coder.concealed();
        }
    }

    fn let_go_if(&mut self, condition: impl FnOnce(&Transcoder) -> bool) {
        if self.at_work.as_deref().is_some_and(condition) {
            self.let_go();
        }
    }

    /// Frames made up in all.
    fn concealed(&self) -> u64 {
        self.concealed + self.at_work.as_ref().map_or(0, |coder| coder.concealed())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.at_work.as_ref()?.poll_timeout()
    }
}

impl Relay {
    /// A packet of the browser's in a codec that the SIP side does not have.
    pub(super) fn transcode_to_sip(&mut self, now: Instant, from: Codec, packet: &Packet<'_>) {
        if let Some(Format { codec: to, .. }) = self.sip.preferred() {
            let make = || Transcoder::new(from, to, self.sip.wishes, self.complexity);
            insert(&mut self.coder_to_sip, now, (from, to), packet, make);
        }
    }

    /// A packet of the SIP side's in a codec that the browser does not have.
    pub(super) fn transcode_to_browser(&mut self, now: Instant, from: Codec, packet: &Packet<'_>) {
        if let Some(Format { codec: to, .. }) = self.browser.preferred() {
            let make = || Transcoder::new(from, to, self.browser.wishes, self.complexity);
            insert(&mut self.coder_to_browser, now, (from, to), packet, make);
        }
    }

    /// A transcoded packet for SIP that is due. To be asked until `None`.
    pub(super) fn poll_coder_to_sip<'b>(
        &mut self,
        now: Instant,
        buffer: &'b mut [u8; PACKET],
    ) -> Option<&'b [u8]> {
        let coder = self.coder_to_sip.as_mut()?;
        if self.keypad.is_sounding() {
            coder.pause();
        }
        let payload_type = self.sip.payload_of(coder.to())?;
        poll(coder, &mut self.to_sip, payload_type, now, buffer)
    }

    /// A transcoded packet for the browser that is due. To be asked until `None`.
    pub(super) fn poll_coder_to_browser<'b>(
        &mut self,
        now: Instant,
        buffer: &'b mut [u8; PACKET],
    ) -> Option<&'b [u8]> {
        let coder = self.coder_to_browser.as_mut()?;
        if self.browser_keypad.is_sounding() {
            coder.pause();
        }
        let payload_type = self.browser.payload_of(coder.to())?;
        poll(coder, &mut self.to_browser, payload_type, now, buffer)
    }

    /// The browser's reports of our stream, in 1/256: Opus repeats itself accordingly.
    pub fn browser_loses(&mut self, fraction: u8) {
        if let Some(coder) = self.coder_to_browser.as_mut() {
            coder.reported(fraction);
        }
    }

    pub fn sip_loses(&mut self, fraction: u8) {
        if let Some(coder) = self.coder_to_sip.as_mut() {
            coder.reported(fraction);
        }
    }

    /// Frames made up in all.
    pub fn concealed_of_browser(&self) -> u64 {
        self.coder_to_sip.concealed()
    }

    pub fn concealed_of_sip(&self) -> u64 {
        self.coder_to_browser.concealed()
    }

    pub(super) fn coder_timeout(&self) -> Option<Instant> {
        let to_sip = self.coder_to_sip.poll_timeout();
        to_sip.into_iter().chain(self.coder_to_browser.poll_timeout()).min()
    }

    /// Lets go of coders that what was negotiated since, or what may flow, leaves without work.
    pub(super) fn drop_coders(&mut self) {
        let makes = |coder: &Transcoder, map: &PayloadMap| {
            let to = map.preferred().map(|format| format.codec);
            to == Some(coder.to()) && coder.wishes() == map.wishes
        };
        let (sip, browser) = (&self.sip, &self.browser);
        self.coder_to_sip.let_go_if(|coder| !self.flow.to_sip || !makes(coder, sip));
        self.coder_to_browser.let_go_if(|coder| !self.flow.to_browser || !makes(coder, browser));
    }
}

fn insert(
    coder: &mut Coder,
    now: Instant,
    (from, to): (Codec, Codec),
    packet: &Packet<'_>,
    make: impl FnOnce() -> Transcoder,
) {
    coder.let_go_if(|coder| coder.from() != from || coder.to() != to);
    let coder = coder.at_work.get_or_insert_with(|| Box::new(make()));
    let stamp = Stamp {
        ssrc: packet.ssrc,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        samples: samples(from, packet.payload),
    };
    coder.insert(now, stamp, packet.payload);
}

fn poll<'b>(
    coder: &mut Transcoder,
    stream: &mut Stream,
    payload_type: u8,
    now: Instant,
    buffer: &'b mut [u8; PACKET],
) -> Option<&'b [u8]> {
    let mut payload = [0; PAYLOAD];
    let due = coder.poll(now, &mut payload)?;
    let place = stream.insert(due.at, due.samples, coder.to().clock_rate());
    let place = Place { marker: place.marker || due.first, ..place };
    write(place, payload_type, payload.get(..due.len)?, None, buffer)
}
