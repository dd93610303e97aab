//! The torture messages of RFC 4475 and RFC 5118, byte for byte, sent to an endpoint with a user agent on it.
//!
//! | what | the RFC | here |
//! |---|---|---|
//! | REGISTER (`escnull`, `dblreq`, `regbadct`, `regescrt`, `unksm2`, `regaut01`, `cparam01`, `cparam02`, `ipv6-good`, `port-*`) | a registrar's answer | 405: a telephone is no registrar; that the message was read shows in the answer's headers |
//! | MESSAGE (`mpart01`) | 200, the text shown | 405: there is nobody to read it |
//! | an unknown method (`intmeth`, `esc02`, `mismatch02`) | 501 from a proxy | 405, as RFC 3261 8.2.1 has it for a user agent, whatever CSeq says |
//! | blanks at the end of the first line, within `<` `>`, commas in an unquoted name (`trws`, `badaspec`, `baddn`) | 400, or liberal | read as it was meant |
//! | `Date` in another zone than GMT (`baddate`) | may be ignored | ignored |
//! | `Max-Forwards: 0` (`zeromf`) | a proxy's business | answered: the last hop asks nobody |
//! | `received` without brackets, three colons (RFC 5118 4.5, 4.10) | be liberal | read as it was meant |
//! | `mcl01`, `clerr`, `ncl` over UDP | 400, or ended | 400 |
//! | answers that fit no request of ours, or have a number that overflows | discarded | discarded, counted |
//!
//! Three differences of the files from the RFCs' text: the signature inside of `mpart01` ends in bytes of our own
//! (nobody here verifies it), and where Content-Length is not what is to be tested it is the body's (`multi01`,
//! `ipv6-in-sdp`, `mult-ip-in-sdp`, `ipv4-mapped-ipv6`). sip-behaviour.md: "From and To may be bare addr-specs;
//! Content-Length may come before Via; header names in any case."

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rsipstack::sip::{Response, SipMessage};
use tokio::net::UdpSocket;
use wrtc_gateway::sip::port::ClientTx;
use wrtc_gateway::sip::transaction::Transactions;
use wrtc_gateway::sip::{Claim, Command, Direction, Driven, Endpoint, EndpointStats, Event, wire};

use super::support::*;
use Expected::{Answered, Discarded, Rings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// An INVITE that reaches the application, for this user.
    Rings(&'static str),
    /// One answer with this code.
    Answered(u16),
    /// Nothing is sent, and a counter says so.
    Discarded,
}

/// By section of RFC 4475.
const RFC_4475: [(&str, Expected); 49] = [
    // 3.1.1, valid messages. `wsinv` has a To tag of no dialog of ours.
    ("wsinv", Answered(481)),
    ("intmeth", Answered(405)),
    ("esc01", Rings("sips:user@example.com")),
    ("escnull", Answered(405)),
    ("esc02", Answered(405)),
    ("lwsdisp", Answered(200)),
    ("longreq", Rings("user")),
    ("dblreq", Answered(405)),
    ("semiuri", Answered(200)),
    ("transports", Answered(200)),
    ("mpart01", Answered(405)),
    ("unreason", Discarded),
    ("noreason", Discarded),
    // 3.1.2, invalid ones.
    ("badinv01", Answered(400)),
    ("clerr", Answered(400)),
    ("ncl", Answered(400)),
    ("scalar02", Answered(400)),
    ("scalarlg", Discarded),
    ("quotbal", Answered(400)),
    ("ltgtruri", Answered(400)),
    ("lwsruri", Answered(400)),
    ("lwsstart", Answered(400)),
    ("trws", Answered(200)),
    ("escruri", Answered(400)),
    ("baddate", Rings("user")),
    ("regbadct", Answered(405)),
    ("badaspec", Answered(200)),
    ("baddn", Answered(200)),
    ("badvers", Answered(505)),
    ("mismatch01", Answered(400)),
    ("mismatch02", Answered(405)),
    ("bigcode", Discarded),
    // 3.2, transactions.
    ("badbranch", Answered(200)),
    // 3.3, what an application sees.
    ("insuf", Answered(400)),
    ("unkscm", Answered(416)),
    ("novelsc", Answered(416)),
    ("unksm2", Answered(405)),
    ("bext01", Answered(420)),
    ("invut", Answered(415)),
    ("regaut01", Answered(405)),
    ("multi01", Answered(400)),
    ("mcl01", Answered(400)),
    ("bcast", Discarded),
    ("zeromf", Answered(200)),
    ("cparam01", Answered(405)),
    ("cparam02", Answered(405)),
    ("regescrt", Answered(405)),
    ("sdp01", Answered(406)),
    // 3.4, from before RFC 3261.
    ("inv2543", Rings("UserB")),
];

/// RFC 5118 4.1 to 4.10. The BYEs are of no dialog.
const RFC_5118: [(&str, Expected); 12] = [
    ("ipv6-good", Answered(405)),
    ("ipv6-bad", Answered(400)),
    ("port-ambiguous", Answered(405)),
    ("port-unambiguous", Answered(405)),
    ("via-received-param-with-delim", Answered(481)),
    ("via-received-param-no-delim", Answered(200)),
    ("ipv6-in-sdp", Rings("user")),
    ("mult-ip-in-header", Answered(481)),
    ("mult-ip-in-sdp", Rings("user")),
    ("ipv4-mapped-ipv6", Rings("user")),
    ("ipv6-bug-abnf-3-colons", Answered(200)),
    ("ipv6-correct-abnf-2-colons", Answered(200)),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sip/torture")
}

fn message(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name).with_extension("dat")).expect(name)
}

