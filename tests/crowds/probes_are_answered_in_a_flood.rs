//! However many connections there are, whoever starts and stops the gateway hears how it is: else a
//! gateway that serves its agents would be taken for dead.

use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::crowd::{FIRST, Page, Town, ask, get};
use crate::served::free_port;

/// The configuration's, for these tests: a few for agents, and so a flood is quickly made.
const ROOM: usize = 40;

async fn probes_answer(town: &Town) {
    for probe in ["/livez", "/readyz", "/livez", "/readyz"] {
        let (status, body) = town.get(probe).await;
        assert_eq!(status, 200, "{probe}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_make_room_and_polls_stay() {
    let room = format!("http.max_connections={ROOM}");
    let town = Town::start(&[&room]).await;
    let mut pages = town.pages(10).await;
    let mut flood = Vec::new();
    for n in 0..10 * ROOM {
        let mut stream = TcpStream::connect(town.address).await.unwrap();
        // Some have said a part of something, and some have been answered once.
        match n % 4 {
            0 => stream.write_all(b"GET /wa").await.unwrap(),
            1 => stream.write_all(get("/livez").as_bytes()).await.unwrap(),
            _ => {}
        }
        flood.push(stream);
        if n % 40 == 0 {
            probes_answer(&town).await;
        }
    }
    probes_answer(&town).await;
    // Who comes now is signed in, called and heard.
    let mut phone = town.phone("5001").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
    // And those who were here before have not noticed.
    for page in &mut pages {
        town.rings(page).await;
    }
    let metrics = town.metrics().await;
    assert!(metrics.connection_fault("displaced") >= (9 * ROOM - 20) as f64, "{metrics:?}");
    assert_eq!(metrics.connection_fault("no_place"), 0.0);
    assert!(metrics.get("wrtc_http_connections") <= ROOM as f64 + 1.0, "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_places_taken_by_polls_leave_one_for_probes() {
    let room = format!("http.max_connections={ROOM}");
    let own = format!("metrics.listen=127.0.0.1:{}", free_port());
    let town = Town::start(&[&room, &own]).await;
    let mut pages = town.pages(ROOM as u32).await;
    for _ in 0..20 {
        probes_answer(&town).await;
    }
    // One whose poll was still on its way may have made room; others take the places of such.
    let mut next = FIRST + ROOM as u32;
    while ask(town.address, &get("/wait?id=x")).await.is_none_or(|(status, ..)| status != 503) {
        pages.retain(|page| !page.is_cut());
        let mut page = Page::sign_in(town.address, next).await;
        page.poll().await;
        pages.push(page);
        next += 1;
        assert!(next < FIRST + 4 * ROOM as u32, "there is always a place");
    }
    pages.retain(|page| !page.is_cut());
    assert_eq!(pages.len(), ROOM);
    for path in ["/wait?id=x", "/api/agents", "/"] {
        let (status, head, body) = ask(town.address, &get(path)).await.expect("an answer");
        assert_eq!(status, 503, "{path}: {body}");
        assert!(body.contains("http.max_connections"), "{body}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("retry-after: 3") && head.contains("connection: close"), "{head}");
    }
    // And polls have not been cut for any of this.
    town.rings(&mut pages[0]).await;
    // Strangers that stay on the spare places keep no probe out either.
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(town.address).await.unwrap());
    }
    probes_answer(&town).await;
    // At the address of the metrics there is no crowd.
    let at_its_own = own.strip_prefix("metrics.listen=").unwrap().parse().unwrap();
    for path in ["/livez", "/readyz", "/metrics"] {
        let (status, _, body) = ask(at_its_own, &get(path)).await.expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        assert!(
            path != "/metrics" || body.contains("connection_faults_total{fault=\"no_place\"}"),
            "{body}"
        );
    }
    let (status, ..) = ask(at_its_own, &get("/api/health")).await.expect("an answer");
    assert_eq!(status, 404);

    // A poll that has ended leaves its place to others.
    drop(pages.pop());
    let mut status = 0;
    for _ in 0..600 {
        status = town.get("/api/health").await.0;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(status, 200);
    // One that has hung all the time: the first has begun a new poll, which may have been on its way.
    town.rings(&mut pages[1]).await;
}

/// As many as there are, and these. Calls and polls that stand need none.
const DESCRIPTORS_LEFT: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn want_of_descriptors_is_want_of_places() {
    let town = Town::start(&[]).await;
    let mut pages = town.pages(10).await;
    let open = town.metrics().await.get("process_open_fds") as u64;
    let most = open + DESCRIPTORS_LEFT;
    // The host has taken them away, or somebody else has them all.
    let limited = Command::new("prlimit")
        .args(["--pid", &town.gateway.pid(), &format!("--nofile={most}:{most}")])
        .status();
    assert!(limited.expect("prlimit, of util-linux").success());
    let mut flood = Vec::new();
    for n in 0..200 {
        flood.push(TcpStream::connect(town.address).await.unwrap());
        if n % 40 == 39 {
            probes_answer(&town).await;
        }
    }
    probes_answer(&town).await;
    let metrics = town.metrics().await;
    assert!(metrics.connection_fault("accept_failed") > 0.0, "{metrics:?}");
    assert!(metrics.connection_fault("displaced") > 100.0, "{metrics:?}");
    drop(flood);
    for page in &mut pages {
        town.rings(page).await;
    }
}
