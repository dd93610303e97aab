//! sip-behaviour.md, "Registration": a list of SIP servers, outages, and what the agent hears of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::net::UdpSocket;
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::sip::RegistrationState;
use wrtc_gateway::sip::servers::ServerState;

use crate::support::browser::LIMIT;
use crate::support::far::{Far, call_from};
use crate::support::gateway::{Demo, PASSWORD};
use crate::support::trunk::header;
use crate::support::wire::Wire;

async fn lab(listen: SocketAddr) -> Lab {
    let config = LabConfig { listen, ..LabConfig::new(Secret::new(PASSWORD)) };
    // The port of a lab that has just ended is free in a moment.
    let end = Instant::now() + LIMIT;
    loop {
        match Lab::start(config.clone()).await {
            Ok(lab) => return lab,
            Err(error) => assert!(Instant::now() < end, "{listen}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let end = Instant::now() + 3 * LIMIT;
        while !is() {
            assert!(Instant::now() < end, "{caller}: {what}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

fn knows(lab: &Lab, dn: &str) -> bool {
    lab.registrations().borrow().iter().any(|registration| registration.dn == dn)
}

/// OPTIONS pings tell up from down; a list of SIP servers is tried in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_move_to_the_next_server_and_back() {
    let (first, second) = (lab(any_port()).await, lab(any_port()).await);
    let home = first.sip_addr();
    let servers = format!("sip.servers=sip:{home},sip:{}", second.sip_addr());
    let demo = Demo::with_servers(&[&servers, "sip.ping_seconds=1"]).await;
    let mut phone = demo.phone("5001").await;
    assert!(knows(&first, "5001") && !knows(&second, "5001"));
    let gateway = demo.gateway();
    let registration = gateway.registrations().remove(0);
    assert_eq!(registration.dn, "5001");
    assert_eq!(registration.status.state, RegistrationState::Registered);
    assert_eq!(registration.status.server.addr, home);
    assert_eq!(registration.status.contact, format!("<sip:5001@{}>", demo.sip));
    assert!(registration.status.expires_at.is_some_and(|at| at > Instant::now()));
    assert_eq!(registration.status.last_code, Some(200));

    drop(first);
    until("the second server has the DN", || knows(&second, "5001")).await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
    phone.hang_up().await;
    let mut other = demo.phone("5002").await;
    let mut far = Far::call(&second.control(), "5002", call_from("7123")).await;
    other.expect_roap("OFFER").await;
    other.hang_up().await;
    far.ended().await;
    let status = gateway.servers();
    assert_eq!((status[0].state, status[0].current), (ServerState::Down, false));
    assert!(status[0].reason.is_some() && status[0].pings_missed > 0, "{status:?}");
    assert_eq!((status[1].state, status[1].current), (ServerState::Up, true));
    assert!(status[1].rtt_average.is_some_and(|rtt| rtt < Duration::from_secs(1)), "{status:?}");

    let first = lab(home).await;
    until("the first server has the DN again", || knows(&first, "5001")).await;
    let mut third = demo.phone("5003").await;
    assert!(knows(&first, "5003"));
    third.connect("601").await;
    third.browser.hears(1000.0, 0.3).await;
    third.hang_up().await;
    assert!(gateway.servers()[0].current);
}

/// A call stays where it is; only REGISTER and new dialogs move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_outlives_the_move_to_another_server() {
    let (first, second) = (lab(any_port()).await, lab(any_port()).await);
    let servers = format!("sip.servers=sip:{},sip:{}", first.sip_addr(), second.sip_addr());
    let demo = Demo::with_servers(&[&servers, "sip.ping_seconds=1"]).await;
    let mut phone = demo.phone("5001").await;
    drop(first);
    until("the second server has the DN", || knows(&second, "5001")).await;
    phone.connect("601").await;
    let mut far = Far::new(second.control().leg("5001").await.expect("the call"));
    let first = lab(demo.gateway().servers()[0].hop.addr).await;
    until("the first server has the DN again", || knows(&first, "5001")).await;
    phone.browser.hears(1000.0, 0.3).await;
    phone.hang_up().await;
    assert_eq!(far.ended().await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_sip_server_is_down_a_sign_in_is_told_at_once_and_dns_return_after() {
    let server = lab(any_port()).await;
    let home = server.sip_addr();
    let servers = format!("sip.servers=sip:{home}");
    let demo = Demo::with_servers(&[&servers, "sip.ping_seconds=1"]).await;
    let mut phone = demo.phone("5001").await;
    drop(server);
    let gateway = demo.gateway();
    until("the server is down", || gateway.servers()[0].state == ServerState::Down).await;
    demo.until_agents(0).await;
    let wire = Wire::new(&demo.base);
    let path = format!("/api/webrtc/sign_in?id=a&dn=5002&password={PASSWORD}");
    let started = Instant::now();
    let answer = wire.get(&path).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("unreachable"), "{}", answer.body);
    // Timer F would be 32 s.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let registration = gateway.registrations().remove(0);
    assert_eq!(registration.status.state, RegistrationState::Failing);
    let reason = registration.status.last_reason.unwrap_or_default();
    assert!(reason.contains("unreachable"), "{reason}");

    let server = lab(home).await;
    until("the DN is back", || knows(&server, "5001")).await;
    demo.until_agents(1).await;
    assert_eq!(wire.get(&path).await.status, 200);
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
}

/// A SIP server that answers pings, and REGISTER with one status line; with none it is silent.
async fn registrar(status: Option<&'static str>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut buffer = vec![0; 8192];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.expect("a datagram");
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status = match request.starts_with("OPTIONS") {
                true => Some("200 OK"),
                false => status,
            };
            let Some(status) = status else { continue };
            let mut answer = format!("SIP/2.0 {status}\r\n");
            for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
                let value = header(&request, name).expect("a header of every request");
                // `received` without `rport`, as some fill it.
                let value = match name {
                    "Via" => format!("{};received=127.0.0.1", value.replace(";rport", "")),
                    "To" => format!("{value};tag=1"),
                    _ => value,
                };
                answer.push_str(&format!("{name}: {value}\r\n"));
            }
            if let Some(contact) = header(&request, "Contact") {
                answer.push_str(&format!("Contact: {contact}\r\n"));
            }
            answer.push_str("Content-Length: 0\r\n\r\n");
            socket.send_to(answer.as_bytes(), from).await.expect("sent");
        }
    });
    address
}

async fn rest_sign_in(server: SocketAddr) -> (u16, String) {
    let servers = format!("sip.servers=sip:{server}");
    let demo = Demo::with_servers(&[&servers]).await;
    let answer = Wire::new(&demo.base).get("/api/webrtc/sign_in?id=a&dn=5999&password=x").await;
    (answer.status.as_u16(), answer.body)
}

/// DN not configured: 404. The reason reaches the agent verbatim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_a_refusal_reaches_the_agent_verbatim() {
    for (line, status) in [
        ("404 DN not configured on switch MAIN", 404),
        ("403 Out of service: ask ext. 4711", 403),
        ("486 Somebody has it", 503),
    ] {
        let server = registrar(Some(line)).await;
        let (got, body) = rest_sign_in(server).await;
        assert_eq!(got, status, "{body}");
        assert!(body.contains(line), "{body}");
        let servers = format!("sip.servers=sip:{server}");
        let demo = Demo::with_servers(&[&servers]).await;
        let wire = Wire::new(&demo.base);
        let answer = wire.request(Method::GET, "/sign_in?5999", None).await;
        assert!(answer.body.contains(line), "{}", answer.body);
    }
}

/// `Via ;received=` may be filled without `rport`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_via_with_received_but_no_rport_is_an_answer_of_ours() {
    assert_eq!(rest_sign_in(registrar(Some("200 OK")).await).await.0, 200);
}

/// Unknown DN: silence. The server answers pings all the while, so it is not down for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_about_one_dn_is_a_504_and_no_outage() {
    let servers = format!("sip.servers=sip:{}", registrar(None).await);
    let demo = Demo::with_servers(&[&servers, "sip.ping_seconds=1"]).await;
    let wire = Wire::new(&demo.base);
    let tries = (0..4).map(|number| {
        let wire = wire.clone();
        tokio::spawn(async move {
            let path = format!("/api/webrtc/sign_in?id=a{number}&dn=599{number}&password=x");
            wire.get(&path).await.status
        })
    });
    for sign_in in tries.collect::<Vec<_>>() {
        assert_eq!(sign_in.await.expect("an answer"), 504);
    }
    assert_eq!(demo.gateway().servers()[0].state, ServerState::Up);
}
