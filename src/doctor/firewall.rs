//! What a firewall in front of the gateway has to let in.

use super::report::Opening;
use crate::config::{Config, SipTransport};

pub(super) fn openings(config: &Config) -> Vec<Opening> {
    let mut openings = Vec::new();
    let mut open = |protocol, ports: String, from: &str, what, key| {
        openings.push(Opening { protocol, ports, from: from.to_owned(), what, key });
    };
    let browsers = if config.http.listen.ip().is_loopback() {
        "this machine only"
    } else {
        "agents' browsers"
    };
    open(
        "tcp",
        config.http.listen.port().to_string(),
        browsers,
        "signalling and pages",
        "http.listen",
    );
    let media = config.media.listen.port();
    let last = media.saturating_add(u16::try_from(config.media.workers).unwrap_or(1) - 1);
    open("udp", span(media, last), "agents' browsers", "media (ICE, DTLS-SRTP)", "media.listen");
    if let Some(tcp) = config.media.tcp_listen {
        open(
            "tcp",
            tcp.port().to_string(),
            "agents' browsers",
            "media over TCP",
            "media.tcp_listen",
        );
    }
    if let Some(turn) = config.turn.listen {
        for protocol in ["udp", "tcp"] {
            open(protocol, turn.port().to_string(), "agents' browsers", "TURN", "turn.listen");
        }
    }
    if let Some(turn) = config.turn.tls_listen {
        open(
            "tcp",
            turn.port().to_string(),
            "agents' browsers",
            "TURN over TLS",
            "turn.tls_listen",
        );
    }
    if let Some(metrics) = config.metrics.listen {
        let from = if metrics.ip().is_loopback() { "this machine only" } else { "Prometheus" };
        open("tcp", metrics.port().to_string(), from, "metrics, to whoever asks", "metrics.listen");
    }
    let mut servers: Vec<String> =
        config.sip.servers.iter().map(|server| server.host.clone()).collect();
    servers.extend(config.sip.networks.iter().map(|net| format!("{}/{}", net.address, net.prefix)));
    servers.dedup();
    let servers = servers.join(", ");
    let by = |wanted: &[SipTransport]| {
        config.sip.servers.iter().any(|server| wanted.contains(&server.transport_or_default()))
    };
    let sip = config.sip.listen.port().to_string();
    if by(&[SipTransport::Udp]) {
        open("udp", sip.clone(), &servers, "SIP", "sip.listen");
    }
    if by(&[SipTransport::Udp, SipTransport::Tcp]) {
        open("tcp", sip, &servers, "SIP (large requests)", "sip.listen");
    }
    if let Some(tls) = config.sip.tls_listen {
        open("tcp", tls.port().to_string(), &servers, "SIP over TLS", "sip.tls_listen");
    }
    let rtp = span(*config.media.rtp_ports.start(), *config.media.rtp_ports.end());
    open("udp", rtp, "phones, media servers", "RTP and RTCP", "media.rtp_ports");
    openings
}

fn span(first: u16, last: u16) -> String {
    match (first, last) {
        (0, _) => "any".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}
