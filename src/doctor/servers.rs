//! The SIP servers: what their names stand for, and whether they answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::report::Report;
use crate::config::{Config, SipServer};
use crate::gateway::{names, network, start};
use crate::sip::port::Incoming;
use crate::sip::resolve::{Lookup, ResolveError, SystemDns, resolve};
use crate::sip::servers::Pinger;
use crate::sip::{Claim, Endpoint, EndpointConfig, Hop, Transport, header_of};

const AREA: &str = "SIP servers";

/// How long a name may take.
const LOOK_UP: Duration = Duration::from_secs(8);
/// How long an answer may take: three sendings by UDP.
const ANSWER: Duration = Duration::from_secs(3);
/// Addresses that are asked of one name.
const MOST: usize = 8;
/// A round trip that is heard as a pause before a call rings.
const SLOW: Duration = Duration::from_millis(300);
/// Timelines of both sides cannot be compared with more.
const SKEW: u64 = 5;

pub(super) async fn examine(config: &Config, report: &mut Report) {
    let dns: Arc<SystemDns> = Arc::new(SystemDns::new());
    let mut hops: Vec<(Hop, String)> = Vec::new();
    for server in &config.sip.servers {
        for hop in look_up(dns.as_ref(), server, config.sip.listen, report).await {
            if !hops.iter().any(|(known, _)| *known == hop) {
                hops.push((hop, server.host.clone()));
            }
        }
    }
    let any = SocketAddr::new(config.sip.listen.ip(), 0);
    // A port of its own: whatever a gateway that runs has is left to it.
    let asking = EndpointConfig {
        tcp: false,
        tls: Some(start::tls_files(&config.sip.tls)),
        ..EndpointConfig::new(any, config.sip.user_agent.clone())
    };
    let endpoint = match Endpoint::open(asking) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            return report.fail(AREA, error.to_string(), "the servers were not asked for it");
        }
    };
    endpoint.set_servers(hops.iter().cloned());
    let mut answered = 0;
    for (hop, name) in &hops {
        answered += usize::from(ask(config, &endpoint, *hop, name, report).await);
    }
    if answered == 0 {
        report.fail(
            AREA,
            "no SIP server answers: nobody can sign in",
            "see what is told of each; does its own access list know this host?",
        );
    }
}

async fn look_up(
    dns: &SystemDns,
    server: &SipServer,
    listen: SocketAddr,
    report: &mut Report,
) -> Vec<Hop> {
    let uri = names::uri_of(server);
    let found = tokio::time::timeout(LOOK_UP, resolve(dns, &uri, 0)).await;
    let resolved = match found {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => {
            let advice = match error {
                ResolveError::Dns { .. } => "see /etc/resolv.conf, and whether DNS is let out",
                _ => "correct the name in sip.servers",
            };
            report.fail(AREA, error.to_string(), advice);
            return Vec::new();
        }
        Err(_) => {
            let text = format!("{server}: DNS takes longer than {} s", LOOK_UP.as_secs());
            report.fail(AREA, text, "see /etc/resolv.conf, and whether DNS is let out");
            return Vec::new();
        }
    };
    let mut hops: Vec<Hop> = resolved.hops.iter().map(|hop| hop.value).collect();
    if listen.is_ipv4() && hops.iter().any(|hop| !hop.addr.is_ipv4()) {
        hops.retain(|hop| hop.addr.is_ipv4());
        report.note(
            AREA,
            format!("{server}: its IPv6 addresses are passed over, sip.listen is IPv4"),
        );
    }
    if resolved.ttl.is_some() {
        let how = records(dns, server).await;
        let listed: Vec<String> = hops.iter().map(ToString::to_string).collect();
        report.ok(AREA, format!("{server} stands for {} ({how})", listed.join(", ")));
    }
    hops.truncate(MOST);
    hops
}

/// Which records there are, in the words of RFC 3263.
async fn records(dns: &SystemDns, server: &SipServer) -> String {
    if !dns.local(&server.host).is_empty() {
        return "/etc/hosts".to_owned();
    }
    if server.port.is_some() {
        return "A, AAAA".to_owned();
    }
    let naptr = dns.naptr(&server.host).await.map_or(0, |found| found.records.len());
    let service = match server.transport.map(|_| server.transport_or_default()) {
        Some(crate::config::SipTransport::Tls) => "_sips._tcp",
        Some(crate::config::SipTransport::Tcp) => "_sip._tcp",
        _ => "_sip._udp",
    };
    let name = format!("{service}.{}", server.host);
    let srv = dns.srv(&name).await.map_or(0, |found| found.records.len());
    format!("{naptr} NAPTR, {srv} SRV of {service}, then A, AAAA")
}

