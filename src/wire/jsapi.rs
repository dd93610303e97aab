//! The Genesys JSAPI's bodies: words, and ROAP in JSON.

use serde_json::{Map, Value, json};

use super::{Candidate, DataPair, FromBrowser, RoapError, RoapIds, ToBrowser};
use crate::secret::Secret;

/// A browser with a VPN and several networks has some 30 candidates.
pub const MAX_CANDIDATES: usize = 128;

/// Pairs of attached data; SIP servers take far fewer.
pub const MAX_ATTACHED: usize = 128;

/// Longest DN or guest id. SIP servers stop at some 60.
pub const MAX_ID: usize = 128;

/// How long an id of the JSAPI that begins with `anon` is exactly, when it is a guest's.
const GUEST_LENGTH: usize = 36;

/// A message that cannot be read: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    #[error("the body is empty")]
    Empty,
    #[error(
        "the body begins with none of RSMP, BYE, INFO-MAP, INFO-PEER, GET-STATS, but with `{0}`"
    )]
    UnknownWord(String),
    #[error("`{0}` wants data after it")]
    NoData(&'static str),
    #[error("RSMP is not followed by a JSON object: {0}")]
    Json(String),
    #[error("messageType is `{0}`, not OFFER, ANSWER, OK or ERROR")]
    UnknownType(String),
    #[error("{kind} has no {field}")]
    Missing { kind: &'static str, field: &'static str },
    #[error("{0} is not a whole number from 0 on")]
    NotANumber(&'static str),
    #[error("more than {limit} entries in {field}")]
    TooMany { field: &'static str, limit: usize },
    #[error("{0} is not an array")]
    NotAnArray(&'static str),
}

/// Reads the body of `POST /message`.
///
/// # Errors
/// Says in a sentence what is wrong with it.
pub fn parse_message(body: &str) -> Result<FromBrowser, BadMessage> {
    let body = body.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let end = body.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(body.len());
    let (word, rest) = body.split_at(end);
    let rest = rest.trim();
    let data = |word| if rest.is_empty() { Err(BadMessage::NoData(word)) } else { Ok(rest) };
    match word {
        "RSMP" => parse_roap(rest),
        "BYE" => Ok(FromBrowser::Bye),
        "INFO-MAP" => data("INFO-MAP").map(|data| FromBrowser::InfoMap(data.to_owned())),
        "INFO-PEER" => data("INFO-PEER").map(|data| FromBrowser::InfoPeer(data.to_owned())),
        "GET-STATS" => Ok(FromBrowser::GetStats),
        "" if rest.is_empty() => Err(BadMessage::Empty),
        other => Err(BadMessage::UnknownWord(excerpt(other))),
    }
}

/// Enough of it to know it again.
fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(24).collect()
}

fn parse_roap(text: &str) -> Result<FromBrowser, BadMessage> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| BadMessage::Json(e.to_string()))?;
    let kind = match object.get("messageType") {
        Some(Value::String(kind)) => kind.trim(),
        _ => return Err(BadMessage::UnknownType(String::new())),
    };
    match kind {
        "OFFER" => Ok(FromBrowser::Offer {
            ids: Some(required_ids(&object, "OFFER")?),
            tiebreaker: tiebreaker(&object),
            sdp: sdp(&object),
            candidates: candidates(&object)?,
            attached: attached(&object)?,
        }),
        "ANSWER" => Ok(FromBrowser::Answer {
            ids: Some(required_ids(&object, "ANSWER")?),
            sdp: sdp(&object),
            candidates: candidates(&object)?,
            attached: attached(&object)?,
        }),
        "OK" => Ok(FromBrowser::Ok { ids: required_ids(&object, "OK")? }),
        "ERROR" => Ok(FromBrowser::Error { ids: ids(&object)?, error: error_type(&object) }),
        other => Err(BadMessage::UnknownType(excerpt(other))),
    }
}

/// A number, or one in a string; `null` and absence are the same.
fn number(object: &Map<String, Value>, field: &'static str) -> Result<Option<u64>, BadMessage> {
    // 2^53: above it a browser's numbers are no longer whole.
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    let number = match object.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && (0.0..LIMIT).contains(&float)).then_some(float as u64)
        }),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    number.map(Some).ok_or(BadMessage::NotANumber(field))
}

