//! The lab in the hands of a test.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::phone::{Hold, Phone, PhoneConfig};
use crate::sdp::Codec;
use crate::sip::{End, HeaderPair, NotifyEvent, ReferId, Referred};

/// Requests that wait for the server; it takes them at once.
pub(super) const REQUESTS: usize = 64;
/// What a leg can tell before its test listens: more than any call in a test makes. A test that
/// does not listen loses what comes after.
pub(super) const EVENTS: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("the lab has stopped")]
    Stopped,
    #[error("the DN is not registered")]
    NotRegistered,
    #[error("there is no such call")]
    NoSuchCall,
    #[error("the lab has as many calls as it may")]
    Full,
    #[error("no socket could be opened for the telephone")]
    NoSocket,
}

/// When the ACK to a 2xx goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    #[default]
    AtOnce,
    /// Not before [`Leg::release_ack`].
    Withheld,
}

/// The SDP in an ACK that was withheld, where the 2xx held an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckSdp {
    /// The telephone's own answer.
    #[default]
    Answer,
    /// The offer itself, as Genesys does when the far end refused.
    OfferEchoed,
    /// `c=0.0.0.0`, as Genesys does too.
    BlackHole,
}

/// A call of the lab to a DN.
#[derive(Debug, Clone)]
pub struct CallOut {
    /// The number in From.
    pub from: String,
    /// False: an INVITE without SDP, the offer is wanted from the DN.
    pub offer: bool,
    pub ack: Ack,
    pub phone: PhoneConfig,
    pub headers: Vec<HeaderPair>,
}

impl CallOut {
    pub fn new(from: &str) -> Self {
        Self {
            from: from.to_owned(),
            offer: true,
            ack: Ack::AtOnce,
            phone: PhoneConfig::default(),
            headers: Vec::new(),
        }
    }
}

/// What happened on a leg under control. The telephone has done its part (offers, answers) already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegEvent {
    Progressed {
        code: u16,
        text: String,
        sdp: Option<String>,
    },
    /// 2xx to the INVITE.
    Answered {
        sdp: Option<String>,
    },
    /// ACK to our 2xx.
    Acked {
        sdp: Option<String>,
    },
    /// A re-INVITE or UPDATE that came in and was answered.
    Reinvited {
        sdp: Option<String>,
    },
    ReinviteAnswered {
        sdp: Option<String>,
    },
    ReinviteRefused {
        code: u16,
        text: String,
    },
    Notified(NotifyEvent),
    Informed {
        content_type: String,
        body: Vec<u8>,
    },
    /// A REFER that came in; wants [`Leg::accept_refer`] or [`Leg::reject_refer`].
    Referred {
        refer: ReferId,
        referred: Box<Referred>,
    },
    /// How our REFER goes.
    Transferring {
        code: u16,
        text: String,
        done: bool,
    },
    /// The last one.
    Ended(End),
}

/// What a test wants of the server.
#[derive(Debug)]
pub(super) enum Request {
    Call { dn: String, call: CallOut, reply: oneshot::Sender<Result<Leg, ControlError>> },
    Find { dn: String, reply: oneshot::Sender<Result<Leg, ControlError>> },
    Take { number: String, legs: mpsc::Sender<Leg> },
    Act { leg: LegId, act: Act },
    Replaces { leg: LegId, reply: oneshot::Sender<Option<String>> },
    Stop { reply: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(super) enum Act {
    Progress { code: u16, sdp: bool },
    Accept,
    Reinvite,
    AskForOffer,
    Notify(NotifyEvent),
    Info { content_type: String, body: Vec<u8> },
    ReleaseAck(AckSdp),
    WithholdAck,
    Refer { to: String },
    AcceptRefer { refer: ReferId },
    RejectRefer { refer: ReferId, code: u16 },
    ReferProgress { refer: ReferId, code: u16, text: String },
    End { code: u16, text: String },
}

/// One leg of a call, numbered by the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LegId(pub(super) u64);

/// Drives a [`super::Lab`] from a test.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) requests: mpsc::Sender<Request>,
}

impl Control {
    /// Calls a DN at its registered contact.
    pub async fn call(&self, dn: &str, call: CallOut) -> Result<Leg, ControlError> {
        let dn = dn.to_owned();
        self.ask(|reply| Request::Call { dn, call, reply }).await
    }

    /// The newest call between the lab's own telephones and that DN (or guest), whoever set it up:
    /// that of a browser to `600`, for one. Events go to the handle that was made last.
    pub async fn leg(&self, dn: &str) -> Result<Leg, ControlError> {
        let dn = dn.to_owned();
        self.ask(|reply| Request::Find { dn, reply }).await
    }

    /// From now on calls to this number come to the test, which has to answer them.
    pub async fn take_number(&self, number: &str) -> Result<mpsc::Receiver<Leg>, ControlError> {
        let (legs, receiver) = mpsc::channel(16);
        let request = Request::Take { number: number.to_owned(), legs };
        self.requests.send(request).await.map_err(|_| ControlError::Stopped)?;
        Ok(receiver)
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<Leg, ControlError>>) -> Request,
    ) -> Result<Leg, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| ControlError::Stopped)?;
        answer.await.map_err(|_| ControlError::Stopped)?
    }
}

