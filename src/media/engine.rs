//! The handles through which the rest of the process uses the media plane.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::{
    BrowserLocal, BrowserRemote, CallStats, EngineStats, Flow, MediaConfig, MediaEvent, MediaId,
    OpenError, SipRemote, StartError,
};

/// The running media plane. A cheap handle; when the last one is gone, the workers stop.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<()>,
}

impl Engine {
    /// Binds every worker's port, makes the DTLS certificate and starts the threads.
    pub fn start(config: MediaConfig) -> Result<Engine, StartError> {
        let _ = config;
        todo!()
    }

    /// Opens the media of one call on the least loaded worker. Returns at once.
    pub fn open(
        &self,
        events: UnboundedSender<(MediaId, MediaEvent)>,
    ) -> Result<Bridge, OpenError> {
        let _ = events;
        todo!()
    }

    pub fn stats(&self) -> EngineStats {
        todo!()
    }

    /// The bound browser-side ports, one per worker.
    pub fn browser_ports(&self) -> Vec<SocketAddr> {
        todo!()
    }
}

/// One call's media. Dropping it closes the call and lets its ports rest.
pub struct Bridge {
    engine: Arc<()>,
}

impl Bridge {
    pub fn id(&self) -> MediaId {
        todo!()
    }

    /// Our ICE credentials, fingerprint, candidates and SSRC, for the SDP toward the browser.
    pub fn browser_local(&self) -> BrowserLocal {
        todo!()
    }

    /// The RTP address for the SDP toward SIP; RTCP is on the next port.
    pub fn rtp_local(&self) -> SocketAddr {
        todo!()
    }

    /// The browser's description. The same fingerprint and ufrag again change the payloads only; a
    /// new ufrag is an ICE restart; the DTLS association survives unless the fingerprint changes.
    pub fn set_browser(&self, remote: BrowserRemote) {
        let _ = remote;
        todo!()
    }

    /// New local credentials for an ICE restart. The old ones work until the new ones are used.
    pub fn restart_ice(&self) -> BrowserLocal {
        todo!()
    }

    /// A whole new peer connection: the next [`Bridge::set_browser`] describes it. The old one
    /// keeps flowing until the new one is connected.
    pub fn renew_browser(&self) -> BrowserLocal {
        todo!()
    }

    /// Target, codecs and payload types of the SIP side; opens a new learning window for
    /// symmetric RTP.
    pub fn set_sip(&self, remote: SipRemote) {
        let _ = remote;
        todo!()
    }

    pub fn set_flow(&self, flow: Flow) {
        let _ = flow;
        todo!()
    }

    /// Sends digits toward SIP as RFC 4733 events, after those still waiting.
    pub fn send_digits(&self, digits: &str) {
        let _ = digits;
        todo!()
    }

    /// A snapshot, at most some 100 ms old.
    pub fn stats(&self) -> CallStats {
        todo!()
    }
}
