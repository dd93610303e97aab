//! `wrtc-gateway healthcheck`: asks the gateway of the same configuration whether it is there, for
//! container images that have no curl.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, StreamOwned};
use wrtc_gateway::config::Http;
use wrtc_gateway::tls::verify::{Shown, Trust, Verifier};

/// Of an answer: more than a few reasons have no place in a line of a container's log.
const MAX_ANSWER: usize = 16_384;

/// Which question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/livez`: the process answers.
    Live,
    /// `/readyz`: it takes new agents, too.
    Ready,
}

/// Why the gateway is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    #[error("http.listen has port 0, which tells nobody where the gateway listens")]
    AnyPort,
    #[error("no connection to {address}: {reason}")]
    Unreachable { address: SocketAddr, reason: std::io::Error },
    #[error("no TLS at {address}: {reason}")]
    Tls { address: SocketAddr, reason: Error },
    #[error("{address} has not answered in {} s", within.as_secs())]
    Silent { address: SocketAddr, within: Duration },
    #[error("{address} broke off: {reason}")]
    BrokeOff { address: SocketAddr, reason: std::io::Error },
    #[error("{address} does not speak HTTP")]
    NotHttp { address: SocketAddr },
    #[error("{address}{path} answers {status}{why}")]
    Refused { address: SocketAddr, path: String, status: u16, why: String },
}

/// Asks the gateway that serves `http` on this host, over TLS where it does.
///
/// # Errors
/// Whatever keeps it from a 200 within `within`.
pub fn ask(http: &Http, probe: Probe, within: Duration) -> Result<(), Unwell> {
    let address = reachable(http.listen).ok_or(Unwell::AnyPort)?;
    let name = match probe {
        Probe::Live => "livez",
        Probe::Ready => "readyz",
    };
    let path = format!("{}/{name}", http.base_path);
    let until = Instant::now() + within;
    let stream = TcpStream::connect_timeout(&address, within)
        .map_err(|reason| Unwell::Unreachable { address, reason })?;
    let wire = Wire { stream, until };
    let answer = if http.tls.is_some() || http.guard.self_signed {
        let tls = tls(address).map_err(|reason| Unwell::Tls { address, reason })?;
        exchange(StreamOwned::new(tls, wire), &path)
    } else {
        exchange(wire, &path)
    };
    let answer = answer.map_err(|reason| match reason.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Unwell::Silent { address, within },
        _ => Unwell::BrokeOff { address, reason },
    })?;
    match status(&answer) {
        Some(200) => Ok(()),
        Some(status) => Err(Unwell::Refused { address, path, status, why: reasons(&answer) }),
        None => Err(Unwell::NotHttp { address }),
    }
}

/// Where a server that listens at `listen` is reached from the same host; None for any free port.
fn reachable(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (listen.port() != 0).then(|| SocketAddr::new(ip, listen.port()))
}

/// A connection whose every read and write ends by `until`, so that no trickle keeps it.
struct Wire {
    stream: TcpStream,
    until: Instant,
}

impl Wire {
    fn left(&self) -> std::io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        // The system takes no time-out of zero.
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

fn exchange(mut stream: impl Read + Write, path: &str) -> std::io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    // Why not is of interest, why is not.
    while answer.len() < MAX_ANSWER && status(&answer) != Some(200) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            // The status is here; the rest only explains it.
            Err(_) if answer.contains(&b'\n') => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// The sentences of `/readyz`, each after a colon or a semicolon; nothing where there are none.
fn reasons(answer: &[u8]) -> String {
    let body =
        answer.windows(4).position(|four| four == b"\r\n\r\n").and_then(|at| answer.get(at + 4..));
    let body: serde_json::Value =
        body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let reasons = body["reasons"].as_array().into_iter().flatten();
    let texts: Vec<&str> = reasons.filter_map(|reason| reason["text"].as_str()).collect();
    if texts.is_empty() { String::new() } else { format!(": {}", texts.join("; ")) }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let (version, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    version.starts_with("HTTP/1.").then_some(())?;
    rest.get(..3)?.parse().ok()
}

fn tls(address: SocketAddr) -> Result<ClientConnection, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(AnyName, provider)))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::IpAddress(address.ip().into()))
}

/// Any certificate is taken: no name in it is the address at which a gateway reaches itself, and nothing
/// is told to whoever may answer instead.
#[derive(Debug)]
struct AnyName;

impl Trust for AnyName {
    fn check(&self, _: &Shown<'_>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8086", "127.0.0.1:8086"),
            ("[::]:8086", "[::1]:8086"),
            ("192.0.2.1:443", "192.0.2.1:443"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), Some(asked.parse().unwrap()));
        }
        assert_eq!(reachable("127.0.0.1:0".parse().unwrap()), None);
    }

    #[test]
    fn statuses() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.1 503 Service Unavailable\r\nA: b"), Some(503));
        for junk in
            [&b""[..], b"\r\n", b"HTTP/1.1", b"HTTP/1.1 2", b"SSH-2.0-x 200\r\n", b"\xff 200"]
        {
            assert_eq!(status(junk), None, "{junk:?}");
        }
    }
}
