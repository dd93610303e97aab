//! What a browser says and hears, whichever dialect it speaks.

/// A ROAP ICE candidate. `candidate` is kept as sent, with or without `a=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub candidate: String,
    pub sdp_mid: Option<String>,
    pub sdp_mline_index: Option<u32>,
}

/// `{key, value}` of `attacheddata`.
pub type DataPair = (String, String);

/// The session numbers of a ROAP message (grtc-wire.md, "ROAP messages").
/// The raw-SDP dialect has none; its messages carry zeros and `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoapIds {
    pub offerer: u64,
    pub answerer: Option<u64>,
    pub seq: u64,
}

/// A message of the browser's, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromBrowser {
    Offer {
        /// `None` in the raw-SDP dialect: each POST is a new offer.
        ids: Option<RoapIds>,
        tiebreaker: Option<u32>,
        sdp: String,
        candidates: Vec<Candidate>,
        attached: Vec<DataPair>,
    },
    Answer {
        ids: Option<RoapIds>,
        sdp: String,
        candidates: Vec<Candidate>,
        attached: Vec<DataPair>,
    },
    Ok {
        ids: RoapIds,
    },
    /// The client could not use what we sent.
    Error {
        ids: Option<RoapIds>,
        error: RoapError,
    },
    Bye,
    /// User data for the SIP server: `application/x-www-form-urlencoded`.
    InfoMap(String),
    /// User data for the far end: `application/octet-stream`.
    InfoPeer(String),
    GetStats,
    // The raw-SDP dialect's commands.
    Hold,
    Resume,
    Dtmf(String),
    /// Answers a call that waits while another one has the browser.
    Accept,
    /// A second call, on the peer connection of the first.
    Call {
        to: String,
    },
    Transfer {
        to: String,
        replaces: Option<String>,
    },
}

/// `errorType` of a ROAP ERROR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoapError {
    /// The session numbers fit nothing.
    NoMatch,
    Timeout,
    Refused,
    /// Glare.
    Conflict,
    /// Glare with equal tiebreakers.
    DoubleConflict,
    /// The description cannot be used.
    Failed,
}

/// A message for the browser.
#[derive(Debug, Clone, PartialEq)]
pub enum ToBrowser {
    Offer {
        ids: RoapIds,
        tiebreaker: u32,
        sdp: String,
        attached: Vec<DataPair>,
    },
    Answer {
        ids: RoapIds,
        sdp: String,
        /// The far end has not answered: this is for what is heard before it does.
        early: bool,
    },
    Ok {
        ids: RoapIds,
    },
    Error {
        ids: Option<RoapIds>,
        error: RoapError,
        detail: String,
    },
    /// The far end's ringing: an event of the raw-SDP dialect, not sent by the JSAPI one.
    Ringing,
    /// The far end has answered a call whose media flowed already. An event of the raw-SDP dialect.
    Connected,
    /// A second call rings. An event of the raw-SDP dialect.
    Waiting,
    /// A call is over that the browser was not with, or while others go on on its peer connection. An
    /// event of the raw-SDP dialect.
    Ended {
        code: u16,
        reason: String,
    },
    /// The call goes on with somebody else, or under another name. An event of the raw-SDP dialect.
    Peer,
    /// How a transfer goes. An event of the raw-SDP dialect.
    Transfer {
        code: u16,
        text: String,
    },
    /// A digit of the far end's. An event of the raw-SDP dialect.
    Digit(char),
    /// The call is over. `code` and `reason` are for the dialects that show them.
    Bye {
        code: u16,
        reason: String,
    },
    /// An INVITE or re-INVITE without SDP.
    Invite,
    Talk,
    Hold,
    /// The far end holds the call: `HOLD` in the raw-SDP dialect, nothing in the JSAPI one.
    PeerHold,
    /// The far end took the call off hold: `RESUME` in the raw-SDP dialect, nothing in the JSAPI one.
    PeerResume,
    InfoPeer(String),
    Stats(Box<CallStatistics>),
    /// The page is to call that number: somebody beside it wants so. Sent to clients that say that they
    /// do.
    Dial {
        to: String,
    },
    /// Another sign-in took this session's place.
    Replaced,
}

impl ToBrowser {
    /// Without it the client knows less, but its call stands as well as with it.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            ToBrowser::InfoPeer(_)
                | ToBrowser::Digit(_)
                | ToBrowser::Stats(_)
                | ToBrowser::Ringing
                | ToBrowser::Transfer { .. }
        )
    }

    /// Says only how a call stands with regard to hold: a later one says it better.
    pub fn is_hold_state(&self) -> bool {
        matches!(
            self,
            ToBrowser::Talk | ToBrowser::Hold | ToBrowser::PeerHold | ToBrowser::PeerResume
        )
    }
}

/// `PUT-STATS`: times in ms (grtc-js-api.md, "Statistics").
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct CallStatistics {
    /// Milliseconds since the epoch.
    pub timestamp: u64,
    /// Milliseconds since the call was answered.
    pub duration: u64,
    pub audio: AudioStatistics,
    /// The same of the other leg, which the JSAPI knows nothing of.
    pub sip: AudioStatistics,
}

#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct AudioStatistics {
    pub rtt: f64,
    pub rtt_max: f64,
    pub rtt_average: f64,
    /// The browser's always is, the SIP side's may be.
    pub encrypted: bool,
    /// What the gateway received from this side.
    pub rx: StreamStatistics,
    /// What the gateway sent to it; loss and jitter as it reports them.
    pub tx: StreamStatistics,
}

#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct StreamStatistics {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub jitter: f64,
    pub reordered: u64,
    pub duplicates: u64,
    pub concealed: u64,
    /// Mean opinion score, average and worst of intervals of 5 s; `None` before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mos_worst: Option<f64>,
}

/// A message for the browser with what the dialects say about its call.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// DN or number of the other party; empty where there is none.
    pub peer: String,
    pub peer_name: Option<String>,
    /// Our id of the call; empty where there is none.
    pub call: String,
    /// `X-Genesys-CallUUID`.
    pub call_uuid: Option<String>,
    /// Whom the caller had called before it was sent here.
    pub diverted_from: Option<String>,
    /// The caller is not to be shown.
    pub private: bool,
    pub message: ToBrowser,
}
