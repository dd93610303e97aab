//! grtc-wire.md, "wait": one hanging GET, each message once and in order.

use std::time::Duration;

use crate::support::browser::LIMIT;
use crate::support::gateway::Demo;
use crate::support::jsapi::{Delivered, Jsapi, Polled};
use crate::support::wire::{Wire, read_answer};
use tokio::io::AsyncWriteExt;

/// Two telephones in a call with each other: what one posts as INFO-PEER, the other polls.
async fn in_a_call(demo: &Demo) -> (Jsapi, Jsapi) {
    let (mut caller, mut callee) = (demo.phone("5001").await, demo.phone("5002").await);
    caller.call("5002").await;
    let offer = callee.expect_roap("OFFER").await;
    callee.accept(&offer).await;
    caller.answered().await;
    (caller, callee)
}

async fn poll_body(wire: &Wire, ssid: &str) -> String {
    loop {
        let answer = tokio::time::timeout(LIMIT, wire.wait(ssid)).await.expect("a message");
        assert_eq!(answer.status, 200);
        if !answer.body.is_empty() {
            return answer.body;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_or_ended_session_gets_404() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    for path in ["/wait?id=nobody", "/wait?id=", "/wait", "/wait?id=5001", "/wait?id=%ff"] {
        assert_eq!(wire.get(path).await.status, 404, "{path}");
    }
    let phone = demo.phone("5001").await;
    let ssid = phone.ssid.clone();
    phone.sign_out().await;
    assert_eq!(wire.wait(&ssid).await.status, 404);
    assert_eq!(wire.message(&ssid, "600", "BYE").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pragma_header_names_the_peer() {
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    caller.posted("INFO-PEER a=1").await;
    let message = callee.next().await;
    assert_eq!((message.peer.as_str(), message.body.as_str()), ("5001", "INFO-PEER a=1"));
    callee.peer = "5001".to_owned();
    callee.hang_up().await;
    let mut caller = caller;
    assert_eq!(caller.expect("BYE").await.peer, "5002");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pragma_survives_a_cross_origin_poll() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://wwe.example"]).await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    caller.posted("INFO-PEER a=1").await;
    let answer = callee
        .wire
        .client
        .get(format!("{}/wait?id={}", callee.wire.base, callee.ssid))
        .header("Origin", "https://wwe.example")
        .send()
        .await
        .expect("a message");
    let pragma = answer.headers().get("pragma").and_then(|v| v.to_str().ok());
    assert_eq!(pragma, Some("5001"), "{answer:?}");
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://wwe.example");
    let cached = answer.headers().get("cache-control").and_then(|v| v.to_str().ok());
    assert!(cached.is_some_and(|c| c.contains("no-store") || c.contains("no-cache")), "{cached:?}");
    assert_eq!(answer.text().await.expect("a body"), "INFO-PEER a=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_the_next_poll_in_order() {
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    for n in 0..10 {
        caller.posted(&format!("INFO-PEER n={n}")).await;
    }
    for n in 0..10 {
        assert_eq!(poll_body(&callee.wire, &callee.ssid).await, format!("INFO-PEER n={n}"));
    }
    let idle = callee.wire.wait_for(&callee.ssid, Duration::from_millis(300)).await;
    assert!(idle.is_none_or(|answer| answer.status == 200 && answer.body.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_poll_takes_over_and_the_first_ends_with_an_empty_200() {
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    let wire = callee.wire.clone();
    let mut polls = vec![wire.raw_wait(&callee.ssid).await];
    for _ in 0..5 {
        // A poll that hangs, before it is pushed out.
        tokio::time::sleep(Duration::from_millis(50)).await;
        polls.push(wire.raw_wait(&callee.ssid).await);
        let mut older = polls.remove(0);
        let answer = tokio::time::timeout(LIMIT, read_answer(&mut older)).await.expect("ended");
        let (status, _, body) = answer.expect("an answer, not a broken connection");
        assert_eq!((status, body.as_str()), (200, ""));
    }
    caller.posted("INFO-PEER a=1").await;
    let answer = tokio::time::timeout(LIMIT, read_answer(&mut polls[0])).await.expect("in time");
    assert_eq!(answer.expect("an answer").2, "INFO-PEER a=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_was_hung_up_takes_no_message_with_it() {
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    let wire = callee.wire.clone();
    for n in 0..60_u32 {
        let poll = wire.raw_wait(&callee.ssid).await;
        if n % 2 == 0 {
            // Sometimes it hangs already, sometimes the request is just under way.
            tokio::time::sleep(Duration::from_millis(u64::from(n % 7) * 5)).await;
        }
        drop(poll);
        // The connection is closed by now: nothing can be handed to it any more.
        caller.posted(&format!("INFO-PEER n={n}")).await;
        assert_eq!(poll_body(&wire, &callee.ssid).await, format!("INFO-PEER n={n}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_hung_up_while_a_message_is_written_neither_loses_nor_doubles_it() {
    const MESSAGES: usize = 200;
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    let sender = tokio::spawn(async move {
        for n in 0..MESSAGES {
            caller.posted(&format!("INFO-PEER n={n}")).await;
            // A dialog takes twenty INFOs a second for long.
            tokio::time::sleep(Duration::from_millis(if n < 40 { 0 } else { 55 })).await;
        }
        caller
    });
    let wire = callee.wire.clone();
    let mut received = Vec::new();
    let end = tokio::time::Instant::now() + 3 * LIMIT;
    while received.len() < MESSAGES && tokio::time::Instant::now() < end {
        let mut poll = wire.raw_wait(&callee.ssid).await;
        let patience = Duration::from_micros(u64::from(rand::random::<u32>() % 8000));
        let answer = match tokio::time::timeout(patience, read_answer(&mut poll)).await {
            Ok(answer) => answer,
            Err(_) => {
                // It hangs up, and what was handed to the connection before counts.
                let _ = poll.shutdown().await;
                read_answer(&mut poll).await
            }
        };
        if let Some((status, _, body)) = answer {
            assert_eq!(status, 200);
            if !body.is_empty() {
                received.push(body);
            }
        }
    }
    let expected: Vec<_> = (0..MESSAGES).map(|n| format!("INFO-PEER n={n}")).collect();
    assert_eq!(received, expected);
    drop(sender.await.expect("all were posted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_was_thrown_away_unread_is_sent_again() {
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    let wire = callee.wire.clone();
    for n in 0..20_usize {
        let poll = wire.raw_wait(&callee.ssid).await;
        caller.posted(&format!("INFO-PEER n={n}")).await;
        // It is there, and the client hangs up before it has read it, or has read all of it.
        tokio::time::timeout(LIMIT, poll.readable()).await.expect("in time").expect("readable");
        let mut some = vec![0; n * 3];
        let _ = poll.try_read(&mut some);
        drop(poll);
        assert_eq!(poll_body(&wire, &callee.ssid).await, format!("INFO-PEER n={n}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_its_poll_up_all_the_time_misses_nothing() {
    let demo = Demo::start().await;
    let (mut caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    let (wire, ssid) = (callee.wire.clone(), callee.ssid.clone());
    // A page with an idle poll that it renews, as after each polling_timeout.
    for _ in 0..20 {
        let cut = wire.wait_for(&ssid, Duration::from_millis(20)).await;
        assert!(cut.is_none_or(|answer| answer.status == 200 && answer.body.is_empty()));
    }
    caller.hang_up().await;
    assert_eq!(poll_body(&wire, &ssid).await, "BYE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_with_nothing_to_say_never_ends_in_a_204() {
    let demo = Demo::start().await;
    let phone = demo.phone("5001").await;
    // Either it hangs, or it ends in an empty 200: the helper's poll fails on anything else.
    let mut phone = phone;
    match tokio::time::timeout(Duration::from_secs(12), phone.next_polled()).await {
        Err(_) | Ok(None) => {}
        Ok(Some(Polled::Message(Delivered { body, .. }))) => panic!("a message: {body}"),
        Ok(Some(other)) => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_depends_on_a_cookie() {
    // The clients here keep none; a foreign one must not confuse anything either.
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    caller.posted("INFO-PEER a=1").await;
    let answer = callee
        .wire
        .client
        .get(format!("{}/wait?id={}", callee.wire.base, callee.ssid))
        .header("Cookie", "JSESSIONID=other; SSID=nobody; id=nobody")
        .send()
        .await
        .expect("a message");
    assert_eq!(answer.text().await.expect("a body"), "INFO-PEER a=1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_end_that_floods_a_slow_client_does_not_cost_it_its_session() {
    let demo = Demo::start().await;
    let (caller, mut callee) = in_a_call(&demo).await;
    callee.stop_polling().await;
    for n in 0..400 {
        let answer = caller.post(&format!("INFO-PEER n={n}")).await;
        assert_eq!(answer.status, 200);
    }
    // The first ones are kept in their order, the rest was dropped on the way.
    for n in 0..20 {
        assert_eq!(poll_body(&callee.wire, &callee.ssid).await, format!("INFO-PEER n={n}"));
    }
    assert_eq!(demo.health().await["active_calls"], 2);
    // What matters finds its place all the same.
    caller.posted("BYE").await;
    let mut left = 0;
    while poll_body(&callee.wire, &callee.ssid).await != "BYE" {
        left += 1;
        assert!(left < 256, "a BYE among them");
    }
}
