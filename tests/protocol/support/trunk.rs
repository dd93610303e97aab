//! A SIP server that is nothing but text: what Genesys writes, byte by byte, and the answers read
//! without the gateway's own parser.

use std::net::SocketAddr;
use std::panic::Location;

use tokio::net::UdpSocket;

use super::browser::LIMIT;

pub struct Trunk {
    socket: UdpSocket,
    pub addr: SocketAddr,
    /// Where the DN's telephone is, once it has registered.
    pub contact: SocketAddr,
    unread: Vec<String>,
}

impl Trunk {
    pub async fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let addr = socket.local_addr().expect("bound");
        Self { socket, addr, contact: addr, unread: Vec::new() }
    }

    pub fn sdp(&self, version: u32) -> String {
        format!(
            "v=0\r\no=- 7 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio 45678 RTP/AVP 18 8 0 101\r\na=rtpmap:18 g729/8000\r\na=rtpmap:8 pcma/8000\r\n\
             a=rtpmap:0 pcmu/8000\r\na=rtpmap:101 TELEPHONE-EVENT/8000\r\n"
        )
    }

    /// Takes the next REGISTER and accepts it without a challenge.
    pub async fn registers(&mut self) {
        let mut buffer = vec![0; 8192];
        let (length, from) = self.socket.recv_from(&mut buffer).await.expect("a datagram");
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(request.starts_with("REGISTER "), "{request}");
        self.contact = from;
        let mut answer = String::from("SIP/2.0 200 OK\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq", "Contact"] {
            let mut value = header(&request, name).expect("a header of every REGISTER");
            if name == "To" {
                value.push_str(";tag=reg");
            }
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("Expires: 1800\r\nContent-Length: 0\r\n\r\n");
        self.socket.send_to(answer.as_bytes(), from).await.expect("sent");
    }

    /// Sends what stands there; every line ends in CRLF.
    pub async fn send(&self, message: &str) {
        self.socket.send_to(message.as_bytes(), self.contact).await.expect("sent");
    }

    /// The next message that begins so; others are kept for later.
    #[track_caller]
    pub fn expect<'a>(&'a mut self, start: &'a str) -> impl Future<Output = String> + 'a {
        self.expect_with(start, "")
    }

    /// The same, with `cseq` in its CSeq.
    #[track_caller]
    pub fn expect_with<'a>(
        &'a mut self,
        start: &'a str,
        cseq: &'a str,
    ) -> impl Future<Output = String> + 'a {
        let caller = Location::caller();
        async move {
            let fits = |message: &String| {
                message.starts_with(start)
                    && header(message, "CSeq").is_some_and(|value| value.contains(cseq))
            };
            if let Some(found) = self.unread.iter().position(fits) {
                return self.unread.remove(found);
            }
            let mut buffer = vec![0; 8192];
            loop {
                let received = self.socket.recv_from(&mut buffer);
                let Ok(received) = tokio::time::timeout(LIMIT, received).await else {
                    panic!("{caller}: no `{start}` {cseq}, only {:#?}", self.unread);
                };
                let (length, _) = received.expect("a datagram");
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if fits(&message) {
                    return message;
                }
                self.unread.push(message);
            }
        }
    }
}

/// A header's value, whatever the case of its name.
pub fn header(message: &str, name: &str) -> Option<String> {
    message.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

pub fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
