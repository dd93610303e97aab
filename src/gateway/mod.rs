//! The runtime between the pure cores and the world: one task per signed-in agent, which owns its
//! user agent and its calls.
//!
//! A task takes what comes in (browser messages, SIP, media events, time), hands it to the core
//! concerned, and carries out what the core wants. Nothing is decided here that a core could decide.

mod agent_calls;
mod agent_messages;
mod agent_task;
mod backend;
mod bindings;
mod cadence;
mod calls;
mod certificates;
mod commands;
mod drain;
pub mod files;
mod journaling;
mod live;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod operations;
mod reload;
mod servers;
mod standing;
pub(crate) mod start;
#[cfg(test)]
mod stumbling;
mod taps;
mod tls_watch;
mod turn;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::agent::{
    EndReason, Identity, LineCommand, LineState, MessageError, Session, Sessions, SignIn,
    SignInError, Tap,
};
use crate::call::{CallConfig, DigitsBy};
use crate::config::{Config, DtmfBy, Network, ReliableProvisional, Reload, SipServer};
use crate::journal::store::Store;
use crate::journal::watch::Watch;
use crate::journal::{About, Journal, What};
use crate::media::Engine;
use crate::panics::{self, caught, keep_running};
use crate::sip::servers::{Link, ServerStatus};
use crate::sip::transport::tls::TlsFiles;
use crate::sip::{Credentials, Endpoint, RegistrationStatus, Reliable, SessionTimer, UaConfig};
use crate::wire::FromBrowser;

use agent_task::AgentTask;
use bindings::Bindings;
use certificates::Certificates;
use drain::Drain;
pub use drain::Life;
use journaling::Journaling;
use live::LiveCalls;
use names::Names;
pub use reload::LIVE as LIVE_KEYS;
use reload::{Reloader, Settings};
use servers::Watcher;
pub use start::{Running, StartError, start};
use turn::Ice;

/// Messages that may wait for an agent's task: a browser sends a few per call.
const AGENT_QUEUE: usize = 32;

/// How long a sign-in waits for the outcome of its REGISTER; a bit above SIP's Timer F.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(34);

/// How long a sign-out waits for the SIP server to confirm.
const SIGN_OUT_LIMIT: Duration = Duration::from_secs(3);

/// How long a call waits for an agent who signs in again after a restart: a JSAPI client asks 3 s after
/// its poll broke, and of many each waits for the turn of its REGISTER.
const RETURN: Duration = Duration::from_secs(10);

/// Characters in a DN or guest id: it becomes the user part of a SIP URI.
const MAX_ID: usize = 64;

/// Guests at a time. Nobody asks them for a password, so that only this keeps a script from filling the
/// memory; each costs some 7 KB, and its poll some 25 KB more.
const MAX_GUESTS: usize = 2048;

/// DNs at a time, those that are just signing in among them. Beyond this a second gateway is due.
const MAX_AGENTS: usize = 20_000;

/// What an agent's task is asked.
#[derive(Debug)]
enum Request {
    Message {
        /// Boxed: a channel keeps 32 places ready, and most agents use none of them.
        message: Box<(Option<String>, FromBrowser)>,
        posted: Instant,
        reply: oneshot::Sender<Result<(), MessageError>>,
    },
    Command {
        command: LineCommand,
        reply: oneshot::Sender<Result<(), MessageError>>,
    },
    State {
        reply: oneshot::Sender<LineState>,
    },
    /// By an operator; the answer is whether there was such a call.
    HangUp {
        call: String,
        reply: oneshot::Sender<bool>,
    },
    SignOut {
        done: oneshot::Sender<()>,
    },
    /// Panics, and if so wished once more while the session is ended.
    #[cfg(test)]
    Stumble {
        again: bool,
    },
}

/// How a DN is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub dn: String,
    pub status: RegistrationStatus,
}

/// Who hears of what happens.
struct Told {
    journal: Journal,
    /// One of the journal's observers.
    watch: Arc<Watch>,
}