/// A call between one of the lab's telephones and a DN. Dropping it leaves the call as it is.
#[derive(Debug)]
pub struct Leg {
    pub(super) id: LegId,
    pub(super) phone: Arc<Phone>,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) events: mpsc::Receiver<LegEvent>,
    /// Who the DN's INVITE came from, or where ours went.
    pub(super) dn: String,
    /// SDP and headers of an INVITE that came in.
    pub(super) invite: Option<Box<crate::sip::Invited>>,
}

impl Leg {
    pub fn dn(&self) -> &str {
        &self.dn
    }

    /// The INVITE, for a call that came in.
    pub fn invite(&self) -> Option<&crate::sip::Invited> {
        self.invite.as_deref()
    }

    /// The audio end: play, dtmf, heard.
    pub fn phone(&self) -> &Phone {
        &self.phone
    }

    /// What happened next; `None` when all was told.
    pub async fn next(&mut self) -> Option<LegEvent> {
        self.events.recv().await
    }

    /// Provisional answer, with SDP (early media) or without.
    pub async fn progress(&self, code: u16, sdp: bool) -> Result<(), ControlError> {
        self.act(Act::Progress { code, sdp }).await
    }

    /// 200 to the INVITE.
    pub async fn accept(&self) -> Result<(), ControlError> {
        self.act(Act::Accept).await
    }

    /// NOTIFY `Event: talk` or `hold`, in the early or the confirmed dialog.
    pub async fn notify(&self, event: NotifyEvent) -> Result<(), ControlError> {
        self.act(Act::Notify(event)).await
    }

    /// A re-INVITE with what the telephone wants now.
    pub async fn reinvite(&self) -> Result<(), ControlError> {
        self.act(Act::Reinvite).await
    }

    /// A re-INVITE that puts the DN on hold, or with [`Hold::No`] retrieves it.
    pub async fn hold(&self, hold: Hold) -> Result<(), ControlError> {
        self.phone.set_hold(hold);
        self.reinvite().await
    }

    /// A re-INVITE without SDP.
    pub async fn ask_for_offer(&self) -> Result<(), ControlError> {
        self.act(Act::AskForOffer).await
    }

    /// A re-INVITE with another RTP port.
    pub async fn change_port(&self) -> Result<SocketAddr, ControlError> {
        let address = self.phone.change_port().await.map_err(|_| ControlError::NoSocket)?;
        self.reinvite().await?;
        Ok(address)
    }

    /// A re-INVITE with other codecs and another payload type for telephone-event.
    pub async fn change_codecs(
        &self,
        codecs: Vec<Codec>,
        telephone_event: Option<u8>,
    ) -> Result<(), ControlError> {
        self.phone.set_codecs(codecs);
        self.phone.set_telephone_event(telephone_event);
        self.reinvite().await
    }

    /// SIP INFO.
    pub async fn info(&self, content_type: &str, body: &[u8]) -> Result<(), ControlError> {
        self.act(Act::Info { content_type: content_type.to_owned(), body: body.to_vec() }).await
    }

    /// ACKs to the 2xx that come from now on wait for [`Leg::release_ack`].
    pub async fn withhold_ack(&self) -> Result<(), ControlError> {
        self.act(Act::WithholdAck).await
    }

    /// Sends the ACK that was withheld.
    pub async fn release_ack(&self, sdp: AckSdp) -> Result<(), ControlError> {
        self.act(Act::ReleaseAck(sdp)).await
    }

    /// CANCEL, a refusal with this code, or BYE, with a Reason header.
    pub async fn hang_up(&self, code: u16, text: &str) -> Result<(), ControlError> {
        self.act(Act::End { code, text: text.to_owned() }).await
    }

    /// REFER: the DN is asked to call this number or URI.
    pub async fn refer(&self, to: &str) -> Result<(), ControlError> {
        self.act(Act::Refer { to: to.to_owned() }).await
    }

    /// 202 to a REFER that came in.
    pub async fn accept_refer(&self, refer: ReferId) -> Result<(), ControlError> {
        self.act(Act::AcceptRefer { refer }).await
    }

    /// A refusal of a REFER that came in.
    pub async fn reject_refer(&self, refer: ReferId, code: u16) -> Result<(), ControlError> {
        self.act(Act::RejectRefer { refer, code }).await
    }

    /// NOTIFY with a sipfrag about the call that a REFER asked for.
    pub async fn refer_progress(
        &self,
        refer: ReferId,
        code: u16,
        text: &str,
    ) -> Result<(), ControlError> {
        self.act(Act::ReferProgress { refer, code, text: text.to_owned() }).await
    }

    /// The Replaces header of an INVITE to the DN that is to take this call's place.
    pub async fn replaces(&self) -> Result<String, ControlError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Replaces { leg: self.id, reply };
        self.requests.send(request).await.map_err(|_| ControlError::Stopped)?;
        answer.await.map_err(|_| ControlError::Stopped)?.ok_or(ControlError::NoSuchCall)
    }

    async fn act(&self, act: Act) -> Result<(), ControlError> {
        let request = Request::Act { leg: self.id, act };
        self.requests.send(request).await.map_err(|_| ControlError::Stopped)
    }
}
