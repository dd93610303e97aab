//! Somebody in the middle of a UDP path, who delays, loses and answers as a test wants it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::support::trunk::header;

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What becomes of one.
#[derive(Debug, Clone)]
pub enum Fate {
    Pass,
    Late(Duration),
    Lost,
    /// A SIP request gets this answer: a status line's end, and whole lines of headers.
    Refused(&'static str, &'static str),
}

type Rule = Box<dyn Fn(Way, &[u8]) -> Fate + Send>;

pub struct Between {
    /// What the client takes for the server.
    pub addr: SocketAddr,
    rule: Arc<Mutex<Rule>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Between {
    pub async fn new(server: SocketAddr) -> Self {
        let (near, far) = (open().await, open().await);
        let addr = near.local_addr().unwrap();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_, _| Fate::Pass)));
        let task = tokio::spawn(carry(near, far, server, Arc::clone(&rule)));
        Self { addr, rule, task }
    }

    pub fn rule(&self, rule: impl Fn(Way, &[u8]) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }
}

async fn open() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}

async fn carry(
    near: Arc<UdpSocket>,
    far: Arc<UdpSocket>,
    server: SocketAddr,
    rule: Arc<Mutex<Rule>>,
) {
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut client = None;
    loop {
        let (way, datagram) = tokio::select! {
            Ok((length, from)) = near.recv_from(&mut from_client) => {
                client = Some(from);
                (Way::ToServer, from_client[..length].to_vec())
            }
            Ok((length, _)) = far.recv_from(&mut from_server) => {
                (Way::ToClient, from_server[..length].to_vec())
            }
        };
        let Some(client) = client else { continue };
        let (out, to) = match way {
            Way::ToServer => (Arc::clone(&far), server),
            Way::ToClient => (Arc::clone(&near), client),
        };
        let fate = rule.lock().unwrap()(way, &datagram);
        match fate {
            Fate::Pass => drop(out.send_to(&datagram, to).await),
            Fate::Late(by) => {
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let _ = out.send_to(&datagram, to).await;
                });
            }
            Fate::Lost => {}
            Fate::Refused(status, headers) => {
                let answer = refusal(&String::from_utf8_lossy(&datagram), status, headers);
                let _ = near.send_to(answer.as_bytes(), client).await;
            }
        }
    }
}

fn refusal(request: &str, status: &str, headers: &str) -> String {
    let mut answer = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let value = header(request, name).expect("a header of every request");
        let tag = if name == "To" { ";tag=no" } else { "" };
        answer.push_str(&format!("{name}: {value}{tag}\r\n"));
    }
    format!("{answer}{headers}Content-Length: 0\r\n\r\n")
}
