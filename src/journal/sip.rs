//! SIP messages on their way into the journal: out of the endpoint's hand first, read and cleaned after.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::panics::spared;
use crate::sip::{Direction, Trace, Traced};

use super::trace::Traces;
use super::{About, Entry, Journal, What};

/// Messages that wait to be read, in a second at full load less than a tenth of it. A longer burst loses
/// its end, which is counted.
const QUEUE: usize = 4096;

/// Addresses of ours toward peers that are remembered: there are as many peers as SIP servers.
const MAX_ADDRESSES: usize = 16;

/// The endpoint's hook, and what reads behind it until the hook is dropped. `local` finds our address
/// toward a peer, for a socket that listens everywhere.
pub fn tap(
    journal: Journal,
    traces: Arc<Traces>,
    lost: Arc<AtomicU64>,
    local: impl Fn(IpAddr) -> Option<IpAddr> + Send + 'static,
) -> (Trace, impl Future<Output = ()> + Send + 'static) {
    let (sender, mut receiver) = mpsc::channel::<Traced>(QUEUE);
    let unread = Arc::clone(&lost);
    let hook: Trace = Box::new(move |traced| {
        if sender.try_send(traced).is_err() {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    });
    let task = async move {
        let mut addresses: VecDeque<(IpAddr, IpAddr)> = VecDeque::new();
        while let Some(traced) = receiver.recv().await {
            let peer = traced.peer.addr.ip();
            let mut address = traced.local;
            if address.ip().is_unspecified() {
                let known = addresses.iter().find(|(of, _)| *of == peer).map(|(_, ip)| *ip);
                let found = known.or_else(|| {
                    let ip = local(peer)?;
                    addresses.truncate(MAX_ADDRESSES - 1);
                    addresses.push_front((peer, ip));
                    Some(ip)
                });
                address.set_ip(found.unwrap_or(address.ip()));
            }
            // One that panics is one message of the journal less.
            if spared(|| note(&journal, &traces, &traced, address)).is_err() {
                unread.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    (hook, task)
}

fn note(journal: &Journal, traces: &Traces, traced: &Traced, local: SocketAddr) {
    let text: Arc<str> = traced.text().into();
    let inbound = traced.direction == Direction::In;
    let glance = Glance::new(&text);
    // Keep-alives and rubbish.
    if glance.call_id.is_empty() {
        return;
    }
    let about = glance.own_user(inbound).map(About::user).unwrap_or_default();
    let what = What::Sip {
        inbound,
        transport: traced.peer.transport.param(),
        local,
        peer: traced.peer.addr,
        call_id: glance.call_id.to_owned(),
        text: Arc::clone(&text),
    };
    let entry = Entry { at: traced.at, about, what };
    traces.show(&glance, &entry, Instant::now());
    journal.tell(&entry);
}

/// The few lines of a message that tell what it is and whose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Of a request.
    pub method: Option<&'a str>,
    /// Of a request: the Request-URI.
    pub uri: &'a str,
    /// Of a response.
    pub code: Option<u16>,
    pub phrase: &'a str,
    pub call_id: &'a str,
    /// The method in CSeq.
    pub cseq_method: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    /// RFC 3326, the first one.
    pub reason: &'a str,
}

impl<'a> Glance<'a> {
    pub fn new(message: &'a str) -> Self {
        let mut lines = message.split('\n').map(|line| line.trim_end_matches('\r'));
        let first = lines.next().unwrap_or_default();
        let mut glance = Glance::default();
        if let Some(status) = first.strip_prefix("SIP/2.0 ") {
            let (code, phrase) = status.split_once(' ').unwrap_or((status, ""));
            (glance.code, glance.phrase) = (code.parse().ok(), phrase);
        } else {
            let mut words = first.split(' ');
            glance.method = words.next();
            glance.uri = words.next().unwrap_or_default();
        }
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let field = match name.trim() {
                name if name.eq_ignore_ascii_case("call-id") || name == "i" => &mut glance.call_id,
                name if name.eq_ignore_ascii_case("from") || name == "f" => &mut glance.from,
                name if name.eq_ignore_ascii_case("to") || name == "t" => &mut glance.to,
                name if name.eq_ignore_ascii_case("reason") => &mut glance.reason,
                name if name.eq_ignore_ascii_case("cseq") => {
                    glance.cseq_method = value.split_whitespace().last().unwrap_or_default();
                    continue;
                }
                _ => continue,
            };
            if field.is_empty() {
                *field = value;
            }
        }
        glance
    }

    /// Whose of ours it is: From of what we ask, the Request-URI of what we are asked.
    pub fn own_user(&self, inbound: bool) -> Option<&'a str> {
        match (inbound, self.method.is_some()) {
            (false, true) | (true, false) => user(self.from),
            (true, true) => user(self.uri).or_else(|| user(self.to)),
            (false, false) => user(self.to),
        }
    }

    /// Anybody it names.
    pub fn users(&self) -> impl Iterator<Item = &'a str> {
        [self.from, self.to, self.uri].into_iter().filter_map(user)
    }

    /// What a person reads of it.
    pub fn title(&self) -> String {
        match (self.method, self.code) {
            (Some(method), _) => format!("{method} {}", self.uri),
            (None, Some(code)) => format!("{code} {} ({})", self.phrase, self.cseq_method),
            (None, None) => String::new(),
        }
    }
}

/// The user part of the first SIP URI in a header's value.
fn user(value: &str) -> Option<&str> {
    let value = value.rsplit_once('<').map_or(value, |(_, uri)| uri);
    let rest = ["sip:", "sips:"].iter().find_map(|scheme| {
        value.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme))?;
        value.get(scheme.len()..)
    })?;
    let (user, _) = rest.split_once('@')?;
    Some(user.split([':', ';']).next().unwrap_or(user)).filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:5001@10.0.0.2:5060;ob SIP/2.0\r\nVia: x\r\n\
        f: \"Zo\u{eb} <3\" <sip:7123@example.org>;tag=a\r\nt: <sip:9000@example.org>\r\n\
        i: c1@h\r\nCSeq: 1 INVITE\r\nReason: Q.850;cause=16\r\n\r\ni: not this\r\n";

    #[test]
    fn a_request_at_a_glance() {
        let glance = Glance::new(INVITE);
        assert_eq!((glance.method, glance.call_id), (Some("INVITE"), "c1@h"));
        assert_eq!(glance.own_user(true), Some("5001"), "the Request-URI's");
        assert_eq!(glance.own_user(false), Some("7123"));
        assert_eq!(glance.users().collect::<Vec<_>>(), ["7123", "9000", "5001"]);
        assert_eq!(glance.title(), "INVITE sip:5001@10.0.0.2:5060;ob");
        assert_eq!(glance.reason, "Q.850;cause=16");
    }

    #[test]
    fn an_answer_at_a_glance() {
        let text = "SIP/2.0 486 Busy Here\r\nFrom: <sip:5001@h>\r\nTo: sip:600@h\r\n\
                    Call-ID: c\r\nCSeq: 2 INVITE\r\n\r\n";
        let glance = Glance::new(text);
        assert_eq!((glance.code, glance.title().as_str()), (Some(486), "486 Busy Here (INVITE)"));
        assert_eq!((glance.own_user(true), glance.own_user(false)), (Some("5001"), Some("600")));
    }

    #[test]
    fn rubbish_is_nobodys() {
        for text in ["", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SIP/2.0", "é: \n:\n"] {
            let glance = Glance::new(text);
            assert_eq!((glance.call_id, glance.users().count()), ("", 0), "{text}");
        }
    }
}