/// Everything the tasks share.
pub(crate) struct Shared {
    settings: ArcSwap<Settings>,
    /// Where SIP is taken from besides the servers.
    networks: Arc<ArcSwap<Vec<Network>>>,
    server_list: watch::Sender<Vec<SipServer>>,
    tls_files: watch::Sender<TlsFiles>,
    /// Others that take a new configuration.
    parts: Mutex<Vec<Arc<dyn Reload>>>,
    reloader: tokio::sync::Mutex<Option<Reloader>>,
    journal: Journal,
    /// Finished calls; there from the start on.
    store: OnceLock<Arc<Store>>,
    /// Tells the journal what sessions' polls take.
    polls: Arc<dyn Tap>,
    journaling: OnceLock<Journaling>,
    /// What the operators look at.
    watch: Arc<Watch>,
    live: LiveCalls,
    endpoint: Endpoint,
    engine: Engine,
    /// Pairs of RTP ports there are.
    ports: u64,
    ice: Ice,
    certificates: Arc<Certificates>,
    /// To the SIP servers and the pacer.
    link: Link,
    servers: Arc<ArcSwap<servers::Known>>,
    /// How the DN of each session is registered, by SSID.
    registrations: DashMap<String, Registration>,
    sessions: Sessions,
    agents: DashMap<String, mpsc::Sender<Request>>,
    /// Held while a session enters the tables and claims its DN, so that of two sign-ins at the same
    /// instant one has both and the other neither.
    entering: Mutex<()>,
    bindings: Bindings,
    /// Places for guests and for DNs; a task holds one to its end.
    guest_places: Arc<Semaphore>,
    agent_places: Arc<Semaphore>,
    registered: AtomicUsize,
    active_calls: AtomicUsize,
    tasks: TaskTracker,
    drain: Drain,
    shutdown: CancellationToken,
}

/// The gateway behind the HTTP surfaces. A handle: clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

impl Gateway {
    fn new(
        config: Config,
        told: Told,
        endpoint: Endpoint,
        engine: Engine,
        ice: Ice,
        names: Names,
        networks: Arc<ArcSwap<Vec<Network>>>,
    ) -> Self {
        let Told { journal, watch: observer } = told;
        let (server_list, list) = watch::channel(config.sip.servers.clone());
        let (tls_files, named_files) = watch::channel(start::tls_files(&config.sip.tls));
        let (watcher, watched) = Watcher::new(&config.sip, &endpoint, names, list, journal.clone());
        let certificates = Arc::new(Certificates::new(&start::tls_files(&config.sip.tls)));
        let ports = operations::port_pairs(&config.media.rtp_ports);
        let gateway = Self {
            shared: Arc::new(Shared {
                settings: Settings::new(config),
                networks,
                server_list,
                tls_files,
                parts: Mutex::default(),
                reloader: tokio::sync::Mutex::default(),
                polls: Arc::new(taps::Polls(journal.clone())),
                journaling: OnceLock::new(),
                journal,
                store: OnceLock::new(),
                watch: observer,
                live: LiveCalls::new(),
                endpoint,
                engine,
                ports,
                ice,
                certificates,
                link: watched.link,
                servers: watched.known,
                registrations: DashMap::new(),
                sessions: Sessions::new(),
                agents: DashMap::new(),
                entering: Mutex::new(()),
                bindings: Bindings::default(),
                guest_places: Arc::new(Semaphore::new(MAX_GUESTS)),
                agent_places: Arc::new(Semaphore::new(MAX_AGENTS)),
                registered: AtomicUsize::new(0),
                active_calls: AtomicUsize::new(0),
                tasks: TaskTracker::new(),
                drain: Drain::default(),
                shutdown: CancellationToken::new(),
            }),
        };
        gateway.begin_loops(watcher, named_files);
        gateway
    }

    /// What goes on beside the agents' tasks. One that panics begins anew.
    fn begin_loops(&self, mut watcher: Watcher, named_files: watch::Receiver<TlsFiles>) {
        let (tasks, stop) = (&self.shared.tasks, self.shared.shutdown.clone());
        let shared = Arc::clone(&self.shared);
        tasks.spawn(keep_running("the leases", move || sweep_leases(Arc::clone(&shared))));
        let shared = Arc::clone(&self.shared);
        let watch = move || operations::watch_over(Arc::clone(&shared));
        tasks.spawn(keep_running("the alerts", watch));
        let (endpoint, shutdown) = (self.shared.endpoint.clone(), stop.clone());
        let certificates = Arc::clone(&self.shared.certificates);
        tasks.spawn(keep_running("the certificates of SIP", move || {
            let certificates = Arc::clone(&certificates);
            let (named, stop) = (named_files.clone(), shutdown.clone());
            tls_watch::keep_current(endpoint.clone(), certificates, named, stop)
        }));
        // It goes on with what it knows of the servers.
        tasks.spawn(async move {
            while caught(pin!(watcher.run(stop.clone()))).await.is_err() {
                error!("the watch over the SIP servers panicked and begins anew");
                tokio::time::sleep(panics::PAUSE).await;
            }
        });
    }