/// An endpoint whose user agent takes everything, as if each message were for its DN, and a peer of its.
struct Bench {
    endpoint: Endpoint,
    peer: UdpSocket,
    sent: Arc<Mutex<Vec<Response>>>,
    rang: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    async fn new() -> Self {
        let endpoint = Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
        let here = endpoint.local_addr().to_string();
        let mut ua = Driven::new(&endpoint, Claim::Everything, config("user", &here, PEER));
        let (sent, rang) =
            (Arc::<Mutex<Vec<Response>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (sending, ringing) = (sent.clone(), rang.clone());
        // What is sent goes where Via says, which is nowhere here: it is looked at on its way out.
        endpoint.set_trace(Some(Box::new(move |traced| {
            if traced.direction == Direction::Out {
                let text = traced.text();
                sending
                    .lock()
                    .unwrap()
                    .push(Response::try_from(text.as_str()).expect("a response"));
            }
        })));
        tokio::spawn(async move {
            loop {
                if let Event::Invited { session, invite } = ua.next_event().await {
                    ringing.lock().unwrap().push(invite.to);
                    ua.command(Command::End { session, code: 486, text: String::new() });
                }
            }
        });
        // An address of its own, so that no answer meets somebody at the port it goes to.
        let [.., a, b] = rand::random::<u32>().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, 7, a, b.clamp(1, 254)), 0));
        let peer = UdpSocket::bind(address).await.expect("any address of 127.0.0.0/8");
        Self { endpoint, peer, sent, rang }
    }

    /// Sends a message, and an OPTIONS behind it; when that is answered, so is the message.
    async fn send(&self, name: &str) -> (Vec<Response>, Vec<String>, EndpointStats) {
        self.sent.lock().unwrap().clear();
        self.rang.lock().unwrap().clear();
        self.peer.send_to(&message(name), self.endpoint.local_addr()).await.unwrap();
        let call_id = format!("behind-{name}");
        let sentinel = format!(
            "OPTIONS sip:user@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bK{name}0\r\n\
             From: <sip:1@h>;tag=1\r\nTo: <sip:user@example.com>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            self.peer.local_addr().unwrap()
        );
        self.peer.send_to(sentinel.as_bytes(), self.endpoint.local_addr()).await.unwrap();
        let is_sentinel = |r: &Response| header(r, "Call-ID").as_deref() == Some(&call_id);
        let end = Instant::now() + Duration::from_secs(20);
        while !self.sent.lock().unwrap().iter().any(is_sentinel) {
            assert!(Instant::now() < end, "nothing works any more after {name}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut sent = self.sent.lock().unwrap().clone();
        sent.retain(|response| !is_sentinel(response));
        (sent, self.rang.lock().unwrap().clone(), self.endpoint.stats())
    }
}

async fn each_gets_its_due(table: &[(&str, Expected)]) {
    let mut faults = Vec::new();
    for (name, expected) in table {
        let bench = Bench::new().await;
        let (sent, rang, stats) = bench.send(name).await;
        let codes: Vec<u16> = sent.iter().map(|r| r.status_code.code()).collect();
        let right = match expected {
            Rings(user) => rang == [*user] && codes == [100, 486],
            Answered(code) => rang.is_empty() && codes == [*code],
            Discarded => {
                rang.is_empty() && codes.is_empty() && stats.malformed + stats.stray_responses == 1
            }
        };
        if !right {
            faults.push(format!("{name}: {expected:?}, but {codes:?} and {rang:?}, {stats:?}"));
        }
        let text = String::from_utf8_lossy(&message(name)).into_owned();
        for response in &sent {
            // Whatever was wrong: the answer finds its way, and its request.
            for id in ["Call-ID", "CSeq"] {
                let value = header(response, id).unwrap_or_default();
                let number = value.split(' ').next().unwrap_or_default();
                assert!(text.contains(number), "{name}: {id} {value}");
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn every_message_of_rfc_4475_gets_its_due() {
    each_gets_its_due(&RFC_4475).await;
}

#[tokio::test]
async fn every_message_of_rfc_5118_gets_its_due() {
    each_gets_its_due(&RFC_5118).await;
}

#[test]
fn no_message_is_left_out() {
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let named: BTreeSet<String> =
        RFC_4475.iter().chain(&RFC_5118).map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, named);
}

#[tokio::test]
async fn answers_say_what_was_wrong_and_go_back_by_every_via() {
    let bench = Bench::new().await;
    let one = async |name| bench.send(name).await.0.remove(0);
    assert_eq!(
        header(&one("bext01").await, "Unsupported").as_deref(),
        Some("nothingSupportsThis, nothingSupportsThisEither")
    );
    assert_eq!(header(&one("invut").await, "Accept").as_deref(), Some("application/sdp"));
    assert!(header(&one("esc02").await, "Allow").is_some_and(|allow| allow.contains("INVITE")));
    let vias = |response: &Response| {
        response
            .headers
            .iter()
            .filter(|h| h.name() == "Via")
            .map(|h| h.value().to_owned())
            .collect::<Vec<_>>()
    };
    let all = vias(&one("transports").await);
    assert_eq!(all.len(), 5);
    assert_eq!(all[3], "SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en");
    assert_eq!(vias(&one("longreq").await).len(), 33);
    let received = &vias(&one("via-received-param-no-delim").await)[0];
    assert!(received.contains(";received=127.7.") && !received.contains("9:255"), "{received}");
}

/// RFC 4475 3.2.1: `z9hG4bK` alone names no transaction.
#[tokio::test]
async fn two_requests_with_the_bare_cookie_for_a_branch_are_two() {
    let bench = Bench::new().await;
    assert_eq!(bench.send("badbranch").await.0.len(), 1);
    let other = String::from_utf8(message("badbranch")).unwrap().replace("CSeq: 8", "CSeq: 9");
    bench.peer.send_to(other.as_bytes(), bench.endpoint.local_addr()).await.unwrap();
    let sent = bench.send("lwsdisp").await.0;
    let numbers: Vec<_> = sent.iter().filter_map(|response| header(response, "CSeq")).collect();
    assert!(numbers.contains(&"9 OPTIONS".to_owned()), "{numbers:?}");
}

/// RFC 4475 3.3.10: an answer to our request, but with another Via under ours.
#[test]
fn an_answer_that_came_to_the_wrong_one_is_discarded() {
    let mut transactions = Transactions::default();
    let now = Instant::now();
    let text = "INVITE sip:user@example.edu SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\r\n\
         From: sip:user@example.com;tag=11141343\r\nTo: sip:user@example.edu\r\n\
         Call-ID: bcast.0384840201234ksdfak3j2erwedfsASdf\r\nCSeq: 35 INVITE\r\n\r\n";
    let Ok(SipMessage::Request(request)) = wire::parse(text.as_bytes()) else { panic!("INVITE") };
    transactions.request(Some(1), ClientTx(1), request, addr(PEER), now);
    let bcast = String::from_utf8(message("bcast")).unwrap();
    let answer = |text: &str| match wire::parse(text.as_bytes()) {
        Ok(SipMessage::Response(response)) => response,
        other => panic!("a response: {other:?}"),
    };
    assert!(!transactions.response(answer(&bcast), addr(PEER), now));
    let ours = bcast.replace("Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\r\n", "");
    assert!(transactions.response(answer(&ours), addr(PEER), now));
}
