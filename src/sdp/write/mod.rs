//! Writing descriptions from our own model.

mod browser;
mod sip;
mod video;

use std::fmt::Write;
use std::net::IpAddr;

use super::{Codec, Format, Line, PayloadMap, Wishes};

pub use browser::{BrowserSide, Shape, browser};
pub use sip::{SipSide, sip};
pub use video::VideoSide;

/// The `o=` line of one side of a call. The version counts up whenever what follows it changes, and
/// stays when it does not: a session refresh must look like one (RFC 3264 8, RFC 4028 7.4).
#[derive(Debug, Clone)]
pub struct Origin {
    id: u64,
    version: u64,
    last: Option<String>,
}

impl Origin {
    /// `id` stays below 2^62, as JSEP asks (RFC 8829 5.2.1).
    pub fn new(id: u64) -> Self {
        Self { id: id & (u64::MAX >> 2), version: 1, last: None }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    fn finish(&mut self, address: IpAddr, rest: String) -> String {
        match &self.last {
            Some(last) if *last == rest => {}
            Some(_) => {
                self.version += 1;
                self.last = Some(rest.clone());
            }
            None => self.last = Some(rest.clone()),
        }
        format!(
            "v=0\r\no=- {} {} IN {} {}\r\ns=-\r\n{}",
            self.id,
            self.version,
            family(address),
            address,
            rest
        )
    }
}

fn media_line(text: &mut String, port: u16, proto: &str, payloads: &PayloadMap) {
    let _ = write!(text, "m=audio {port} {proto}");
    for format in &payloads.formats {
        let _ = write!(text, " {}", format.payload);
    }
    for (payload, _) in events(payloads) {
        let _ = write!(text, " {payload}");
    }
    text.push_str("\r\n");
}

fn rtpmaps(text: &mut String, payloads: &PayloadMap) {
    for Format { codec, payload } in &payloads.formats {
        let (clock, channels) = (codec.clock_rate(), codec.rtpmap_channels());
        let _ = write!(text, "a=rtpmap:{payload} {codec}/{clock}{channels}\r\n");
        if *codec == Codec::Opus {
            let _ = write!(text, "a=fmtp:{payload} {}\r\n", payloads.wishes.opus);
        }
    }
    for (payload, clock) in events(payloads) {
        let _ =
            write!(text, "a=rtpmap:{payload} telephone-event/{clock}\r\na=fmtp:{payload} 0-15\r\n");
    }
}

fn ptime(text: &mut String, payloads: &PayloadMap) {
    let _ = write!(text, "a=ptime:{}\r\n", payloads.wishes.ptime.as_millis());
}

/// telephone-event's payload types with their clocks.
fn events(payloads: &PayloadMap) -> impl Iterator<Item = (u8, u32)> {
    let narrow = payloads.telephone_event.map(|payload| (payload, 8000));
    narrow.into_iter().chain(payloads.telephone_event_48k.map(|payload| (payload, 48_000)))
}

/// A rejected m-line: port 0, its own profile and formats (RFC 3264 6).
fn refused(text: &mut String, line: &Line) {
    let formats = if line.formats.is_empty() { "0" } else { &line.formats };
    let _ = write!(text, "m={} 0 {} {}\r\n", line.kind, line.proto, formats);
    if let Some(mid) = &line.mid {
        let _ = write!(text, "c=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n");
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

/// The payload map we offer: static numbers, telephone-event under 101 as SIP phones write it; those of
/// Opus as browsers have them.
pub fn offered(codecs: &[Codec]) -> PayloadMap {
    PayloadMap {
        formats: codecs
            .iter()
            .map(|codec| Format { codec: *codec, payload: codec.offered_payload() })
            .collect(),
        // Not where Opus is all there is: an event has the clock of the audio it interrupts.
        telephone_event: codecs.iter().any(|c| c.clock_rate() == 8000).then_some(101),
        telephone_event_48k: codecs.contains(&Codec::Opus).then_some(110),
        wishes: Wishes::default(),
    }
}
