//! What browsers and SIP servers are told, against what this host has and what the outside sees.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use tokio::net::UdpSocket;

use super::report::Report;
use super::stun;
use crate::config::{Config, Origins};
use crate::gateway::network;

const AREA: &str = "addresses";

/// How long a datagram to our own public address may take.
const HAIRPIN: Duration = Duration::from_secs(1);

/// An address of TEST-NET-1 (RFC 5737): somewhere out there.
const OUTSIDE: ([u8; 4], u16) = ([192, 0, 2, 1], 9);

/// Those of this host's interfaces.
pub(super) fn own() -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = getifaddrs()
        .into_iter()
        .flatten()
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect();
    own.dedup();
    own
}

/// Of no use to anybody outside of the site (RFC 1918, 6598, 4193).
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn kind(ip: IpAddr) -> &'static str {
    if ip.is_loopback() {
        "loopback"
    } else if is_private(ip) {
        "private"
    } else {
        "public"
    }
}

/// What the candidates will say.
fn advertised(config: &Config) -> Vec<IpAddr> {
    let listen = config.media.listen.ip();
    if !config.media.advertise.is_empty() {
        return config.media.advertise.clone();
    }
    if !listen.is_unspecified() {
        return vec![listen];
    }
    network::candidate_addresses(listen, None, config.http.listen.ip())
}

pub(super) async fn examine(config: &Config, runs: bool, report: &mut Report) {
    let own = own();
    http(config, report);
    let told = advertised(config);
    for ip in &told {
        let here = own.contains(ip);
        let text = format!("browsers are told {ip} ({})", kind(*ip));
        match (here, ip.is_loopback()) {
            (_, true) if told.len() == 1 && !config.http.listen.ip().is_loopback() => report.fail(
                AREA,
                format!("{text}: no browser on another machine gets through"),
                "set media.advertise to the address by which agents reach this host",
            ),
            (_, true) | (true, _) => report.ok(AREA, format!("{text}, which is this host's")),
            (false, false) if is_private(*ip) => report.warn(
                AREA,
                format!("{text}, which no interface of this host has"),
                "right behind a NAT that maps it one to one with the same ports; else correct media.advertise",
            ),
            (false, false) => {
                report.note(AREA, format!("{text}: a NAT has to map it here with the same ports"));
                hairpin(config, *ip, runs, report).await;
            }
        }
    }
    let private = told.iter().all(|ip| is_private(*ip) || ip.is_loopback());
    let seen = outside_view(config, report).await;
    match seen {
        Some(seen) if told.contains(&seen) => {
            report.ok(AREA, format!("the outside sees us as {seen}, which browsers are told"));
        }
        Some(seen) if private => report.warn(
            AREA,
            format!("the outside sees us as {seen}, and browsers are told private addresses only"),
            format!("for agents outside map the ports and add \"{seen}\" to media.advertise"),
        ),
        Some(seen) => report.note(AREA, format!("the outside sees us as {seen}")),
        None => {}
    }
    sip(config, &own, report);
}

fn http(config: &Config, report: &mut Report) {
    let listen = config.http.listen;
    match (listen.ip().is_loopback(), config.http.tls.is_some() || config.http.guard.self_signed) {
        (true, _) => report.note(
            AREA,
            format!(
                "http.listen {listen} serves this machine only: agents, or a proxy in front, have to be on it"
            ),
        ),
        (false, true) => report.ok(AREA, format!("pages are served by https at {listen}")),
        (false, false) => report.warn(
            AREA,
            format!("http.listen {listen} is plain http"),
            "browsers give a microphone to https pages only: set http.tls_cert and http.tls_key, or for a trial http.tls = \"self-signed\", or put a proxy in front",
        ),
    }
    if config.http.allowed_origins == Origins::Any {
        report.warn(
            AREA,
            "any page of the web may use the API (http.allowed_origins = \"*\")",
            "name the origins that agents use",
        );
    }
}

/// By a STUN server of the configuration. No other is asked.
async fn outside_view(config: &Config, report: &mut Report) -> Option<IpAddr> {
    let servers: Vec<&String> =
        config.turn.external.iter().filter(|uri| uri.starts_with("stun:")).collect();
    if servers.is_empty() {
        report.note(
            AREA,
            "how the outside sees us is not known: no stun: server in turn.external is there to be asked",
        );
    }
    for uri in servers {
        match stun::ask(uri).await {
            Ok(seen) => return Some(seen.ip()),
            Err(why) => report.warn(
                AREA,
                format!("{uri} does not tell how it sees us: {why}"),
                "browsers are told of it: correct or remove it in turn.external",
            ),
        }
    }
    None
}

/// From here to our own public address and back: what an agent inside does who is told nothing else.
async fn hairpin(config: &Config, public: IpAddr, runs: bool, report: &mut Report) {
    if runs || config.media.listen.port() == 0 {
        return report.note(
            AREA,
            format!("whether {public} is reached from inside too: not tried while a gateway runs"),
        );
    }
    match loops(config.media.listen, public).await {
        Ok(true) => {
            report.ok(AREA, format!("{public} leads back here from inside (NAT hairpin)"));
        }
        Ok(false) => report.warn(
            AREA,
            format!("{public} does not lead back here from inside: the NAT has no hairpin, or does not map UDP {}", config.media.listen.port()),
            "add this host's own address to media.advertise for agents inside; see the firewall list for those outside",
        ),
        // The port is not free, which is told elsewhere.
        Err(_) => {}
    }
}

async fn loops(listen: SocketAddr, public: IpAddr) -> std::io::Result<bool> {
    let inner = UdpSocket::bind(listen).await?;
    let any: IpAddr = if public.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
    let outer = UdpSocket::bind((any, 0)).await?;
    let token: [u8; 16] = rand::random();
    if outer.send_to(&token, (public, listen.port())).await.is_err() {
        return Ok(false);
    }
    let back = async {
        let mut buffer = [0; 64];
        loop {
            let (length, _) = inner.recv_from(&mut buffer).await?;
            if buffer.get(..length) == Some(&token[..]) {
                return Ok::<_, std::io::Error>(true);
            }
        }
    };
    Ok(tokio::time::timeout(HAIRPIN, back).await.is_ok_and(|found| found.unwrap_or(false)))
}

fn sip(config: &Config, own: &[IpAddr], report: &mut Report) {
    if let Some(advertise) = config.sip.advertise {
        let text = format!("SIP servers are told {} (sip.advertise)", advertise.ip);
        match own.contains(&advertise.ip) {
            true => report.ok(AREA, format!("{text}, which is this host's")),
            false => report.note(AREA, format!("{text}: a NAT has to map it here")),
        }
    }
    if let Some(ip) = config.media.rtp_address
        && !own.contains(&ip)
    {
        report.fail(
            AREA,
            format!("media.rtp_address {ip} is no address of this host"),
            "name one of this host's: RTP sockets are bound to it",
        );
    }
    if network::local_ip_toward(OUTSIDE.into()).is_err() {
        report.note(AREA, "this host has no default route");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_what_nobody_outside_reaches() {
        for ip in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "fd00::1"]
        {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.5", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
        assert!(own().contains(&IpAddr::from([127, 0, 0, 1])));
    }

    #[tokio::test]
    async fn a_datagram_to_ourselves_comes_back_or_does_not() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(loops(free, free.ip()).await.unwrap());
        let deaf = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], deaf.local_addr().unwrap().port()));
        assert!(!loops(elsewhere, [127, 0, 0, 2].into()).await.unwrap());
    }
}
