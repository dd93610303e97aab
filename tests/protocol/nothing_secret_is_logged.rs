//! Passwords, session ids and keys are in no line of the log.

use std::sync::{Arc, Mutex};

use crate::support::gateway::Demo;
use crate::support::sdp;

/// Everything that is logged while the test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_ever_logged() {
    let log = Log::default();
    let writer = log.clone();
    // The only test of this binary that takes the log of the whole process.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let password = "Tr0ub4dor-and-3";
    let demo = Demo::with_password(password).await;
    let mut phone = demo.phone("5001").await;
    phone.call("601").await;
    let answer = phone.answered().await;
    phone.browser.hears(1000.0, 0.3).await;
    let _ = phone.wire.sign_in_post("5002", "wr0ng-horse").await;
    let path = format!("/api/webrtc/sign_in?id=agent123&dn=5003&password={password}");
    assert_eq!(phone.wire.get(&path).await.status, 200);
    let key = |sdp: &str| sdp::attribute(sdp, "ice-pwd").expect("a password").to_owned();
    let theirs = key(answer.sdp.as_deref().expect("sdp"));
    let ours = key(&phone.browser.offer().await.sdp);
    let ssid = phone.ssid.clone();
    phone.sign_out().await;

    // What this process's clients log is not the gateway's doing.
    let text = String::from_utf8_lossy(&log.0.lock().expect("the log")).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("wrtc_gateway")).collect();
    assert!(lines.iter().any(|line| line.contains("signed in")), "the log was not taken");
    for secret in [password, "wr0ng-horse", &ssid, &theirs, &ours] {
        let told = lines.iter().find(|line| line.contains(secret));
        assert!(told.is_none(), "{told:?}");
    }
}
