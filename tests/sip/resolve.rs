//! From a name to addresses as RFC 3263 has it: by a script, and by a DNS server on the wire.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::UdpSocket;
use wrtc_gateway::sip::resolve::{
    Answer, DnsError, Looked, Lookup, Naptr, ResolveError, Resolved, ServerUri, Srv, SystemDns,
    resolve,
};
use wrtc_gateway::sip::{Hop, Transport};

#[derive(Default)]
struct Script {
    hosts: HashMap<&'static str, Vec<IpAddr>>,
    naptr: HashMap<&'static str, Vec<Naptr>>,
    srv: HashMap<&'static str, Vec<Srv>>,
    addresses: HashMap<&'static str, Vec<IpAddr>>,
    /// Names about which DNS is silent.
    silent: Vec<&'static str>,
    asked: Mutex<Vec<String>>,
}

const TTL: Duration = Duration::from_secs(60);

impl Script {
    fn look<T: Clone>(
        &self,
        kind: &str,
        table: &HashMap<&'static str, Vec<T>>,
        name: &str,
    ) -> Result<Answer<T>, DnsError> {
        self.asked.lock().unwrap().push(format!("{kind} {name}"));
        if self.silent.contains(&name) {
            return Err(DnsError("no answer".into()));
        }
        match table.get(name) {
            Some(records) => Ok(Answer { records: records.clone(), ttl: TTL }),
            None => Ok(Answer::none()),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Script {
    fn local(&self, name: &str) -> Vec<IpAddr> {
        self.hosts.get(name).cloned().unwrap_or_default()
    }

    fn naptr<'a>(&'a self, name: &'a str) -> Looked<'a, Naptr> {
        Box::pin(async move { self.look("NAPTR", &self.naptr, name) })
    }

    fn srv<'a>(&'a self, name: &'a str) -> Looked<'a, Srv> {
        Box::pin(async move { self.look("SRV", &self.srv, name) })
    }

    fn addresses<'a>(&'a self, name: &'a str) -> Looked<'a, IpAddr> {
        Box::pin(async move { self.look("A", &self.addresses, name) })
    }
}

fn ip(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn server(host: &str, port: Option<u16>, transport: Option<Transport>) -> ServerUri {
    ServerUri { host: host.into(), port, transport }
}

fn srv(priority: u16, port: u16, target: &str) -> Srv {
    Srv { priority, weight: 1, port, target: target.into() }
}

fn naptr(order: u16, service: &str, replacement: &str) -> Naptr {
    let (flags, service, replacement) = ("s".into(), service.into(), replacement.into());
    Naptr { order, preference: 1, flags, service, replacement }
}

/// The hops as text, with their ranks.
async fn hops(script: &Script, server: ServerUri) -> Vec<(u16, String)> {
    let resolved = resolve(script, &server, 1).await.expect("an address");
    resolved.hops.iter().map(|hop| (hop.rank, hop.value.to_string())).collect()
}

#[tokio::test]
async fn an_address_needs_no_dns() {
    let script = Script::default();
    let uri = server("192.0.2.1", None, Some(Transport::Tls));
    let Resolved { hops, ttl } = resolve(&script, &uri, 1).await.unwrap();
    assert_eq!(hops[0].value.to_string(), "tls:192.0.2.1:5061");
    assert_eq!(ttl, None, "it stays");
    let uri = server("2001:db8::1", Some(5070), None);
    let Resolved { hops, .. } = resolve(&script, &uri, 1).await.unwrap();
    assert_eq!(hops[0].value, Hop::udp("[2001:db8::1]:5070".parse().unwrap()));
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_name_of_this_host_needs_no_dns() {
    let script = Script { hosts: [("sip.local", vec![ip(4)])].into(), ..Script::default() };
    assert_eq!(
        hops(&script, server("sip.local", None, None)).await,
        [(0, "udp:192.0.2.4:5060".into())]
    );
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_port_means_addresses_only() {
    let script = Script {
        srv: [("_sip._udp.sip.example", vec![srv(1, 1, "x.example")])].into(),
        addresses: [("sip.example", vec![ip(1), ip(2)])].into(),
        ..Script::default()
    };
    let found = hops(&script, server("sip.example", Some(5070), Some(Transport::Tcp))).await;
    assert_eq!(found, [(0, "tcp:192.0.2.1:5070".into()), (0, "tcp:192.0.2.2:5070".into())]);
    assert_eq!(script.asked(), ["A sip.example"]);
}

#[tokio::test]
async fn a_transport_without_a_port_means_srv() {
    let script = Script {
        srv: [(
            "_sip._tcp.sip.example",
            vec![srv(20, 5080, "b.example"), srv(10, 5070, "a.example")],
        )]
        .into(),
        addresses: [("a.example", vec![ip(1)]), ("b.example", vec![ip(2)])].into(),
        ..Script::default()
    };
    let found = hops(&script, server("sip.example", None, Some(Transport::Tcp))).await;
    assert_eq!(found, [(0, "tcp:192.0.2.1:5070".into()), (1, "tcp:192.0.2.2:5080".into())]);
    assert_eq!(script.asked(), ["SRV _sip._tcp.sip.example", "A a.example", "A b.example"]);
    let found = resolve(&script, &server("sip.example", None, Some(Transport::Tls)), 1).await;
    let missing = ResolveError::NoSuchName { server: "sip:sip.example;transport=tls".into() };
    assert_eq!(found, Err(missing));
    assert!(script.asked().contains(&"SRV _sips._tcp.sip.example".to_owned()));
}

#[tokio::test]
async fn neither_means_naptr_then_srv_then_addresses() {
    let mut script = Script {
        naptr: [(
            "sip.example",
            vec![
                naptr(30, "SIP+D2U", "_sip._udp.sip.example"),
                naptr(20, "SIP+D2T", "_sip._tcp.far.example"),
                naptr(10, "E2U+email", "mail.example"),
            ],
        )]
        .into(),
        srv: [
            ("_sip._tcp.far.example", vec![srv(1, 5066, "a.example")]),
            ("_sip._udp.sip.example", vec![srv(1, 5067, "a.example")]),
        ]
        .into(),
        addresses: [("a.example", vec![ip(1)]), ("sip.example", vec![ip(9)])].into(),
        ..Script::default()
    };
    let uri = server("sip.example", None, None);
    // The lowest order with a service of ours.
    assert_eq!(hops(&script, uri.clone()).await, [(0, "tcp:192.0.2.1:5066".into())]);
    script.naptr.clear();
    assert_eq!(hops(&script, uri.clone()).await, [(0, "udp:192.0.2.1:5067".into())]);
    script.srv.clear();
    assert_eq!(hops(&script, uri.clone()).await, [(0, "udp:192.0.2.9:5060".into())]);
    script.addresses.clear();
    assert!(resolve(&script, &uri, 1).await.is_err());
}

#[tokio::test]
async fn a_forwarder_that_loses_naptr_queries_is_no_obstacle_but_a_silent_one_is_named() {
    let mut script = Script {
        silent: vec!["sip.example"],
        srv: [("_sip._udp.sip.example", vec![srv(1, 5067, "a.example")])].into(),
        addresses: [("a.example", vec![ip(1)])].into(),
        ..Script::default()
    };
    let uri = server("sip.example", None, None);
    assert_eq!(hops(&script, uri.clone()).await, [(0, "udp:192.0.2.1:5067".into())]);
    script.srv.clear();
    let fault = resolve(&script, &uri, 1).await.expect_err("silence");
    assert_eq!(fault.to_string(), "sip:sip.example: DNS did not answer: no answer");
}

#[tokio::test]
async fn a_service_that_is_not_to_be_had_is_passed_over() {
    let script = Script {
        srv: [("_sip._udp.sip.example", vec![srv(0, 0, ".")])].into(),
        addresses: [("sip.example", vec![ip(9)])].into(),
        ..Script::default()
    };
    let found = hops(&script, server("sip.example", None, None)).await;
    assert_eq!(found, [(0, "udp:192.0.2.9:5060".into())]);
}

#[tokio::test]
async fn localhost_is_this_host() {
    let found = resolve(&SystemDns::new(), &server("localhost", None, None), 1).await.unwrap();
    assert_eq!(found.hops[0].value, Hop::udp("127.0.0.1:5060".parse().unwrap()));
}

// On the wire.

/// A record's data after its name, type, class and TTL.
fn record(name_at: u16, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((0xc000 | name_at).to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend(data);
    out
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

fn string(text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(text.len()).unwrap()];
    out.extend(text.as_bytes());
    out
}

/// A DNS server of a few records, written byte by byte.
async fn dns_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let query = &buffer[..length];
            // One question: its name from byte 12 on, then type and class.
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
            let kind = u16::from_be_bytes([query[end], query[end + 1]]);
            let name = query[12..end].to_ascii_lowercase();
            let mut answers = Vec::new();
            match kind {
                35 if name == labels("sip.test.example") => {
                    let mut data = vec![0, 10, 0, 50];
                    data.extend(string("s"));
                    data.extend(string("SIP+D2T"));
                    data.extend(string(""));
                    data.extend(labels("_sip._tcp.sip.test.example"));
                    answers.push(record(12, kind, 300, &data));
                }
                33 if name == labels("_sip._tcp.sip.test.example") => {
                    for (priority, port, target) in [(2, 5072, "b"), (1, 5071, "a")] {
                        let mut data = vec![0, priority, 0, 5];
                        data.extend(u16::to_be_bytes(port));
                        data.extend(labels(&format!("{target}.test.example")));
                        answers.push(record(12, kind, 200, &data));
                    }
                }
                1 if name == labels("a.test.example") => {
                    answers.push(record(12, kind, 30, &[192, 0, 2, 1]));
                }
                1 if name == labels("b.test.example") => {
                    answers.push(record(12, kind, 100, &[192, 0, 2, 2]));
                }
                _ => {}
            }
            let mut reply = query[..2].to_vec();
            reply.extend([0x84, 0x00, 0, 1]);
            reply.extend(u16::try_from(answers.len()).unwrap().to_be_bytes());
            reply.extend([0, 0, 0, 0]);
            reply.extend(&query[12..end + 4]);
            reply.extend(answers.concat());
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn naptr_srv_and_a_are_read_from_the_wire() {
    let dns = SystemDns::at(dns_server().await);
    let found = resolve(&dns, &server("sip.test.example.", None, None), 1).await.unwrap();
    let hops: Vec<(u16, String)> =
        found.hops.iter().map(|hop| (hop.rank, hop.value.to_string())).collect();
    assert_eq!(hops, [(0, "tcp:192.0.2.1:5071".into()), (1, "tcp:192.0.2.2:5072".into())]);
    assert_eq!(found.ttl, Some(Duration::from_secs(30)), "the shortest of all that was used");
    let nothing = resolve(&dns, &server("other.test.example.", None, None), 1).await;
    assert!(matches!(nothing, Err(ResolveError::NoSuchName { .. })), "{nothing:?}");
}
