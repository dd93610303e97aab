//! All agents' pages go at the same moment, as when a terminal server or an office's line dies: nobody
//! is waited for, calls end with a reason, DNs are given up when the lease is over, nothing is left
//! behind. Then all of them come back at once.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use wrtc_gateway::lab::CallOut;

use crate::crowd::{FIRST, LIMIT, Page, Town, count};
use crate::support::far::call_from;
use crate::support::gateway::dialled;

/// Pages with a browser that are in a call.
const TALKING: [&str; 3] = ["5001", "5002", "5003"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_them_and_they_may_come_back() {
    let tabs = count("CROWD_TABS", 300);
    // The shortest there is.
    let town = Town::start(&["agents.lease_seconds=10"]).await;
    let mut stays = Page::sign_in(town.address, FIRST + tabs).await;
    stays.poll().await;
    let empty = town.metrics().await;

    let pages = town.pages(tabs).await;
    let mut talking = Vec::new();
    for dn in TALKING {
        let number = format!("7{dn}");
        let mut legs = town.lab.control().take_number(&number).await.unwrap();
        let mut phone = town.phone(dn).await;
        phone.browser.play(440.0).await;
        phone.call(&number).await;
        let far = dialled(&mut legs).await;
        far.leg.accept().await.expect("200");
        phone.answered().await;
        phone.browser.connected().await;
        far.hears(440.0, 0.4).await;
        talking.push((phone, far));
    }
    // One more has a call that he has not answered yet.
    let ringing = pages[0].dn.to_string();
    let mut rings =
        crate::support::far::Far::call(&town.lab.control(), &ringing, call_from("7999")).await;
    rings.rings().await;
    let all = f64::from(tabs) + 1.0 + TALKING.len() as f64;
    let full = town.until("all there", |now| now.get("wrtc_agents_registered") == all).await;
    assert_eq!(full.get("wrtc_calls_active"), 1.0 + TALKING.len() as f64);

    let closed = Instant::now();
    drop(pages);
    let mut fars = Vec::new();
    for (phone, far) in talking {
        drop(phone);
        fars.push(far);
    }
    // It answers all the same, and who has stayed is called.
    let slowest = {
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let asked = Instant::now();
            assert_eq!(town.get("/livez").await.0, 200);
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    };
    let dn = stays.dn.to_string();
    let control = town.lab.control();
    let call = tokio::spawn(async move { control.call(&dn, CallOut::new("7001")).await });
    let (status, body) = stays.polled().await;
    assert!(status == 200 && body.starts_with("SDP"), "{status} {body}");
    stays.poll().await;
    let leg = call.await.unwrap().expect("the call stands");

    // The one who stays polls on, as a page does: his lease is not over.
    let keeps_polling = tokio::spawn(async move {
        loop {
            let (status, _) = stays.polled().await;
            assert_eq!(status, 200);
            stays.poll().await;
        }
    });
    leg.hang_up(200, "Bye").await.unwrap();
    for far in fars.iter_mut().chain([&mut rings]) {
        let end = far.ended().await;
        let said = format!("{} {}", end.text, end.reason_header.as_deref().unwrap_or_default());
        assert!(said.contains("nothing was heard of the client"), "{end:?}");
    }
    let keep = |now: &crate::crowd::Metrics| {
        now.get("wrtc_agents_registered") == 1.0
            && now.get("wrtc_calls_active") == 0.0
            && now.get("wrtc_media_calls") == 0.0
            && now.get("wrtc_rtp_ports_free") == empty.get("wrtc_rtp_ports_free")
            && now.get("process_open_fds") <= empty.get("process_open_fds") + 10.0
    };
    let gone = town.until("empty again", keep).await;
    let after = closed.elapsed();
    let expired = gone.get("wrtc_sessions_ended_total{reason=\"lease_expired\"}");
    assert_eq!(expired, f64::from(tabs) + TALKING.len() as f64);
    // The SIP server was told.
    let mut registered = town.lab.registrations();
    let only_one = registered.wait_for(|known| known.len() == 1);
    tokio::time::timeout(LIMIT, only_one).await.expect("no DN is left").unwrap();

    let back = Instant::now();
    let mut coming = JoinSet::new();
    for dn in FIRST..FIRST + tabs {
        let address = town.address;
        coming.spawn(async move {
            let mut page = Page::sign_in(address, dn).await;
            page.poll().await;
            page
        });
    }
    let mut pages = coming.join_all().await;
    let back = back.elapsed();
    let all = f64::from(tabs) + 1.0;
    let again = town.until("all back", |now| now.get("wrtc_agents_registered") == all).await;
    let called = &mut pages[0];
    let (control, dn) = (town.lab.control(), called.dn.to_string());
    let call = tokio::spawn(async move { control.call(&dn, CallOut::new("7001")).await });
    let (status, body) = called.polled().await;
    assert!(status == 200 && body.starts_with("SDP"), "{status} {body}");
    call.await.unwrap().expect("the call stands");
    // What a second crowd takes was taken by the first and given back.
    let grown = again.megabytes() - full.megabytes();
    println!(
        "{tabs} pages closed at once: /livez took {slowest:.0?} at most, all let go after {after:.1?}; back after {back:.1?}; \
         {:.1} MB empty, {:.1} MB full, {:.1} MB let go, {:.1} MB full again",
        empty.megabytes(),
        full.megabytes(),
        gone.megabytes(),
        again.megabytes(),
    );
    assert!(grown < 0.5 * full.megabytes(), "{grown} MB more for the same crowd");
    assert!(!keeps_polling.is_finished(), "who has stayed was cut");
    keeps_polling.abort();
    let _ = pages[0].stream.shutdown().await;
}
