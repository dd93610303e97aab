//! Whose request a proxy has passed on: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! Only of proxies in `http.trusted_proxies`, and only as far as these go back: a list is read from its
//! end, each proxy having appended who had spoken to it, and what stands before the first address that is
//! no trusted proxy's could have been written by anybody.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::{ForwardedHeader, Guard};

/// More proxies than that in a row are nobody's.
const MAX_HOPS: usize = 16;

/// The client's address: that of the peer, unless it is a trusted proxy.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, guard: &Guard) -> IpAddr {
    let mut client = peer.to_canonical();
    if !guard.trusts(client) {
        return client;
    }
    let name = match guard.forwarded_header {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    // As bytes: what the client has put before it, in whatever letters, is no reason not to read what the
    // proxies have appended.
    let lines = headers.get_all(name).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(MAX_HOPS) {
        let entry = std::str::from_utf8(entry).ok();
        let node = match guard.forwarded_header {
            ForwardedHeader::XForwardedFor => entry.map(str::trim),
            ForwardedHeader::Forwarded => entry.and_then(node),
        };
        // `unknown`, a made-up name, nonsense: the last address known has passed it on.
        let Some(ip) = node.and_then(address) else { return client };
        client = ip;
        if !guard.trusts(ip) {
            return client;
        }
    }
    client
}

/// The `for` of one element of `Forwarded`. Quotes cannot hold a comma here: no node has one.
fn node(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(node: &str) -> Option<IpAddr> {
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    node.parse().ok().or_else(with_port).or_else(bracketed).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::config::Config;

    fn found(header: &str, peer: &str, lines: &[&'static str]) -> String {
        let sets = [
            "sip.servers=a".to_owned(),
            "http.trusted_proxies=10.0.0.0/8,2001:db8:ffff::/48".to_owned(),
            format!("http.forwarded_header={header}"),
        ];
        let guard = Config::load(None, [], &sets).unwrap().http.guard;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(
                axum::http::HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        client(peer.parse().unwrap(), &headers, &guard).to_string()
    }

    #[test]
    fn the_rightmost_that_is_no_proxy_of_ours() {
        for (peer, lines, wanted) in [
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.7"][..], "192.0.2.7"),
            ("10.0.0.1", &["x-forwarded-for: 198.51.100.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["x-forwarded-for: 1.1.1.1", "x-forwarded-for: 192.0.2.7"], "192.0.2.7"),
            ("::ffff:10.0.0.1", &["x-forwarded-for: 192.0.2.7:4711"], "192.0.2.7"),
            ("10.0.0.1", &["x-forwarded-for: [2001:db8::1]:4711"], "2001:db8::1"),
            ("2001:db8:ffff::1", &["x-forwarded-for: 2001:db8::1"], "2001:db8::1"),
            // A stranger's word about himself.
            ("192.0.2.9", &["x-forwarded-for: 10.0.0.9"], "192.0.2.9"),
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["x-forwarded-for: ä, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.7, ä"], "10.0.0.1"),
            ("10.0.0.1", &["x-forwarded-for: 10.0.0.3"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["forwarded: for=192.0.2.7"], "10.0.0.1"),
        ] {
            assert_eq!(found("x-forwarded-for", peer, lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn rfc_7239() {
        for (lines, wanted) in [
            (&["forwarded: for=192.0.2.7;proto=https;by=10.0.0.1"][..], "192.0.2.7"),
            (&["forwarded: for=1.1.1.1, For=\"[2001:db8::1]:4711\", for=10.0.0.2"], "2001:db8::1"),
            (&["forwarded: for=ä, for=192.0.2.7"], "192.0.2.7"),
            (&["forwarded: for=unknown"], "10.0.0.1"),
            (&["forwarded: for=_hidden"], "10.0.0.1"),
            (&["x-forwarded-for: 192.0.2.7"], "10.0.0.1"),
        ] {
            assert_eq!(found("forwarded", "10.0.0.1", lines), wanted, "{lines:?}");
        }
    }
}
