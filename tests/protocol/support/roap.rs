//! ROAP as the JSAPI client writes and reads it (grtc-wire.md, "ROAP messages").

use serde_json::{Value, json};

use super::sdp::{self, LocalDescription};

/// A ROAP message from the gateway.
#[derive(Debug, Clone)]
pub struct Roap {
    pub kind: String,
    pub sdp: Option<String>,
    pub candidates: Vec<String>,
    pub offerer: Option<u64>,
    pub answerer: Option<u64>,
    pub seq: Option<u64>,
    pub tiebreaker: Option<u64>,
    pub error: Option<String>,
    pub attached: Vec<(String, String)>,
    pub json: Value,
}

impl Roap {
    /// The client drops everything before the first `{`.
    pub fn parse(body: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(&body[body.find('{')?..]).ok()?;
        let text = |field: &str| json.get(field).and_then(Value::as_str).map(str::to_owned);
        let number = |field: &str| json.get(field).and_then(Value::as_u64);
        let list =
            |field: &str| json.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let candidates = list("Candidates")
            .iter()
            .filter_map(|c| Some(c.get("candidate")?.as_str()?.to_owned()))
            .collect();
        let attached = list("attacheddata")
            .iter()
            .filter_map(|pair| {
                Some((
                    pair.get("key")?.as_str()?.to_owned(),
                    pair.get("value")?.as_str()?.to_owned(),
                ))
            })
            .collect();
        Some(Self {
            kind: text("messageType")?,
            sdp: text("sdp"),
            candidates,
            offerer: number("offererSessionId"),
            answerer: number("answererSessionId"),
            seq: number("seq"),
            tiebreaker: number("tiebreaker"),
            error: text("errorType"),
            attached,
            json,
        })
    }
}

/// The numbers of one ROAP session, kept as the client keeps them.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// Our own number.
    pub own: u64,
    /// The gateway's, once known.
    pub theirs: Option<u64>,
    pub seq: u64,
}

impl Session {
    pub fn new() -> Self {
        Self { own: u64::from(rand::random::<u32>() >> 1) + 1, theirs: None, seq: 0 }
    }

    /// The body of the next OFFER.
    pub fn offer(&mut self, local: &LocalDescription) -> String {
        self.seq += 1;
        self.offer_again(local)
    }

    /// An OFFER under the present `seq`.
    pub fn offer_again(&self, local: &LocalDescription) -> String {
        // Neither 0 nor the maximum.
        let tiebreaker = rand::random::<u32>().clamp(1, u32::MAX - 1);
        let message = json!({
            "messageType": "OFFER",
            "sdp": as_jsapi_writes(&local.sdp),
            "Candidates": candidates(local),
            "offererSessionId": self.own,
            "answererSessionId": self.theirs,
            "seq": self.seq,
            "tiebreaker": tiebreaker,
        });
        format!("RSMP {message}")
    }

    /// The body of the ANSWER to an OFFER of the gateway's.
    pub fn answer(&mut self, offer: &Roap, local: &LocalDescription) -> String {
        self.theirs = offer.offerer;
        self.seq = offer.seq.unwrap_or_default();
        let message = json!({
            "messageType": "ANSWER",
            "sdp": as_jsapi_writes(&local.sdp),
            "Candidates": candidates(local),
            "offererSessionId": offer.offerer,
            "answererSessionId": self.own,
            "seq": offer.seq,
        });
        format!("RSMP {message}")
    }

    /// The body of the OK to an ANSWER of the gateway's.
    pub fn ok(&mut self, answer: &Roap) -> String {
        self.theirs = answer.answerer;
        let message = json!({
            "messageType": "OK",
            "offererSessionId": answer.offerer,
            "answererSessionId": answer.answerer,
            "seq": answer.seq,
        });
        format!("RSMP {message}")
    }
}

fn as_jsapi_writes(sdp: &str) -> String {
    sdp::edit(sdp, |line| Some(line.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")))
}

fn candidates(local: &LocalDescription) -> Vec<Value> {
    let mid = sdp::attribute(&local.sdp, "mid").unwrap_or("0");
    let ufrag = sdp::attribute(&local.sdp, "ice-ufrag").unwrap_or_default();
    local
        .candidates
        .iter()
        .map(|candidate| {
            json!({
                "candidate": format!("{candidate} generation 0 ufrag {ufrag} network-id 1"),
                "sdpMid": mid,
                "sdpMLineIndex": 0,
                "usernameFragment": ufrag,
            })
        })
        .collect()
}
