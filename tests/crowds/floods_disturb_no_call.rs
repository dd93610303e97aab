//! Floods on the gateway's ports: a call that is up keeps its sound, what is wanted of the gateway is
//! answered meanwhile, the memory stays within bounds, and what was refused is counted by name.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtc_stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::crowd::{FIRST, Metrics, PASSWORD, Page, Town, post};
use crate::support::jsapi::Jsapi;
use crate::support::sdp;
use crate::support::tone;
use crate::support::wire::read_answer;

/// Datagrams at a time. After each burst something is asked that the gateway answers, so that the flood
/// is as fast as the machine bears and not faster: what overflows a socket is nobody's to mend.
const BURST: u32 = 50;
/// Between two bursts, at least: 10 000 a second.
const PAUSE: Duration = Duration::from_millis(5);
/// An answer that is late is not waited for.
const LATE: Duration = Duration::from_millis(500);
const LENGTH: Duration = Duration::from_secs(5);

const TONE: f64 = 440.0;

/// Sound may be away for so many seconds, on a machine that does other things too.
const HOLE: f64 = 1.0;

/// What was heard in some time.
#[derive(Debug)]
struct Sound {
    /// Of that time.
    share: f64,
    /// Seconds.
    hole: f64,
}

/// A call to the echo, and where its media go.
struct Call {
    phone: Jsapi,
    media: SocketAddr,
    ufrag: String,
}

impl Call {
    async fn start(town: &Town) -> Self {
        let mut phone = town.phone("5001").await;
        phone.browser.play(TONE).await;
        let answer = phone.connect("600").await;
        phone.browser.hears(TONE, 0.4).await;
        let sdp = answer.sdp.as_deref().expect("sdp");
        let ufrag = sdp::attribute(sdp, "ice-ufrag").expect("a ufrag").to_owned();
        let inside = sdp::attributes(sdp, "candidate");
        let beside = answer.candidates.first().map(String::as_str);
        let line = inside.first().copied().or(beside).expect("a candidate");
        let fields: Vec<_> = line.split(' ').collect();
        let media = format!("{}:{}", fields[4], fields[5]).parse().expect("an address");
        Self { phone, media, ufrag }
    }

    async fn listens<R>(&mut self, meanwhile: impl Future<Output = R>) -> (R, Duration, Sound) {
        self.phone.browser.forget();
        let before = self.phone.browser.heard();
        let begun = Instant::now();
        let result = meanwhile.await;
        let lasted = begun.elapsed();
        let heard = self.phone.browser.heard();
        let frames: Vec<_> = heard.samples.chunks_exact(tone::FRAME).collect();
        let silent = frames.split(|frame| tone::is_tone(frame, TONE)).map(<[_]>::len).max();
        let gaps = heard.gaps[before.gaps.len()..].iter().map(|(_, lost)| usize::from(*lost)).max();
        let sound = Sound {
            share: heard.tone_seconds(TONE) / lasted.as_secs_f64(),
            hole: silent.max(gaps).unwrap_or_default() as f64 * 0.02,
        };
        (result, lasted, sound)
    }

    /// Listens while it lasts, and beforehand: what a busy machine takes from the sound is not the flood's.
    async fn keeps_its_sound(&mut self, what: &str, flood: impl Future<Output = u64>) {
        let ((), _, quiet) = self.listens(tokio::time::sleep(LENGTH / 2)).await;
        let (sent, lasted, sound) = self.listens(flood).await;
        println!("{what}: {sent} in {lasted:.1?}: {sound:.2?}, before it {quiet:.2?}");
        assert!(sound.share >= 0.5 * quiet.share, "{what}: {sound:?}, before it {quiet:?}");
        assert!(sound.hole < HOLE + 2.0 * quiet.hole, "{what}: {sound:?}, before it {quiet:?}");
        // And goes on.
        self.phone.browser.forget();
        self.phone.browser.hears(TONE, 0.4).await;
    }
}

/// Sends what `next` gives, in bursts, for the length of a flood; how many. `ask` makes what is answered.
async fn pour(
    sockets: &[Arc<UdpSocket>],
    to: SocketAddr,
    mut next: impl FnMut(u64) -> Vec<u8>,
    ask: impl Fn(SocketAddr) -> Vec<u8>,
) -> u64 {
    let asks = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = asks.local_addr().unwrap();
    let (end, mut sent) = (Instant::now() + LENGTH, 0u64);
    while Instant::now() < end {
        for _ in 0..BURST {
            let socket = &sockets[sent as usize % sockets.len()];
            let _ = socket.try_send_to(&next(sent), to);
            sent += 1;
        }
        asks.send_to(&ask(from), to).await.unwrap();
        let _ = tokio::time::timeout(LATE, asks.recv(&mut [0; 2048])).await;
        tokio::time::sleep(PAUSE).await;
    }
    sent
}

/// So many addresses of this host's.
async fn sources(first: u8, count: u8) -> Vec<Arc<UdpSocket>> {
    let mut sockets = Vec::new();
    for n in 0..count {
        let address = (Ipv4Addr::new(127, 0, 9, first + n), 0);
        sockets.push(Arc::new(UdpSocket::bind(address).await.unwrap()));
    }
    sockets
}

