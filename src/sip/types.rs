//! What passes between a user agent and those above it.

use std::net::SocketAddr;
use std::time::Duration;

use super::hop::Hop;
use crate::secret::Secret;

/// One INVITE session of a user agent, from the first message to the last. Chosen by the side
/// that starts it: by the caller of [`Command::Invite`], by the user agent for an incoming one
/// (those have the top bit set, so that the two never meet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    pub const INCOMING: u64 = 1 << 63;
}

/// Digest credentials (RFC 7616, RFC 3261 22).
#[derive(Debug, Clone)]
pub struct Credentials {
    pub username: String,
    pub password: Secret,
}

/// Whether provisional answers of ours other than 100 are sent reliably (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reliable {
    /// Never: an INVITE that requires it is refused with 420.
    Off,
    /// Where the caller requires it.
    #[default]
    WhenRequired,
    /// Where the caller can.
    WhenSupported,
}

/// Session timers (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// What we ask for in an INVITE, and grant at most. None: we ask for none, and do our part of what
    /// the peer asks for.
    pub expires: Option<Duration>,
    /// The shortest we take; at least 90 s by the RFC.
    pub min: Duration,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self { expires: Some(Duration::from_secs(1800)), min: Duration::from_secs(90) }
    }
}

/// Who a user agent is and where its server stands.
#[derive(Debug, Clone)]
pub struct UaConfig {
    /// User part of the AOR and of the Contact: the DN.
    pub user: String,
    /// Host part of the AOR.
    pub domain: String,
    /// Display name in From, if any.
    pub display_name: Option<String>,
    /// What REGISTER and new dialogs are sent to.
    pub server: Hop,
    /// `host:port` in Via and Contact: where we are reached by the transport of `server`.
    pub advertise: SocketAddr,
    /// False for an anonymous guest: it calls but is never registered.
    pub registers: bool,
    pub credentials: Option<Credentials>,
    /// Asked for in REGISTER; what the server grants counts.
    pub expires: Duration,
    pub user_agent: String,
    pub reliable: Reliable,
    pub session_timer: SessionTimer,
    /// Headers of the deployment's own in every REGISTER and INVITE that starts something.
    pub headers: Vec<HeaderPair>,
}

impl UaConfig {
    /// A DN that registers for 300 s, without credentials, with everything else at its default.
    pub fn new(
        user: impl Into<String>,
        domain: impl Into<String>,
        server: Hop,
        advertise: SocketAddr,
    ) -> Self {
        Self {
            user: user.into(),
            domain: domain.into(),
            display_name: None,
            server,
            advertise,
            registers: true,
            credentials: None,
            expires: Duration::from_secs(300),
            user_agent: concat!("wrtc-gateway/", env!("CARGO_PKG_VERSION")).to_owned(),
            reliable: Reliable::default(),
            session_timer: SessionTimer::default(),
            headers: Vec::new(),
        }
    }
}

/// A SIP server, and `host:port` of ours toward it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub server: Hop,
    pub advertise: SocketAddr,
}

/// A header of a message as applications see it.
pub type HeaderPair = (String, String);

