//! Registration and calls through Kamailio, over each transport.

use std::path::Path;
use std::time::{Duration, Instant};

use wrtc_gateway::sip::servers::ServerState;

use crate::gateway::Gateway;
use crate::process::{self, LIMIT, Process};
use crate::support::jsapi::Jsapi;

pub struct Kamailio {
    _process: Process,
    port: u16,
    /// As `sip.servers` has it.
    pub uri: String,
    folder: std::path::PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Udp,
    /// UDP, and TCP for who prefers that.
    UdpAndTcp,
    Tcp,
    Tls,
    /// The client has to show a certificate too.
    MutualTls,
}

const CONFIG: &str = include_str!("kamailio/kamailio.cfg");
const TLS: &str = include_str!("kamailio/tls.cfg");

impl Kamailio {
    /// It listens on that transport only, so that what works has used it.
    pub async fn start(by: By) -> Self {
        Self::with(by, 300, [9, 9]).await
    }

    /// `sipp`: the ports of 7001 and of 7002.
    pub async fn with(by: By, nonce_expire: u32, sipp: [u16; 2]) -> Self {
        Self::on(process::free_port(), by, nonce_expire, sipp).await
    }

    async fn on(port: u16, by: By, nonce_expire: u32, sipp: [u16; 2]) -> Self {
        let folder = process::folder("kamailio");
        let at = format!("127.0.0.1:{port}");
        let (listen, uri) = match by {
            By::Udp => (format!("udp:{at}"), format!("sip:{at}")),
            By::UdpAndTcp => (format!("udp:{at}\nlisten=tcp:{at}"), format!("sip:{at}")),
            By::Tcp => (format!("tcp:{at}"), format!("sip:{at};transport=tcp")),
            By::Tls | By::MutualTls => (format!("tls:{at}"), format!("sip:{at};transport=tls")),
        };
        let path = folder.display().to_string();
        let tls = matches!(by, By::Tls | By::MutualTls);
        if tls {
            certificates(&folder);
            let verify = if by == By::MutualTls { "yes" } else { "no" };
            let text = TLS.replace("{DIR}", &path).replace("{VERIFY}", verify);
            std::fs::write(folder.join("tls.cfg"), text).expect("tls.cfg");
        }
        let module =
            format!("loadmodule \"tls.so\"\nmodparam(\"tls\", \"config\", \"{path}/tls.cfg\")");
        let text = CONFIG
            .replace("{LISTEN}", &listen)
            .replace("{DIR}", &path)
            .replace("{SIPP}", &sipp[0].to_string())
            .replace("{SIPP2}", &sipp[1].to_string())
            .replace("{NONCE_EXPIRE}", &nonce_expire.to_string())
            .replace("{TLS_CORE}", if tls { "enable_tls=yes" } else { "" })
            .replace("{TLS_MODULE}", if tls { &module } else { "" });
        std::fs::write(folder.join("kamailio.cfg"), text).expect("kamailio.cfg");
        let arguments =
            ["-DD", "-E", "-m", "64", "-M", "8", "-f", "kamailio.cfg", "-Y", &path, "-w", &path];
        let mut process = Process::start("kamailio", &folder, &arguments);
        let end = Instant::now() + LIMIT;
        // The control socket is opened before the children are there to serve SIP; they say so.
        while !process.log().contains("INFO") || std::fs::metadata(folder.join("ctl")).is_err() {
            assert!(process.is_running(), "Kamailio ended: {}", process.log());
            assert!(Instant::now() < end, "Kamailio is not up: {}", process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { _process: process, port, uri, folder }
    }

    /// Ends it; the port is free again.
    fn stop(self) -> u16 {
        self.port
    }

    /// What the gateway has to know to trust it.
    fn trust(&self) -> String {
        format!("sip.tls_ca={}", self.folder.join("ca.pem").display())
    }

    fn own_certificate(&self) -> [String; 2] {
        let file = |name: &str| self.folder.join(name).display().to_string();
        [
            format!("sip.tls_cert={}", file("client.pem")),
            format!("sip.tls_key={}", file("client.key")),
        ]
    }
}

/// An authority, and what it vouches for: the server at 127.0.0.1, and a client.
fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "tests/peers authority");
    write("ca.pem", params.self_signed(&key).expect("a certificate").pem());
    let authority = Issuer::new(params, key);
    for (name, host) in [("server", "127.0.0.1"), ("client", "client.peers.invalid")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        params.distinguished_name.push(rcgen::DnType::CommonName, host);
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// Two DNs of one gateway call each other, out and in through the server, with sound both ways; either end hangs up.
async fn calls_both_ways(gateway: &Gateway) {
    let mut one = gateway.phone("5001").await;
    let mut two = gateway.phone("5002").await;
    a_call(&mut one, &mut two, "5002").await;
    two.hang_up().await;
    one.expect("BYE").await;
    gateway.idle().await;
    one.fresh().await;
    two.fresh().await;
    a_call(&mut two, &mut one, "5001").await;
    two.hang_up().await;
    one.expect("BYE").await;
    gateway.idle().await;
    one.sign_out().await;
    two.sign_out().await;
}

async fn a_call(caller: &mut Jsapi, callee: &mut Jsapi, number: &str) {
    caller.browser.play(440.0).await;
    callee.browser.play(1000.0).await;
    caller.call(number).await;
    let offer = callee.expect_roap("OFFER").await;
    callee.accept(&offer).await;
    caller.answered().await;
    caller.browser.connected().await;
    callee.browser.connected().await;
    let (at_caller, at_callee) =
        tokio::join!(caller.browser.hears(1000.0, 1.5), callee.browser.hears(440.0, 1.5));
    at_caller.assert_one_unbroken_stream();
    at_callee.assert_one_unbroken_stream();
}

/// "Asterisk and Kamailio challenge. Digest MD5, 401 and 407, qop=auth, nonce counts."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn dns_register_with_digest_and_call_each_other_over_udp() {
    let kamailio = Kamailio::start(By::Udp).await;
    let gateway = Gateway::start(&kamailio.uri, &[]).await;
    calls_both_ways(&gateway).await;
}

/// "SIP over TCP (framing, reconnect, keep-alive)"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn dns_register_with_digest_and_call_each_other_over_tcp() {
    let kamailio = Kamailio::start(By::Tcp).await;
    let gateway = Gateway::start(&kamailio.uri, &[]).await;
    calls_both_ways(&gateway).await;
}

