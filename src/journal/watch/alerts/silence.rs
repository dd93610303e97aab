//! Sides of established calls that say nothing though they may.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Condition, fold};
use crate::media::MediaEvent;

/// Looks in a row that have to hear it before it is over.
const HEARD: u32 = 2;

/// More than these are one alert.
const FEW: usize = 5;

/// How far the browser's connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrowserPath {
    /// No ICE check of the browser's has been nominated.
    #[default]
    Nothing,
    Ice,
    DtlsFailed,
    /// ICE and DTLS stand.
    Open,
    /// There were no ICE checks for 30 s.
    Lost,
}

impl BrowserPath {
    /// What it is after this.
    pub fn after(self, event: &MediaEvent) -> Self {
        match event {
            MediaEvent::IceConnected { .. } if self == BrowserPath::Open => self,
            MediaEvent::IceConnected { .. } => BrowserPath::Ice,
            MediaEvent::DtlsConnected { .. } => BrowserPath::Open,
            MediaEvent::DtlsFailed { .. } => BrowserPath::DtlsFailed,
            MediaEvent::IceLost => BrowserPath::Lost,
            _ => self,
        }
    }

    /// What is known of why nothing is heard.
    fn why(self) -> &'static str {
        match self {
            BrowserPath::Nothing => {
                "no ICE check of its has got through to media.listen; a firewall drops them, or \
                 media.advertise names an address that it cannot reach"
            }
            BrowserPath::Ice => {
                "ICE has come about and DTLS has not; the network drops its handshake, or the browser has \
                 given up"
            }
            BrowserPath::DtlsFailed => "DTLS with it has failed; the call's timeline says why",
            BrowserPath::Open => {
                "ICE and DTLS stand; its microphone is gone or blocked, or the network drops what it sends"
            }
            BrowserPath::Lost => {
                "its connection is lost: no ICE check came for 30 s; its network is gone or another one"
            }
        }
    }
}

/// A call that is established and active.
#[derive(Debug, Clone)]
pub struct CallLook {
    pub call: String,
    pub dn: String,
    pub path: BrowserPath,
    pub browser: SideLook,
    pub sip: SideLook,
}

#[derive(Debug, Clone, Copy)]
pub struct SideLook {
    /// RTP is expected from it: it is not held, and may send.
    pub expected: bool,
    /// RTP packets so far.
    pub packets: u64,
}

pub(super) struct Watcher {
    limit: Duration,
    calls: HashMap<String, [Side; 2]>,
    folded: bool,
}

#[derive(Default)]
struct Side {
    packets: u64,
    /// Heard last, or expected from then on.
    since: Option<Instant>,
    silent: bool,
    /// Looks in a row that have heard it.
    heard: u32,
}

