//! What an operator sees of the gateway and may do to it, as plain values. Names of fields are those of
//! the operations API; times are Unix milliseconds.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answer;

/// A session: an agent at a DN, or a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OperatorAgent)]
pub struct AgentStatus {
    /// The DN; a guest's id. With `guest` it names the session.
    pub dn: String,
    pub guest: bool,
    /// The client's own id in the raw-SDP dialect, else the DN.
    pub id: String,
    /// `jsapi` or `rest`.
    #[schema(value_type = String, example = "jsapi")]
    pub dialect: &'static str,
    /// Since when the DN is registered without a break; null while it is not.
    pub registered_at: Option<u64>,
    /// The state of its call (`calling`, `ringing`, `waiting`, `established`, `held`), else `ready`,
    /// `absent` (nothing was heard of the page for some seconds) or `unregistered`.
    #[schema(value_type = String, example = "ready")]
    pub state: &'static str,
    /// Null for a guest.
    pub registration: Option<RegistrationBrief>,
    /// Calls it is in.
    pub calls: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RegistrationBrief {
    /// `registering`, `registered`, `failing` (it will be tried again), `refused` or `signed_out`.
    #[schema(value_type = String, example = "registered")]
    pub status: &'static str,
    /// The last answer to a REGISTER, as in `200 OK`; null before there was one.
    pub last_reason: Option<String>,
    /// Where, as in `udp:192.0.2.1:5060`.
    pub server: String,
}

/// How a DN is registered, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnRegistration {
    pub dn: String,
    /// `sip:DN@domain`.
    pub aor: String,
    /// As it stands in the Contact header.
    pub contact: String,
    /// As in [`RegistrationBrief::status`].
    pub status: &'static str,
    /// `udp`, `tcp`, `tls`.
    pub transport: &'static str,
    /// Seconds until what was granted last runs out; 0 when it has, `None` when nothing was.
    pub expires_in: Option<u64>,
    pub user_agent: String,
    pub registered_at: Option<u64>,
    /// Where the contact leads: the gateway, as the SIP server sees it.
    pub address: Option<SocketAddr>,
    pub server: String,
    pub last_reason: Option<String>,
}

/// A call that is set up, or being set up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ActiveCall)]
pub struct CallStatus {
    pub call_id: String,
    /// Of its agent, as in [`AgentStatus::id`].
    pub agent_id: String,
    /// The agent's DN, or the guest's id.
    pub dn: String,
    /// The number at the other end.
    pub remote: String,
    pub remote_name: Option<String>,
    /// `incoming` or `outgoing`.
    #[schema(value_type = String, example = "incoming")]
    pub direction: &'static str,
    /// `calling`, `ringing`, `waiting`, `established`, `held` or `ended`.
    #[schema(value_type = String, example = "established")]
    pub state: &'static str,
    /// Genesys' X-Genesys-CallUUID.
    pub call_uuid: Option<String>,
    pub started: u64,
    pub answered: Option<u64>,
    #[serde(flatten)]
    pub quality: LiveQuality,
}

/// How a call sounds now. Null is what nothing is known of.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct LiveQuality {
    /// The lowest score of its streams in their last intervals of 5 s, 1 to 4.5 (G.107).
    pub mos: Option<f64>,
    /// Of the last 5 s or more, the worse direction, 0 to 100.
    pub browser_loss_percent: Option<f64>,
    pub sip_loss_percent: Option<f64>,
    /// Of what comes to us.
    pub browser_jitter_ms: Option<f64>,
    pub sip_jitter_ms: Option<f64>,
    pub browser_rtt_ms: Option<f64>,
    pub sip_rtt_ms: Option<f64>,
    /// Null for a call without video.
    pub video: Option<VideoFigures>,
}

/// What was counted of a call's video, from its beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VideoFigures {
    pub browser: VideoLeg,
    pub sip: VideoLeg,
}

/// One side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VideoLeg {
    /// What came of it.
    pub rx: VideoStream,
    /// What it was sent, and lost as it reports.
    pub tx: VideoStream,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct VideoStream {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    /// Packets that its receiver asked for again (NACK).
    pub nacks: u64,
    /// Whole pictures that its receiver asked for (PLI, FIR, or by INFO).
    pub pictures: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SipServer)]
pub struct SipServerStatus {
    /// As configured.
    pub name: String,
    /// Where it is, as in `udp:192.0.2.1:5060`; null when its name does not resolve, and never did.
    pub address: Option<String>,
    /// False when it is known to be down or has no address; null when nothing is known yet, or not since it failed.
    pub up: Option<bool>,
    /// All DNs are there.
    pub current: bool,
    /// Round trip of the last answered ping, milliseconds.
    pub rtt_ms: Option<u64>,
    /// Why it was down last, even if it is up by now.
    pub reason: Option<String>,
    /// Why its name did not resolve when it was looked up last. Addresses that it stood for before stay in use.
    pub name_fault: Option<String>,
    /// In this state since then.
    pub since: u64,
    pub pings: u64,
    pub pings_missed: u64,
}

/// Something that wants somebody's attention, and stands until it is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alert {
    /// `registration`, `no_rtp`, `ports`, `sip_server`, `certificate`, `turn`, `store`, `clock` or `sign_in`.
    #[schema(value_type = String, example = "registration")]
    pub kind: &'static str,
    /// `warning`, or `critical` where calls fail.
    #[schema(value_type = String, example = "warning")]
    pub severity: &'static str,
    /// What is the matter, whose fault it is, and what happens next.
    pub text: String,
    pub since: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    /// The id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

