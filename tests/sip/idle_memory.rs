//! What an idle, registered agent costs on the SIP side. Measures the whole process, so that it runs alone:
//! `cargo nextest run --test sip idle_memory --run-ignored only --no-capture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, watch};
use wrtc_gateway::sip::servers::{Current, Link, Pacing};
use wrtc_gateway::sip::{Claim, Command, Driven, Endpoint, Event, Hop, UaConfig};

const AGENTS: u32 = 10_000;
/// What issue 3 aims at, all in all.
const AIM: u64 = 10 * 1024;

/// Bytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// Grants everything.
async fn registrar(socket: UdpSocket) {
    let mut buffer = vec![0; 8192];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.expect("a datagram");
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let mut answer = String::from("SIP/2.0 200 OK\r\n");
        for line in request.lines() {
            let name = line.split(':').next().unwrap_or_default();
            if ["Via", "From", "To", "Call-ID", "CSeq", "Contact"].contains(&name) {
                let tag = if name == "To" { ";tag=1" } else { "" };
                answer.push_str(&format!("{line}{tag}\r\n"));
            }
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        socket.send_to(answer.as_bytes(), from).await.expect("sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures the memory of the process: runs alone"]
async fn ten_thousand_idle_agents() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = Hop::udp(socket.local_addr().expect("bound"));
    tokio::spawn(registrar(socket));
    let listen = "127.0.0.1:0".parse().expect("an address");
    let endpoint = Endpoint::bind(listen, "measure").expect("a port");
    let advertise = endpoint.local_addr();
    let current = Current { server, advertise, others: [].into(), down: None, epoch: 0 };
    let (_keeper, current) = watch::channel(Ok(current));
    let (news, mut told) = mpsc::channel(16);
    tokio::spawn(async move { while told.recv().await.is_some() {} });
    let link = Link { current, news, pacing: Pacing::new(5_000) };
    let registered = Arc::new(Semaphore::new(0));
    let (before, started) = (resident(), Instant::now());
    for number in 0..AGENTS {
        let user = format!("{}", 10_000 + number);
        let config = UaConfig {
            expires: Duration::from_secs(3600),
            ..UaConfig::new(user.clone(), "example.org", server, advertise)
        };
        let mut agent = Driven::linked(&endpoint, Claim::Nothing, config, link.clone());
        agent.claim(&endpoint, Claim::User(user));
        let registered = Arc::clone(&registered);
        tokio::spawn(async move {
            agent.command(Command::Register);
            loop {
                if let Event::Registered { .. } = agent.next_event().await {
                    registered.add_permits(1);
                }
            }
        });
    }
    let _all = registered.acquire_many(AGENTS).await.expect("open");
    let took = started.elapsed();
    // Until the last transaction is forgotten.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let each = (resident() - before) / u64::from(AGENTS);
    println!("{AGENTS} agents registered in {took:?}; {each} bytes each");
    assert!(each < AIM, "{each} bytes");
}
