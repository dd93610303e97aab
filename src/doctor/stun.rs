//! One question to a STUN server: from where do you see me (RFC 8489)?

use std::net::SocketAddr;
use std::time::Duration;

use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter as _, Message, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;

/// Datagrams are lost: so often it is asked.
const TRIES: u32 = 3;
const TRY: Duration = Duration::from_millis(700);

/// `stun:host[:port]`.
pub(super) async fn ask(uri: &str) -> Result<SocketAddr, String> {
    let place = uri.strip_prefix("stun:").unwrap_or(uri);
    let has_port =
        place.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':')) || place.contains("]:");
    let place = if has_port { place.to_owned() } else { format!("{place}:3478") };
    let server = tokio::net::lookup_host(&place).await.map_err(|error| error.to_string())?;
    let server = server.into_iter().next().ok_or("its name has no address")?;
    let any: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(|error| error.to_string())?;
    socket.connect(server).await.map_err(|error| error.to_string())?;
    let mut request = Message::new();
    request.typ = BINDING_REQUEST;
    request.transaction_id = TransactionId(rand::random());
    request.write_header();
    let mut buffer = [0; 1500];
    for _ in 0..TRIES {
        socket.send(&request.raw).await.map_err(|error| error.to_string())?;
        if let Ok(received) = tokio::time::timeout(TRY, socket.recv(&mut buffer)).await {
            let length = received.map_err(|error| error.to_string())?;
            if let Some(seen) = mapped(buffer.get(..length).unwrap_or_default(), &request) {
                return Ok(seen);
            }
        }
    }
    Err("no answer".to_owned())
}

fn mapped(data: &[u8], request: &Message) -> Option<SocketAddr> {
    let mut answer = Message::new();
    answer.unmarshal_binary(data).ok()?;
    if answer.typ != BINDING_SUCCESS || answer.transaction_id != request.transaction_id {
        return None;
    }
    let mut seen = XorMappedAddress::default();
    seen.get_from(&answer).ok()?;
    Some(SocketAddr::new(seen.ip, seen.port))
}
