//! One call of the line: its SIP session, and where that stands.

use std::net::SocketAddr;
use std::time::Instant;

use crate::sdp::{KeySource, SrtpPolicy};
use crate::sip::{ReferId, SessionId};
use crate::wire::DataPair;

use super::digits::Keys;
use super::ringback::Ringback;
use super::sip_leg::SipLeg;
use super::{CallDirection, DigitsBy};

/// How far a call has come on the SIP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our INVITE is out.
    Calling,
    /// Their INVITE waits for an answer. `offered`: it brought an SDP.
    Ringing {
        offered: bool,
    },
    /// Our 200 held an offer; the answer comes with the ACK.
    AwaitingAck,
    Established,
    Ended,
}

/// What a call is to the others of its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Own,
    /// Called because a REFER in `of` asked for it: takes that call's place when it is answered.
    Successor {
        of: SessionId,
        refer: ReferId,
    },
    /// Another call has taken its place. The peer hangs up, or we do when the deadline comes.
    Replaced,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub direction: CallDirection,
    pub phase: Phase,
    pub role: Role,
    pub sip: SipLeg,
    /// The agent has put the call on hold, here or in WWE, or another call has.
    pub held: bool,
    /// The peer has put us on hold, as last told to the browser.
    pub peer_held: bool,
    /// An offerless re-INVITE waits for the browser's OFFER.
    pub retrieving: bool,
    /// The far end's ringing has been told.
    pub rang: bool,
    /// A provisional answer brought an SDP: media flows already.
    pub early: bool,
    /// We ring in place of the far end.
    pub ringback: Ringback,
    pub answered_at: Option<Instant>,
    pub deadline: Option<Instant>,
    /// A REFER of ours is under way. In it: the call that is to be replaced.
    pub transferring: Option<Option<SessionId>>,
    /// The last that was heard of a transfer.
    pub transfer_code: Option<u16>,
    /// Digits that go out as INFO, one after the other.
    pub keys: Keys,
    /// Digits the agent has sent.
    pub digits: u32,
    /// The ACK has come, or has gone out.
    pub confirmed: bool,
    /// User data of the INVITE, for the browser's OFFER.
    pub attached: Vec<DataPair>,
    /// User data of the agent's that goes out once the session is confirmed.
    pub data: Option<String>,
}

impl Leg {
    pub fn new(
        session: SessionId,
        direction: CallDirection,
        phase: Phase,
        rtp: SocketAddr,
        origin: u64,
        digits: DigitsBy,
        srtp: (SrtpPolicy, KeySource),
    ) -> Self {
        Self {
            direction,
            phase,
            role: Role::Own,
            sip: SipLeg::new(session, rtp, origin, digits != DigitsBy::Info, srtp),
            held: false,
            peer_held: false,
            retrieving: false,
            rang: false,
            early: false,
            ringback: Ringback::No,
            answered_at: None,
            deadline: None,
            transferring: None,
            transfer_code: None,
            keys: Keys::default(),
            digits: 0,
            confirmed: false,
            attached: Vec::new(),
            data: None,
        }
    }

    pub fn is_ringing(&self) -> bool {
        matches!(self.phase, Phase::Ringing { .. })
    }

    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established | Phase::AwaitingAck)
    }

    /// Media may flow.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Established || self.phase == Phase::Calling && self.early
    }

    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let ringback = self.ringback_timeout();
        self.deadline.into_iter().chain(self.keys.poll_timeout()).chain(ringback).min()
    }
}
