//! What stands, and what others count already: read when a scrape comes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Unit;

use crate::journal::Losses;
use crate::journal::hep::HepStats;
use crate::journal::store::StoreStats;
use crate::media::EngineStats;
use crate::sip::EndpointStats;
use crate::tls::CertificateState;
use crate::turn::TurnStats;

/// What a scrape asks the gateway for.
pub trait Source: Send + Sync + 'static {
    fn snapshot(&self) -> Snapshot;
}

/// How the gateway is.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub agents_registered: usize,
    pub calls_active: usize,
    /// REGISTERs that wait for their turn.
    pub registers_waiting: usize,
    pub media: EngineStats,
    /// Pairs of RTP ports, free or not.
    pub rtp_ports: u64,
    pub sip: EndpointStats,
    /// Of each port that shows one.
    pub certificates: Vec<CertificateState>,
    /// `None` without an embedded TURN server: its metrics stay at zero.
    pub turn: Option<TurnStats>,
    /// One for each address that a configured name stands for, and one for a name that stands for none.
    pub servers: Vec<ServerSnapshot>,
    pub journal: Losses,
    pub store: StoreStats,
    /// `None` without `journal.hep`: its metrics stay at zero.
    pub hep: Option<HepStats>,
    /// Lines that the log had no room for, or could not write.
    pub log_lines_dropped: u64,
    /// Since the start of the process.
    pub panics: u64,
    pub traces: TraceCounts,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerSnapshot {
    /// As configured.
    pub name: String,
    /// Its name did not resolve when it was looked up last.
    pub unresolved: bool,
    pub up: bool,
    pub current: bool,
    pub rtt: Option<Duration>,
    pub pings: u64,
    pub pings_missed: u64,
}

/// What became of the calls' traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Spans that a collector has taken.
    pub exported: u64,
    /// Spans, and entries that would have become some, that there was no room for, or that no collector took.
    pub dropped: u64,
}

pub(super) struct Standing(pub Arc<dyn Source>);

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

impl Collector for Standing {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let now = self.0.snapshot();
        let mut into = Families { encoder };
        into.gauge(
            "wrtc_agents_registered",
            "DNs that the SIP server accepts now",
            now.agents_registered as u64,
        )?;
        into.gauge(
            "wrtc_calls_active",
            "Calls that are set up or up now",
            now.calls_active as u64,
        )?;
        into.gauge(
            "wrtc_registers_waiting",
            "REGISTERs that wait for their turn, for want of sip.register_rate",
            now.registers_waiting as u64,
        )?;
        into.gauge("wrtc_rtp_ports", "Pairs of media.rtp_ports, free or not", now.rtp_ports)?;
        media(&mut into, &now.media)?;
        sip(&mut into, &now.sip)?;
        servers(&mut into, &now.servers)?;
        certificates(&mut into, &now.certificates)?;
        turn(&mut into, &now.turn.unwrap_or_default())?;
        journal(&mut into, &now.journal, &now.hep.unwrap_or_default())?;
        store(&mut into, &now.store)?;
        into.counter(
            "wrtc_log_lines_dropped",
            "Lines of the log that there was no room for or that could not be written",
            now.log_lines_dropped,
        )?;
        into.counter(
            "wrtc_panics",
            "Faults of the program itself; each has cost a call, a session or less",
            now.panics,
        )?;
        into.counter(
            "wrtc_trace_spans_exported",
            "Spans that a collector has taken",
            now.traces.exported,
        )?;
        into.counter(
            "wrtc_trace_spans_dropped",
            "Spans, and what would have become some, that no collector got",
            now.traces.dropped,
        )?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let mut family =
            into.family("wrtc_build", "The gateway's version", None, MetricType::Info)?;
        family.encode_info(&version)
    }
}

fn media(into: &mut Families, now: &EngineStats) -> fmt::Result {
    into.gauge("wrtc_media_calls", "Lines that hold media ports now", now.calls)?;
    into.gauge(
        "wrtc_rtp_ports_free",
        "Pairs of media.rtp_ports that a call could have now",
        now.free_ports,
    )?;
    into.gauge(
        "wrtc_media_tcp_connections",
        "TCP connections that carry a call's media now",
        now.tcp_connections,
    )?;
    into.counters(
        "wrtc_media_faults",
        "Packets and connections that the media plane dropped, by fault",
        "fault",
        &[
            ("unknown_datagram", now.unknown_datagrams),
            ("stun_bad_integrity", now.stun_bad_integrity),
            ("malformed", now.malformed),
            ("fingerprint_mismatch", now.fingerprint_mismatches),
            ("tcp_refused", now.tcp_refused),
            ("tcp_dropped", now.tcp_dropped),
            ("handshake_put_off", now.refused_handshakes),
            ("sip_unreachable", now.sip_unreachable),
        ],
    )
}

