//! Whether the ports can be had, and who has them where not. Nothing is listened on: a socket is bound
//! for a moment, and a port that is in use stays with whoever uses it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::report::Report;
use crate::config::{Config, Protocol, Wanted, wanted};
use crate::gateway::operations::port_pairs;
use crate::words::counted;

const AREA: &str = "ports";

const RTP: &str = "media.rtp_ports";

/// As the kernel's tables have it.
const LISTENING: &str = "0A";

/// A socket that the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub key: &'static str,
    pub kind: Protocol,
    pub address: SocketAddr,
}

/// But for the RTP ports, which come and go with calls.
pub(super) fn needs(config: &Config) -> Vec<Need> {
    let sockets = |Wanted { key, protocol: kind, ip, ports }: Wanted| {
        let need = move |port| Some(Need { key, kind, address: SocketAddr::new(ip?, port) });
        ports.filter_map(need).collect::<Vec<_>>()
    };
    let lasting = wanted(config).into_iter().filter(|wanted| wanted.key != RTP);
    lasting.flat_map(sockets).collect()
}

/// As the gateway binds it, and gone at once.
pub(super) fn try_bind(kind: Protocol, address: SocketAddr) -> io::Result<()> {
    let (kind, protocol) = match kind {
        Protocol::Udp => (Type::DGRAM, socket2::Protocol::UDP),
        Protocol::Tcp => (Type::STREAM, socket2::Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if kind == Type::STREAM {
        // Connections of a gateway that was stopped just now hinder nobody.
        socket.set_reuse_address(true)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())
}

/// Who has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub pid: u32,
    pub name: String,
}

impl Owner {
    pub(super) fn is_gateway(&self) -> bool {
        self.name == "wrtc-gateway" && self.pid != std::process::id()
    }
}

/// As far as this user may see: another user's sockets are known by their port only.
pub(super) fn owner(kind: Protocol, address: SocketAddr) -> Option<Owner> {
    let tables = match kind {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, kind, address.port()))
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| holder(&entry.path(), &wanted)).next()
}

/// Of the rows of a table with that local port.
fn inodes(table: &str, kind: Protocol, port: u16) -> Vec<String> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, known) = local.split_once(':')?;
        let matches = u16::from_str_radix(known, 16).ok()? == port
            && (kind == Protocol::Udp || *state == LISTENING);
        matches.then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(row).collect()
}

fn holder(process: &Path, wanted: &[String]) -> Option<Owner> {
    let pid: u32 = process.file_name()?.to_str()?.parse().ok()?;
    let holds = std::fs::read_dir(process.join("fd")).ok()?.flatten().any(|fd| {
        std::fs::read_link(fd.path())
            .is_ok_and(|link| wanted.iter().any(|socket| link.as_os_str() == socket.as_str()))
    });
    let name = || std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    holds.then(|| Owner { pid, name: name().trim().to_owned() })
}

/// The process that has the HTTP port, if it is a gateway.
pub(super) fn running_gateway(config: &Config) -> Option<Owner> {
    let http = config.http.listen;
    if http.port() == 0 || try_bind(Protocol::Tcp, http).is_ok() {
        return None;
    }
    owner(Protocol::Tcp, http).filter(Owner::is_gateway)
}

pub(super) fn examine(config: &Config, running: Option<&Owner>, report: &mut Report) {
    for need in needs(config) {
        examine_one(&need, running, report);
    }
    rtp(config, running, report);
    ephemeral(config, report);
}

