//! One signed-in agent.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::delivery::{Delivery, Evidence};
use super::mailbox::{Mailbox, PollId, Refused, Step, Ticket};
use super::{Dialect, EndReason, Identity, PostError, SignIn, Verdict};
use crate::secret::Secret;
use crate::wire::Envelope;

/// The JSAPI asks again 3 s after an error, and first asks when it has its SSID; so long a client
/// without a hanging poll is believed to be on its way.
const PRESENCE: Duration = Duration::from_secs(5);

/// How long a connection that has acknowledged everything may still be reset before the message on
/// it counts as read. A client that threw it away unread has reset the connection before it asked
/// anew, so this only has to cover packets that overtake one another, which a virtual machine whose
/// cores are taken away for a while makes possible on loopback even. Only a client that leaves its
/// last connection idle and polls on another one waits so long for its next message.
const RESET_GRACE: Duration = Duration::from_millis(100);

/// How long a new poll waits for an older connection to acknowledge or reset. Then the older one is
/// torn down and the message sent again.
const UNSURE_LIMIT: Duration = Duration::from_secs(3);

/// How often an older connection is asked meanwhile. Rare: only when a client polls anew while a
/// message of its last poll is neither acknowledged nor refused.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A signed-in agent: who it is, its secret, its mailbox. Shared between the HTTP surface, which
/// drains the mailbox, and the gateway, which fills it.
pub struct Session {
    ssid: Secret,
    identity: Identity,
    dialect: Dialect,
    client_id: Option<String>,
    created: Instant,
    ended: CancellationToken,
    end_reason: OnceLock<EndReason>,
    connector_token: OnceLock<Secret>,
    changed: Notify,
    tap: OnceLock<Arc<dyn Tap>>,
    inner: Mutex<Inner>,
}

/// Is told what a session's polls take.
pub trait Tap: Send + Sync {
    /// `waited`: since it was posted. Once more for a message that did not arrive.
    fn handed_out(&self, session: &Session, envelope: &Envelope, waited: Duration);
}

struct Inner {
    mailbox: Mailbox,
    /// The connection that carries the message in flight.
    carrier: Option<(Ticket, Arc<dyn Evidence>)>,
    last_seen: Instant,
    awaited_answer: Option<String>,
    dials: bool,
}

/// One poll.
#[derive(Debug, Clone, Copy)]
pub struct Poll {
    /// Highest number that the client has received, where it says so. Then only such numbers confirm
    /// messages, and what the connection says confirms nothing.
    pub ack: Option<u64>,
    /// When to give up.
    pub deadline: Instant,
    /// Messages that the dialect cannot say are dropped.
    pub wants: fn(&Envelope) -> bool,
}

/// What a poll came to.
#[derive(Debug)]
pub enum Polled {
    Message(Delivery),
    /// The deadline passed.
    Nothing,
    /// A newer poll of the same session took over.
    TakenOver,
    Ended(EndReason),
}

impl Session {
    /// A new session with a fresh SSID.
    pub fn new(sign_in: &SignIn) -> Arc<Session> {
        let now = Instant::now();
        Arc::new(Session {
            ssid: fresh_ssid(),
            identity: sign_in.identity.clone(),
            dialect: sign_in.dialect,
            client_id: sign_in.client_id.clone(),
            created: now,
            ended: CancellationToken::new(),
            end_reason: OnceLock::new(),
            connector_token: OnceLock::new(),
            changed: Notify::new(),
            tap: OnceLock::new(),
            inner: Mutex::new(Inner {
                mailbox: Mailbox::default(),
                carrier: None,
                last_seen: now,
                awaited_answer: None,
                dials: false,
            }),
        })
    }

    /// Bearer secret: 192 random bits, only characters that need no escaping in a URL.
    pub fn ssid(&self) -> &Secret {
        &self.ssid
    }

    /// For the connector: drives the DN's phone, but does not hear its messages as the SSID does. Drawn
    /// when it is first asked for.
    pub fn connector_token(&self) -> Secret {
        self.connector_token.get_or_init(fresh_ssid).clone()
    }