fn sip(into: &mut Families, now: &EndpointStats) -> fmt::Result {
    into.counters(
        "wrtc_sip_messages",
        "SIP messages, repeated ones among them",
        "direction",
        &[("in", now.received), ("out", now.sent)],
    )?;
    into.counters(
        "wrtc_sip_faults",
        "SIP messages and connections that came to nothing, by fault",
        "fault",
        &[
            ("malformed", now.malformed),
            ("stranger", now.strangers),
            ("stray_response", now.stray_responses),
            ("unclaimed", now.unclaimed),
            ("inbox_full", now.inbox_full),
            ("overload", now.overload),
            ("send_error", now.send_errors),
            ("late_response", now.late_responses),
            ("connection_refused", now.refused_connections),
            ("connect_failed", now.connects_failed),
            ("tls_failed", now.tls_failed),
            ("connection_lost", now.connections_lost),
            ("stream_fault", now.stream_faults),
            ("stuck_peer", now.stuck_peers),
            ("ping_missed", now.pings_missed),
        ],
    )?;
    into.counters(
        "wrtc_sip_connections_opened",
        "SIP connections over TCP and TLS that stood, by who opened them",
        "by",
        &[("us", now.connected), ("peer", now.accepted)],
    )?;
    into.counters(
        "wrtc_sip_over_mtu",
        "SIP requests too large for UDP, by what they went by",
        "transport",
        &[("tcp", now.over_mtu_tcp), ("udp", now.over_mtu_udp)],
    )?;
    into.gauges(
        "wrtc_sip_connections",
        "SIP connections over TCP and TLS now, by who opened them",
        "by",
        &[("us", now.connections_out as u64), ("peer", now.connections_in as u64)],
    )?;
    into.gauges(
        "wrtc_sip_transactions",
        "SIP transactions under way now",
        "role",
        &[("client", now.client_transactions as u64), ("server", now.server_transactions as u64)],
    )
}