fn examine_one(need: &Need, running: Option<&Owner>, report: &mut Report) {
    let Need { key, kind, address } = *need;
    let what = format!("{key} {address} ({kind})");
    let Err(error) = try_bind(kind, address) else {
        return report.ok(AREA, format!("{what} is free"));
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => match owner(kind, address) {
            Some(owner) if running.is_some_and(|gateway| gateway.pid == owner.pid) => {
                report.ok(AREA, format!("{what} is held by the gateway that runs"));
            }
            Some(Owner { pid, name }) => report.fail(
                AREA,
                format!("{what} is taken by {name} (pid {pid})"),
                format!("stop it, or give {key} another port"),
            ),
            None => report.fail(
                AREA,
                format!("{what} is taken, by whom only root can see"),
                format!("run doctor as root to learn it, or give {key} another port"),
            ),
        },
        io::ErrorKind::PermissionDenied => report.fail(
            AREA,
            format!("{what} may not be opened by this user"),
            "take a port above 1023, or grant the service CAP_NET_BIND_SERVICE",
        ),
        io::ErrorKind::AddrNotAvailable => report.fail(
            AREA,
            format!("{what}: this host has no such address"),
            format!(
                "name one of this host's in {key}, or 0.0.0.0; what others see goes into advertise"
            ),
        ),
        _ => report.fail(AREA, format!("{what}: {error}"), format!("change {key}")),
    }
}

fn rtp(config: &Config, running: Option<&Owner>, report: &mut Report) {
    let range = config.media.rtp_ports.clone();
    let ip = config.media.rtp_address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let taken: Vec<u16> = range
        .clone()
        .filter(|port| {
            try_bind(Protocol::Udp, SocketAddr::new(ip, *port))
                .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
        })
        .collect();
    let (first, last) = (*range.start(), *range.end());
    let calls = port_pairs(&range);
    let what = format!("media.rtp_ports {first}-{last} (UDP)");
    match (taken.first(), running) {
        (None, _) => {
            report.ok(AREA, format!("{what} are free: room for {}", counted(calls, "call")))
        }
        (Some(_), Some(_)) => {
            let count = taken.len();
            report.ok(AREA, format!("{what}: {count} in use, by calls of the gateway that runs"));
        }
        (Some(port), None) => {
            let whose = owner(Protocol::Udp, SocketAddr::new(ip, *port));
            let whose = whose.map_or("somebody".into(), |owner| owner.name);
            report.warn(
                AREA,
                format!("{what}: {} are taken, {port} by {whose}", taken.len()),
                "the gateway passes over them; better give it a range of its own",
            );
        }
    }
}

/// What Linux hands out to programs that ask for any port.
fn ephemeral(config: &Config, report: &mut Report) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let Ok(text) = text else { return };
    let mut ends = text.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
    let (Some(low), Some(high)) = (ends.next(), ends.next()) else { return };
    let range = low..=high;
    let mut inside: Vec<&str> = needs(config)
        .iter()
        .filter(|need| need.kind == Protocol::Udp && range.contains(&need.address.port()))
        .map(|need| need.key)
        .collect();
    let rtp = &config.media.rtp_ports;
    if rtp.contains(&low) || rtp.contains(&high) || range.contains(rtp.start()) {
        inside.push("media.rtp_ports");
    }
    inside.dedup();
    if !inside.is_empty() {
        report.warn(
            AREA,
            format!(
                "{} lie within {low}-{high}, which Linux hands out to any program",
                inside.join(", ")
            ),
            "choose ports below, or keep them with net.ipv4.ip_local_reserved_ports",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_port_is_found() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for (kind, at) in
            [(Protocol::Udp, udp.local_addr().unwrap()), (Protocol::Tcp, tcp.local_addr().unwrap())]
        {
            assert_eq!(try_bind(kind, at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert_eq!(owner(kind, at).unwrap().pid, std::process::id());
        }
        assert!(try_bind(Protocol::Udp, "127.0.0.1:0".parse().unwrap()).is_ok());
        let foreign = try_bind(Protocol::Udp, "192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_table_of_the_kernel_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F96 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n\
             1: 0100007F:1F96 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1\n";
        assert_eq!(inodes(table, Protocol::Tcp, 8086), ["4711"]);
        assert_eq!(inodes(table, Protocol::Udp, 8086), ["4711", "4712"]);
        assert!(inodes(table, Protocol::Tcp, 8087).is_empty());
    }
}
