//! sip-behaviour.md, "SIP over UDP, TCP and TLS": whole calls of the gateway's with its server on TCP.

use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::sip::{EndedBy, Transport};

use crate::support::far::{Far, call_from};
use crate::support::gateway::{Demo, PASSWORD};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_both_ways_need_one_connection_each_way_and_no_datagram() {
    let lab = Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.expect("the lab starts");
    let server = format!("sip.servers=sip:{};transport=tcp", lab.sip_addr());
    let demo = Demo::with_servers(&[&server]).await;

    let mut phone = demo.phone("5001").await;
    let registered = lab.registrations().borrow().first().expect("5001").clone();
    assert_eq!(registered.hop.transport, Transport::Tcp, "{}", registered.contact);

    // Out, to the echo.
    phone.connect("600").await;
    phone.browser.connected().await;
    phone.hang_up().await;
    demo.idle().await;

    // In, to the address and the transport of the Contact.
    let mut far = Far::call(&lab.control(), "5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await.expect("sdp");
    phone.browser.connected().await;
    phone.hang_up().await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 200), "{end:?}");

    let stats = demo.gateway().sip_stats();
    assert_eq!((stats.connected, stats.accepted), (1, 1), "{stats:?}");
    assert_eq!((stats.send_errors, stats.malformed, stats.stray_responses), (0, 0, 0), "{stats:?}");
}