    /// The first one stays.
    pub fn set_tap(&self, tap: Arc<dyn Tap>) {
        let _ = self.tap.set(tap);
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    pub fn created(&self) -> Instant {
        self.created
    }

    /// The client's last request or the end of its last poll; now, while a poll hangs.
    pub fn last_seen(&self, now: Instant) -> Instant {
        let inner = self.lock();
        if inner.mailbox.is_polled() { now } else { inner.last_seen }
    }

    /// A request of the client's came in.
    pub fn touch(&self, now: Instant) {
        self.lock().last_seen = now;
    }

    /// Would the client hear a message? A poll hangs, or the client was heard of less than 5 s ago.
    pub fn is_present(&self, now: Instant) -> bool {
        let inner = self.lock();
        inner.mailbox.is_polled() || now.saturating_duration_since(inner.last_seen) < PRESENCE
    }

    /// Puts a message at the end of the line.
    ///
    /// # Errors
    /// `MailboxFull` when 256 wait already, which ends the session; `Crowded` for a passing message when
    /// 128 wait; `Ended` after the session's end.
    pub fn post(&self, envelope: Envelope) -> Result<(), PostError> {
        if self.ended.is_cancelled() {
            return Err(PostError::Ended);
        }
        let posted = self.lock().mailbox.handle_post(envelope, Instant::now());
        match posted {
            Ok(()) => {
                self.changed.notify_waiters();
                Ok(())
            }
            Err(Refused::Crowded) => Err(PostError::Crowded),
            Err(Refused::Full) => {
                self.end(EndReason::MailboxFull);
                Err(PostError::MailboxFull)
            }
        }
    }

    /// Ends the session; the first reason stands. A hanging poll gets what is in the mailbox, or
    /// ends.
    pub fn end(&self, why: EndReason) {
        let _ = self.end_reason.set(why);
        self.ended.cancel();
        self.changed.notify_waiters();
    }

    /// Cancelled by [`Session::end`].
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub fn end_reason(&self) -> Option<EndReason> {
        self.end_reason.get().copied()
    }

    /// Raw-SDP dialect: `Some(peer)` while an offer of ours in the call with `peer` waits for this
    /// agent's SDP answer, so that a posted SDP is read as an answer and not as an offer.
    pub fn set_awaited_answer(&self, peer: Option<String>) {
        self.lock().awaited_answer = peer;
    }

    pub fn awaited_answer(&self) -> Option<String> {
        self.lock().awaited_answer.clone()
    }

    /// Whether the client, by its last poll, calls when it is told to ([`ToBrowser::Dial`]).
    ///
    /// [`ToBrowser::Dial`]: crate::wire::ToBrowser::Dial
    pub fn set_dials(&self, dials: bool) {
        self.lock().dials = dials;
    }

    pub fn dials(&self) -> bool {
        self.lock().dials
    }

    /// Messages that wait or whose arrival is not certain yet.
    pub fn backlog(&self) -> usize {
        self.lock().mailbox.len()
    }

    /// Waits for a message. A newer call of the same session takes over from an older one. Dropping
    /// the future ends the poll without losing anything.
    pub async fn poll(self: &Arc<Self>, poll: Poll) -> Polled {
        let hanging = Hanging::start(self, poll.ack);
        let deadline = tokio::time::Instant::from_std(poll.deadline);
        let mut doubtful: Option<(Ticket, Instant)> = None;
        loop {
            // Made before the look into the mailbox, so that nothing posted after it is missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();

            let step = self.lock().mailbox.poll_letter(hanging.id, poll.ack.is_some(), poll.wants);
            let ask_again = match step {
                Step::Letter(letter) => {
                    if let Some(tap) = self.tap.get() {
                        tap.handed_out(self, &letter.envelope, letter.posted.elapsed());
                    }
                    return Polled::Message(Delivery::new(Arc::clone(self), letter));
                }
                Step::Superseded => return Polled::TakenOver,
                Step::Empty => None,
                Step::InFlight(ticket) => {
                    let now = Instant::now();
                    let since = match doubtful {
                        Some((known, since)) if known == ticket => since,
                        _ => now,
                    };
                    doubtful = Some((ticket, since));
                    if self.ask_carrier(ticket, now.saturating_duration_since(since)) {
                        continue;
                    }
                    Some(ASK_AGAIN)
                }
            };
            if let Some(why) = self.end_reason() {
                return Polled::Ended(why);
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(ask_again.unwrap_or(Duration::MAX)),
                    if ask_again.is_some() => {}
                () = tokio::time::sleep_until(deadline) => return Polled::Nothing,
            }
        }
    }

    /// What became of the message in flight, now that another connection asks for messages? True
    /// when it is settled.
    fn ask_carrier(&self, ticket: Ticket, waited: Duration) -> bool {
        let carrier = {
            let inner = self.lock();
            match &inner.carrier {
                Some((carried, carrier)) if *carried == ticket => Some(Arc::clone(carrier)),
                _ => None,
            }
        };
        let verdict = carrier.as_ref().map_or(Verdict::Unsure, |carrier| carrier.verdict());
        match verdict {
            Verdict::Arrived => self.delivered(ticket),
            Verdict::Lost => self.lost(ticket),
            Verdict::Acknowledged if waited >= RESET_GRACE => self.delivered(ticket),
            Verdict::Unsure if waited >= UNSURE_LIMIT => {
                // It must not arrive there after it has been sent here.
                if let Some(carrier) = carrier {
                    carrier.abandon();
                }
                self.lost(ticket);
            }
            Verdict::Acknowledged | Verdict::Unsure => return false,
        }
        true
    }

    pub(super) fn carried_by(&self, ticket: Ticket, carrier: Arc<dyn Evidence>) {
        let mut inner = self.lock();
        if inner.mailbox.in_flight() == Some(ticket) {
            inner.carrier = Some((ticket, carrier));
        }
    }

    pub(super) fn delivered(&self, ticket: Ticket) {
        self.settle(ticket, Mailbox::handle_delivered);
    }

    pub(super) fn lost(&self, ticket: Ticket) {
        self.settle(ticket, Mailbox::handle_lost);
    }

    fn settle(&self, ticket: Ticket, outcome: fn(&mut Mailbox, Ticket) -> bool) {
        let dropped = {
            let mut inner = self.lock();
            let settled = outcome(&mut inner.mailbox, ticket);
            let carried = matches!(&inner.carrier, Some((carried, _)) if *carried == ticket);
            let dropped = if carried { inner.carrier.take() } else { None };
            if settled {
                self.changed.notify_waiters();
            }
            dropped
        };
        // The connection may close with its last owner: not under our lock.
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("identity", &self.identity)
            .field("dialect", &self.dialect)
            .field("client_id", &self.client_id)
            .field("end", &self.end_reason())
            .finish_non_exhaustive()
    }
}

/// Keeps the mailbox informed that a poll hangs, even when the request's future is dropped.
struct Hanging<'a> {
    session: &'a Session,
    id: PollId,
}

impl<'a> Hanging<'a> {
    fn start(session: &'a Session, ack: Option<u64>) -> Self {
        let id = {
            let mut inner = session.lock();
            inner.last_seen = Instant::now();
            if let Some(n) = ack {
                inner.mailbox.handle_ack(n);
            }
            inner.mailbox.handle_poll()
        };
        session.changed.notify_waiters();
        Hanging { session, id }
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut inner = self.session.lock();
        inner.mailbox.handle_poll_end(self.id);
        inner.last_seen = now;
    }
}

/// 24 random bytes in 32 characters of the URL-safe base64 alphabet: no `=`, nothing to escape.
fn fresh_ssid() -> Secret {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random: [u8; 32] = rand::random();
    // 256 is a multiple of 64, so that the low six bits of each byte are evenly spread.
    Secret::new(
        random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect::<String>(),
    )
}
