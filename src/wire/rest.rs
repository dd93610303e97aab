//! The raw-SDP dialect: SDP or one line of text in, SDP, text or JSON out.

use serde::Serialize;
use utoipa::ToSchema;

use super::jsapi::crlf;
use super::{Envelope, FromBrowser, ToBrowser};

/// Digits of one DTMF command: what fits a card number, a PIN and some menu choices.
pub const MAX_DIGITS: usize = 64;

/// The body of a message, before it is known whether an SDP is an offer or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Sdp(String),
    Command(FromBrowser),
}

impl Body {
    /// An SDP answers our offer, if one waits for that, and is an offer otherwise.
    pub fn into_message(self, answer_awaited: bool) -> FromBrowser {
        match self {
            Body::Command(command) => command,
            Body::Sdp(sdp) if answer_awaited => {
                FromBrowser::Answer { ids: None, sdp, candidates: Vec::new(), attached: Vec::new() }
            }
            Body::Sdp(sdp) => FromBrowser::Offer {
                ids: None,
                tiebreaker: None,
                sdp,
                candidates: Vec::new(),
                attached: Vec::new(),
            },
        }
    }
}

/// A body that is neither: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    #[error("the body is empty; it is to be an SDP or a command")]
    Empty,
    #[error(
        "the body is neither an SDP, which begins with v=0, nor one of BYE, ANSWER, HOLD, RESUME, DTMF, CALL, TRANSFER, INFO"
    )]
    Neither,
    #[error("a command is one line")]
    SeveralLines,
    #[error("{0} takes nothing after it")]
    NoArgument(&'static str),
    #[error("DTMF wants 1 to {MAX_DIGITS} of 0-9 * # A-D after it, as in `DTMF 123#`")]
    Digits,
    #[error(
        "TRANSFER wants a number after it, as in `TRANSFER 1004` or `TRANSFER 1004 REPLACES <call>`"
    )]
    Transfer,
    #[error("CALL wants a number after it, as in `CALL 1004`")]
    Call,
    #[error("INFO wants data after it, as in `INFO a=b&c=d`")]
    Info,
}

/// Reads the body of `POST /api/webrtc/message`. Commands are known in any case.
///
/// # Errors
/// Says in a sentence what is wrong with it.
pub fn parse_body(body: &str) -> Result<Body, BadBody> {
    let body = body.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    if body.starts_with("v=0") {
        return Ok(Body::Sdp(body.to_owned()));
    }
    let line = body.trim_end();
    if line.is_empty() {
        return Err(BadBody::Empty);
    }
    let (word, rest) = line.split_once([' ', '\t', '\r', '\n']).unwrap_or((line, ""));
    let rest = rest.trim();
    let bare = |name, command| {
        if rest.is_empty() { Ok(Body::Command(command)) } else { Err(BadBody::NoArgument(name)) }
    };
    let parsed = match word.to_ascii_uppercase().as_str() {
        "BYE" => bare("BYE", FromBrowser::Bye),
        "ANSWER" => bare("ANSWER", FromBrowser::Accept),
        "HOLD" => bare("HOLD", FromBrowser::Hold),
        "RESUME" => bare("RESUME", FromBrowser::Resume),
        "DTMF" => dtmf(rest),
        "CALL" if rest.is_empty() || rest.contains(char::is_whitespace) => Err(BadBody::Call),
        "CALL" => Ok(Body::Command(FromBrowser::Call { to: rest.to_owned() })),
        "TRANSFER" => transfer(rest),
        "INFO" if rest.is_empty() => Err(BadBody::Info),
        "INFO" => Ok(Body::Command(FromBrowser::InfoMap(rest.to_owned()))),
        _ => Err(BadBody::Neither),
    };
    if parsed.is_ok() && line.contains(['\r', '\n']) {
        return Err(BadBody::SeveralLines);
    }
    parsed
}

fn dtmf(rest: &str) -> Result<Body, BadBody> {
    digits(rest).map(|digits| Body::Command(FromBrowser::Dtmf(digits)))
}

/// Digits, in capitals and without the spaces.
pub(super) fn digits(rest: &str) -> Result<String, BadBody> {
    let digits: String =
        rest.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_uppercase()).collect();
    let known = |c: char| c.is_ascii_digit() || "*#ABCD".contains(c);
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.chars().all(known) {
        return Err(BadBody::Digits);
    }
    Ok(digits)
}

fn transfer(rest: &str) -> Result<Body, BadBody> {
    let mut words = rest.split_whitespace();
    let to = words.next().ok_or(BadBody::Transfer)?.to_owned();
    let replaces = match (words.next(), words.next(), words.next()) {
        (None, ..) => None,
        (Some(word), Some(call), None) if word.eq_ignore_ascii_case("REPLACES") => {
            Some(call.to_owned())
        }
        _ => return Err(BadBody::Transfer),
    };
    Ok(Body::Command(FromBrowser::Transfer { to, replaces }))
}