/// What a user agent is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Register,
    /// REGISTER with Expires 0, at sign-out only.
    Unregister,
    /// A call out. `to` is a user part (`1003`) or a whole SIP URI. No SDP means a delayed offer.
    Invite {
        session: SessionId,
        to: String,
        sdp: Option<String>,
        headers: Vec<HeaderPair>,
    },
    /// Provisional answer to an incoming INVITE: 180, or 183 with SDP. Said again every minute. Where it
    /// is to be reliable ([`UaConfig::reliable`], RFC 3262) it waits for the PRACK of the one before; an
    /// SDP in it is then the answer to the INVITE, which `Accept` only repeats.
    Progress {
        session: SessionId,
        code: u16,
        sdp: Option<String>,
    },
    /// 200 to an incoming INVITE. An answer where it had an offer, otherwise an offer.
    Accept {
        session: SessionId,
        sdp: String,
    },
    /// Ends the session in whichever way its state asks for: CANCEL, a final answer with `code`, or BYE.
    /// [`Event::Ended`] follows at once, by us, with 487, `code` or 200; the protocol's rest (a CANCEL
    /// that waits for a provisional answer, a BYE that waits for an ACK) is the user agent's own
    /// business, and done when [`super::UserAgent::is_idle`].
    /// `cause` goes into the Reason header (RFC 3326) as `SIP;cause=...;text="..."`.
    End {
        session: SessionId,
        code: u16,
        text: String,
    },
    /// An offer in the dialog (re-INVITE), or with `None` a request for the peer's offer.
    /// Offers queue: one at a time per dialog, glare is settled inside (RFC 3261 14.1). Before the call is
    /// up an offer goes by UPDATE where both ends can (RFC 3311), otherwise when it is.
    Reinvite {
        session: SessionId,
        sdp: Option<String>,
    },
    /// 200 to a re-INVITE or UPDATE that came in: an answer, or an offer where it had none.
    AcceptReinvite {
        session: SessionId,
        sdp: String,
    },
    /// 488, 491 and their kin to a re-INVITE or UPDATE that came in.
    RejectReinvite {
        session: SessionId,
        code: u16,
    },
    /// The answer to an offer that came in a 2xx; it goes out in the ACK.
    AnswerInAck {
        session: SessionId,
        sdp: String,
    },
    /// SIP INFO (RFC 6086, or bare as SIP servers use it).
    Info {
        session: SessionId,
        content_type: String,
        body: Vec<u8>,
    },
    /// NOTIFY `Event: talk` or `hold` as a SIP server sends it to its telephones: in the early or
    /// the confirmed dialog, without a subscription, with an empty body.
    Notify {
        session: SessionId,
        event: NotifyEvent,
    },
    /// REFER (RFC 3515): the peer is asked to call `to`, a user part or a whole SIP URI; with `replaces`
    /// in place of that other session of ours (RFC 3891, the attended transfer). What becomes of it
    /// comes as [`Event::Transferring`], the last of them with `done`. The session itself stands until
    /// somebody ends it. An empty `to` with `replaces` means whom that session is with. Asked for once
    /// more while one is under way, it waits for its turn (four of them at most).
    Refer {
        session: SessionId,
        to: String,
        replaces: Option<SessionId>,
    },
    /// 202 to a REFER that came in. What becomes of the call it asked for is told by `ReferProgress`.
    AcceptRefer {
        refer: ReferId,
    },
    /// A refusal of a REFER that came in: 603 and its kin.
    RejectRefer {
        refer: ReferId,
        code: u16,
    },
    /// NOTIFY with a `message/sipfrag` body about the call a REFER asked for (RFC 3515 2.4.4); a final
    /// `code` ends the implicit subscription.
    ReferProgress {
        refer: ReferId,
        code: u16,
        text: String,
    },
}

