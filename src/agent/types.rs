//! What passes between the HTTP surfaces and the gateway behind them.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::journal::store::Store;
use crate::journal::{Timelines, Traces};
use crate::secret::Secret;
use crate::wire::FromBrowser;

use super::{Draining, Operations, ReloadError, Reloaded, Session};

/// Which HTTP surface drives a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The Genesys JSAPI: the session is named by its SSID.
    Jsapi,
    /// Raw SDP over plain requests: the session is named by the client's own id.
    Rest,
}

impl Dialect {
    /// The word in logs, metrics and call records.
    pub fn label(self) -> &'static str {
        match self {
            Dialect::Jsapi => "jsapi",
            Dialect::Rest => "rest",
        }
    }
}

/// Whom a session stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A DN: registered at the SIP server, one session at a time.
    Dn(String),
    /// A guest: calls out, is not registered.
    Anonymous(String),
}

impl Identity {
    /// The user part toward SIP.
    pub fn user(&self) -> &str {
        match self {
            Identity::Dn(dn) => dn,
            Identity::Anonymous(id) => id,
        }
    }
}

#[derive(Debug, Clone)]
pub struct SignIn {
    pub dialect: Dialect,
    /// The client's own id, in the raw-SDP dialect only.
    pub client_id: Option<String>,
    pub identity: Identity,
    pub password: Option<Secret>,
    pub remote: IpAddr,
}

/// Why a sign-in was refused, each with the HTTP status it maps to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// 400
    #[error("the id is not usable: {0}")]
    BadId(String),
    /// 401: the SIP server refused the credentials.
    #[error("the SIP server refused the credentials: {0}")]
    Refused(String),
    /// 401: not the secret that the gateway has for the DN (`agents.sign_in = "secret"`).
    #[error("the DN or the password is wrong")]
    WrongPassword,
    /// 401
    #[error("this gateway takes one-time tokens only, no passwords (agents.sign_in)")]
    TokenWanted,
    /// 403
    #[error("guests may not sign in at this gateway (agents.guests)")]
    NoGuests,
    /// 401: what stood in the password's place is no token, or not any more.
    #[error("this one-time token was used, has run out, or is for another DN")]
    Token,
    /// 403
    #[error("the SIP server forbids this DN: {0}")]
    Forbidden(String),
    /// 404
    #[error("the SIP server does not know this DN: {0}")]
    UnknownDn(String),
    /// 409: raw-SDP dialect, the id is signed in with another DN.
    #[error("the id is signed in already with another DN")]
    IdInUse,
    /// 429
    #[error("too many tries; try again in {retry_after_seconds} s")]
    TooManyTries { retry_after_seconds: u64 },
    /// 503: this gateway is about to stop; another one, or this one when it is back, takes the agent.
    #[error("the gateway takes no sign-in now: it is stopping")]
    Draining { retry_after_seconds: u64 },
    /// 503: this gateway is full, or about to stop.
    #[error("the gateway takes no sign-in now: {0}")]
    Busy(&'static str),
    /// 503: the SIP server is out of reach or says so itself.
    #[error("the SIP server is unavailable: {0}")]
    Unavailable(String),
    /// 504 (503 in the JSAPI dialect): no answer.
    #[error("the SIP server did not answer")]
    NoAnswer,
}

impl SignInError {
    /// One word of a bounded set: for the API, metrics and the journal.
    pub fn label(&self) -> &'static str {
        match self {
            SignInError::BadId(_) => "bad_id",
            SignInError::Refused(_) | SignInError::WrongPassword => "credentials_refused",
            SignInError::TokenWanted => "token_wanted",
            SignInError::NoGuests => "no_guests",
            SignInError::Token => "token_unknown",
            SignInError::Forbidden(_) => "dn_forbidden",
            SignInError::UnknownDn(_) => "dn_unknown",
            SignInError::IdInUse => "id_in_use",
            SignInError::TooManyTries { .. } => "too_many_tries",
            SignInError::Draining { .. } => "gateway_draining",
            SignInError::Busy(_) => "gateway_busy",
            SignInError::Unavailable(_) => "sip_unavailable",
            SignInError::NoAnswer => "sip_timeout",
        }
    }
}

/// Why a message was not taken, each with the HTTP status it maps to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// 400
    #[error("{0}")]
    BadRequest(String),
    /// 404: the session ended meanwhile.
    #[error("the session has ended")]
    NotSignedIn,
    /// 409
    #[error("{0}")]
    WrongState(String),
    /// 422
    #[error("{0}")]
    UnusableSdp(String),
    /// 503: no port, no worker, SIP server down.
    #[error("{0}")]
    Unavailable(String),
}

impl MessageError {
    /// The SIP status that says the same, for call records.
    pub fn sip_code(&self) -> u16 {
        match self {
            MessageError::BadRequest(_) => 400,
            MessageError::NotSignedIn => 480,
            MessageError::WrongState(_) => 486,
            MessageError::UnusableSdp(_) => 488,
            MessageError::Unavailable(_) => 503,
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client asked for it.
    SignedOut,
    /// An operator asked for it.
    Dismissed,
    /// A newer sign-in of the same DN or client id.
    Replaced,
    /// Nothing was heard of the client for `agents.lease_seconds`.
    LeaseExpired,
    /// The client did not fetch its messages: the mailbox ran over.
    MailboxFull,
    /// The SIP server no longer grants the registration.
    RegistrationLost,
    /// A fault of the gateway's own.
    Stumbled,
    /// The gateway stops.
    Shutdown,
}

impl EndReason {
    /// For the log, the call record and the API.
    pub fn sentence(self) -> &'static str {
        match self {
            EndReason::SignedOut => "signed out",
            EndReason::Dismissed => "signed out by an operator",
            EndReason::Replaced => "another sign-in took the session's place",
            EndReason::LeaseExpired => "nothing was heard of the client for too long",
            EndReason::MailboxFull => "the client did not fetch its messages",
            EndReason::RegistrationLost => "the SIP server no longer grants the registration",
            EndReason::Stumbled => "the gateway stumbled over this session",
            EndReason::Shutdown => "the gateway is stopping",
        }
    }
}

/// Why a message was not put into a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The message would have been one too many; the session has been ended for it.
    #[error("the mailbox is full: the client does not fetch its messages")]
    MailboxFull,
    /// The mailbox is half full, and this message is none that a call depends on: it was dropped.
    #[error("the client fetches its messages too slowly; a passing one was dropped")]
    Crowded,
    #[error("the session has ended")]
    Ended,
}

