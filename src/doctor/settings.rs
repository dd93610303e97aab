//! What is allowed and seldom meant.

use super::report::Report;
use crate::config::{BarePaths, Config, SipTransport};
use crate::sdp::SrtpPolicy;

const AREA: &str = "configuration";

pub(super) fn examine(config: &Config, report: &mut Report) {
    report.ok(AREA, "every key is understood");
    if config.http.connector.bare_paths == BarePaths::On {
        report.warn(
            AREA,
            "connector.bare_paths = \"on\": whoever reaches the port drives the phones",
            "use tokens, or \"auto\"",
        );
    }
    if config.sip.ping.is_none() {
        report.warn(
            AREA,
            "sip.ping_seconds = 0: a SIP server that fails is noticed by calls that fail",
            "leave it at 10 unless the server minds OPTIONS",
        );
    }
    let plain = |transport| transport != SipTransport::Tls;
    if config.media.srtp != SrtpPolicy::Off
        && config.sip.servers.iter().any(|server| plain(server.transport_or_default()))
    {
        report.warn(
            AREA,
            "media.srtp is on and SIP is not encrypted: the keys can be read on the way",
            "give sip.servers transport=tls",
        );
    }
    if config.sip.servers.len() == 1 {
        report.note(AREA, "one SIP server is listed: nothing takes over when it fails, unless its name stands for several");
    }
    if config.lifecycle.drain.is_zero() {
        report.note(AREA, "gateway.drain_seconds = 0: a restart cuts calls off");
    }
}
