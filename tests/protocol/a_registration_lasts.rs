//! sip-behaviour.md, "Registration": it outlives its own time, and the gateway.

use std::time::Duration;

use crate::support::far::call_from;
use crate::support::gateway::Demo;
use crate::support::wire::read_answer;
use wrtc_gateway::sip::EndedBy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_refreshed_before_it_runs_out() {
    let demo = Demo::with_lab(|lab| lab.max_expires = Duration::from_secs(4)).await;
    let mut phone = demo.phone("5001").await;
    for _ in 0..100 {
        assert!(demo.is_registered("5001"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut far = demo.calls("5001", call_from("7123")).await;
    phone.expect_roap("OFFER").await;
    phone.hang_up().await;
    far.ended().await;
    assert_eq!(demo.health().await["registered_agents"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_gateway_ends_calls_and_leaves_the_dn_in_service() {
    let demo = Demo::with_lab(|_| ()).await;
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    let mut far = demo.far("5001").await;
    phone.stop_polling().await;
    let mut poll = phone.wire.raw_wait(&phone.ssid).await;
    let lab = demo.stop().await.expect("an embedded SIP server");
    let end = far.ended().await;
    assert_eq!(end.by, EndedBy::Peer, "{end:?}");
    if let Some((status, _, body)) = read_answer(&mut poll).await {
        let over = status == 200 && (body.is_empty() || body == "BYE");
        assert!(over || status == 404, "{status} {body}");
    }
    // `Expires: 0` would take the DN out of service (sip-behaviour.md, "Registration").
    assert!(lab.registrations().borrow().iter().any(|r| r.dn == "5001"));

    let demo = Demo::again(lab).await;
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
}