/// How an agent's line stands, for those who look from beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineState {
    /// The SIP server has accepted the last REGISTER of the DN.
    pub registered: bool,
    /// In the order in which they began.
    pub calls: Vec<CallState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallState {
    pub id: String,
    pub peer: String,
    /// `calling`, `ringing`, `waiting`, `established`, `held` or `ended`.
    pub state: &'static str,
    pub started: SystemTime,
}

impl LineState {
    /// The call that waits for the agent, the oldest.
    pub fn ringing(&self) -> Option<&CallState> {
        self.calls.iter().find(|call| matches!(call.state, "ringing" | "waiting"))
    }

    /// A call that is set up or up.
    pub fn active(&self) -> Option<&CallState> {
        let up = |call: &&CallState| matches!(call.state, "calling" | "established" | "held");
        self.calls.iter().find(up)
    }
}

/// What somebody other than the agent's page wants its line to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineCommand {
    /// The page is told to call: it alone has a microphone.
    Call {
        to: String,
    },
    /// As NOTIFY talk does it.
    Answer,
    HangUp,
    /// As NOTIFY hold does it.
    Hold,
    /// As NOTIFY talk does it.
    Retrieve,
    Dtmf(String),
}

/// `/api/health`, counted part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    pub registered_agents: usize,
    pub active_calls: usize,
}

/// STUN and TURN servers for a browser's peer connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IceServers {
    pub servers: Vec<IceServer>,
    /// For how long the credentials open relays; zero where there are none.
    pub ttl: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceServer {
    pub urls: Vec<String>,
    /// What TURN wants and STUN does not.
    pub login: Option<IceLogin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceLogin {
    pub username: String,
    pub credential: Secret,
    /// Unix time.
    pub expires: u64,
}

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the HTTP surfaces ask of the gateway. Behind a trait so that each surface is tested without SIP.
pub trait Backend: Send + Sync + 'static {
    /// Signs in and waits for the outcome of the REGISTER. The newest sign-in of a DN owns it.
    fn sign_in(&self, request: SignIn) -> Answer<'_, Result<Arc<Session>, SignInError>>;

    /// A sign-in was refused before it came this far.
    fn sign_in_refused(&self, _remote: IpAddr, _user: &str, _error: &SignInError) {}

    /// Releases the call, unregisters, ends the session. Unknown sessions are none of its business.
    fn sign_out<'a>(&'a self, session: &'a Arc<Session>) -> Answer<'a, ()>;

    /// Hands a message to the call. The answer is about whether it was taken; what comes of it
    /// arrives in the mailbox.
    fn message<'a>(
        &'a self,
        session: &'a Arc<Session>,
        to: Option<String>,
        message: FromBrowser,
    ) -> Answer<'a, Result<(), MessageError>>;

    /// JSAPI: by SSID.
    fn by_ssid(&self, ssid: &str) -> Option<Arc<Session>>;

    /// Raw-SDP dialect: by the client's id.
    fn by_client_id(&self, id: &str) -> Option<Arc<Session>>;

    /// The session that owns a DN.
    fn by_dn(&self, dn: &str) -> Option<Arc<Session>>;

    /// Sessions of DNs, `most` of them at most and in no order.
    fn signed_in(&self, most: usize) -> Vec<Arc<Session>>;

    /// `None` for a session that has ended.
    fn line<'a>(&'a self, session: &'a Arc<Session>) -> Answer<'a, Option<LineState>>;

    /// The answer is about whether the line could begin with it.
    fn command<'a>(
        &'a self,
        session: &'a Arc<Session>,
        command: LineCommand,
    ) -> Answer<'a, Result<(), MessageError>>;

    /// The calls that the journal has in memory, and the way to those it has put away.
    fn timelines(&self) -> Option<Arc<Timelines>> {
        None
    }

    /// Whose SIP is in the log.
    fn traces(&self) -> Option<Arc<Traces>> {
        None
    }

    fn health(&self) -> Health;

    /// Finished calls, where they are kept.
    fn store(&self) -> Option<Arc<Store>> {
        None
    }

    /// What operators see and do.
    fn operations(&self) -> &dyn Operations;

    /// Begins to let go: see [`Draining`]. A second time it only tells how that stands.
    fn drain(&self) -> Draining {
        Draining::default()
    }

    /// Reads the configuration again.
    fn reload(&self) -> Answer<'_, Result<Reloaded, ReloadError>> {
        Box::pin(async { Err(ReloadError::NoSources) })
    }

    /// The STUN and TURN servers that this user's browser may use, none unless configured.
    fn ice_servers(&self, _user: &Identity) -> IceServers {
        IceServers::default()
    }
}