/// What a user agent has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Each time the server grants a REGISTER, the refreshes too.
    Registered { expires: Duration },
    /// The server refused (`code`) or did not answer (408, 503). The user agent goes on trying with
    /// growing pauses unless the refusal is final (401/403/404 with the credentials it has). A refusal
    /// after these credentials have been granted once is taken for the server's trouble, and retried.
    RegistrationFailed { code: u16, text: String, will_retry: bool },
    /// Sign-out done, or given up on.
    Unregistered,
    /// A new INVITE. 100 has been sent; 180 is for [`Command::Progress`] to say.
    Invited { session: SessionId, invite: Box<Invited> },
    /// A provisional answer to our INVITE. Each early dialog has its own `early` number.
    Progressed { session: SessionId, code: u16, text: String, sdp: Option<String>, early: u32 },
    /// 2xx to our INVITE. With [`Command::Invite`] without SDP, `sdp` is an offer and the ACK waits for
    /// [`Command::AnswerInAck`]; otherwise the ACK has been sent.
    Answered { session: SessionId, sdp: Option<String> },
    /// ACK to our 2xx to INVITE or re-INVITE that the application accepted; with the answer when the 2xx
    /// held an offer.
    Acked { session: SessionId, sdp: Option<String> },
    /// re-INVITE or UPDATE that came in; wants `AcceptReinvite` or `RejectReinvite`, and is answered 500
    /// after 25 s without. One whose SDP is that of the last exchange, letter by letter, is a refresh
    /// and is answered inside with ours of then; so is an UPDATE without SDP.
    Reinvited { session: SessionId, sdp: Option<String> },
    /// 2xx to our re-INVITE or UPDATE. Where ours had no SDP this is an offer and wants `AnswerInAck`.
    /// Unasked when the peer answers a refresh of ours with another SDP than before.
    ReinviteAnswered { session: SessionId, sdp: Option<String> },
    /// Our re-INVITE was refused; the session stands as it did. (481 and 408 end it instead.)
    ReinviteRefused { session: SessionId, code: u16, text: String },
    /// Our re-INVITE or UPDATE could not be sent, and the pause after that is over: what is wanted by now is
    /// for [`Command::Reinvite`] to say. Refused with 503 where that goes on for 32 s.
    ReinviteUnsent { session: SessionId },
    /// A 3xx sent our INVITE to another target: the user agent calls it now. `to` is its URI.
    Redirected { session: SessionId, to: String },
    /// A SIP server did not take our INVITE (503, or it was out of reach): the user agent tries the next one.
    Rerouted { session: SessionId, server: Hop },
    /// Whom the session is with as the network says it: P-Asserted-Identity in an answer, a re-INVITE or
    /// an UPDATE (RFC 3325, RFC 4916), told when it changes.
    Identified { session: SessionId, party: Party },
    /// How our [`Command::Refer`] goes: the sipfrag of each NOTIFY, or the refusal of the REFER itself,
    /// or a subscription that ended without a word (`done`, code 408). Exactly one has `done`, and what waits
    /// for its turn comes after it. `done` with a final code is the outcome; 202 is all there will be heard
    /// where the peer wants no subscription (RFC 4488). `done` with a provisional code: the session or the
    /// subscription ended before the call that was asked for was settled, and this is the last that was
    /// heard of it. 487: the session ended before the REFER had an answer.
    Transferring { session: SessionId, code: u16, text: String, done: bool },
    /// REFER that came in, in the dialog of `session` or outside of any. Wants `AcceptRefer` or
    /// `RejectRefer`; without either within 30 s it is refused with 603, and with 487 when its session ends
    /// meanwhile.
    Referred { refer: ReferId, session: Option<SessionId>, referred: Box<Referred> },
    /// NOTIFY `Event: talk` or `hold`, in an early or a confirmed dialog. 200 has been sent.
    Notified { session: SessionId, event: NotifyEvent },
    /// INFO that came in; 200 has been sent.
    Informed { session: SessionId, content_type: String, body: Vec<u8> },
    /// Our INFO was refused (405, 415, 501...) or had no answer (408): what it brought did not arrive. The
    /// session stands. 481 ends it instead.
    InfoRefused { session: SessionId, code: u16 },
    /// The last event of a session, exactly one.
    Ended { session: SessionId, end: End },
}

impl Event {
    /// The session it is about, if it is about one.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Event::Invited { session, .. }
            | Event::Progressed { session, .. }
            | Event::Answered { session, .. }
            | Event::Acked { session, .. }
            | Event::Reinvited { session, .. }
            | Event::ReinviteAnswered { session, .. }
            | Event::ReinviteRefused { session, .. }
            | Event::ReinviteUnsent { session }
            | Event::Redirected { session, .. }
            | Event::Rerouted { session, .. }
            | Event::Identified { session, .. }
            | Event::Transferring { session, .. }
            | Event::Notified { session, .. }
            | Event::Informed { session, .. }
            | Event::InfoRefused { session, .. }
            | Event::Ended { session, .. } => Some(*session),
            Event::Referred { session, .. } => *session,
            Event::Registered { .. } | Event::RegistrationFailed { .. } | Event::Unregistered => {
                None
            }
        }
    }
}

