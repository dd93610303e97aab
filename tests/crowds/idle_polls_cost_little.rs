//! Thousands of agents that wait for a call: each hears what is meant for him, others come and call
//! meanwhile, and a poll costs some kilobytes.

use tokio::task::JoinSet;

use crate::crowd::{Page, Town, count};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hears_his_own_and_others_come_meanwhile() {
    let polls = count("CROWD_POLLS", 1500);
    let town = Town::start(&[]).await;
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

    // Each one by one, in no order of theirs, so that an answer to another's poll would show.
    let mut heard: JoinSet<Page> = JoinSet::new();
    let later = pages.split_off(pages.len() / 2);
    for mut page in later {
        heard.spawn(async move {
            assert_eq!(page.post("GET-STATS").await, 200);
            let (status, body) = page.polled().await;
            assert!(status == 200 && body.starts_with("PUT-STATS"), "{}: {status} {body}", page.dn);
            page.poll().await;
            page
        });
    }
    let heard = heard.join_all().await;
    // The others were told nothing: what comes to them now is their first message.
    for page in &mut pages {
        let mut byte = [0; 1];
        let told = page.stream.try_read(&mut byte);
        assert!(told.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "{}", page.dn);
    }
    let called = &mut pages[0];
    let call = {
        let (control, dn) = (town.lab.control(), called.dn.to_string());
        tokio::spawn(
            async move { control.call(&dn, wrtc_gateway::lab::CallOut::new("7001")).await },
        )
    };
    let (status, body) = called.polled().await;
    assert!(status == 200 && body.starts_with("SDP"), "{status} {body}");
    let _leg = call.await.unwrap().expect("the call stands");

    let end = town.metrics().await;
    let each = (hanging.megabytes() - before.megabytes()) * 1e3 / f64::from(polls);
    println!(
        "{polls} agents signed in and polling after {signed_in:.1?}: {:.1} MB before, {:.1} MB then ({each:.1} KB each), \
         {:.1} MB after half of them were told something",
        before.megabytes(),
        hanging.megabytes(),
        end.megabytes(),
    );
    // Some multiple of what it costs, so that only a leak shows.
    assert!(each < 200.0, "{each} KB for an agent who waits");
    assert!(end.get("wrtc_http_connection_faults_total{fault=\"displaced\"}") == 0.0);
    drop((pages, heard));
}
