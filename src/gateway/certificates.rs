//! The certificates that our ports show: when they end, and whether their files could be read.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use crate::config;
use crate::sip::transport::tls::TlsFiles;
use crate::tls::{self, CertificateState, CertificateView};

/// How often the end of a certificate is warned of.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

pub(super) struct Certificates {
    /// `None` for plain HTTP; there when the ports are open.
    pub http: OnceLock<CertificateView>,
    pub turn: OnceLock<CertificateView>,
    sip: Mutex<Sip>,
}

#[derive(Default)]
struct Sip {
    expires: Option<SystemTime>,
    fault: Option<String>,
}

impl Certificates {
    /// `sip` has been read just before.
    pub fn new(sip: &TlsFiles) -> Self {
        let sip = Mutex::new(Sip { expires: end_of(sip), fault: None });
        Certificates { http: OnceLock::new(), turn: OnceLock::new(), sip }
    }

    /// SIP's files were read again: they are in use, or what was read before still is.
    pub fn handle_sip<E: ToString>(&self, files: &TlsFiles, read: &Result<(), E>) {
        let expires = read.is_ok().then(|| end_of(files));
        let mut sip = self.sip.lock().unwrap_or_else(PoisonError::into_inner);
        sip.expires = expires.unwrap_or(sip.expires);
        sip.fault = read.as_ref().err().map(E::to_string);
    }

    /// Of each port that has one.
    pub fn states(&self) -> Vec<CertificateState> {
        let sip = self.sip.lock().unwrap_or_else(PoisonError::into_inner);
        let has_sip = sip.expires.is_some() || sip.fault.is_some();
        let sip = has_sip.then(|| CertificateState {
            port: "sip",
            expires: sip.expires,
            fault: sip.fault.clone(),
        });
        let http = self.http.get().map(|view| view.state("http"));
        let turn = self.turn.get().map(|view| view.state("turn"));
        [http, sip, turn].into_iter().flatten().collect()
    }
}

/// Of the certificate that is shown.
fn end_of(files: &TlsFiles) -> Option<SystemTime> {
    let own = files.own.as_ref()?;
    let files = config::TlsFiles { cert: own.cert.clone(), key: own.key.clone() };
    tls::look_at(&files).ok().map(|facts| facts.expires)
}

/// Warns in the log of what ends within two weeks, once a day.
#[derive(Default)]
pub(super) struct Reminder {
    warned: HashMap<&'static str, Instant>,
}

impl Reminder {
    pub fn look(&mut self, states: &[CertificateState], now: Instant, wall: SystemTime) {
        for (port, why) in self.due(states, now, wall) {
            warn!("{port}.tls_cert: {why}");
        }
    }

    fn due(
        &mut self,
        states: &[CertificateState],
        now: Instant,
        wall: SystemTime,
    ) -> Vec<(&'static str, String)> {
        let mut due = Vec::new();
        for state in states {
            let lately = self
                .warned
                .get(state.port)
                .is_some_and(|at| now.saturating_duration_since(*at) < WARN_EVERY);
            if let (Some(why), false) = (state.warning(wall), lately) {
                self.warned.insert(state.port, now);
                due.push((state.port, why));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_reminded_of_once_a_day() {
        let (mut reminder, now, wall) = (Reminder::default(), Instant::now(), SystemTime::now());
        let days = |n: u64| Duration::from_secs(n * 86_400);
        let state = |port, left| {
            let expires = Some(wall + days(left) + days(1) / 2);
            CertificateState { port, expires, fault: None }
        };
        let states = [state("http", 30), state("sip", 9), state("turn", 3)];
        let due = reminder.due(&states, now, wall);
        let told = |due: &[(&'static str, String)]| -> Vec<&'static str> {
            due.iter().map(|(port, _)| *port).collect()
        };
        assert_eq!(told(&due), ["sip", "turn"]);
        assert_eq!(due[0].1, "the certificate runs out in 9 days");
        assert!(reminder.due(&states, now + days(1) / 2, wall).is_empty());
        assert_eq!(told(&reminder.due(&states, now + days(1), wall)), ["sip", "turn"]);
        let later = reminder.due(&states, now + days(20), wall + days(20));
        assert_eq!(told(&later), ["http", "sip", "turn"]);
        assert_eq!(later[1].1, "the certificate has run out");
    }

    #[test]
    fn what_cannot_be_read_leaves_the_end_of_what_is_in_use() {
        let certificates = Certificates::new(&TlsFiles::default());
        assert_eq!(certificates.states(), []);
        let base = std::env::temp_dir().join(format!("wrtc-ends-{:016x}", rand::random::<u64>()));
        let own = crate::sip::transport::tls::OwnCertificate {
            cert: base.with_extension("pem"),
            key: base.with_extension("key"),
        };
        let kept = config::TlsFiles { cert: own.cert.clone(), key: own.key.clone() };
        let made = tls::Served::self_signed(vec!["a".to_owned()], Some(&kept), &[]).unwrap();
        let files = TlsFiles { own: Some(own), ..TlsFiles::default() };
        certificates.handle_sip(&files, &Ok::<(), String>(()));
        let good = CertificateState { port: "sip", ..made.view().state("sip") };
        assert_eq!(certificates.states(), std::slice::from_ref(&good));
        std::fs::remove_file(&kept.cert).unwrap();
        certificates.handle_sip(&files, &Err("it is gone"));
        let fault = Some("it is gone".to_owned());
        assert_eq!(certificates.states(), [CertificateState { fault, ..good }]);
        certificates.handle_sip(&TlsFiles::default(), &Ok::<(), String>(()));
        assert_eq!(certificates.states(), []);
        std::fs::remove_file(&kept.key).unwrap();
    }
}