    pub fn sip_addr(&self) -> std::net::SocketAddr {
        self.shared.endpoint.local_addr()
    }

    pub fn media_stats(&self) -> crate::media::EngineStats {
        self.shared.engine.stats()
    }

    /// `None` without an embedded TURN server.
    pub fn turn_stats(&self) -> Option<crate::turn::TurnStats> {
        self.shared.ice.stats()
    }

    pub fn sip_stats(&self) -> crate::sip::EndpointStats {
        self.shared.endpoint.stats()
    }

    /// The SIP servers in the order to be tried, with their health; those whose name resolves.
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.shared.servers.load().servers.clone()
    }

    /// How each signed-in DN is registered, sorted by DN.
    pub fn registrations(&self) -> Vec<Registration> {
        let all = self.shared.registrations.iter();
        let mut all: Vec<Registration> = all.map(|entry| entry.value().clone()).collect();
        all.sort_by(|a, b| a.dn.cmp(&b.dn));
        all
    }

    /// REGISTERs that wait for their turn, for want of `sip.register_rate`.
    pub fn waiting_registers(&self) -> usize {
        self.shared.link.pacing.waiting()
    }

    /// How far its life has come.
    pub fn life(&self) -> Life {
        match self.shared.drain.until() {
            _ if self.shared.shutdown.is_cancelled() => Life::Stopping,
            Some(until) => Life::Draining { calls: self.calls(), until },
            None => Life::Serving,
        }
    }

    /// After a start: agents of the process before this one are on their way back, and a call for one of
    /// them waits until he is here. See `sip::returning`.
    pub fn wait_for_agents(&self) {
        self.shared.endpoint.wait_for_users(Some(Instant::now() + RETURN));
    }

    fn is_leaving(&self) -> bool {
        self.life() != Life::Serving
    }

    /// Calls that are set up or up.
    pub fn calls(&self) -> usize {
        self.shared.active_calls.load(Ordering::Relaxed)
    }

    /// Takes nobody new from now on, and ends with the last call; see [`Running::drained`]. Again it does
    /// nothing.
    pub fn drain(&self) -> Life {
        let limit = self.shared.settings.load().config.lifecycle.drain;
        if self.shared.drain.begin(Instant::now() + limit) {
            self.shared.endpoint.wait_for_users(None);
            let calls = self.calls();
            info!(calls, limit_s = limit.as_secs(), "draining");
            self.shared.journal.note(About::default(), What::Draining { calls });
        }
        self.life()
    }

    /// Ends every session and call. DNs stay registered: the agents come back to a restarted gateway
    /// before their registrations run out.
    pub async fn shut_down(&self) {
        for session in self.shared.sessions.all() {
            session.end(EndReason::Shutdown);
        }
        self.shared.shutdown.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.close_journal().await;
    }

    async fn sign_in(&self, request: SignIn) -> Result<Arc<Session>, SignInError> {
        let (remote, user) = (request.remote, request.identity.user().to_owned());
        let outcome = self.try_sign_in(request).await;
        if let Err(error) = &outcome {
            self.note_refusal(remote, &user, error);
        }
        outcome
    }

    fn note_refusal(&self, remote: IpAddr, user: &str, error: &SignInError) {
        let (fault, detail) = (error.label(), error.to_string());
        // What is no id may be anything, a password among others.
        let about = if check_id(user).is_ok() { About::user(user) } else { About::default() };
        let user = about.user.as_deref().unwrap_or("?");
        match error {
            // Those are many, and the first ones have been told.
            SignInError::TooManyTries { .. } => {
                debug!(user, %remote, fault, %detail, "sign-in refused")
            }
            _ => warn!(user, %remote, fault, %detail, "sign-in refused"),
        }
        self.shared.journal.note(about, What::SignInRefused { remote, fault, detail });
    }

    async fn try_sign_in(&self, request: SignIn) -> Result<Arc<Session>, SignInError> {
        let shared = &self.shared;
        if self.is_leaving() {
            return Err(drain::come_back());
        }
        check_id(request.identity.user())?;
        if let Some(other) =
            request.client_id.as_deref().and_then(|id| shared.sessions.by_client_id(id))
            && other.identity() != &request.identity
        {
            return Err(SignInError::IdInUse);
        }
        let places = match &request.identity {
            Identity::Anonymous(_) => &shared.guest_places,
            Identity::Dn(_) => &shared.agent_places,
        };
        let place = Arc::clone(places)
            .try_acquire_owned()
            .map_err(|_| SignInError::Busy("as many are signed in as it has room for"))?;
        let config = self.user_agent_config(&request)?;
        // A sign-out of the DN that is under way would take the new registration with it.
        let _registering = shared.bindings.register(&request.identity).await;
        let session = Session::new(&request);
        session.set_tap(Arc::clone(&shared.polls));
        let (outcome_tx, outcome) = oneshot::channel();
        let mut task = AgentTask::new(
            Arc::clone(shared),
            Arc::clone(&session),
            request.remote,
            config,
            outcome_tx,
        );
        shared.tasks.spawn(async move {
            task.run().await;
            drop(task);
            drop(place);
        });
        match tokio::time::timeout(SIGN_IN_LIMIT, outcome).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(error),
            // A task that drops its end was stopped before it could say why.
            Ok(Err(_)) | Err(_) => {
                session.end(EndReason::RegistrationLost);
                return Err(match self.is_leaving() {
                    true => drain::come_back(),
                    false => SignInError::NoAnswer,
                });
            }
        }
        info!(user = request.identity.user(), dialect = ?request.dialect, "signed in");
        Ok(session)
    }

    fn user_agent_config(&self, request: &SignIn) -> Result<UaConfig, SignInError> {
        let settings = self.shared.settings.load();
        let sip = &settings.config.sip;
        let current = self.shared.link.current.borrow().clone();
        let current = current.map_err(|why| SignInError::Unavailable(why.as_ref().to_owned()))?;
        let user = request.identity.user().to_owned();
        let registers = matches!(request.identity, Identity::Dn(_));
        if let (Some(why), true) = (current.down, registers) {
            return Err(SignInError::Unavailable(format!("it is unreachable, {why}")));
        }
        let reliable = match sip.reliable {
            ReliableProvisional::Off => Reliable::Off,
            ReliableProvisional::Required => Reliable::WhenRequired,
            ReliableProvisional::Supported => Reliable::WhenSupported,
        };
        Ok(UaConfig {
            credentials: request
                .password
                .clone()
                .map(|password| Credentials { username: user.clone(), password }),
            registers,
            expires: sip.register_expires,
            user_agent: sip.user_agent.clone(),
            reliable,
            session_timer: SessionTimer {
                expires: sip.session_expires,
                min: sip.min_session_expires,
            },
            headers: sip.headers.clone(),
            ..UaConfig::new(user, sip.domain.clone(), current.server, current.advertise)
        })
    }

    async fn ask<T>(
        &self,
        session: &Session,
        request: Request,
        answer: oneshot::Receiver<T>,
    ) -> Option<T> {
        let agent = self.shared.agents.get(session.ssid().expose()).map(|entry| entry.clone())?;
        agent.send(request).await.ok()?;
        answer.await.ok()
    }
}

