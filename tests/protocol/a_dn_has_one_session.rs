//! grtc-wire.md, "sign_in": a DN that signs in again, as a page does that is loaded anew.

use std::time::Duration;

use crate::support::browser::LIMIT;
use crate::support::gateway::{Demo, PASSWORD};
use crate::support::wire::{Wire, read_answer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_twice_ends_the_older_session_and_its_call() {
    let demo = Demo::start().await;
    let mut older = demo.phone("5001").await;
    older.browser.play(440.0).await;
    older.connect("600").await;
    older.browser.hears(440.0, 0.5).await;

    // A page reload: no sign-out, and the poll is gone with the page.
    older.stop_polling().await;
    let mut newer = demo.phone("5001").await;
    assert_ne!(older.ssid, newer.ssid);
    demo.idle().await;
    let wire = &older.wire;
    let gone = [
        wire.wait(&older.ssid).await,
        wire.message(&older.ssid, "600", "BYE").await,
        wire.message(&older.ssid, "600", "GET-STATS").await,
    ];
    for answer in gone {
        assert!([404, 410].contains(&answer.status.as_u16()), "{}", answer.status);
    }
    // An old page that signs out late must not take the DN from the new one.
    assert_eq!(wire.sign_out(&older.ssid).await.status, 200);
    assert!(demo.is_registered("5001"));
    demo.until_agents(1).await;

    newer.browser.play(440.0).await;
    newer.connect("600").await;
    newer.browser.hears(440.0, 0.5).await.assert_one_unbroken_stream();
    newer.hang_up().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_twice_ends_the_older_hanging_get() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let older = wire.sign_in_post("5001", PASSWORD).await.ssid();
    let mut poll = wire.raw_wait(&older).await;
    let newer = wire.sign_in_post("5001", PASSWORD).await.ssid();
    let ended = tokio::time::timeout(LIMIT, read_answer(&mut poll)).await.expect("ended");
    let (status, _, body) = ended.expect("an answer");
    // An empty 200 makes the old page poll again, and that gets the 404.
    assert!(matches!(status, 404 | 410) || (status == 200 && body.is_empty()), "{status} {body}");
    assert!([404, 410].contains(&wire.wait(&older).await.status.as_u16()));
    assert!(wire.wait_for(&newer, Duration::from_millis(200)).await.is_none(), "it hangs");
}
