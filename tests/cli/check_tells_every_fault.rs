//! `wrtc-gateway check`: every fault with its key, its reason and what to do; exit code 1.

use std::path::PathBuf;
use std::process::{Command, Output};

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("wrtc-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn run(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    crate::wrote::bytes("check", &[&output.stdout[..], &output.stderr].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told)
}

#[test]
fn all_of_them_at_once() {
    let path = file(
        "bad.toml",
        "[http]\nlisten = \"nowhere\"\nlisen = \"127.0.0.1:1\"\n[media]\nrtp_ports = \"9-3\"\ncodecs = [\"G729\"]\n",
    );
    let (output, told) = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    for word in ["http.listen", "http.lisen", "media.rtp_ports", "media.codecs", "sip.servers"] {
        assert!(told.contains(word), "{word} in\n{told}");
    }
    assert!(told.contains(":3"), "the line of the unknown key in\n{told}");
}

/// What a start would stumble over.
#[test]
fn files_that_are_not_there() {
    let gone =
        |name: &str| std::env::temp_dir().join("wrtc-not-there").join(name).display().to_string();
    let sets = [
        "sip.servers=sip:pbx".to_owned(),
        format!("http.tls_cert={}", gone("cert")),
        format!("http.tls_key={}", gone("key")),
        format!("sip.tls_ca={}", gone("ca")),
        format!("media.hold_music={}", gone("music.wav")),
        "turn.listen=127.0.0.1:1".to_owned(),
        format!("turn.secret_file={}", gone("turn")),
        "journal.hep=udp:127.0.0.1:9060".to_owned(),
        format!("journal.hep_password_file={}", gone("hep")),
        format!("journal.store={}", gone("calls.db")),
        format!("journal.call_records={}", gone("records")),
        format!("log.file={}", gone("log")),
    ];
    let mut arguments = vec!["check"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let (output, told) = run(&arguments);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for key in [
        "http.tls_cert",
        "sip.tls_ca",
        "media.hold_music",
        "turn.secret_file",
        "hep_password_file",
        "journal.store",
        "journal.call_records",
        "log.file",
    ] {
        assert!(told.contains(key), "{key} in\n{told}");
    }
    // Of another machine's configuration nothing of that can be told.
    arguments.push("--elsewhere");
    let (output, told) = run(&arguments);
    assert!(output.status.success() && told.is_empty(), "{told}");
}

/// systemd makes it just before the start: a word, no fault.
#[test]
fn a_directory_that_is_not_there_yet() {
    let store = std::env::temp_dir().join("wrtc-not-there").join("calls.db");
    let store = format!("journal.store={}", store.display());
    let (output, told) = run(&["check", "--set", "sip.servers=sip:pbx", "--set", &store]);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("journal.store") && told.contains("wrtc-not-there"), "{told}");
}

#[test]
fn a_good_one_is_fine_and_opens_nothing() {
    // Port 1 could not be opened by a test; `check` does not try.
    let path =
        file("good.toml", "[http]\nlisten = \"127.0.0.1:1\"\n[sip]\nservers = [\"sip:pbx\"]\n");
    let (output, told) = run(&["check", "--config", path.to_str().unwrap()]);
    assert!(output.status.success(), "{told}");
}

#[test]
fn serve_is_the_default_and_names_what_is_missing() {
    for arguments in [&[][..], &["serve"][..], &["--set", "http.listen=127.0.0.1:0"][..]] {
        let (output, told) = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(told.contains("sip.servers"), "{told}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("http.listen={}", taken.local_addr().unwrap());
    let settings = ["--set", &listen, "--set", "sip.servers=sip:127.0.0.1", "--set"];
    let rest = ["sip.listen=127.0.0.1:0", "--set", "media.listen=127.0.0.1:0"];
    let (output, told) = run(&[&settings[..], &rest[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("http.listen"), "{told}");
}
