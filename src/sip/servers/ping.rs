//! OPTIONS pings: built, numbered, and matched with their answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rsipstack::sip::{Method, Request, Version};

use super::Outcome;
use crate::sip::hop::Hop;
use crate::sip::message::{self, header};
use crate::sip::port::{ClientTx, Incoming, Transmit, TxFailure};
use crate::sip::timers::T1X64;

/// Sends OPTIONS outside of any dialog (RFC 3261 11), one Call-ID for all of them.
pub struct Pinger {
    user_agent: String,
    call_id: String,
    tag: String,
    cseq: u32,
    next_tx: u64,
    rng: StdRng,
    /// Where each went and when. A transaction ends after 32 s, so that only so many stand.
    under_way: BTreeMap<ClientTx, (Hop, Instant)>,
}

/// What came of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    pub hop: Hop,
    pub outcome: Outcome,
}

impl Pinger {
    pub fn new(user_agent: String, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            user_agent,
            call_id: format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()),
            tag: format!("{:016x}", rng.next_u64()),
            cseq: 0,
            next_tx: 0,
            rng,
            under_way: BTreeMap::new(),
        }
    }

    /// OPTIONS to a server. `advertise` is what Via says of us toward it.
    pub fn ping(&mut self, hop: Hop, advertise: SocketAddr, now: Instant) -> Option<Transmit> {
        self.under_way.retain(|_, (_, sent)| now.saturating_duration_since(*sent) < 2 * T1X64);
        let uri =
            message::parse_uri(&format!("sip:{};transport={}", hop.addr, hop.transport.param()))?;
        self.cseq = self.cseq.wrapping_add(1) & 0x7fff_ffff;
        let branch = self.rng.next_u64();
        let via = hop.transport.via();
        let headers = vec![
            header("Via", format!("SIP/2.0/{via} {advertise};branch=z9hG4bK{branch:016x};rport")),
            header("Max-Forwards", "70"),
            header("From", format!("<sip:ping@{advertise}>;tag={}", self.tag)),
            header("To", format!("<{uri}>")),
            header("Call-ID", self.call_id.as_str()),
            header("CSeq", format!("{} OPTIONS", self.cseq)),
            header("Contact", format!("<sip:ping@{advertise}>")),
            header("Accept", message::SDP_TYPE),
            header("User-Agent", self.user_agent.as_str()),
            header("Content-Length", "0"),
        ];
        let (method, version, body) = (Method::Options, Version::V2, Vec::new());
        let request = Request { method, uri, version, headers: headers.into(), body };
        let tx = ClientTx(self.next_tx);
        self.next_tx += 1;
        self.under_way.insert(tx, (hop, now));
        Some(Transmit::Request { tx, request, to: hop })
    }

    /// None for what is no news: a provisional answer, or silence, of which the servers know already.
    pub fn handle_incoming(&mut self, incoming: &Incoming, now: Instant) -> Option<Pong> {
        match incoming {
            Incoming::Response { tx, response, .. } => {
                let code = response.status_code.code();
                if code < 200 {
                    return None;
                }
                let (hop, sent) = self.under_way.remove(tx)?;
                let rtt: Duration = now.saturating_duration_since(sent);
                Some(Pong { hop, outcome: Outcome::Answered { code, rtt } })
            }
            Incoming::Failed { tx, why } => {
                let (hop, _) = self.under_way.remove(tx)?;
                (*why == TxFailure::Transport).then_some(Pong { hop, outcome: Outcome::Unsent })
            }
            Incoming::Request { .. } => None,
        }
    }
}
