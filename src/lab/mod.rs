//! The embedded SIP server of `wrtc-gateway demo` and of the tests.
//!
//! A registrar for a range of DNs that have one password, calls from DN to DN, and a few numbers
//! to try out a telephone with:
//!
//! | number | what it does |
//! |---|---|
//! | a DN | rings the telephone registered there; its media go from end to end |
//! | `600` | echo |
//! | `601` | plays 1 kHz |
//! | `602` | rings and never answers |
//! | `603` | 486 Busy Here |
//! | `604` | echo; after the caller has hung up, calls the caller back |
//! | `1003` | rings a second, then answers and echoes |
//!
//! It measures what it hears: each call that is over leaves a [`CallReport`]. A [`Control`] lets
//! Rust tests play the far end of a call message by message: call a DN with or without an offer,
//! NOTIFY talk and hold, hold and move by re-INVITE, withhold the ACK, play tones and dial digits,
//! answer a number, or take over a call that a browser made to one of the numbers above.

mod bridge;
mod call;
pub mod centre;
mod config;
mod control;
mod dialplan;
mod gate;
mod leg;
mod legs;
mod meter;
pub mod phone;
mod registrar;
mod reply;
mod report;
mod rtp;
mod sdp;
mod server;
pub mod tone;
mod voice;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::sip::{Endpoint, EndpointConfig, Hop, OpenError};

pub use config::{Challenge, LabConfig};
pub use control::{Ack, AckSdp, CallOut, Control, ControlError, Leg, LegEvent};
pub use meter::Heard;
pub use phone::{Hold, Paper, Phone, PhoneConfig, Sound};
pub use report::{CallReport, Party, ReportedEnd, Way};
pub use rtp::Received;
pub use sdp::SdpError;

/// A telephone that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub dn: String,
    /// The Contact as it came.
    pub contact: String,
    /// Where calls to it are sent.
    pub hop: Hop,
    /// As granted.
    pub expires: Duration,
    pub user_agent: Option<String>,
}

/// Reports that a slow listener may fall behind.
const REPORTS: usize = 256;

/// A running lab. Dropping it ends it without a word to anybody; see [`Lab::stop`].
#[derive(Debug)]
pub struct Lab {
    local: SocketAddr,
    reports: broadcast::Sender<CallReport>,
    registrations: watch::Receiver<Vec<Registration>>,
    control: Control,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lab {
    /// Opens its sockets, UDP and TCP, and serves from then on, within the tokio runtime it is called in.
    ///
    /// # Errors
    /// `InvalidInput` when it listens everywhere and advertises nothing, and what the socket says.
    pub async fn start(config: LabConfig) -> io::Result<Lab> {
        let Some(address) = config.advertised() else {
            let why = "a lab that listens everywhere needs an address to advertise";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        };
        let endpoint = Endpoint::open(EndpointConfig::new(config.listen, config::USER_AGENT))
            .map_err(|error| match error {
                OpenError::Listen { source, .. } => source,
                other => io::Error::other(other),
            })?;
        let (reports, _) = broadcast::channel(REPORTS);
        let (registrations_sender, registrations) = watch::channel(Vec::new());
        let (requests, receiver) = mpsc::channel(control::REQUESTS);
        let handles = server::Handles {
            reports: reports.clone(),
            registrations: registrations_sender,
            requests: requests.clone(),
        };
        let local = SocketAddr::new(address, endpoint.local_addr().port());
        let server = server::Server::new(config, endpoint, local, handles);
        Ok(Lab {
            local,
            reports,
            registrations,
            control: Control { requests },
            task: tokio::spawn(server.run(receiver)),
        })
    }

    /// Where it is reached, as it advertises itself.
    pub fn sip_addr(&self) -> SocketAddr {
        self.local
    }

    /// Calls that end from now on.
    pub fn reports(&self) -> broadcast::Receiver<CallReport> {
        self.reports.subscribe()
    }

    /// Who is signed in, now and after each change, sorted by DN.
    pub fn registrations(&self) -> watch::Receiver<Vec<Registration>> {
        self.registrations.clone()
    }

    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Hangs up all calls and ends.
    pub async fn stop(self) {
        let (reply, done) = oneshot::channel();
        if self.control.requests.send(control::Request::Stop { reply }).await.is_ok() {
            // It answers within seconds, or is gone already.
            let _ = done.await;
        }
    }
}
