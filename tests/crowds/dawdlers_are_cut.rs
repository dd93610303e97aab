//! Slow-loris: who sends a byte a second of a request, or never reads an answer, is cut within the
//! limits of the configuration's document, counted by name, and keeps nobody waiting meanwhile.

use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::crowd::{Town, closed, count, get};
use crate::support::wire::read_answer;

/// Within which a head, or a body, has to be whole.
const LIMIT: Duration = Duration::from_secs(20);

/// What a loaded machine may add.
const LATE: Duration = Duration::from_secs(40);

/// Sends the rest of it a byte a second until nobody takes it; the status of an answer, if there was one.
async fn trickle(mut stream: TcpStream, start: &'static str) -> (Option<u16>, Duration) {
    let begun = Instant::now();
    stream.write_all(start.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        while write.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut head = [0; 12];
    let answered = tokio::io::AsyncReadExt::read_exact(&mut read, &mut head);
    let answered = tokio::time::timeout(LIMIT + LATE, answered).await.expect("it is cut");
    sending.abort();
    let status = answered.ok().and_then(|_| std::str::from_utf8(&head[9..]).ok()?.parse().ok());
    (status, begun.elapsed())
}

/// Asks again and again for a long file, and reads nothing.
async fn deaf(town: &Town) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(town.address).await.unwrap();
    for _ in 0..40 {
        stream.write_all(get("/phone.js.map").as_bytes()).await.unwrap();
    }
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dawdlers_are_cut_and_nobody_waits_for_them() {
    let each = count("CROWD_DAWDLERS", 200) as usize;
    let town = Town::start(&[]).await;
    let mut pages = town.pages(5).await;
    let before = town.metrics().await;
    let (mut heads, mut bodies) = (JoinSet::new(), JoinSet::new());
    for n in 0..each {
        let connect = async || TcpStream::connect(town.address).await.unwrap();
        // The second of two requests is as slow as the first.
        let mut stream = connect().await;
        if n % 2 == 0 {
            stream.write_all(get("/livez").as_bytes()).await.unwrap();
            assert_eq!(read_answer(&mut stream).await.expect("an answer").0, 200);
        }
        heads.spawn(trickle(stream, "GET /sign_in?5001 HTTP/1.1\r\nHost: localhost\r\nX-Slow: "));
        bodies.spawn(trickle(
            connect().await,
            "POST /sign_in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n",
        ));
    }
    let mut readers = Vec::new();
    for _ in 0..each / 4 {
        readers.push(deaf(&town).await);
    }

    let mut phone = town.phone("5001").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 1.0).await;
    for page in &mut pages {
        town.rings(page).await;
    }
    assert_eq!(town.get("/readyz").await.0, 200);

    for (status, after) in heads.join_all().await {
        assert_eq!(status, None);
        assert!((LIMIT - Duration::from_secs(2)..LIMIT + LATE).contains(&after), "{after:?}");
    }
    for (status, after) in bodies.join_all().await {
        assert_eq!(status, Some(408));
        assert!((LIMIT - Duration::from_secs(2)..LIMIT + LATE).contains(&after), "{after:?}");
    }
    let expected = (each / 4) as f64;
    let after =
        town.until("without dawdlers", |now| now.connection_fault("slow_reader") >= expected).await;
    assert_eq!(after.connection_fault("slow_head"), each as f64);
    assert_eq!(after.connection_fault("slow_body"), each as f64);
    assert_eq!(after.connection_fault("slow_reader"), expected);
    // It was cut, and not only counted: what is left of it is what had reached us.
    for reader in &mut readers {
        SockRef::from(&*reader).set_recv_buffer_size(1 << 20).unwrap();
        closed(reader).await;
    }
    let left = after.get("process_open_fds") - before.get("process_open_fds");
    assert!(left < 40.0, "descriptors are left: {left}");
    println!(
        "{each} slow heads, {each} slow bodies, {expected} deaf readers: {:.1} MB before, {:.1} MB after",
        before.megabytes(),
        after.megabytes()
    );
    phone.browser.forget();
    phone.browser.hears(1000.0, 0.4).await;
}
