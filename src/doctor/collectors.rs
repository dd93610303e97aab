//! Who collects what the gateway tells: whether their names stand for something, and whether somebody is
//! there. No call needs them, so that none of it is a failure.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::report::Report;
use crate::config::Config;

const AREA: &str = "collectors";

/// How long a name, and a connection, may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How long the network has to say that nobody listens at a UDP port.
const REFUSAL: Duration = Duration::from_secs(1);

pub(super) async fn examine(config: &Config, report: &mut Report) {
    if let Some(hep) = &config.journal.hep {
        let what = format!("journal.hep, {}:{}", hep.host, hep.port);
        if let Some(address) = look_up(&what, &hep.host, hep.port, report).await {
            match ask_by_udp(address).await {
                Ok(()) => report.ok(
                    AREA,
                    format!("{what}: {address} refuses nothing; more cannot be told of UDP"),
                ),
                Err(error) => absent(&what, address, &error, report),
            }
        }
    }
    if let Some(otlp) = &config.tracing.otlp {
        let what = format!("tracing.otlp, {otlp}");
        if let Some(address) = look_up(&what, &otlp.host, otlp.port, report).await {
            let connected = timeout(LIMIT, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
                Ok(_) => report.ok(AREA, format!("{what}: {address} takes connections")),
                Err(error) => absent(&what, address, &error, report),
            }
        }
    }
}

/// The first address of the name, as who sends there takes it.
async fn look_up(what: &str, host: &str, port: u16, report: &mut Report) -> Option<SocketAddr> {
    let why = match timeout(LIMIT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(mut found)) => match found.next() {
            Some(address) => return Some(address),
            None => "its name has no address".to_owned(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("DNS takes longer than {} s", LIMIT.as_secs()),
    };
    report.warn(AREA, format!("{what}: {why}"), "correct the name, or see /etc/resolv.conf");
    None
}

fn absent(what: &str, address: SocketAddr, error: &io::Error, report: &mut Report) {
    report.warn(
        AREA,
        format!("{what}: nobody takes it at {address}: {error}"),
        "is the collector up, does it listen there, is it let through? Until then what is for it is lost",
    );
}

/// An empty datagram, which is no packet to a collector: where nobody listens its host may say so.
async fn ask_by_udp(address: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(&[]).await?;
    match timeout(REFUSAL, socket.recv(&mut [0; 16])).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