/// The value of `X-Wrtc-Type`; `None` for what this dialect has no word for.
pub fn kind(message: &ToBrowser) -> Option<&'static str> {
    Some(match message {
        ToBrowser::Offer { .. } => "offer",
        ToBrowser::Answer { .. } => "answer",
        ToBrowser::Ringing => "ringing",
        ToBrowser::Connected => "connected",
        ToBrowser::Waiting => "waiting",
        ToBrowser::Ended { .. } => "ended",
        ToBrowser::Peer => "peer",
        ToBrowser::Transfer { .. } => "transfer",
        ToBrowser::Digit(_) => "dtmf",
        ToBrowser::Bye { .. } => "bye",
        ToBrowser::Hold | ToBrowser::PeerHold => "hold",
        ToBrowser::PeerResume => "resume",
        ToBrowser::Talk => "talk",
        ToBrowser::InfoPeer(_) => "info",
        ToBrowser::Dial { .. } => "dial",
        ToBrowser::Replaced => "replaced",
        ToBrowser::Error { .. } => "error",
        ToBrowser::Ok { .. } | ToBrowser::Invite | ToBrowser::Stats(_) => return None,
    })
}

/// Events that reach each client that asks for any.
pub fn is_event(message: &ToBrowser) -> bool {
    kind(message).is_some() && !matches!(message, ToBrowser::Dial { .. })
}

/// An SDP reaches every client.
pub fn is_sdp(message: &ToBrowser) -> bool {
    matches!(message, ToBrowser::Offer { .. } | ToBrowser::Answer { .. })
}

/// Content type and body.
pub fn render_text(envelope: &Envelope) -> Option<(&'static str, String)> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let text = match &envelope.message {
        ToBrowser::Offer { sdp, .. } | ToBrowser::Answer { sdp, .. } => {
            return Some(("application/sdp", crlf(sdp)));
        }
        ToBrowser::Bye { code, reason } => format!("BYE {code} {}", one_line(reason)),
        ToBrowser::Ended { code, reason } => format!("ENDED {code} {}", one_line(reason)),
        ToBrowser::Waiting => format!("WAITING {}", one_line(&envelope.peer)),
        ToBrowser::Peer => format!("PEER {}", one_line(&envelope.peer)),
        ToBrowser::Transfer { code, text } => format!("TRANSFER {code} {}", one_line(text)),
        ToBrowser::Digit(digit) => format!("DTMF {digit}"),
        ToBrowser::InfoPeer(data) => format!("INFO {data}"),
        ToBrowser::Dial { to } => format!("DIAL {}", one_line(to)),
        ToBrowser::Error { error, detail, .. } => {
            format!("ERROR {} {}", error.word(), one_line(detail))
        }
        other => kind(other)?.to_ascii_uppercase(),
    };
    Some((TEXT, text.trim_end().to_owned()))
}

fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// A message as JSON, with the members that apply.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// As in `X-Wrtc-Type`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Counts up by one; to be confirmed by `ack`.
    seq: u64,
    /// Our id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    /// The other party's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_uuid: Option<&'a str>,
    /// Whom the caller had called before.
    #[serde(skip_serializing_if = "Option::is_none")]
    diverted_from: Option<&'a str>,
    /// The caller does not want to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sdp: Option<String>,
    /// Of an `offer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    attached_data: Option<Vec<Pair<'a>>>,
    /// `early`: nobody has answered yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// SIP's.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Of an `error`: the word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digit: Option<char>,
    /// Of a `dial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
}

/// A pair of `attacheddata`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

/// `None` for what this dialect has no word for.
pub fn render_json(envelope: &Envelope, seq: u64) -> Option<Message<'_>> {
    let given = |text: &'_ String| !text.is_empty();
    let mut message = Message {
        kind: kind(&envelope.message)?,
        seq,
        call: Some(&envelope.call).filter(|call| given(call)).map(String::as_str),
        peer: Some(&envelope.peer).filter(|peer| given(peer)).map(String::as_str),
        peer_name: envelope.peer_name.as_deref(),
        call_uuid: envelope.call_uuid.as_deref(),
        diverted_from: envelope.diverted_from.as_deref(),
        private: envelope.private.then_some(true),
        ..Message::default()
    };
    match &envelope.message {
        ToBrowser::Offer { sdp, attached, .. } => {
            message.sdp = Some(crlf(sdp));
            let pairs = attached.iter().map(|(key, value)| Pair { key, value });
            message.attached_data = (!attached.is_empty()).then(|| pairs.collect());
        }
        ToBrowser::Answer { sdp, early, .. } => {
            message.sdp = Some(crlf(sdp));
            message.state = early.then_some("early");
        }
        ToBrowser::Transfer { code, text } => {
            message.code = Some(*code);
            message.reason = Some(text);
        }
        ToBrowser::Digit(digit) => message.digit = Some(*digit),
        ToBrowser::Bye { code, reason } | ToBrowser::Ended { code, reason } => {
            message.code = Some(*code);
            message.reason = Some(reason);
        }
        ToBrowser::InfoPeer(data) => message.data = Some(data),
        ToBrowser::Dial { to } => message.number = Some(to),
        ToBrowser::Error { error, detail, .. } => {
            message.error = Some(error.word());
            message.reason = Some(detail);
        }
        _ => {}
    }
    Some(message)
}

/// A header's value: visible ASCII and spaces as they are, everything else and `%` as percent-encoded
/// UTF-8, so that `decodeURIComponent` gives the text back.
pub fn header_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.trim().bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
