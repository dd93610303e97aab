//! What stays of a finished call: one line of JSON, one row of the store.

use serde::{Deserialize, Serialize};

/// A finished call. Times are Unix milliseconds or milliseconds; names are stable, fields are added only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Our own id of it.
    pub call: String,
    /// The SIP Call-ID, and those of legs that took its place.
    pub sip_call_ids: Vec<String>,
    /// Genesys' X-Genesys-CallUUID.
    pub call_uuid: Option<String>,
    /// The DN, or the id of a guest.
    pub user: String,
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
    /// `browser`, `sip`, `gateway` and the like: [`crate::call::CallEndedBy::label`].
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
    /// Seconds without RTP that were complained of, if any: which side, `browser` or `sip`.
    pub silent: Option<String>,
    pub browser: LegRecord,
    pub sip: LegRecord,
    /// Packets that concealment made up, both directions.
    pub concealed: u64,
}

/// One side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LegRecord {
    /// Milliseconds, mean.
    pub rtt_ms: Option<f64>,
    /// What we heard of it.
    pub rx: StreamRecord,
    /// What it heard of us, as it reports.
    pub tx: StreamRecord,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StreamRecord {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub jitter_ms: f64,
    /// 1 to 4.5 (G.107), mean; `None` without packets.
    pub mos: Option<f64>,
    pub mos_worst: Option<f64>,
}
