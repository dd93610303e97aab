//! The far end that the centre connects a DN with: one of the lab's telephones, or one on paper.

use std::fmt;
use std::net::SocketAddr;

use super::super::phone::{Hold, Paper, Phone};

/// Whose SDP the centre passes on, as a server without media of its own does.
pub trait FarEnd: fmt::Debug + Send + Sync {
    fn offer(&self) -> String;
    /// `None`: nothing in common.
    fn answer(&self, offer: &str) -> Option<String>;
    /// False: nothing in common.
    fn take_answer(&self, answer: &str) -> bool;
    /// For the next offer or answer.
    fn set_hold(&self, hold: Hold);
    /// The call is over, or somebody else's.
    fn stop(&self);
}

impl FarEnd for Phone {
    fn offer(&self) -> String {
        Phone::offer(self)
    }

    fn answer(&self, offer: &str) -> Option<String> {
        Phone::answer(self, offer).ok()
    }

    fn take_answer(&self, answer: &str) -> bool {
        Phone::take_answer(self, answer).is_ok()
    }

    fn set_hold(&self, hold: Hold) {
        Phone::set_hold(self, hold);
    }

    fn stop(&self) {
        Phone::stop(self);
    }
}

impl FarEnd for Paper {
    fn offer(&self) -> String {
        Paper::offer(self)
    }

    fn answer(&self, offer: &str) -> Option<String> {
        Paper::answer(self, offer).ok()
    }

    fn take_answer(&self, answer: &str) -> bool {
        Paper::take_answer(self, answer).is_ok()
    }

    fn set_hold(&self, hold: Hold) {
        Paper::set_hold(self, hold);
    }

    fn stop(&self) {}
}

/// An offer as such far ends write it: codec names in lower case, and first in the list what nobody
/// here speaks (G.729 and iLBC).
pub fn dressed(sdp: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 96);
    for line in sdp.split_inclusive("\r\n") {
        match line.strip_prefix("m=audio ").and_then(|rest| rest.split_once(" RTP/AVP ")) {
            Some((port, formats)) => {
                out.push_str(&format!("m=audio {port} RTP/AVP 18 98 {formats}"));
                out.push_str("a=rtpmap:18 g729/8000\r\na=fmtp:18 annexb=no\r\n");
                out.push_str("a=rtpmap:98 ilbc/8000\r\na=fmtp:98 mode=30\r\n");
            }
            None => out.push_str(&lower_rtpmap(line)),
        }
    }
    out
}

/// The codec names of a description in lower case.
pub fn lowered(sdp: &str) -> String {
    sdp.split_inclusive("\r\n").map(lower_rtpmap).collect()
}

fn lower_rtpmap(line: &str) -> String {
    if line.starts_with("a=rtpmap:") { line.to_ascii_lowercase() } else { line.to_owned() }
}

/// The same description with nowhere to send to (`c=0.0.0.0`).
pub fn black_hole(sdp: &str) -> String {
    sdp.split_inclusive("\r\n")
        .map(|line| if line.starts_with("c=IN IP4 ") { "c=IN IP4 0.0.0.0\r\n" } else { line })
        .collect()
}

/// Whether a description of the gateway's says that it hears (neither `sendonly` nor `inactive`).
pub fn receives(sdp: &str) -> bool {
    !sdp.lines().any(|line| matches!(line.trim_end(), "a=sendonly" | "a=inactive"))
}

/// `id` and `version` of `o=`.
pub fn origin(sdp: &str) -> Option<(u64, u64)> {
    let mut words = sdp.lines().find_map(|line| line.strip_prefix("o="))?.split(' ').skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Where a description wants RTP.
pub fn media_address(sdp: &str) -> Option<SocketAddr> {
    let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 "))?.trim().parse().ok()?;
    let audio = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    Some(SocketAddr::new(ip, audio.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::super::phone::PhoneConfig;
    use super::*;

    #[test]
    fn offers_are_dressed_and_still_understood() {
        let address = "192.0.2.7:4000".parse().unwrap();
        let paper = Paper::new(PhoneConfig::default(), address);
        let offer = dressed(&paper.offer());
        assert!(
            offer.contains("m=audio 4000 RTP/AVP 18 98 0 8 9 101\r\na=rtpmap:18 g729/8000\r\n")
        );
        assert!(offer.contains("a=rtpmap:0 pcmu/8000\r\n"), "{offer}");
        let other = Paper::new(PhoneConfig::default(), "192.0.2.8:4000".parse().unwrap());
        let answer = other.answer(&offer).unwrap();
        paper.take_answer(&answer).unwrap();
        assert_eq!(other.target(), Some(address));
        assert_eq!(
            media_address(&black_hole(&answer)).map(|a| a.ip().is_unspecified()),
            Some(true)
        );
        assert!(receives(&answer) && origin(&answer).is_some());
    }
}
