//! What happened, as one value for everybody who wants to know: a call's timeline, the dashboard, the
//! metrics, the alerts, the store.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::agent::{Dialect, EndReason};
use crate::media::{CallStats, MediaEvent};

use super::record::CallRecord;

/// Something that happened. Holds no secret: passwords, SSIDs, tokens and keys are taken out before.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: SystemTime,
    pub about: About,
    pub what: What,
}

/// Whom and what it is about, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The DN, or the id of a guest.
    pub user: Option<Arc<str>>,
    /// Our own id of the call, as in the log and in the raw-SDP dialect.
    pub call: Option<Arc<str>>,
}

impl About {
    pub fn user(user: &str) -> Self {
        Self { user: Some(user.into()), call: None }
    }

    pub fn call(user: &str, call: &str) -> Self {
        Self { user: Some(user.into()), call: Some(call.into()) }
    }
}

/// What it was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    // An agent.
    SignedIn {
        dialect: Dialect,
        remote: IpAddr,
    },
    /// `fault` is a word of a bounded set, for metrics; `detail` a sentence.
    SignInRefused {
        remote: IpAddr,
        fault: &'static str,
        detail: String,
    },
    SessionEnded {
        why: EndReason,
    },
    Registered {
        server: String,
    },
    RegistrationFailed {
        code: u16,
        text: String,
        will_retry: bool,
    },

    // A call.
    CallStarted {
        /// The client's own id in the raw-SDP dialect.
        agent_id: Option<String>,
        peer: String,
        incoming: bool,
        call_uuid: Option<String>,
    },
    /// The words of [`crate::agent::CallState::state`].
    CallState(&'static str),
    /// The 200 to an INVITE is on its way.
    Answered {
        /// Since what it answers for came in: the browser's ANSWER, NOTIFY talk, a command.
        took: Duration,
    },
    /// A message of the browser's, or one for it. SDP is in `body` without keys and passwords.
    Http {
        inbound: bool,
        /// `OFFER`, `answer`, `BYE`, as the dialect calls it.
        kind: &'static str,
        /// Outbound only. `None`: it was put into the mailbox. Then once more, without its body, when a
        /// poll takes it: after so long.
        waited: Option<Duration>,
        body: String,
        /// Why the browser was refused it, where it was.
        fault: Option<String>,
    },
    /// The call has a SIP leg with this Call-ID.
    SipLeg {
        call_id: String,
    },
    /// The call goes on with somebody else, or under another name.
    Peer {
        number: String,
        name: Option<String>,
    },
    /// Its SIP server did not take the call: it goes by this one.
    Rerouted {
        server: String,
    },
    /// A SIP message as it went over the wire, credentials, keys and digits taken out. About a DN as far
    /// as the message says it, and about no call: [`What::SipLeg`] tells which Call-ID is whose.
    Sip {
        inbound: bool,
        /// `udp`, `tcp`, `tls`.
        transport: &'static str,
        local: SocketAddr,
        peer: SocketAddr,
        call_id: String,
        text: Arc<str>,
    },
    Media(MediaEvent),
    /// The first RTP of the browser's.
    BrowserMedia,
    /// Either side holds, or has stopped to.
    Hold {
        by_browser: bool,
        held: bool,
    },
    /// Every few seconds while a call has media: the counters so far.
    Quality(Box<CallStats>),
    CallEnded(Box<CallRecord>),

    // The gateway.
    Server {
        name: String,
        up: bool,
        reason: Option<String>,
        rtt: Option<Duration>,
    },
    Draining {
        /// Calls that it waits for.
        calls: usize,
    },
    Reloaded {
        /// Keys that took effect.
        changed: Vec<String>,
    },
    /// The store of finished calls cannot keep them (the sentence says why), or can again.
    Store {
        fault: Option<String>,
    },
    /// The system's clock was set by so much that finished calls would be deleted for it (the sentence says
    /// what is done instead), or can be believed again.
    Clock {
        fault: Option<String>,
    },
    /// An operator did something.
    Operated {
        /// A word of a bounded set: `hangup`, `sign_out`, and those of [`crate::agent::Operated::word`].
        act: &'static str,
        /// What it was set to, where that is not plain.
        detail: Option<String>,
        /// The name of the token.
        by: String,
        remote: IpAddr,
    },
    /// An alert was raised, or is over.
    Alert {
        /// A word of a bounded set: `registration`, `no_rtp`, `ports`, `sip_server`, `certificate`, `turn`, `store`,
        /// `clock`, `sign_in`.
        kind: &'static str,
        raised: bool,
        text: String,
    },
}
