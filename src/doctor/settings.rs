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
    operators(config, report);
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

/// Where there are no operators' tokens, this machine may look and act; a proxy that stands on it and
/// passes requests on without a word would make everybody this machine.
fn operators(config: &Config, report: &mut Report) {
    let http = &config.http;
    if !http.operators.tokens.is_empty() || http.operators.file.is_some() {
        return;
    }
    let advice = "with a proxy in front give operators tokens (wrtc-gateway token), and the proxy's address to \
                  http.trusted_proxies";
    if http.guard.has_proxies() {
        report.note(AREA, "http.trusted_proxies is given and there are no operators' tokens: nobody may look at the dashboard");
    } else if http.listen.ip().is_loopback() {
        report.warn(
            AREA,
            "http.listen is on loopback and there are no operators' tokens: through a proxy on this machine that adds no \
             header everybody may hang up, sign out and reload",
            advice,
        );
    } else {
        report.note(
            AREA,
            "there are no operators' tokens: only this machine may look at the dashboard",
        );
    }
}