fn ids(object: &Map<String, Value>) -> Result<Option<RoapIds>, BadMessage> {
    let (offerer, seq) = (number(object, "offererSessionId")?, number(object, "seq")?);
    let answerer = number(object, "answererSessionId")?;
    Ok(offerer.zip(seq).map(|(offerer, seq)| RoapIds { offerer, answerer, seq }))
}

fn required_ids(object: &Map<String, Value>, kind: &'static str) -> Result<RoapIds, BadMessage> {
    let missing = |field| BadMessage::Missing { kind, field };
    Ok(RoapIds {
        offerer: number(object, "offererSessionId")?.ok_or(missing("offererSessionId"))?,
        answerer: number(object, "answererSessionId")?,
        seq: number(object, "seq")?.ok_or(missing("seq"))?,
    })
}

/// 0 and the maximum are reserved and read as none, like everything else that is no tiebreaker:
/// an offer without one simply loses a glare.
fn tiebreaker(object: &Map<String, Value>) -> Option<u32> {
    let number = number(object, "tiebreaker").ok().flatten()?;
    u32::try_from(number).ok().filter(|&n| n != 0 && n != u32::MAX)
}

/// Whatever stands there. Whether it is an SDP is judged later: what has numbers is answered by an
/// ERROR with these numbers, for a refused POST would come again every 3 s.
fn sdp(object: &Map<String, Value>) -> String {
    object.get("sdp").and_then(Value::as_str).unwrap_or_default().trim_start().to_owned()
}

fn entries<'a>(
    object: &'a Map<String, Value>,
    field: &'static str,
    limit: usize,
) -> Result<&'a [Value], BadMessage> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(entries)) if entries.len() > limit => {
            Err(BadMessage::TooMany { field, limit })
        }
        Some(Value::Array(entries)) => Ok(entries),
        Some(_) => Err(BadMessage::NotAnArray(field)),
    }
}

fn candidates(object: &Map<String, Value>) -> Result<Vec<Candidate>, BadMessage> {
    let candidates = entries(object, "Candidates", MAX_CANDIDATES)?.iter();
    Ok(candidates.filter_map(candidate).collect())
}

/// `None` for what says nothing: the empty candidate that marks the end, `null`, lines that would
/// break an SDP apart.
fn candidate(entry: &Value) -> Option<Candidate> {
    let text = entry.get("candidate")?.as_str()?.trim();
    if text.is_empty() || text.contains(char::is_control) {
        return None;
    }
    Some(Candidate {
        candidate: text.to_owned(),
        sdp_mid: entry.get("sdpMid").and_then(Value::as_str).map(str::to_owned),
        sdp_mline_index: entry
            .get("sdpMLineIndex")
            .and_then(Value::as_u64)
            .and_then(|index| u32::try_from(index).ok()),
    })
}

/// Values that are no strings are taken as their JSON.
fn attached(object: &Map<String, Value>) -> Result<Vec<DataPair>, BadMessage> {
    let pairs = entries(object, "attacheddata", MAX_ATTACHED)?.iter();
    Ok(pairs
        .filter_map(|entry| {
            let key = entry.get("key")?.as_str()?.to_owned();
            let value = match entry.get("value") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(value)) => value.clone(),
                Some(other) => other.to_string(),
            };
            (!key.is_empty()).then_some((key, value))
        })
        .collect())
}

fn error_type(object: &Map<String, Value>) -> RoapError {
    let word = object.get("errorType").and_then(Value::as_str).unwrap_or_default();
    match word.trim().to_ascii_uppercase().as_str() {
        "NOMATCH" => RoapError::NoMatch,
        "TIMEOUT" => RoapError::Timeout,
        "REFUSED" => RoapError::Refused,
        "CONFLICT" => RoapError::Conflict,
        "DOUBLECONFLICT" => RoapError::DoubleConflict,
        // An error we have no word for is an error still.
        _ => RoapError::Failed,
    }
}

impl RoapError {
    /// The word in `errorType`.
    pub fn word(self) -> &'static str {
        match self {
            RoapError::NoMatch => "NOMATCH",
            RoapError::Timeout => "TIMEOUT",
            RoapError::Refused => "REFUSED",
            RoapError::Conflict => "CONFLICT",
            RoapError::DoubleConflict => "DOUBLECONFLICT",
            RoapError::Failed => "FAILED",
        }
    }
}

