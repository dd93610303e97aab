//! A SIP server that is restarted between two pings and has forgotten everybody: nobody tells the gateway,
//! and its DNs are back with their next refresh.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::gateway::{Gateway, LIMIT, PASSWORD, called_from, knows, until_known};
use crate::support::browser::TestBrowser;

async fn lab(listen: SocketAddr) -> Lab {
    let config = LabConfig {
        listen,
        max_expires: Duration::from_secs(10),
        ..LabConfig::new(Secret::new(PASSWORD))
    };
    // The port of one that has just ended is free in a moment.
    let end = Instant::now() + LIMIT;
    loop {
        match Lab::start(config.clone()).await {
            Ok(lab) => return lab,
            Err(error) => assert!(Instant::now() < end, "{listen}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_of_a_server_that_forgot_them_are_back_with_their_next_refresh() {
    let first = lab(([127, 0, 0, 1], 0).into()).await;
    let home = first.sip_addr();
    let gateway = Gateway::start(home, &["sip.ping_seconds=60"]);
    let (mut phone, _idle) = (gateway.phone("5001").await, gateway.phone("5002").await);
    let _far = called_from(&first.control(), &mut phone, "5001").await;
    drop(first);
    let second = lab(home).await;
    assert!(!knows(&second, "5001") && !knows(&second, "5002"));
    until_known(&second, "5001").await;
    until_known(&second, "5002").await;
    assert_eq!(gateway.registered().await, 2);
    let servers = gateway.json("/api/servers").await;
    assert_eq!(servers["servers"][0]["pings_missed"], 0, "it was not looked for: {servers}");
    // The call that was there has lost its far end, of which nobody hears; the agent ends it.
    phone.hang_up().await;
    phone.browser = TestBrowser::new().await;
    phone.fresh().await;
    called_from(&second.control(), &mut phone, "5001").await;
}