/// An INVITE as the application sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Invited {
    /// User part of From, or its host when there is none.
    pub from: String,
    pub display_name: Option<String>,
    /// User part of the Request-URI.
    pub to: String,
    pub sdp: Option<String>,
    pub call_id: String,
    /// `X-Genesys-CallUUID`.
    pub call_uuid: Option<String>,
    /// Headers that are none of SIP's own business (`X-...`).
    pub headers: Vec<HeaderPair>,
    pub identity: Identity,
    /// The session of ours that this call takes the place of (RFC 3891): it is to be ended by the
    /// application once the new call stands. Early ones are already matched by the rules of section 3.
    pub replaces: Option<SessionId>,
    /// Referred-By (RFC 3892), as it came.
    pub referred_by: Option<String>,
}

/// Somebody as a name-addr says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Party {
    pub display_name: Option<String>,
    /// User part of the URI, or its host when there is none.
    pub number: String,
    /// The URI as it came.
    pub uri: String,
}

/// What an INVITE says about its sender beyond From.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// P-Asserted-Identity, else Remote-Party-ID with `party=calling` (RFC 3325).
    pub asserted: Option<Party>,
    /// Diversion (RFC 5806) or History-Info (RFC 7044): who was called before us, the latest first.
    pub diverted: Vec<Diversion>,
    /// `Privacy: id` or `header` or `user` (RFC 3323), or an anonymous From: not to be shown.
    pub private: bool,
}

/// One diversion: whose telephone it was, and why the call left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    pub party: Party,
    /// `no-answer`, `user-busy`, `unconditional`..., or empty.
    pub reason: String,
}

/// One REFER that came in, numbered by the user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReferId(pub u64);

/// What a REFER asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Referred {
    /// Whom Refer-To names.
    pub display_name: Option<String>,
    /// Refer-To's URI without embedded headers: what [`Command::Invite`] takes as `to`.
    pub to: String,
    /// The Replaces header embedded in Refer-To, unescaped: to be sent in the INVITE.
    pub replaces: Option<String>,
    /// Referred-By (RFC 3892), to be sent in the INVITE.
    pub referred_by: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyEvent {
    Talk,
    Hold,
}

impl NotifyEvent {
    /// What stands in the Event header.
    pub fn package(self) -> &'static str {
        match self {
            NotifyEvent::Talk => "talk",
            NotifyEvent::Hold => "hold",
        }
    }
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// [`Command::End`].
    Us,
    /// BYE, CANCEL or a final answer of the peer's.
    Peer,
    /// Time-outs, transport errors, a missing ACK.
    Network,
}

/// Why a session ended: a SIP status code (200 for an ordinary BYE, 487 for CANCEL), its text,
/// and the Reason header as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub by: EndedBy,
    pub code: u16,
    pub text: String,
    pub reason_header: Option<String>,
}

/// How a DN's registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegistrationState {
    /// Not wanted.
    SignedOut,
    /// The first answer is awaited.
    Registering,
    /// Granted, and refreshed in time since.
    Registered,
    /// The last try failed, or the server is down; there will be another one. The server may hold a
    /// binding meanwhile, see [`RegistrationStatus::expires_at`].
    Failing,
    /// Refused for good.
    Refused,
}

/// A DN's registration, for dashboards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationStatus {
    pub state: RegistrationState,
    /// Where it is registered, or tries to be.
    pub server: Hop,
    /// As it stands in the Contact header: `<sip:DN@host:port>`.
    pub contact: String,
    /// When what was granted last runs out, or has run out.
    pub expires_at: Option<std::time::Instant>,
    /// The last answer to a REGISTER, or 408 or 503 for none.
    pub last_code: Option<u16>,
    /// Its text, as the server wrote it.
    pub last_reason: Option<String>,
    /// In this state since then; None before the first REGISTER.
    pub since: Option<std::time::Instant>,
}

/// What a user agent was sent and could not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// REFERs whose Refer-To is missing, malformed or asks for something else than a call.
    pub bad_refers: u64,
    /// NOTIFYs of a REFER without a status line.
    pub bad_sipfrags: u64,
    /// INFOs, sipfrags, REFERs and branches of a forked call beyond what one dialog or user agent takes.
    pub floods: u64,
}