/// An OPTIONS out of any dialog, as the gateway pings.
async fn ask(
    config: &Config,
    endpoint: &Endpoint,
    hop: Hop,
    name: &str,
    report: &mut Report,
) -> bool {
    let what =
        if hop.addr.ip().to_string() == name { hop.to_string() } else { format!("{hop} ({name})") };
    let (sender, mut inbox) = mpsc::channel(4);
    let port = endpoint.attach(Claim::Nothing, sender);
    let advertise = match network::advertised(config.sip.advertise, endpoint.local_addr(), hop.addr)
    {
        // The port that answers come to is the one that asks.
        Ok(at) => SocketAddr::new(at.ip(), endpoint.local_addr().port()),
        Err(error) => {
            report.fail(AREA, error.to_string(), "add a route, or correct sip.servers");
            return false;
        }
    };
    let mut pinger = Pinger::new(config.sip.user_agent.clone(), rand::random());
    let sent = Instant::now();
    let Some(question) = pinger.ping(hop, advertise, sent) else { return false };
    port.transmit(question);
    let answer = async {
        while let Some(incoming) = inbox.recv().await {
            match *incoming {
                Incoming::Response { response, .. } if response.status_code.code() >= 200 => {
                    return Some(response);
                }
                Incoming::Failed { .. } => return None,
                _ => {}
            }
        }
        None
    };
    let Ok(Some(response)) = tokio::time::timeout(ANSWER, answer).await else {
        let why = endpoint.peer_fault(hop);
        let why = why.unwrap_or_else(|| format!("no answer to OPTIONS in {} s", ANSWER.as_secs()));
        let advice = match hop.transport {
            Transport::Udp => {
                "is it up, does it listen there, is UDP let through both ways? Some servers answer known \
                 peers only: add this host to its list"
            }
            Transport::Tcp => "is it up, and does it listen there?",
            Transport::Tls => "is it up? Its certificate has to fit sip.tls_ca or sip.tls_pins",
        };
        report.fail(AREA, format!("{what}: {why}"), advice);
        return false;
    };
    let rtt = sent.elapsed();
    let code = response.status_code.code();
    let who = ["Server", "User-Agent"].iter().find_map(|name| header_of(&response, name));
    let who = who.map_or(String::new(), |who| format!(", {who}"));
    let text = format!("{what} answers {code} in {:.1} ms{who}", rtt.as_secs_f64() * 1000.0);
    match code {
        503 | 408 => {
            report.warn(AREA, text, "it says itself that it is out of service: look there");
        }
        _ if rtt > SLOW => {
            report.warn(
                AREA,
                text,
                "each step of a call waits so long: put the gateway nearer to it",
            );
        }
        _ => report.ok(AREA, text),
    }
    if let Some(date) = header_of(&response, "Date") {
        skew(&what, date, SystemTime::now(), report);
    }
    true
}

/// RFC 3261 20.17.
fn skew(what: &str, date: &str, now: SystemTime, report: &mut Report) {
    let Ok(theirs) = httpdate::parse_http_date(date) else { return };
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let apart = seconds(theirs).abs_diff(seconds(now));
    if apart > SKEW {
        report.warn(
            AREA,
            format!("{what}: its clock and ours are {apart} s apart"),
            "keep both by NTP, or timelines of a call do not fit together",
        );
    } else {
        report.ok(AREA, format!("{what}: its clock agrees with ours"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Mark;

    #[test]
    fn clocks_are_compared() {
        let date = "Sat, 21 Nov 2026 20:00:00 GMT";
        let at = httpdate::parse_http_date(date).unwrap();
        for (now, mark) in [
            (at, Mark::Ok),
            (at + Duration::from_secs(4), Mark::Ok),
            (at + Duration::from_secs(60), Mark::Warn),
            (at - Duration::from_secs(60), Mark::Warn),
        ] {
            let mut report = Report::default();
            skew("server", date, now, &mut report);
            assert_eq!(report.findings[0].mark, mark);
        }
        let mut report = Report::default();
        skew("server", "yesterday", at, &mut report);
        assert!(report.findings.is_empty());
    }
}