/// A DN whose SIP is traced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TracedDn {
    pub dn: String,
    /// It ends by itself then.
    pub until: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HistoryItem {
    /// Counts up by one from the start of the gateway.
    pub id: u64,
    pub at: u64,
    /// `sign_in`, `sign_in_refused`, `sign_out`, `registration`, `call_started`, `call_ended`, `media`,
    /// `server`, `store`, `alert`, `alert_over`, `draining`, `reloaded` or `operator`.
    #[schema(value_type = String, example = "call_ended")]
    pub kind: &'static str,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

/// What was counted since the start, and what stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Totals {
    /// When the gateway started.
    pub started: u64,
    /// Sessions now, guests among them.
    pub agents: usize,
    /// DNs registered now.
    pub registered: usize,
    pub active_calls: usize,
    pub sign_ins: u64,
    pub sign_ins_refused: u64,
    pub calls_started: u64,
    pub calls_answered: u64,
    pub calls_ended: u64,
    /// Ended unanswered, and not because somebody was busy, declined, did not answer or hung up.
    pub calls_failed: u64,
    /// RTP ports that a call could take now, and all there are.
    pub free_ports: u64,
    pub ports: u64,
    /// No new sign-ins are taken; what goes on may end.
    pub draining: bool,
}

/// Of DNs at the SIP server, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegistrationTotals {
    pub successful: u64,
    pub unregistrations: u64,
    pub failed: u64,
    /// Different ones that have been registered.
    pub unique_dns: u64,
    pub currently_registered: u64,
}

/// A minute of the charts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct SeriesPoint {
    /// When the minute began.
    pub at: u64,
    pub calls_started: u64,
    pub calls_ended: u64,
    /// As [`Totals::calls_failed`].
    pub failed: u64,
    /// The most at a time.
    pub active: u64,
    /// From the beginning of a call to its answer, of calls answered in this minute; null without any.
    pub setup_p50_ms: Option<u64>,
    pub setup_p95_ms: Option<u64>,
    /// Mean of all streams' intervals of 5 s.
    pub mos: Option<f64>,
    /// Of all packets of all streams.
    pub loss_percent: Option<f64>,
}

/// Why the gateway should get no new sign-ins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotReady {
    /// `draining`, `no_sip_server` or `part_lost`.
    #[schema(value_type = String, example = "draining")]
    pub code: &'static str,
    /// A sentence.
    pub text: String,
}

/// Who gives an order, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatedBy {
    /// Of the token.
    pub name: String,
    pub remote: IpAddr,
}

/// What an operator did by way of a surface, with nothing left to do for the gateway but to note it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operated {
    Trace {
        dn: String,
        on: bool,
    },
    /// The log's level: as it was given, and for how long.
    Log {
        level: String,
        seconds: Option<u64>,
    },
    Reload,
    Drain,
}

impl Operated {
    /// One word of a bounded set: for the audit lines of the log, the journal and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Operated::Trace { on: true, .. } => "trace_on",
            Operated::Trace { on: false, .. } => "trace_off",
            Operated::Log { .. } => "log",
            Operated::Reload => "reload",
            Operated::Drain => "drain",
        }
    }
}

/// Why an operator's order was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// 404
    #[error("there is no such call, or not any more")]
    NoSuchCall,
    /// 409: how many.
    #[error(
        "{0} calls that go on are called so; name one by its id, which GET /api/calls/active has"
    )]
    SeveralCalls(usize),
    /// 404
    #[error("nobody is signed in at this DN")]
    NoSuchDn,
}

/// What the operations API asks of the gateway. Behind a trait so that it is tested without SIP. Lists
/// are sorted, so that two of them can be compared.
pub trait Operations: Send + Sync + 'static {
    /// By DN.
    fn agents(&self) -> Vec<AgentStatus>;

    /// By DN.
    fn registrations(&self) -> Vec<DnRegistration>;

    /// The oldest first.
    fn calls(&self) -> Vec<CallStatus>;

    /// In the order to be tried.
    fn servers(&self) -> Vec<SipServerStatus>;

    /// The oldest first.
    fn alerts(&self) -> Vec<Alert>;

    /// By DN.
    fn traced(&self) -> Vec<TracedDn>;

    fn totals(&self) -> Totals;

    fn registration_totals(&self) -> RegistrationTotals;

    /// The `most` latest with an id above `after`, the oldest first.
    fn history(&self, after: u64, most: usize) -> Vec<HistoryItem>;

    /// One point a minute, the oldest first; the last one is of the minute that is not over.
    fn series(&self, minutes: usize) -> Vec<SeriesPoint>;

    /// Nothing: it is ready.
    fn not_ready(&self) -> Vec<NotReady>;

    /// Both sides are told that the call is over.
    fn hang_up<'a>(
        &'a self,
        call: &'a str,
        by: OperatedBy,
    ) -> Answer<'a, Result<(), OperationError>>;

    /// Ends the DN's session and call, unregisters the DN.
    fn sign_out_dn<'a>(
        &'a self,
        dn: &'a str,
        by: OperatedBy,
    ) -> Answer<'a, Result<(), OperationError>>;

    /// Notes who did it.
    fn operated(&self, did: Operated, by: OperatedBy);
}