/// Writes a message as the body of an answer to `/wait`. `None` for what this dialect has no word
/// for; such a message is not delivered here.
pub fn render(message: &ToBrowser) -> Option<String> {
    Some(match message {
        ToBrowser::Offer { ids, tiebreaker, sdp, attached } => {
            let mut object = roap("OFFER", Some(*ids));
            describe(&mut object, sdp);
            object.insert("tiebreaker".to_owned(), json!(tiebreaker));
            if !attached.is_empty() {
                let pairs: Vec<Value> = attached
                    .iter()
                    .map(|(key, value)| json!({"key": key, "value": value}))
                    .collect();
                object.insert("attacheddata".to_owned(), Value::Array(pairs));
            }
            sdp_body(object)
        }
        ToBrowser::Answer { ids, sdp, .. } => {
            let mut object = roap("ANSWER", Some(*ids));
            describe(&mut object, sdp);
            sdp_body(object)
        }
        ToBrowser::Ok { ids } => sdp_body(roap("OK", Some(*ids))),
        ToBrowser::Error { ids, error, detail } => {
            let mut object = roap("ERROR", *ids);
            object.insert("errorType".to_owned(), json!(error.word()));
            object.insert("detail".to_owned(), json!(detail));
            sdp_body(object)
        }
        ToBrowser::Bye { .. } => "BYE".to_owned(),
        ToBrowser::Invite => "INVITE".to_owned(),
        ToBrowser::Talk => "EVENT-TALK".to_owned(),
        ToBrowser::Hold => "EVENT-HOLD".to_owned(),
        ToBrowser::InfoPeer(data) => format!("INFO-PEER {data}"),
        ToBrowser::Stats(statistics) => {
            // Floats that JSON cannot say become null; nothing else in there can fail.
            format!("PUT-STATS {}", serde_json::to_string(statistics).ok()?)
        }
        ToBrowser::Dial { to } => format!("DIAL {to}"),
        ToBrowser::Ringing
        | ToBrowser::Connected
        | ToBrowser::Waiting
        | ToBrowser::Ended { .. }
        | ToBrowser::Peer
        | ToBrowser::Transfer { .. }
        | ToBrowser::Digit(_)
        | ToBrowser::PeerHold
        | ToBrowser::PeerResume
        | ToBrowser::Replaced => return None,
    })
}

/// Does every client know it?
pub fn knows(message: &ToBrowser) -> bool {
    !matches!(
        message,
        ToBrowser::Ringing
            | ToBrowser::Connected
            | ToBrowser::Waiting
            | ToBrowser::Ended { .. }
            | ToBrowser::Peer
            | ToBrowser::Transfer { .. }
            | ToBrowser::Digit(_)
            | ToBrowser::PeerHold
            | ToBrowser::PeerResume
            | ToBrowser::Dial { .. }
            | ToBrowser::Replaced
    )
}

/// The same, for a client that says that it dials (`dial=1`).
pub fn knows_and_dials(message: &ToBrowser) -> bool {
    knows(message) || matches!(message, ToBrowser::Dial { .. })
}

fn roap(kind: &str, ids: Option<RoapIds>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("messageType".to_owned(), json!(kind));
    if let Some(ids) = ids {
        object.insert("offererSessionId".to_owned(), json!(ids.offerer));
        object.insert("answererSessionId".to_owned(), json!(ids.answerer));
        object.insert("seq".to_owned(), json!(ids.seq));
    }
    object
}

fn sdp_body(object: Map<String, Value>) -> String {
    format!("SDP {}", Value::Object(object))
}

/// The SDP, its candidate lines left in, and the same candidates as a list.
fn describe(object: &mut Map<String, Value>, sdp: &str) {
    let sdp = crlf(sdp);
    object.insert("Candidates".to_owned(), Value::Array(list_candidates(&sdp)));
    object.insert("sdp".to_owned(), Value::String(sdp));
}

/// The same lines, each ended by CRLF (RFC 8866 section 5).
pub fn crlf(sdp: &str) -> String {
    let mut out = String::with_capacity(sdp.len() + 64);
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        out.push_str(line);
        out.push_str("\r\n");
    }
    out
}