impl Side {
    /// How long it has been silent, where that is too long.
    fn look(&mut self, now: Instant, limit: Duration, side: SideLook) -> Option<Duration> {
        let heard = std::mem::replace(&mut self.packets, side.packets) != side.packets;
        if !side.expected {
            *self = Side { packets: side.packets, ..Side::default() };
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if heard {
            self.heard += 1;
            if !self.silent || self.heard >= HEARD {
                self.silent = false;
                self.since = Some(now);
            }
        } else {
            self.heard = 0;
        }
        let quiet = now.saturating_duration_since(since);
        self.silent |= !heard && quiet >= limit;
        self.silent.then_some(quiet)
    }
}

impl Watcher {
    pub fn new(limit: Duration) -> Self {
        Watcher { limit, calls: HashMap::new(), folded: false }
    }

    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    pub fn look(&mut self, calls: &[CallLook], now: Instant) -> Vec<Condition> {
        let mut before = std::mem::take(&mut self.calls);
        let mut told = Vec::new();
        for call in calls {
            let mut sides = before.remove(&call.call).unwrap_or_default();
            for (side, (look, from_sip)) in
                sides.iter_mut().zip([(call.browser, false), (call.sip, true)])
            {
                if let Some(quiet) = side.look(now, self.limit, look) {
                    told.push(condition(call, from_sip, quiet));
                }
            }
            self.calls.insert(call.call.clone(), sides);
        }
        if fold(&mut self.folded, told.len(), FEW) {
            return vec![together(&told)];
        }
        told
    }
}

fn condition(call: &CallLook, from_sip: bool, quiet: Duration) -> Condition {
    // Without the time, which `since` tells: the text would be another one each second.
    let dn = &call.dn;
    let (side, text) = match from_sip {
        true => (
            "sip",
            format!(
                "{dn} hears nothing: no RTP comes from the SIP side, though the call is up; the far end sends none, or a firewall drops it on its way to media.rtp_ports; the \
                 call goes on"
            ),
        ),
        false => (
            "browser",
            format!(
                "{dn} is not heard: no RTP comes from its browser, though the call is up; {}; the call goes on",
                call.path.why()
            ),
        ),
    };
    Condition {
        lasting: quiet,
        dn: Some(dn.clone()),
        call: Some(call.call.clone()),
        ..Condition::new("no_rtp", format!("{side} {}", call.call), text)
    }
}

fn together(told: &[Condition]) -> Condition {
    let from_sip = told.iter().filter(|told| told.subject.starts_with("sip")).count();
    let from_browser = told.len() - from_sip;
    let lasting = told.iter().map(|told| told.lasting).max().unwrap_or_default();
    let text = format!(
        "no RTP comes in many calls: from the SIP side in {from_sip}, from the browser in \
         {from_browser}; a network or a firewall between is the likely cause; the calls go on"
    );
    Condition { critical: true, lasting, ..Condition::new("no_rtp", "", text) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::seconds;
    use super::*;

    fn calls(count: usize, browser: SideLook, sip: SideLook) -> Vec<CallLook> {
        let call = |n| CallLook {
            call: format!("c{n}"),
            dn: format!("{}", 5000 + n),
            path: BrowserPath::Open,
            browser,
            sip,
        };
        (0..count).map(call).collect()
    }

    fn side(packets: u64) -> SideLook {
        SideLook { expected: true, packets }
    }

    const HELD: SideLook = SideLook { expected: false, packets: 7 };

    #[test]
    fn three_seconds_without_rtp_are_told_and_end_when_it_is_heard_steadily() {
        let (mut watcher, start) = (Watcher::new(seconds(3)), Instant::now());
        let mut look = |second, sip| {
            let told = watcher.look(&calls(1, side(10 * second), sip), start + seconds(second));
            told.iter().map(|told| (told.subject.clone(), told.lasting)).collect::<Vec<_>>()
        };
        let silent = |time| vec![("sip c0".to_owned(), seconds(time))];
        assert_eq!(look(1, side(0)), []);
        assert_eq!(look(2, side(5)), []);
        assert_eq!(look(3, side(5)), []);
        assert_eq!(look(4, side(5)), []);
        assert_eq!(look(5, side(5)), silent(3));
        assert_eq!(look(6, side(6)), silent(4), "a single packet is no conversation");
        assert_eq!(look(7, side(6)), silent(5));
        assert_eq!(look(8, side(9)), silent(6));
        assert_eq!(look(9, side(90)), [], "two looks have heard it");
        assert_eq!(look(11, side(90)), []);
        assert_eq!(look(12, side(90)), silent(3));
        assert_eq!(look(13, HELD), [], "nothing is expected of it");
        assert_eq!(look(20, HELD), []);
        assert_eq!(look(21, side(7)), []);
        assert_eq!(look(23, side(7)), []);
        assert_eq!(look(24, side(7)), silent(3));
    }

    #[test]
    fn both_sides_are_watched_and_a_call_that_ended_is_forgotten() {
        let (mut watcher, start) = (Watcher::new(seconds(3)), Instant::now());
        watcher.look(&calls(1, side(0), side(0)), start);
        let told = watcher.look(&calls(1, side(0), side(0)), start + seconds(3));
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|told| told.call.as_deref() == Some("c0")));
        assert_eq!(watcher.look(&[], start + seconds(4)), []);
        assert!(watcher.calls.is_empty());
    }

    #[test]
    fn who_is_not_heard_is_told_with_what_is_known() {
        use crate::media::DtlsFailure::Handshake;
        let remote = "192.0.2.1:9".parse().unwrap();
        let ice = MediaEvent::IceConnected { remote };
        let dtls = MediaEvent::DtlsConnected { profile: "x" };
        let failed = MediaEvent::DtlsFailed { reason: Handshake };
        let picture = MediaEvent::PictureWanted;
        for (events, words) in [
            (vec![], "no ICE check of its has got through to media.listen"),
            (vec![&picture], "no ICE check of its has got through to media.listen"),
            (vec![&ice], "ICE has come about and DTLS has not"),
            (vec![&ice, &failed], "DTLS with it has failed"),
            (vec![&ice, &dtls], "its microphone is gone"),
            // A restart of ICE on a connection that stands.
            (vec![&ice, &dtls, &ice], "its microphone is gone"),
            (vec![&ice, &dtls, &MediaEvent::IceLost], "its connection is lost"),
        ] {
            let path = events.iter().fold(BrowserPath::default(), |path, event| path.after(event));
            let call = CallLook { path, ..calls(1, side(0), HELD).remove(0) };
            let (mut watcher, start) = (Watcher::new(seconds(3)), Instant::now());
            watcher.look(std::slice::from_ref(&call), start);
            let told = watcher.look(&[call], start + seconds(3));
            assert!(told.len() == 1 && told[0].text.contains(words), "{told:?}");
            let microphone = told[0].text.contains("microphone");
            assert_eq!(microphone, path == BrowserPath::Open, "{told:?}");
        }
    }

    #[test]
    fn a_broken_network_is_one_alert() {
        let (mut watcher, start) = (Watcher::new(seconds(3)), Instant::now());
        watcher.look(&calls(40, HELD, side(0)), start);
        let told = watcher.look(&calls(40, HELD, side(0)), start + seconds(3));
        assert!(told.len() == 1 && told[0].critical && told[0].call.is_none());
        assert!(told[0].text.contains("from the SIP side in 40, from the browser in 0"));
    }
}
