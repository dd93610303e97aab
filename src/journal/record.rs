//! What stays of a finished call: one line of JSON, one row of the store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::agent::{VideoFigures, VideoLeg, VideoStream};
use crate::media::{Asked, RoundTrips, StreamStats, VideoStats};

/// A finished call. Times are Unix milliseconds or milliseconds; names are stable, fields are added only.
/// A record of an older version is read too: what it does not have is nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CallRecord {
    /// Our own id of it.
    pub call: String,
    /// The SIP Call-ID, and those of legs that took its place.
    pub sip_call_ids: Vec<String>,
    /// Genesys' X-Genesys-CallUUID.
    pub call_uuid: Option<String>,
    /// The DN, or the id of a guest.
    pub user: String,
    /// The client's own id in the raw-SDP dialect.
    pub agent_id: Option<String>,
    pub peer: String,
    pub peer_name: Option<String>,
    pub diverted_from: Option<String>,
    pub incoming: bool,
    /// `jsapi` or `rest`.
    pub dialect: String,
    /// Unix milliseconds.
    pub started: u64,
    /// Unix milliseconds; `None` for a call that was never answered.
    pub answered: Option<u64>,
    /// Unix milliseconds.
    pub ended: u64,
    /// From the beginning to the 200, milliseconds.
    pub setup_ms: Option<u64>,
    /// From the answer to the end, milliseconds.
    pub talked_ms: Option<u64>,
    /// `browser`, `peer`, `network` or `gateway`: [`crate::call::CallEndedBy::label`].
    pub ended_by: String,
    /// SIP status; 200 for an ordinary hang-up.
    pub code: u16,
    pub reason: String,
    /// The peer's Reason header, verbatim.
    pub sip_reason: Option<String>,
    /// Last status of a transfer that the agent asked for.
    pub transfer: Option<u16>,
    /// Digits that the agent sent; never which.
    pub digits: u32,
    pub holds: u32,
    /// The codec toward SIP.
    pub codec: Option<String>,
    pub sip_encrypted: bool,
    /// The side that no RTP came from though it was expected, `browser` or `sip`: the last that was
    /// complained of.
    pub silent: Option<String>,
    pub browser: LegRecord,
    pub sip: LegRecord,
    /// Packets that concealment made up, both directions.
    pub concealed: u64,
    /// `None` for a call without video.
    pub video: Option<VideoFigures>,
}

/// One side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LegRecord {
    /// Milliseconds, mean.
    pub rtt_ms: Option<f64>,
    /// What we heard of it.
    pub rx: StreamRecord,
    /// What it heard of us, as it reports.
    pub tx: StreamRecord,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StreamRecord {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub jitter_ms: f64,
    /// 1 to 4.5 (G.107), mean; `None` without packets.
    pub mos: Option<f64>,
    pub mos_worst: Option<f64>,
}

impl CallRecord {
    /// The call's last line in the log: who, how long, why it ended, how it sounded.
    pub fn log(&self) {
        let (browser, sip) = (&self.browser, &self.sip);
        info!(
            call = %self.call,
            user = %self.user,
            agent_id = self.agent_id.as_deref().unwrap_or_default(),
            peer = %self.peer,
            diverted_from = self.diverted_from.as_deref().unwrap_or_default(),
            direction = if self.incoming { "incoming" } else { "outgoing" },
            sip_call_id = self.sip_call_ids.first().map(String::as_str).unwrap_or_default(),
            call_uuid = self.call_uuid.as_deref().unwrap_or_default(),
            setup_ms = self.setup_ms,
            talked_s = self.talked_ms.map(|time| time as f64 / 1000.0),
            ended_by = %self.ended_by,
            code = self.code,
            reason = %self.reason,
            sip_reason = self.sip_reason.as_deref().unwrap_or_default(),
            transfer = self.transfer,
            digits = self.digits,
            holds = self.holds,
            codec = self.codec.as_deref().unwrap_or_default(),
            sip_encrypted = self.sip_encrypted,
            browser_rtt_ms = browser.rtt_ms,
            browser_rx = browser.rx.packets,
            browser_lost = browser.rx.lost,
            browser_jitter_ms = browser.rx.jitter_ms,
            browser_mos = browser.rx.mos,
            browser_mos_worst = browser.rx.mos_worst,
            browser_tx = browser.tx.packets,
            browser_tx_lost = browser.tx.lost,
            browser_tx_mos = browser.tx.mos,
            browser_tx_mos_worst = browser.tx.mos_worst,
            sip_rtt_ms = sip.rtt_ms,
            sip_rx = sip.rx.packets,
            sip_lost = sip.rx.lost,
            sip_jitter_ms = sip.rx.jitter_ms,
            sip_mos = sip.rx.mos,
            sip_mos_worst = sip.rx.mos_worst,
            sip_tx = sip.tx.packets,
            sip_tx_lost = sip.tx.lost,
            sip_tx_mos = sip.tx.mos,
            sip_tx_mos_worst = sip.tx.mos_worst,
            concealed = self.concealed,
            video_browser_rx = self.video.map(|video| video.browser.rx.packets),
            video_browser_lost = self.video.map(|video| video.browser.rx.lost),
            video_sip_rx = self.video.map(|video| video.sip.rx.packets),
            video_sip_lost = self.video.map(|video| video.sip.rx.lost),
            "call ended"
        );
    }
}

impl LegRecord {
    /// `rx` is what was heard of it, `tx` what it heard of us.
    pub fn new(rtt: RoundTrips, rx: &StreamStats, tx: &StreamStats) -> Self {
        Self {
            rtt_ms: rtt.average.map(milliseconds),
            rx: StreamRecord::new(rx),
            tx: StreamRecord::new(tx),
        }
    }
}

impl StreamRecord {
    fn new(stream: &StreamStats) -> Self {
        Self {
            packets: stream.packets,
            bytes: stream.bytes,
            lost: stream.lost,
            jitter_ms: milliseconds(stream.jitter),
            mos: stream.mos.average().map(hundredths),
            mos_worst: stream.mos.worst.map(hundredths),
        }
    }
}

/// The figures of a call's video, as they are told.
pub fn video_figures(stats: &VideoStats) -> VideoFigures {
    let stream = |stream: &StreamStats, asked: Asked| VideoStream {
        packets: stream.packets,
        bytes: stream.bytes,
        lost: stream.lost,
        nacks: asked.packets,
        pictures: asked.pictures,
    };
    VideoFigures {
        browser: VideoLeg {
            rx: stream(&stats.from_browser, stats.asked_browser),
            tx: stream(&stats.to_browser, stats.browser_asked),
        },
        sip: VideoLeg {
            rx: stream(&stats.from_sip, stats.asked_sip),
            tx: stream(&stats.to_sip, stats.sip_asked),
        },
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1000.0
}

/// Two digits are all that a score is good for.
fn hundredths(mos: f64) -> f64 {
    (mos * 100.0).round() / 100.0
}

/// Unix milliseconds; 0 before 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
