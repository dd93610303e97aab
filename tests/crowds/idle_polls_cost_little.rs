//! Thousands of agents that wait for a call: each hears what is meant for him, others come and call
//! meanwhile, and a poll costs some kilobytes.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::crowd::{Town, ask, count, get};

/// Of each half, so many get a call.
const CALLED: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hears_his_own_and_others_come_meanwhile() {
    let polls = count("CROWD_POLLS", 600);
    // The SIP server beside it is a debug build's, too: whether it answers pings in time is not the question.
    let town = Town::without_passwords(&["sip.ping_seconds=0"]).await;
    let before = town.metrics().await;
    let begun = std::time::Instant::now();
    let mut pages = town.pages(polls).await;
    let signed_in = begun.elapsed();
    let hanging =
        town.until("all there", |now| now.get("wrtc_agents_registered") == f64::from(polls)).await;
    assert!(hanging.get("wrtc_http_connections") >= f64::from(polls), "{hanging:?}");

    let mut phone = town.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.4).await;
    phone.hang_up().await;

    // Some are called; each of the others hears the end of his own session, and nothing else.
    let mut called = pages.split_off(pages.len() - CALLED);
    for page in &mut called {
        town.rings(page).await;
    }
    let leave = pages.split_off(pages.len() / 2);
    let mut leaving = JoinSet::new();
    let gate = Arc::new(Semaphore::new(32));
    for mut page in leave {
        let (gate, address) = (Arc::clone(&gate), town.address);
        leaving.spawn(async move {
            let _turn = gate.acquire_owned().await.unwrap();
            assert_eq!(
                ask(address, &get(&format!("/sign_out?id={}", page.ssid))).await.unwrap().0,
                200
            );
            assert_eq!(page.polled().await, (200, String::new()), "{}", page.dn);
        });
    }
    while let Some(left) = leaving.join_next().await {
        left.unwrap();
    }
    for page in &pages {
        let told = page.stream.try_read(&mut [0]);
        assert!(
            told.is_err_and(|e| e.kind() == ErrorKind::WouldBlock),
            "{} was told something",
            page.dn
        );
    }
    for page in pages.iter_mut().take(CALLED) {
        town.rings(page).await;
    }

    let end = town.metrics().await;
    let each = (hanging.megabytes() - before.megabytes()) * 1e3 / f64::from(polls);
    println!(
        "{polls} agents signed in and polling after {signed_in:.1?}: {:.1} MB before, {:.1} MB then ({each:.1} KB each), \
         {:.1} MB after half of them had left",
        before.megabytes(),
        hanging.megabytes(),
        end.megabytes(),
    );
    // Some multiple of what it costs, so that only a leak shows.
    assert!(each < 200.0, "{each} KB for an agent who waits");
    assert!(end.get("wrtc_http_connection_faults_total{fault=\"displaced\"}") == 0.0);
    drop((pages, called));
}
