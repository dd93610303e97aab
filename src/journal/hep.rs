//! SIP as it happens, to Homer and its kin: HEP version 3 over UDP.
//!
//! Nothing waits for it: messages go through a bounded channel to a task, the collector's name is looked
//! up beside it, and what finds no room or no collector is counted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{Entry, Observer, What};
use crate::config;
use crate::panics::keep_looking_on;
use crate::secret::Secret;

/// Messages on their way to the task: a second of a large gateway's SIP.
const QUEUE: usize = 4096;

/// How often the collector's name is looked up, and how soon again after that failed.
const LOOK_UP: Duration = Duration::from_secs(60);
const LOOK_UP_AGAIN: Duration = Duration::from_secs(5);

/// Of a message; more would not fit a datagram with what stands around it.
const MOST_TEXT: usize = 64_000;

/// Longest password: a chunk says its length in 16 bits, and nobody's is longer.
const MOST_PASSWORD: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum HepError {
    #[error("journal.hep_password_file = \"{}\": it cannot be read: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("journal.hep_password_file = \"{}\": its first line is empty or too long", path.display())]
    Password { path: PathBuf },
}

/// Where every packet goes and what each says of us.
pub struct Hep {
    sender: Sender<Message>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    lost: AtomicU64,
}

struct Message {
    at: SystemTime,
    tcp: bool,
    from: SocketAddr,
    to: SocketAddr,
    call_id: String,
    text: Arc<str>,
}

/// Since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HepStats {
    pub sent: u64,
    /// The channel was full, the name did not resolve, or the socket did not take it.
    pub lost: u64,
}

impl Hep {
    /// Starts the task, which ends with the value. Within a runtime.
    ///
    /// # Errors
    /// There is no password where one is said to be.
    pub fn start(config: &config::Hep) -> Result<Self, HepError> {
        let password = config.password_file.as_ref().map(read_password).transpose()?;
        let counters = Arc::<Counters>::default();
        let (sender, receiver) = channel(QUEUE);
        let link = Link {
            host: config.host.clone(),
            port: config.port,
            capture_id: config.capture_id,
            password,
            counters: Arc::clone(&counters),
            collector: None,
        };
        tokio::spawn(async move {
            let run = async |(link, messages): &mut (Link, Receiver<Message>)| {
                link.run(messages).await;
            };
            keep_looking_on("HEP", &mut (link, receiver), run).await;
        });
        Ok(Self { sender, counters })
    }

    pub fn stats(&self) -> HepStats {
        let Counters { sent, lost } = &*self.counters;
        HepStats { sent: sent.load(Relaxed), lost: lost.load(Relaxed) }
    }
}

/// What [`Hep::start`] would say of the password's file.
pub fn fault(config: &config::Hep) -> Option<HepError> {
    config.password_file.as_ref().and_then(|path| read_password(path).err())
}

fn read_password(path: &PathBuf) -> Result<Secret, HepError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| HepError::Read { path: path.clone(), error })?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() || line.len() > MOST_PASSWORD {
        return Err(HepError::Password { path: path.clone() });
    }
    Ok(Secret::new(line))
}

impl Observer for Hep {
    fn observe(&self, entry: &Entry) {
        let What::Sip { inbound, transport, local, peer, call_id, text } = &entry.what else {
            return;
        };
        let (from, to) = if *inbound { (*peer, *local) } else { (*local, *peer) };
        let message = Message {
            at: entry.at,
            tcp: *transport != "udp",
            from,
            to,
            call_id: call_id.clone(),
            text: Arc::clone(text),
        };
        if self.sender.try_send(message).is_err() {
            self.counters.lost.fetch_add(1, Relaxed);
        }
    }
}

struct Link {
    host: String,
    port: u16,
    capture_id: u32,
    password: Option<Secret>,
    counters: Arc<Counters>,
    collector: Option<(UdpSocket, SocketAddr)>,
}