/// By name: how many addresses one stands for is the DNS's affair. It is up when one of them is; the
/// round trip is that of the one in use, or else the shortest.
fn servers(into: &mut Families, now: &[ServerSnapshot]) -> fmt::Result {
    let mut by_name: BTreeMap<&str, ServerSnapshot> = BTreeMap::new();
    for server in now {
        let all = by_name.entry(&server.name).or_default();
        let nearer = match (server.rtt, all.rtt) {
            (Some(this), Some(best)) => this < best,
            (this, _) => this.is_some(),
        };
        if server.rtt.is_some() && !all.current && (server.current || nearer) {
            all.rtt = server.rtt;
        }
        all.unresolved |= server.unresolved;
        all.up |= server.up;
        all.current |= server.current;
        all.pings += server.pings;
        all.pings_missed += server.pings_missed;
    }
    let of = |value: fn(&ServerSnapshot) -> u64| -> Vec<(&str, u64)> {
        by_name.iter().map(|(name, server)| (*name, value(server))).collect()
    };
    let label = "server";
    into.gauges(
        "wrtc_sip_server_up",
        "1 for a SIP server that answers",
        label,
        &of(|s| s.up.into()),
    )?;
    into.gauges(
        "wrtc_sip_server_resolved",
        "1 for a SIP server whose name resolved when it was looked up last",
        label,
        &of(|s| (!s.unresolved).into()),
    )?;
    into.gauges(
        "wrtc_sip_server_current",
        "1 for the SIP server that the agents are registered at",
        label,
        &of(|s| s.current.into()),
    )?;
    into.counters("wrtc_sip_server_pings", "OPTIONS pings", label, &of(|s| s.pings))?;
    into.counters(
        "wrtc_sip_server_pings_missed",
        "OPTIONS pings without an answer",
        label,
        &of(|s| s.pings_missed),
    )?;
    let help = "Round trip of the last ping that was answered";
    let mut family =
        into.family("wrtc_sip_server_rtt", help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for (name, server) in &by_name {
        if let Some(rtt) = server.rtt {
            let labels = [(label, *name)];
            ConstGauge::new(rtt.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn certificates(into: &mut Families, now: &[CertificateState]) -> fmt::Result {
    let unread: Vec<(&str, u64)> =
        now.iter().map(|state| (state.port, state.fault.is_some().into())).collect();
    into.gauges(
        "wrtc_certificate_unread",
        "1 where a certificate's files have changed and could not be read; what was read before is in use",
        "port",
        &unread,
    )?;
    let help = "When the certificate in use ends";
    let name = "wrtc_certificate_not_after_timestamp";
    let mut family = into.family(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for state in now {
        if let Some(expires) = state.expires {
            let seconds = expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let labels = [("port", state.port)];
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn turn(into: &mut Families, now: &TurnStats) -> fmt::Result {
    into.gauge("wrtc_turn_allocations", "Relays of the embedded TURN server now", now.allocations)?;
    into.counter(
        "wrtc_turn_connections",
        "TCP and TLS connections of TURN clients",
        now.connections,
    )?;
    into.counter(
        "wrtc_turn_packets_relayed",
        "Packets that the TURN server passed on",
        now.relayed,
    )?;
    into.counters(
        "wrtc_turn_requests",
        "What came of allocations and permissions that TURN clients asked for",
        "outcome",
        &[
            ("opened", now.opened),
            ("refused", now.refused),
            ("challenged", now.challenged),
            ("unauthenticated", now.unauthenticated),
            ("forbidden", now.forbidden),
        ],
    )?;
    into.counters(
        "wrtc_turn_ran_out",
        "TURN clients that were turned away, by what had run out: relays of a user, of an address or of all, sockets of the host, connections",
        "bound",
        &now.ran_out.each(),
    )?;
    into.counters(
        "wrtc_turn_faults",
        "Packets that the TURN server dropped, by fault",
        "fault",
        &[("dropped", now.dropped), ("malformed", now.malformed)],
    )
}

fn journal(into: &mut Families, lost: &Losses, hep: &HepStats) -> fmt::Result {
    into.counters(
        "wrtc_journal_losses",
        "What could not be kept of what happened: SIP messages, timelines of calls and DNs, call records",
        "what",
        &[("sip", lost.sip), ("timeline", lost.timelines), ("call_record", lost.records)],
    )?;
    into.counters(
        "wrtc_hep_messages",
        "SIP messages for the HEP collector, by what came of them",
        "outcome",
        &[("sent", hep.sent), ("lost", hep.lost)],
    )
}

fn store(into: &mut Families, now: &StoreStats) -> fmt::Result {
    into.gauge("wrtc_store_rows", "Finished calls in the store, counted once a minute", now.rows)?;
    into.gauge("wrtc_store_bytes", "Size of the store of finished calls", now.bytes)?;
    if let Some(oldest) = now.oldest {
        let help = "When the oldest finished call in the store ended, looked up once a minute";
        let name = "wrtc_store_oldest_call_timestamp";
        let family = into.family(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(oldest / 1000).encode(family)?;
    }
    into.counters(
        "wrtc_store_calls",
        "Finished calls by what became of them: kept, or let go unwritten",
        "outcome",
        &[("kept", now.kept), ("dropped", now.dropped)],
    )?;
    into.counter(
        "wrtc_store_faults",
        "Tries of the store to write or to clean up that failed",
        now.faults,
    )
}

/// Families of constants.
pub(super) struct Families<'a> {
    pub encoder: DescriptorEncoder<'a>,
}

impl Families<'_> {
    pub fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<prometheus_client::encoding::MetricEncoder<'s>, fmt::Error> {
        self.encoder.encode_descriptor(name, &format!("{help}."), unit, kind)
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstGauge::new(value).encode(self.family(name, help, None, MetricType::Gauge)?)
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.family(name, help, None, MetricType::Counter)?)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> fmt::Result {
        self.labelled(name, help, label, values, ConstGauge::new)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> fmt::Result {
        self.labelled(name, help, label, values, ConstCounter::new)
    }

    fn labelled<M: TypedMetric + EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
        metric: fn(u64) -> M,
    ) -> fmt::Result {
        let mut family = self.family(name, help, None, M::TYPE)?;
        for (word, value) in values {
            metric(*value).encode(family.encode_family(&[(label, *word)])?)?;
        }
        Ok(())
    }
}