/// A check with nothing right but its form; `signed`: by somebody who does not know the password.
fn check(ufrag: &str, signed: bool) -> Vec<u8> {
    let mut message = Message::new();
    message.write_header();
    BINDING_REQUEST.add_to(&mut message).unwrap();
    TransactionId::new().add_to(&mut message).unwrap();
    message.add(ATTR_USERNAME, format!("{ufrag}:abcd").as_bytes());
    message.add(ATTR_PRIORITY, &1_845_501_695u32.to_be_bytes());
    if signed {
        message.add(ATTR_MESSAGE_INTEGRITY, &rand::random::<[u8; 20]>());
    }
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

/// The first record of a handshake (RFC 6347 4.2.2).
fn client_hello() -> Vec<u8> {
    let mut body = vec![0xFE, 0xFD];
    body.extend(rand::random::<[u8; 32]>());
    // No session, no cookie, one cipher suite, no compression, use_srtp.
    body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0, 0, 9, 0, 14, 0, 5, 0, 2, 0, 1, 0]);
    let length = (body.len() as u16).to_be_bytes();
    let mut record = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((body.len() as u16 + 12).to_be_bytes());
    record.extend([1, 0, length[0], length[1], 0, 0, 0, 0, 0, 0, length[0], length[1]]);
    record.extend(body);
    record
}

fn media_fault(metrics: &Metrics, fault: &str) -> f64 {
    metrics.get(&format!("wrtc_media_faults_total{{fault=\"{fault}\"}}"))
}

