//! A call with what the runtime keeps beside its core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::info;

use crate::call::{Call, CallEnd, MediaCommand, Seed};
use crate::media::{Bridge, BrowserLocal, CallStats, StreamStats};
use crate::wire::{AudioStatistics, CallStatistics, Envelope, StreamStatistics, ToBrowser};

pub(super) struct ActiveCall {
    /// Our own id of the call, for logs and the raw-SDP dialect.
    pub id: String,
    pub call: Call,
    pub bridge: Bridge,
    pub peer: String,
    pub peer_name: Option<String>,
    pub call_uuid: Option<String>,
    pub started: Instant,
}

impl ActiveCall {
    pub fn envelope(&self, message: ToBrowser) -> Envelope {
        Envelope {
            peer: self.peer.clone(),
            peer_name: self.peer_name.clone(),
            call: self.id.clone(),
            call_uuid: self.call_uuid.clone(),
            message,
        }
    }

    /// Carries out a command. Some bring new parameters that the core wants to hear of.
    pub fn command_media(&self, command: MediaCommand) -> Option<BrowserLocal> {
        match command {
            MediaCommand::SetBrowser(remote) => self.bridge.set_browser(remote),
            MediaCommand::SetSip(remote) => self.bridge.set_sip(remote),
            MediaCommand::SetFlow(flow) => self.bridge.set_flow(flow),
            MediaCommand::SendDigits(digits) => self.bridge.send_digits(&digits),
            MediaCommand::RestartIce => return Some(self.bridge.restart_ice()),
            MediaCommand::RenewBrowser => return Some(self.bridge.renew_browser()),
        }
        None
    }

    pub fn statistics(&self, now: Instant) -> CallStatistics {
        let stats = self.bridge.stats();
        let answered = self.call.answered_at();
        CallStatistics {
            timestamp: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            duration: answered.map_or(0, |at| {
                u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)
            }),
            audio: audio(&stats),
        }
    }

    /// The call's last line in the log: who, how long, why it ended, how it sounded.
    pub fn record(&self, user: &str, end: &CallEnd, now: Instant) {
        let stats = self.bridge.stats();
        let talked = end.answered_at.map(|at| now.saturating_duration_since(at));
        info!(
            call = %self.id,
            user,
            peer = %self.peer,
            direction = ?self.call.direction(),
            call_uuid = self.call_uuid.as_deref().unwrap_or_default(),
            setup_ms = end
                .answered_at
                .map(|at| at.saturating_duration_since(self.started).as_millis()),
            talked_s = talked.map(|time| time.as_secs_f64()),
            ended_by = end.by.label(),
            code = end.code,
            reason = %end.text,
            sip_reason = end.reason_header.as_deref().unwrap_or_default(),
            codec = ?self.call.codec(),
            browser_rx = stats.from_browser.packets,
            browser_lost = stats.from_browser.lost,
            browser_tx = stats.to_browser.packets,
            sip_rx = stats.from_sip.packets,
            sip_lost = stats.from_sip.lost,
            sip_tx = stats.to_sip.packets,
            "call ended"
        );
    }
}

fn audio(stats: &CallStats) -> AudioStatistics {
    let ms = |time: Option<std::time::Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1000.0);
    let stream = |stream: &StreamStats, lost| StreamStatistics {
        packets: stream.packets,
        bytes: stream.bytes,
        lost,
        jitter: f64::from(stream.jitter) / 8.0,
    };
    AudioStatistics {
        rtt: ms(stats.rtt),
        rtt_max: ms(stats.rtt_max),
        rtt_average: ms(stats.rtt_average),
        rx: stream(&stats.from_browser, stats.from_browser.lost),
        tx: stream(&stats.to_browser, stats.browser_reported_lost),
    }
}

/// A call id that is unique across restarts: the start of the process and a count.
pub(super) fn new_call_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    });
    format!("{start:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn new_seed() -> Seed {
    Seed {
        // 31 bits: safe in every JavaScript number and never null.
        roap: (rand::random::<u32>() >> 1).max(1),
        tiebreaker: rand::random(),
        origins: [rand::random(), rand::random()],
    }
}