impl Link {
    async fn run(&mut self, messages: &mut Receiver<Message>) {
        let mut next = Instant::now();
        let mut looking: Option<JoinHandle<io::Result<SocketAddr>>> = None;
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(message) => self.send(&message).await,
                    None => return,
                },
                found = async { looking.as_mut()?.await.ok() }, if looking.is_some() => {
                    looking = None;
                    let found = found.unwrap_or_else(|| Err(io::Error::other("it was given up")));
                    let pause = match self.settle(found).await {
                        Ok(()) => LOOK_UP,
                        Err(error) => {
                            warn!(host = self.host, %error, "no HEP collector; trying again");
                            LOOK_UP_AGAIN
                        }
                    };
                    next = Instant::now() + pause;
                }
                () = sleep_until(next), if looking.is_none() => {
                    looking = Some(tokio::spawn(look_up(self.host.clone(), self.port)));
                }
            }
        }
    }

    /// Sends to there from now on. A name that no longer resolves changes nothing.
    async fn settle(&mut self, found: io::Result<SocketAddr>) -> io::Result<()> {
        let address = match found {
            Err(_) if self.collector.is_some() => return Ok(()),
            found => found?,
        };
        if self.collector.as_ref().is_some_and(|(_, known)| *known == address) {
            return Ok(());
        }
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(address).await?;
        info!(collector = %address, "SIP is shown to a HEP collector");
        self.collector = Some((socket, address));
        Ok(())
    }

    async fn send(&self, message: &Message) {
        #[cfg(test)]
        assert!(message.call_id != tests::STUMBLE, "as the test has told it to");
        let password = self.password.as_ref().map(Secret::expose);
        let sent = match &self.collector {
            Some((socket, _)) => {
                socket.send(&encode(message, self.capture_id, password)).await.is_ok()
            }
            None => false,
        };
        let counter = if sent { &self.counters.sent } else { &self.counters.lost };
        counter.fetch_add(1, Relaxed);
    }
}

async fn look_up(host: String, port: u16) -> io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host((host.as_str(), port)).await?;
    found.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its name has no address"))
}

/// The packet: chunks of the generic vendor, 0.
fn encode(message: &Message, capture_id: u32, password: Option<&str>) -> Vec<u8> {
    let mut packet = b"HEP3\0\0".to_vec();
    let mut chunk = |kind: u16, value: &[u8]| {
        packet.extend([0; 2]);
        packet.extend(kind.to_be_bytes());
        packet.extend((value.len() as u16 + 6).to_be_bytes());
        packet.extend(value);
    };
    match (message.from.ip().to_canonical(), message.to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            chunk(1, &[2]);
            chunk(3, &from.octets());
            chunk(4, &to.octets());
        }
        (from, to) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            chunk(1, &[10]);
            chunk(5, &v6(from));
            chunk(6, &v6(to));
        }
    }
    // The protocols' numbers in IP; TLS is TCP there, and the text has no cipher on it.
    chunk(2, &[if message.tcp { 6 } else { 17 }]);
    chunk(7, &message.from.port().to_be_bytes());
    chunk(8, &message.to.port().to_be_bytes());
    let at = message.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    chunk(9, &(at.as_secs() as u32).to_be_bytes());
    chunk(10, &at.subsec_micros().to_be_bytes());
    // SIP.
    chunk(11, &[1]);
    chunk(12, &capture_id.to_be_bytes());
    if let Some(password) = password {
        chunk(14, password.as_bytes());
    }
    let short = |text: &'_ str, most: usize| {
        text.as_bytes().get(..most).unwrap_or(text.as_bytes()).to_vec()
    };
    chunk(17, &short(&message.call_id, 1000));
    chunk(15, &short(&message.text, MOST_TEXT));
    let length = (packet.len() as u16).to_be_bytes();
    packet.splice(4..6, length);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::About;

    /// The Call-ID of a message that ends the task.
    pub(super) const STUMBLE: &str = "stumble";

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_panic_costs_one_message() {
        let collector = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config = config::Hep {
            host: "127.0.0.1".into(),
            port: collector.local_addr().unwrap().port(),
            capture_id: 1,
            password_file: None,
        };
        let hep = Hep::start(&config).unwrap();
        let entry = |call_id: &str| Entry {
            at: SystemTime::now(),
            about: About::default(),
            what: What::Sip {
                inbound: true,
                transport: "udp",
                local: "127.0.0.1:5060".parse().unwrap(),
                peer: "127.0.0.1:5061".parse().unwrap(),
                call_id: call_id.to_owned(),
                text: "OPTIONS sip:a@b SIP/2.0\r\n\r\n".into(),
            },
        };
        hep.observe(&entry(STUMBLE));
        let mut packet = [0; 2048];
        let told = async {
            // What comes before the collector's name is looked up is lost.
            loop {
                hep.observe(&entry("c1"));
                let wait = Duration::from_millis(100);
                let received = collector.recv_from(&mut packet);
                if tokio::time::timeout(wait, received).await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, told).await.expect("it begins anew");
        assert!(packet.starts_with(b"HEP3"));
    }
}
