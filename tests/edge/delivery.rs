//! Messages arrive once each and in order although polls are cut at any moment.

use std::time::Duration;

use crate::support::{Gateway, envelope, eventually, get, read_response};
use rand::prelude::*;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wrtc_gateway::wire::ToBrowser;

const AGENTS: usize = 16;
const MESSAGES: usize = 20_000;

/// A message with its number in front and some weight behind, as an SDP has.
fn numbered(n: usize, weight: usize) -> ToBrowser {
    ToBrowser::InfoPeer(format!("{n} {}", "x".repeat(weight)))
}

fn number(body: &str) -> usize {
    body.strip_prefix("INFO-PEER ").unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// A client that mistreats its polls and notes what it has read to the end.
struct Browser {
    gateway: std::net::SocketAddr,
    poll: String,
    random: SmallRng,
    connection: Option<TcpStream>,
    got: Vec<usize>,
    cuts: [usize; 5],
}

impl Browser {
    async fn poll_once(&mut self) {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.gateway).await.unwrap(),
        };
        if stream.write_all(self.poll.as_bytes()).await.is_err() {
            // The server may have closed a connection that was left alone: a browser asks anew.
            return;
        }
        let how = self.random.random_range(0..5);
        self.cuts[how] += 1;
        match how {
            // Hang up at once, or while the message is written.
            0 => {
                let pause = self.random.random_range(0..400);
                if pause > 100 {
                    tokio::time::sleep(Duration::from_micros(pause)).await;
                }
                drop(stream);
            }
            // Hang up in the middle of the response.
            1 => {
                let mut part = vec![0; self.random.random_range(1..60)];
                let _ =
                    tokio::time::timeout(Duration::from_millis(20), stream.read(&mut part)).await;
                drop(stream);
            }
            // Let the response come, do not look at it, hang up.
            2 => {
                let _ = tokio::time::timeout(Duration::from_millis(20), stream.readable()).await;
                drop(stream);
            }
            // Read all of it, then hang up.
            3 => {
                self.read(&mut stream).await;
                drop(stream);
            }
            // Read all of it and go on, on the same connection.
            _ => {
                if self.read(&mut stream).await {
                    self.connection = Some(stream);
                }
            }
        }
    }

    async fn read(&mut self, stream: &mut TcpStream) -> bool {
        let response = tokio::time::timeout(Duration::from_secs(30), read_response(stream));
        match response.await.expect("a message or an empty 200") {
            Ok((status, _, body)) => {
                assert_eq!(status, 200, "{body}");
                if !body.is_empty() {
                    // At once, or a lost one would leave both sides waiting for each other.
                    let number = number(&body);
                    assert_eq!(number, self.got.len(), "out of order, lost or doubled");
                    self.got.push(number);
                }
                true
            }
            Err(_) => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_messages_over_polls_cut_at_random() {
    let gateway = Gateway::start(&[]).await;
    let mut agents = Vec::new();
    for agent in 0..AGENTS {
        let (ssid, session) = gateway.jsapi_sign_in(&format!("{}", 6000 + agent)).await;
        let mut browser = Browser {
            gateway: gateway.address,
            poll: get(&format!("/wait?id={ssid}")),
            random: SmallRng::seed_from_u64(agent as u64),
            connection: None,
            got: Vec::new(),
            cuts: [0; 5],
        };
        agents.push(tokio::spawn(async move {
            let mut random = SmallRng::seed_from_u64(1000 + agent as u64);
            let sender = tokio::spawn(async move {
                for n in 0..MESSAGES / AGENTS {
                    let weight = if n % 50 == 0 { 40_000 } else { random.random_range(0..6000) };
                    while session.backlog() > 20 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    match session.post(envelope("1003", numbered(n, weight))) {
                        Ok(()) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if random.random_range(0..4) == 0 {
                        tokio::time::sleep(Duration::from_micros(random.random_range(0..800)))
                            .await;
                    }
                }
                session
            });
            while browser.got.len() < MESSAGES / AGENTS {
                browser.poll_once().await;
            }
            let session = sender.await.unwrap();
            // Nothing is left that could come a second time.
            browser.connection = None;
            eventually("the last one is confirmed", || session.backlog() == 0).await;
            (browser.got, browser.cuts)
        }));
    }
    let mut cuts = [0; 5];
    for agent in agents {
        let (got, how) = agent.await.unwrap();
        assert_eq!(got, (0..MESSAGES / AGENTS).collect::<Vec<_>>());
        for (sum, n) in cuts.iter_mut().zip(how) {
            *sum += n;
        }
    }
    println!(
        "polls: cut before {}, in {}, unread {}, after {}, kept {}",
        cuts[0], cuts[1], cuts[2], cuts[3], cuts[4]
    );
    assert!(cuts.iter().all(|&n| n > 1000), "every kind of cut was tried: {cuts:?}");
    gateway.stop().await;
}