fn list_candidates(sdp: &str) -> Vec<Value> {
    let mut listed = Vec::new();
    let mut media: Option<u32> = None;
    let mut mid: Option<&str> = None;
    // Of the section under way: `a=mid` may stand below the candidates.
    let mut section: Vec<&str> = Vec::new();
    let mut close = |section: &mut Vec<&str>, media: Option<u32>, mid: Option<&str>| {
        for candidate in section.drain(..) {
            listed.push(json!({
                "candidate": candidate, "sdpMid": mid, "sdpMLineIndex": media.unwrap_or(0),
            }));
        }
    };
    for line in sdp.lines() {
        if line.starts_with("m=") {
            close(&mut section, media, mid);
            media = Some(media.map_or(0, |index| index + 1));
            mid = None;
        } else if let Some(value) = line.strip_prefix("a=mid:") {
            mid = Some(value.trim());
        } else if line.starts_with("a=candidate:") {
            section.push(&line["a=".len()..]);
        }
    }
    close(&mut section, media, mid);
    listed
}

/// Who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub id: PublicId,
    pub password: Option<Secret>,
}

/// The id of a sign-in: a DN or a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicId {
    Dn(String),
    Guest(String),
}

/// An id that cannot stand for anybody: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    #[error("the query is to be the bare id, as in /sign_in?5001, and it is empty")]
    NoQuery,
    #[error("the body is to be `id:password`, and the id is empty")]
    NoId,
    #[error("the id is longer than {MAX_ID} characters")]
    TooLong,
    #[error("the id holds `{0}`; letters, digits and - _ . ! ~ * ' ( ) + $ are possible")]
    BadCharacter(char),
    #[error("the id's percent-encoding is broken or not UTF-8")]
    BadEncoding,
}

/// `GET /sign_in?5001`: the query is the bare id, percent-encoded or not. `+` stands for itself: it
/// begins telephone numbers.
pub fn parse_sign_in_query(query: Option<&str>) -> Result<Credentials, BadId> {
    let query = query.filter(|query| !query.is_empty()).ok_or(BadId::NoQuery)?;
    let id = percent_decode(query).ok_or(BadId::BadEncoding)?;
    Ok(Credentials { id: public_id(&id)?, password: None })
}

/// `POST /sign_in`: `dn:password`, raw whatever the content type says; the first colon divides.
pub fn parse_sign_in_body(body: &str) -> Result<Credentials, BadId> {
    let (id, password) = match body.split_once(':') {
        Some((id, password)) => (id, Some(Secret::new(password))),
        None => (body.trim_end(), None),
    };
    if id.is_empty() {
        return Err(BadId::NoId);
    }
    Ok(Credentials { id: public_id(id)?, password })
}

fn public_id(id: &str) -> Result<PublicId, BadId> {
    check_dn(id)?;
    if id.len() == GUEST_LENGTH && id.starts_with("anon") {
        Ok(PublicId::Guest(id.to_owned()))
    } else {
        Ok(PublicId::Dn(id.to_owned()))
    }
}

/// May this be the user part of a SIP URI without escaping and without a second meaning in any
/// parser? (A part of `user` in RFC 3261 25.1.)
pub fn check_dn(id: &str) -> Result<(), BadId> {
    if id.is_empty() {
        return Err(BadId::NoId);
    }
    if id.len() > MAX_ID {
        return Err(BadId::TooLong);
    }
    match id.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.!~*'()+$".contains(*c)) {
        Some(bad) => Err(BadId::BadCharacter(bad)),
        None => Ok(()),
    }
}

/// `%41` to `A`. `None` for broken escapes and for what is no UTF-8 afterwards.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
            out.push(high << 4 | low);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The peer that `to=` names. The client says `null` or `undefined` when it tears down a session
/// that never had a peer, and its own SSID when it speaks to itself: no peer either.
pub fn peer(to: Option<&str>, ssid: &Secret) -> Option<String> {
    let to = to?.trim();
    match to {
        "" | "null" | "undefined" => None,
        own if own == ssid.expose() => None,
        peer => Some(peer.to_owned()),
    }
}
