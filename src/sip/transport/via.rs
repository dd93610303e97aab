//! The top Via: what it says of the way a message goes, and of the way its answers come (RFC 3261 18).

use std::net::SocketAddr;

use rsipstack::sip::Request;

use crate::sip::hop::{Hop, Transport};
use crate::sip::message::{header, param, split_outside};

/// Makes the top Via say by which transport the request leaves. The host stays, it is as good by one as
/// by another; `port` is where that transport is listened on. The branch stays: the transaction is the
/// same. A Via that says so already stays as it is.
pub(crate) fn leave_by(request: &mut Request, transport: Transport, port: u16) {
    let Some(via) = request.headers.iter_mut().find(|h| h.name() == "Via") else { return };
    let value = via.value().to_owned();
    let Some((protocol, rest)) = value.trim().split_once(char::is_whitespace) else { return };
    let Some((version, token)) = protocol.rsplit_once('/') else { return };
    if token.eq_ignore_ascii_case(transport.via()) {
        return;
    }
    let end = rest.find(';').unwrap_or(rest.len());
    let (sent_by, params) = rest.split_at(end);
    let sent_by = sent_by.trim();
    let host = match sent_by.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => sent_by,
    };
    *via = header("Via", format!("{version}/{} {host}:{port}{params}", transport.via()));
}

/// `host:port` of a Via element.
pub(crate) fn sent_by(via: &str) -> &str {
    let head = via.split(';').next().unwrap_or("").trim();
    head.rsplit(char::is_whitespace).next().unwrap_or("")
}

/// Notes in the top Via where the request really came from (18.2.1, RFC 3581), and tells where its
/// answers go, and where instead when the connection they belong to is gone (18.2.2). None without a
/// usable Via.
pub(crate) fn fix_via(request: &mut Request, from: Hop) -> Option<(Hop, Option<Hop>)> {
    let line = request.headers.iter().position(|h| h.name() == "Via")?;
    let value = request.headers.iter().nth(line)?.value().to_owned();
    let elements = split_outside(&value, ',');
    let (top, rest) = elements.split_first()?;
    let (head, params) = top.split_at(top.find(';').unwrap_or(top.len()));
    let host_port = sent_by(head);
    if host_port.is_empty() {
        return None;
    }
    let (host, port) = match host_port.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok()?),
        _ => (host_port, from.transport.default_port()),
    };
    let wants_rport = param(params, "rport").is_some();
    let mut fixed = head.trim().to_owned();
    for piece in split_outside(params, ';') {
        let name = piece.split('=').next().unwrap_or("").trim();
        if !name.eq_ignore_ascii_case("received") && !name.eq_ignore_ascii_case("rport") {
            fixed.push(';');
            fixed.push_str(piece);
        }
    }
    let same_host = host.trim_matches(['[', ']']).parse() == Ok(from.addr.ip());
    if wants_rport || !same_host {
        fixed.push_str(&format!(";received={}", from.addr.ip()));
    }
    if wants_rport {
        fixed.push_str(&format!(";rport={}", from.addr.port()));
    }
    for element in rest {
        fixed.push_str(", ");
        fixed.push_str(element);
    }
    if let Some(via) = request.headers.iter_mut().nth(line) {
        *via = header("Via", fixed);
    }
    let by_via = Hop::new(from.transport, SocketAddr::new(from.addr.ip(), port));
    Some(match from.transport.is_reliable() {
        true => (from, (by_via != from).then_some(by_via)),
        false if wants_rport => (from, None),
        false => (by_via, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(via: &str) -> Request {
        let text = format!("OPTIONS sip:h SIP/2.0\r\nVia: {via}\r\nCall-ID: c\r\n\r\n");
        Request::try_from(text.as_str()).unwrap()
    }

    fn via(request: &Request) -> &str {
        crate::sip::message::get(request, "Via").unwrap()
    }

    #[test]
    fn a_request_leaves_with_its_transport_and_its_branch() {
        let mut it = request("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport");
        leave_by(&mut it, Transport::Tls, 5061);
        assert_eq!(via(&it), "SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKx;rport");
        leave_by(&mut it, Transport::Tls, 7);
        assert_eq!(via(&it), "SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKx;rport", "it is right");
        let mut it = request("SIP/2.0/TCP [2001:db8::1];branch=z9hG4bKx");
        leave_by(&mut it, Transport::Udp, 5060);
        assert_eq!(via(&it), "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKx");
    }

    #[test]
    fn answers_go_over_the_connection_else_to_where_via_says() {
        let from = Hop::new(Transport::Tls, "192.0.2.9:40000".parse().unwrap());
        let mut it = request("SIP/2.0/TLS 192.0.2.9;branch=z9hG4bKx;rport");
        let instead = Hop::new(Transport::Tls, "192.0.2.9:5061".parse().unwrap());
        assert_eq!(fix_via(&mut it, from), Some((from, Some(instead))));
        assert!(via(&it).ends_with(";received=192.0.2.9;rport=40000"), "{}", via(&it));
    }
}