fn sip_fault(metrics: &Metrics, fault: &str) -> f64 {
    metrics.get(&format!("wrtc_sip_faults_total{{fault=\"{fault}\"}}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_checks_and_handshakes_on_the_media_port() {
    let town = Town::start(&[]).await;
    let mut call = Call::start(&town).await;
    let before = town.metrics().await;
    let many = sources(1, 64).await;
    let media = call.media;
    let ufrag = call.ufrag.clone();

    let flood = async {
        let bare = [&[0u8, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
        pour(
            &many,
            media,
            |n| match n % 4 {
                0 => bare.clone(),
                1 => check("AAnobody12", true),
                2 => check(&ufrag, false),
                _ => check(&ufrag, true),
            },
            |_| check(&ufrag, false),
        )
        .await
    };
    call.keeps_its_sound("checks", flood).await;
    let hello = client_hello();
    let flood = pour(&many, media, |_| hello.clone(), |_| check(&ufrag, false));
    call.keeps_its_sound("handshakes of strangers", flood).await;
    // From where the call itself comes, as somebody could forge it.
    let flood = async {
        let end = Instant::now() + LENGTH;
        let mut sent = 0;
        while Instant::now() < end {
            for _ in 0..20 {
                call.phone.browser.send_raw(client_hello(), media).await;
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent
    };
    // The call cannot be lent to both; it is one flood, and listened to after it.
    let sent = flood.await;
    println!("handshakes from the call's own address: {sent}");
    call.phone.browser.forget();
    call.phone.browser.hears(TONE, 1.0).await;

    // Others are served as ever.
    let mut phone = town.phone("5002").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
    let after = town.metrics().await;
    for fault in ["malformed", "unknown_datagram", "stun_bad_integrity"] {
        let (then, now) = (media_fault(&before, fault), media_fault(&after, fault));
        println!("{fault}: {}", now - then);
        assert!(now - then > 100.0, "{fault} is not counted: {after:?}");
    }
    let grown = after.megabytes() - before.megabytes();
    println!("memory: {:.1} MB before, {:.1} MB after", before.megabytes(), after.megabytes());
    assert!(grown < 60.0, "{grown} MB more");
}

/// Nothing but a From, a To, and a description where there is one.
fn invite(to: &str, sip: SocketAddr, from: SocketAddr, n: u64) -> Vec<u8> {
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
               m=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
    format!(
        "INVITE sip:{to}@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKflood{n}\r\n\
         From: <sip:flood@{from}>;tag=f{n}\r\nTo: <sip:{to}@{sip}>\r\nCall-ID: flood{n}@{from}\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:flood@{from}>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into_bytes()
}

/// Final answers that have come to a socket, by their first digit.
fn count_answers(socket: Arc<UdpSocket>) -> Arc<[AtomicU64; 10]> {
    let counts: Arc<[AtomicU64; 10]> = Arc::default();
    let counted = Arc::clone(&counts);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer).await {
            let class = buffer[..length].strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.first());
            if let Some(class) = class.filter(|digit| digit.is_ascii_digit()) {
                counted[usize::from(class - b'0')].fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_invites_on_the_sip_port() {
    let town = Town::start(&[]).await;
    let mut call = Call::start(&town).await;
    let mut pages = town.pages(10).await;
    let sip = town.lab.registrations().borrow().first().expect("a DN").hop.addr;
    let before = town.metrics().await;

    let options = |from: SocketAddr| {
        let n = rand::random::<u64>();
        format!(
            "OPTIONS sip:{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{n}\r\n\
             From: <sip:x@{from}>;tag=1\r\nTo: <sip:{sip}>\r\nCall-ID: o{n}@{from}\r\n\
             CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        .into_bytes()
    };
    let strangers = sources(100, 16).await;
    let from = strangers[0].local_addr().unwrap();
    let flood = pour(&strangers, sip, |n| invite(&FIRST.to_string(), sip, from, n), options);
    call.keeps_its_sound("INVITEs of strangers", flood).await;
    for stranger in &strangers {
        let mut byte = [0; 1];
        assert!(stranger.try_recv(&mut byte).is_err(), "a stranger was answered");
    }

    // From where the SIP server is.
    let server = [Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())];
    let answers = count_answers(Arc::clone(&server[0]));
    let from = server[0].local_addr().unwrap();
    let flood = pour(&server, sip, |n| invite(&format!("99{n}"), sip, from, n), options);
    call.keeps_its_sound("INVITEs for nobody", flood).await;
    let refused = answers[4].load(Ordering::Relaxed);
    assert!(refused > 100, "{refused} were refused");

    let ours = [Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())];
    let answers = count_answers(Arc::clone(&ours[0]));
    let from = ours[0].local_addr().unwrap();
    let flood = pour(
        &ours,
        sip,
        |n| invite(&(FIRST + (n % 10) as u32).to_string(), sip, from, 1_000_000 + n),
        options,
    );
    call.keeps_its_sound("INVITEs for agents", flood).await;
    let [provisional, refused] = [1, 4].map(|class: usize| answers[class].load(Ordering::Relaxed));
    assert!(provisional > 0 && refused > 100, "{provisional}, {refused}");
    for page in &mut pages {
        let (status, body) = page.polled().await;
        assert!(status == 200 && body.starts_with("SDP"), "{}: {status} {body}", page.dn);
    }

    // Who comes now is signed in, and calls.
    let mut phone = town.phone("5002").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
    let after = town.metrics().await;
    let strangers = sip_fault(&after, "stranger") - sip_fault(&before, "stranger");
    assert!(strangers > 100.0, "{strangers} strangers are counted: {after:?}");
    println!(
        "{strangers} strangers, {} calls at a time, {} transactions; memory {:.1} MB before, {:.1} MB after",
        after.get("wrtc_calls_active"),
        after.get("wrtc_sip_transactions{role=\"server\"}"),
        before.megabytes(),
        after.megabytes()
    );
    // Two for each agent, and those with a browser.
    assert!(after.get("wrtc_calls_active") <= 22.0, "{after:?}");
    assert!(after.megabytes() - before.megabytes() < 250.0, "{after:?}");
    for page in &pages {
        assert_eq!(town.get(&format!("/sign_out?id={}", page.ssid)).await.0, 200);
    }
    town.until("without the flood's calls", |now| now.get("wrtc_calls_active") == 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_wrong_passwords_on_the_agents_port() {
    let town = Town::start(&["http.sign_ins_per_second=20"]).await;
    let mut call = Call::start(&town).await;
    let regular = Page::sign_in(town.address, FIRST).await;
    let before = town.metrics().await;
    let sign_ins = |now: &Metrics, outcome: &str| {
        now.get(&format!("wrtc_sign_ins_total{{outcome=\"{outcome}\"}}"))
    };
    let flood = async {
        let (end, mut guessers) = (Instant::now() + LENGTH, JoinSet::new());
        for n in 0..32 {
            let address = town.address;
            guessers.spawn(async move {
                let mut tried = 0u64;
                let mut stream = TcpStream::connect(address).await.unwrap();
                while Instant::now() < end {
                    let dn = FIRST + 1000 + n * 100 + (tried % 100) as u32;
                    let request = post("/sign_in", &format!("{dn}:wrong"));
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let (status, _, body) = read_answer(&mut stream).await.expect("an answer");
                    assert!(matches!(status, 401 | 403 | 429), "{status} {body}");
                    tried += 1;
                }
                tried
            });
        }
        // An agent who has been here comes back in the midst of it.
        drop(regular);
        let mut page = Page::sign_in(town.address, FIRST).await;
        page.poll().await;
        town.rings(&mut page).await;
        guessers.join_all().await.into_iter().sum()
    };
    call.keeps_its_sound("wrong passwords", flood).await;
    let after = town.metrics().await;
    let tries = sign_ins(&after, "too_many_tries") - sign_ins(&before, "too_many_tries");
    let asked = sign_ins(&after, "credentials_refused") - sign_ins(&before, "credentials_refused");
    println!("{tries} were told to come later, the SIP server was asked about {asked}");
    assert!(tries > asked && asked > 0.0, "{after:?}");
    assert!(after.megabytes() - before.megabytes() < 60.0, "{after:?}");
    let (status, ..) =
        crate::crowd::ask(town.address, &post("/sign_in", &format!("{FIRST}:{PASSWORD}")))
            .await
            .expect("an answer");
    assert_eq!(status, 200);
}