/// Ids become part of SIP URIs and of log lines.
fn check_id(id: &str) -> Result<(), SignInError> {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()+$".contains(c);
    if id.is_empty() || id.len() > MAX_ID {
        return Err(SignInError::BadId("it takes 1 to 64 characters".into()));
    }
    if !id.chars().all(usable) {
        return Err(SignInError::BadId(
            "a DN has letters, digits and - _ . ! ~ * ' ( ) + $".into(),
        ));
    }
    Ok(())
}

fn call_config(config: &Config) -> CallConfig {
    CallConfig {
        codecs: config.media.codecs.clone(),
        digits: match config.sip.dtmf {
            DtmfBy::Auto => DigitsBy::Auto,
            DtmfBy::Rtp => DigitsBy::Rtp,
            DtmfBy::Info => DigitsBy::Info,
        },
        ringback: config.media.tones.is_some(),
        attached_prefix: config.sip.attached_prefix.clone(),
        srtp: config.media.srtp,
        video: config.media.video.clone(),
    }
}

/// Ends sessions whose clients have gone without a word.
async fn sweep_leases(shared: Arc<Shared>) {
    loop {
        let lease = shared.settings.load().config.agents.lease;
        let pause = (lease / 4).clamp(Duration::from_millis(250), Duration::from_secs(5));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.shutdown.cancelled() => return,
        }
        for session in shared.sessions.expired(Instant::now(), lease) {
            warn!(user = session.identity().user(), "the lease has run out");
            session.end(EndReason::LeaseExpired);
        }
    }
}