/// "TLS (verified)"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn dns_register_with_digest_and_call_each_other_over_tls() {
    let kamailio = Kamailio::start(By::Tls).await;
    let gateway = Gateway::start(&kamailio.uri, &[&kamailio.trust()]).await;
    calls_both_ways(&gateway).await;
}

/// "client certificate optional": shown to a server that insists on one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn a_server_that_wants_a_client_certificate_gets_it() {
    let kamailio = Kamailio::start(By::MutualTls).await;
    let [cert, key] = kamailio.own_certificate();
    let gateway = Gateway::start(&kamailio.uri, &[&kamailio.trust(), &cert, &key]).await;
    calls_both_ways(&gateway).await;
}

/// "TLS (verified)": a server that our authority does not vouch for is not spoken to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn a_server_with_a_stranger_s_certificate_is_not_registered_with() {
    let kamailio = Kamailio::start(By::Tls).await;
    let stranger = process::folder("stranger");
    certificates(&stranger);
    let trust = format!("sip.tls_ca={}", stranger.join("ca.pem").display());
    let gateway = Gateway::start(&kamailio.uri, &[&trust]).await;
    let answer = gateway.sign_in("5001", "pw-Ht5k-5001").await;
    assert!(!answer.status.is_success(), "{} {}", answer.status, answer.body);
}

/// "The reason reaches the agent verbatim."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn a_wrong_password_is_no_registration() {
    let kamailio = Kamailio::start(By::Udp).await;
    let gateway = Gateway::start(&kamailio.uri, &[]).await;
    let answer = gateway.sign_in("5001", "wrong").await;
    assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.body);
    assert_eq!(gateway.health().await["registered_agents"], 0);
    gateway.phone("5001").await;
}

