//! `wrtc-gateway doctor`: what is wrong is told with what to do, and the exit code says how bad it is.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

use serde_json::Value;
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::served::{Served, free_port, settings};

async fn lab() -> Lab {
    Lab::start(LabConfig::new(Secret::new(crate::wrote::PASSWORD))).await.unwrap()
}

/// Exit code, standard output, standard error.
fn run(settings: &[String], more: &[&str]) -> (i32, String, String) {
    let sets = settings.iter().flat_map(|set| ["--set", set.as_str()]);
    let output = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"))
        .arg("doctor")
        .args(sets)
        .args(more)
        .env_clear()
        .output()
        .unwrap();
    crate::wrote::settings(settings.iter().map(String::as_str));
    crate::wrote::bytes("doctor", &[&output.stdout[..], &output.stderr].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn examined(settings: Vec<String>) -> (i32, Value) {
    let ran = tokio::task::spawn_blocking(move || run(&settings, &["--json"]));
    let (code, printed, told) = ran.await.unwrap();
    (code, serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}{told}")))
}

/// The first finding that has these words, its mark and its advice.
#[track_caller]
fn finding<'a>(report: &'a Value, words: &[&str]) -> (&'a str, &'a str) {
    let findings = report["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|finding| words.iter().all(|word| finding["text"].as_str().unwrap().contains(word)));
    let found = found.unwrap_or_else(|| panic!("{words:?} in {report:#}"));
    (found["mark"].as_str().unwrap(), found["advice"].as_str().unwrap_or_default())
}

fn marks(report: &Value, mark: &str) -> Vec<Value> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["mark"] == mark).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_is_well_it_says_so() {
    let lab = lab().await;
    let more = ["media.rtp_ports=20000-20099", "metrics.listen=127.0.0.1:0"];
    let (code, report) = examined(settings(lab.sip_addr(), &more)).await;
    assert!(marks(&report, "fail").is_empty(), "{report:#}");
    // What the host that tests run on gives may be little.
    assert_eq!(code, i32::from(!marks(&report, "warn").is_empty()), "{report:#}");
    let server = lab.sip_addr().to_string();
    assert_eq!(finding(&report, &[&server, "answers 200"]).0, "ok");
    assert_eq!(finding(&report, &["http.listen", "free"]).0, "ok");
    assert_eq!(report["running"], Value::Null);
    let rows = report["firewall"].as_array().unwrap();
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap();
    assert_eq!(row("media.rtp_ports")["ports"], "20000-20099");
    assert_eq!(row("metrics.listen")["from"], "this machine only");
    assert_eq!(row("sip.listen")["from"], lab.sip_addr().ip().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_told_with_what_to_do() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (http, sip) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let more = [
        format!("http.listen={http}"),
        format!("sip.listen={sip}"),
        "media.rtp_address=192.0.2.77".to_owned(),
        "connector.bare_paths=on".to_owned(),
        "http.tls_cert=/nowhere/cert.pem".to_owned(),
        "http.tls_key=/nowhere/key.pem".to_owned(),
    ];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let (code, report) = examined(settings(deaf.local_addr().unwrap(), &more)).await;
    assert_eq!(code, 2);
    for (words, advice) in [
        (&["http.listen", "taken by", &std::process::id().to_string()][..], "another port"),
        (&["sip.listen", "(UDP)", "taken by"], "another port"),
        (&["media.rtp_address", "no address of this host"], "one of this host's"),
        (&["http.tls_cert", "/nowhere/cert.pem"], "PEM"),
        (&["no answer to OPTIONS"], "is it up"),
        (&["no SIP server answers"], "access list"),
    ] {
        let (mark, told) = finding(&report, words);
        assert_eq!(mark, "fail", "{words:?}");
        assert!(told.contains(advice), "{words:?}: {told}");
    }
    assert_eq!(finding(&report, &["connector.bare_paths"]).0, "warn");
}

/// HEP and OTLP: no call needs them, and what they are to get is lost without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_are_looked_for() {
    let lab = lab().await;
    // Nobody else's when they are closed.
    let homer = UdpSocket::bind(("127.0.0.1", free_port())).unwrap();
    let otlp = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let (hep, otlp_at) = (homer.local_addr().unwrap(), otlp.local_addr().unwrap());
    let at = |hep: &str, otlp: &str| {
        let more = [format!("journal.hep=udp:{hep}"), format!("tracing.otlp=http://{otlp}")];
        settings(lab.sip_addr(), &more.each_ref().map(String::as_str))
    };
    let there = at(&hep.to_string(), &otlp_at.to_string());
    let (_, report) = examined(there.clone()).await;
    assert_eq!(finding(&report, &["journal.hep", &hep.to_string()]).0, "ok");
    assert_eq!(finding(&report, &["tracing.otlp", "takes connections"]).0, "ok");
    assert!(homer.recv(&mut [0; 16]).unwrap() == 0, "it is sent nothing that could be read");

    drop((homer, otlp));
    let (code, report) = examined(there).await;
    for key in ["journal.hep", "tracing.otlp"] {
        let (mark, advice) = finding(&report, &[key, "nobody takes it"]);
        assert_eq!(mark, "warn", "{report:#}");
        assert!(advice.contains("is the collector up"), "{advice}");
    }
    assert_eq!(code, 1, "{report:#}");

    let (_, report) = examined(at("homer.invalid:9060", "otlp.invalid:4318")).await;
    for name in ["homer.invalid", "otlp.invalid"] {
        let (mark, advice) = finding(&report, &[name]);
        assert_eq!(mark, "warn");
        assert!(advice.contains("correct the name"), "{advice}");
    }
}

/// See docs/security.md: a proxy on this machine that adds no header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_operate_is_told() {
    let lab = lab().await;
    let token = format!("http.operator_tokens=act:desk:{}", "a".repeat(64));
    let words = ["no operators' tokens"];
    for (more, mark) in [
        (&[][..], Some("warn")),
        (&["http.trusted_proxies=127.0.0.1"], Some("note")),
        (&["http.listen=0.0.0.0:0"], Some("note")),
        (&[token.as_str()], None),
    ] {
        let (_, report) = examined(settings(lab.sip_addr(), more)).await;
        if let Some(mark) = mark {
            assert_eq!(finding(&report, &words).0, mark, "{more:?}");
        } else {
            assert!(!report.to_string().contains(words[0]), "{report:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_runs_is_recognised_and_left_alone() {
    let lab = lab().await;
    let (http, sip) = (free_port(), free_port());
    let (http, sip) =
        (format!("http.listen=127.0.0.1:{http}"), format!("sip.listen=127.0.0.1:{sip}"));
    let settings = settings(lab.sip_addr(), &[&http, &sip, "media.rtp_ports=20100-20199"]);
    let mut served = Served::start(&settings);
    let (_, report) = examined(settings).await;
    assert!(report["running"].as_str().unwrap().contains("a gateway runs here"), "{report:#}");
    assert!(marks(&report, "fail").is_empty(), "{report:#}");
    assert_eq!(finding(&report, &["sip.listen", "held by the gateway"]).0, "ok");
    assert!(served.runs());
    let health = reqwest::get(format!("{}/api/health", served.base)).await.unwrap();
    assert_eq!(health.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_needs_no_colour_and_faults_of_the_configuration_come_first() {
    let lab = lab().await;
    let sets = settings(lab.sip_addr(), &["media.rtp_ports=20200-20299"]);
    let (_, printed, _) = tokio::task::spawn_blocking(move || run(&sets, &[])).await.unwrap();
    assert!(!printed.contains('\x1b'), "{printed}");
    for word in ["\nports\n", "  ok    http.listen", "firewall: ", "20200-20299"] {
        assert!(printed.contains(word), "{word:?} in\n{printed}");
    }
    let nowhere: SocketAddr = ([127, 0, 0, 1], 1).into();
    let (code, printed, told) = run(&settings(nowhere, &["http.listen=nowhere"]), &[]);
    assert_eq!((code, printed.as_str()), (2, ""));
    assert!(told.contains("http.listen"), "{told}");
}
