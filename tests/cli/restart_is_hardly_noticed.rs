//! The gateway is restarted while agents poll, as `systemctl restart` does it: they are back, their DNs
//! were registered all the time, and a call that comes in meanwhile reaches its agent.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use wrtc_gateway::lab::{CallOut, Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::served::{LIMIT, Served, free_port, settings};
use crate::wrote::{self, PASSWORD};

/// As many pages as `WRTC_RESTART_AGENTS` says: with more than a few the pace of REGISTERs shows.
fn agents() -> u32 {
    let given = std::env::var("WRTC_RESTART_AGENTS").ok().and_then(|count| count.parse().ok());
    given.unwrap_or(20)
}

/// After an error a JSAPI client polls again.
const POLL_AGAIN: Duration = Duration::from_secs(3);
/// Ours does so sooner (`web/src/grtc/connection.ts`), the first time, waits for up to as much before it
/// signs in again, and as much before it tries that a second time (`presence.ts`).
const OURS: Duration = Duration::from_secs(1);

/// Even DNs have our library, odd ones another.
fn is_ours(dn: u32) -> bool {
    dn.is_multiple_of(2)
}

#[derive(Debug, PartialEq)]
enum Seen {
    SignedIn,
    Message(String),
}

type Told = mpsc::UnboundedSender<(Instant, u32, Seen)>;

/// A page: signs in while it may, polls; what fails is done again.
async fn page(base: String, dn: u32, told: Told, mut may: watch::Receiver<bool>) {
    let client = reqwest::Client::new();
    loop {
        may.wait_for(|may| *may).await.unwrap();
        let mut pause = if is_ours(dn) { OURS } else { POLL_AGAIN };
        let ssid = loop {
            let credentials = format!("{dn}:{PASSWORD}");
            let answer = client.post(format!("{base}/sign_in")).body(credentials).send().await;
            if let Ok(answer) = answer
                && answer.status().is_success()
            {
                let text = answer.text().await.unwrap();
                wrote::handed_out(&text);
                break text.trim().split('=').nth(1).unwrap().to_owned();
            }
            tokio::time::sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
            pause *= 2;
        };
        let _ = told.send((Instant::now(), dn, Seen::SignedIn));
        let mut soon = is_ours(dn);
        loop {
            let polled = client.get(format!("{base}/wait?id={ssid}")).send().await;
            match polled {
                Ok(answer) if answer.status() == 200 => {
                    let body = answer.text().await.unwrap_or_default();
                    if !body.is_empty() {
                        let _ = told.send((Instant::now(), dn, Seen::Message(body)));
                    }
                }
                Ok(answer) if answer.status() == 404 => break,
                _ if std::mem::take(&mut soon) => {
                    tokio::time::sleep(OURS.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
                }
                _ => tokio::time::sleep(POLL_AGAIN).await,
            }
        }
        if is_ours(dn) {
            tokio::time::sleep(OURS.mul_f64(rand::random())).await;
        }
    }
}

async fn next(seen: &mut mpsc::UnboundedReceiver<(Instant, u32, Seen)>) -> (Instant, u32, Seen) {
    tokio::time::timeout(LIMIT, seen.recv()).await.expect("something is seen").unwrap()
}

/// Waits until all have signed in.
async fn all_signed_in(seen: &mut mpsc::UnboundedReceiver<(Instant, u32, Seen)>) {
    let mut signed_in = HashSet::new();
    while signed_in.len() < agents() as usize {
        let (_, dn, what) = next(seen).await;
        if what == Seen::SignedIn {
            signed_in.insert(dn);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_back_and_no_dn_was_ever_unregistered() {
    let agents = agents();
    let (first_dn, last_dn) = (5001, 5000 + agents);
    let lab = LabConfig { first_dn, last_dn, ..LabConfig::new(Secret::new(PASSWORD)) };
    let lab = Lab::start(lab).await.unwrap();
    let (http, sip) = (free_port(), free_port());
    let (http, sip) =
        (format!("http.listen=127.0.0.1:{http}"), format!("sip.listen=127.0.0.1:{sip}"));
    let settings = settings(lab.sip_addr(), &[&http, &sip]);
    let mut first = Served::start(&settings);
    let (told, mut seen) = mpsc::unbounded_channel();
    let (let_in, may) = watch::channel(true);
    for dn in first_dn..=last_dn {
        tokio::spawn(page(first.base.clone(), dn, told.clone(), may.clone()));
    }
    all_signed_in(&mut seen).await;
    let mut registered = lab.registrations();
    let all_there = |known: &Vec<wrtc_gateway::lab::Registration>| known.len() == agents as usize;
    tokio::time::timeout(LIMIT, registered.wait_for(all_there)).await.unwrap().unwrap();
    let kept = tokio::spawn(async move {
        while registered.changed().await.is_ok() {
            let count = registered.borrow_and_update().len();
            assert_eq!(count, agents as usize, "a DN was unregistered");
        }
    });

    // However long the start takes: nobody comes back before the call has come in.
    let_in.send_replace(false);
    let told_to_end = Instant::now();
    first.signal("-TERM");
    assert!(first.ended().await.success());
    let ended = Instant::now();
    let second = Served::start(&settings);
    assert_eq!(second.base, first.base);
    let serves = Instant::now();
    let _leg = lab.control().call("5001", CallOut::new("7001")).await.expect("the lab calls");
    let_in.send_replace(true);

    let mut back = HashSet::new();
    let (mut last, mut offered) = ([serves; 2], None);
    while back.len() < agents as usize || offered.is_none() {
        match next(&mut seen).await {
            (at, dn, Seen::SignedIn) => {
                back.insert(dn);
                let last = &mut last[usize::from(is_ours(dn))];
                *last = at.max(*last);
            }
            (at, 5001, Seen::Message(body)) if body.starts_with("SDP") => offered = Some(at),
            (_, dn, Seen::Message(body)) => panic!("{dn} was told {body}"),
        }
    }
    let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64();
    println!(
        "{agents} agents: the old process ended after {:.2} s, the new one served after {:.2} s; all with our \
         library were back after {:.2} s, all with one that polls every 3 s after {:.2} s; the call that had come in meanwhile was offered after {:.2} s",
        seconds(told_to_end, ended),
        seconds(told_to_end, serves),
        seconds(told_to_end, last[1]),
        seconds(told_to_end, last[0]),
        seconds(told_to_end, offered.unwrap()),
    );
    kept.abort();
    assert!(kept.await.unwrap_err().is_cancelled(), "a DN was unregistered meanwhile");
}