/// "`stale`": a nonce that has run out is replaced without asking anybody for the password again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn a_stale_nonce_costs_a_round_and_not_the_call() {
    let kamailio = Kamailio::with(By::Udp, 2, [9, 9]).await;
    let gateway = Gateway::start(&kamailio.uri, &[]).await;
    let mut one = gateway.phone("5001").await;
    let mut two = gateway.phone("5002").await;
    for _ in 0..2 {
        a_call(&mut one, &mut two, "5002").await;
        one.hang_up().await;
        two.expect("BYE").await;
        gateway.idle().await;
        one.fresh().await;
        two.fresh().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// A DN that is not there: the caller hears of it at once, and why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn a_call_to_a_dn_that_is_not_registered_ends_with_480() {
    let kamailio = Kamailio::start(By::Udp).await;
    let gateway = Gateway::start(&kamailio.uri, &[]).await;
    let mut one = gateway.phone("5001").await;
    one.call("5002").await;
    one.expect("BYE").await;
    gateway.idle().await;
}

/// A call once it gets through: a DN that has yet to come back is 480 until then.
async fn a_call_at_last(gateway: &Gateway, one: &mut Jsapi, two: &mut Jsapi) {
    let end = Instant::now() + LIMIT;
    loop {
        one.fresh().await;
        two.fresh().await;
        one.call("5002").await;
        tokio::select! {
            message = two.next() => {
                two.unread(message);
                one.hang_up().await;
                two.expect_roap("OFFER").await;
                two.expect("BYE").await;
                gateway.idle().await;
                one.fresh().await;
                two.fresh().await;
                return a_call(one, two, "5002").await;
            }
            message = one.next() => assert_eq!(message.body, "BYE"),
        }
        assert!(Instant::now() < end, "no call gets through");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// "After a SIP server outage all DNs return"; over TCP, dead connections are noticed and replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn dns_return_after_an_outage_in_which_the_server_forgot_them() {
    for by in [By::Tcp, By::Udp] {
        let kamailio = Kamailio::start(by).await;
        let gateway = Gateway::start(&kamailio.uri, &["sip.ping_seconds=1"]).await;
        let mut one = gateway.phone("5001").await;
        let mut two = gateway.phone("5002").await;
        let port = kamailio.stop();
        gateway.until_servers(|servers| servers[0].state == ServerState::Down, None).await;
        let _kamailio = Kamailio::on(port, by, 300, [9, 9]).await;
        gateway.until_servers(|servers| servers[0].state == ServerState::Up, Some(2)).await;
        a_call_at_last(&gateway, &mut one, &mut two).await;
    }
}

/// "a list of SIP servers is tried in order": the second one serves while the first is away, and gives back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn the_second_server_of_the_list_takes_over_and_gives_back() {
    let first = Kamailio::start(By::Udp).await;
    let second = Kamailio::start(By::Udp).await;
    let servers = format!("{},{}", first.uri, second.uri);
    let gateway = Gateway::start(&servers, &["sip.ping_seconds=1"]).await;
    let mut one = gateway.phone("5001").await;
    let mut two = gateway.phone("5002").await;
    a_call(&mut one, &mut two, "5002").await;
    one.hang_up().await;
    two.expect("BYE").await;
    let port = first.stop();
    gateway.until_servers(|servers| servers[1].current, Some(2)).await;
    a_call_at_last(&gateway, &mut one, &mut two).await;
    one.hang_up().await;
    two.expect("BYE").await;
    let _first = Kamailio::on(port, By::Udp, 300, [9, 9]).await;
    gateway.until_servers(|servers| servers[0].current, Some(2)).await;
    // Nobody but the first can have put this call through.
    second.stop();
    a_call_at_last(&gateway, &mut one, &mut two).await;
}

/// "SIP over UDP (over-MTU to TCP)": an INVITE of more than 1300 bytes goes by TCP, where the server has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kamailio: bash tests/run.sh peers"]
async fn requests_too_large_for_a_datagram_go_by_tcp() {
    let kamailio = Kamailio::start(By::UdpAndTcp).await;
    let padding = (1..=6).map(|n| format!("X-Padding-{n}: {}", "0123456789".repeat(24)));
    let padding = format!("sip.headers={}", padding.collect::<Vec<_>>().join(","));
    let gateway = Gateway::start(&kamailio.uri, &[&padding]).await;
    calls_both_ways(&gateway).await;
    assert!(gateway.sip_stats().over_mtu_tcp > 0, "{:?}", gateway.sip_stats());
}
