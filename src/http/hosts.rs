//! By which names the gateway may be called.
//!
//! A page of a stranger's whose name was bent to an agent's machine (DNS rebinding) has an origin of its
//! own making: what it asks is addressed to that name, and looks like the gateway's own page. So the name
//! has to be one of ours. Where none are configured it is checked where it can happen and matters: on
//! loopback over plain HTTP. A TLS certificate does not have the stranger's name.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use super::cors;
use crate::config::{self, Guard};

pub(super) fn allow(headers: &HeaderMap, guard: &Guard, plain_on_loopback: bool) -> bool {
    if guard.allowed_hosts.is_empty() && !plain_on_loopback {
        return true;
    }
    // HTTP/1.0 has none, and no browser speaks it.
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    if config::is_loopback_authority(host) {
        return true;
    }
    let name = name_of(host);
    if name.parse::<IpAddr>().is_ok() {
        // No name, nothing to be bent.
        return true;
    }
    if !guard.allowed_hosts.is_empty() {
        let name = name.strip_suffix('.').unwrap_or(name);
        return guard.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    }
    // A name without a dot is nobody's to be had. A page behind TLS came through a proxy in front of us.
    !name.contains('.') || cors::is_behind_tls(headers)
}

fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::config::Config;

    fn may(allowed: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let sets = ["sip.servers=a".to_owned(), format!("http.allowed_hosts={allowed}")];
        let guard = Config::load(None, [], &sets).unwrap().http.guard;
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        allow(&headers.collect(), &guard, true)
    }

    #[test]
    fn names_of_ours_and_names_of_strangers() {
        for host in ["localhost:8086", "127.0.0.1", "[::1]:8086", "192.0.2.1:8086", "gateway:8086"]
        {
            assert!(may("", &[("host", host)]), "{host}");
        }
        let rebound = ("host", "evil.example:8086");
        assert!(!may("", &[rebound]));
        assert!(!may("", &[rebound, ("origin", "http://evil.example:8086")]));
        assert!(!may("", &[rebound, ("x-forwarded-for", "192.0.2.1")]), "a page can write that");
        assert!(may("", &[("host", "gw.example"), ("sec-fetch-site", "same-origin")]));
        assert!(may("", &[("host", "gw.example"), ("origin", "https://gw.example")]));

        assert!(may("gw.example", &[("host", "GW.example.:443")]));
        assert!(may("gw.example", &[("host", "127.0.0.1:8086")]), "a health check");
        assert!(!may("gw.example", &[("host", "other.example")]));
        assert!(!may(
            "gw.example",
            &[("host", "other.example"), ("sec-fetch-site", "same-origin")]
        ));
    }
}
