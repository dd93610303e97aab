//! A SIP server as small as one can be: takes every REGISTER, answers calls to numbers it was told of,
//! places calls to who is signed in. One UDP socket, text in and text out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};

use crate::{Fault, sdp};

/// Until a request is repeated for the first time (RFC 3261 T1), and how often it is.
const REPEAT: Duration = Duration::from_millis(500);
const REPEATS: u32 = 5;

/// A number that is called: who answers, and who wants to know.
struct Expected {
    answer: String,
    told: oneshot::Sender<Established>,
}

/// The far end of a dialog.
pub struct Established {
    /// The port its RTP wants to go to.
    pub rtp: u16,
    pub dialog: Dialog,
}

/// What it takes to end a call.
#[derive(Clone)]
pub struct Dialog {
    call_id: String,
    /// `From` and `To` as we send them.
    from: String,
    to: String,
    target: String,
    address: SocketAddr,
}

#[derive(Default)]
struct State {
    /// Contact and address of each DN.
    contacts: HashMap<String, (String, SocketAddr)>,
    expected: HashMap<String, Expected>,
    /// Our last answer to an INVITE, by Call-ID: said again when that comes again.
    answered: HashMap<String, String>,
    /// Our description, by Call-ID.
    described: HashMap<String, String>,
    /// Who waits for responses, by Call-ID and method.
    waiting: HashMap<String, mpsc::UnboundedSender<String>>,
}

#[derive(Clone)]
pub struct Server {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Seconds that a registration holds.
    registered: u32,
    next: Arc<AtomicU64>,
}

impl Server {
    /// Serves from then on.
    pub async fn start(registered: u32) -> Result<Self, Fault> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        // What the kernel refuses here, repetitions make good.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        let local = socket.local_addr()?;
        let server = Self {
            socket: Arc::new(socket),
            local,
            state: Arc::default(),
            registered,
            next: Arc::new(AtomicU64::new(1)),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((len, from)) = serving.socket.recv_from(&mut buffer).await {
                if let Ok(text) = std::str::from_utf8(&buffer[..len])
                    && let Some(answer) = serving.handle(text, from)
                {
                    let _ = serving.socket.send_to(answer.as_bytes(), from).await;
                }
            }
        });
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.local
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the next call to `number` with this description.
    pub fn expect(&self, number: &str, answer: String) -> oneshot::Receiver<Established> {
        let (told, established) = oneshot::channel();
        self.state().expected.insert(number.to_owned(), Expected { answer, told });
        established
    }

    /// Forgets a call that is over.
    pub fn forget(&self, dialog: &Dialog) {
        let mut state = self.state();
        state.answered.remove(&dialog.call_id);
        state.described.remove(&dialog.call_id);
    }

    fn handle(&self, text: &str, from: SocketAddr) -> Option<String> {
        let (first, _) = text.split_once("\r\n")?;
        let call_id = header(text, "Call-ID")?;
        if first.starts_with("SIP/2.0 ") {
            let method = header(text, "CSeq")?.split_whitespace().nth(1)?;
            if let Some(waiting) = self.state().waiting.get(&key(call_id, method)) {
                let _ = waiting.send(text.to_owned());
            }
            return None;
        }
        match first.split(' ').next()? {
            "REGISTER" => {
                let contact = uri(header(text, "Contact")?);
                let dn = user(header(text, "To")?)?;
                self.state().contacts.insert(dn.to_owned(), (contact.to_owned(), from));
                Some(response(
                    text,
                    "200 OK",
                    &format!("Contact: <{contact}>;expires={}\r\n", self.registered),
                    "",
                ))
            }
            "INVITE" if header(text, "To")?.contains(";tag=") => self.changed(text, call_id),
            "INVITE" => self.invited(text, first, call_id, from),
            "ACK" => None,
            "OPTIONS" | "BYE" | "CANCEL" => Some(response(text, "200 OK", "", "")),
            _ => Some(response(text, "501 Not Implemented", "", "")),
        }
    }

    fn invited(&self, text: &str, first: &str, call_id: &str, from: SocketAddr) -> Option<String> {
        let mut state = self.state();
        if let Some(again) = state.answered.get(call_id) {
            return Some(again.clone());
        }
        let number = user(first.split(' ').nth(1)?)?;
        let Some(Expected { answer, told }) = state.expected.remove(number) else {
            return Some(response(text, "404 Not Found", "", ""));
        };
        let contact =
            format!("Contact: <sip:{number}@{}>\r\nContent-Type: application/sdp\r\n", self.local);
        state.described.insert(call_id.to_owned(), answer.clone());
        let answer = response(text, "200 OK", &contact, &answer);
        state.answered.insert(call_id.to_owned(), answer.clone());
        let dialog = Dialog {
            call_id: call_id.to_owned(),
            from: header(&answer, "To")?.to_owned(),
            to: header(text, "From")?.to_owned(),
            target: uri(header(text, "Contact")?).to_owned(),
            address: from,
        };
        let rtp = sdp::audio_port(text)?;
        let _ = told.send(Established { rtp, dialog });
        Some(answer)
    }

    /// Hold, or its end: we are as before, in the direction that is left.
    fn changed(&self, text: &str, call_id: &str) -> Option<String> {
        let state = self.state();
        let Some(own) = state.described.get(call_id) else {
            return Some(response(text, "481 Call/Transaction Does Not Exist", "", ""));
        };
        let direction = match text {
            text if text.contains("a=sendonly") => "a=recvonly",
            text if text.contains("a=inactive") => "a=inactive",
            _ => "a=sendrecv",
        };
        let contact =
            format!("Contact: <sip:load@{}>\r\nContent-Type: application/sdp\r\n", self.local);
        Some(response(text, "200 OK", &contact, &own.replace("a=sendrecv", direction)))
    }

    /// Calls a DN with this offer, until it answers.
    pub async fn call(&self, dn: &str, offer: &str) -> Result<Established, Fault> {
        let (target, address) =
            self.state().contacts.get(dn).cloned().ok_or("that DN is not signed in")?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut dialog = Dialog {
            call_id: format!("load-{number}@{}", self.local),
            from: format!("<sip:7001@{}>;tag=f{number}", self.local),
            to: format!("<sip:{dn}@{}>", self.local),
            target,
            address,
        };
        let more =
            format!("Contact: <sip:7001@{}>\r\nContent-Type: application/sdp\r\n", self.local);
        let answer = self.request(&dialog, "INVITE", 1, &more, offer).await?;
        dialog.to = header(&answer, "To").ok_or("To")?.to_owned();
        dialog.target = uri(header(&answer, "Contact").ok_or("Contact")?).to_owned();
        let ack = self.text(&dialog, "ACK", 1, "", "");
        self.socket.send_to(ack.as_bytes(), dialog.address).await?;
        let rtp = sdp::audio_port(&answer).ok_or("an answer without audio")?;
        self.state().described.insert(dialog.call_id.clone(), offer.to_owned());
        Ok(Established { rtp, dialog })
    }

    pub async fn hang_up(&self, dialog: &Dialog) -> Result<(), Fault> {
        let outcome = self.request(dialog, "BYE", 2, "", "").await;
        self.forget(dialog);
        outcome.map(|_| ())
    }

    /// Sends a request until a final response comes, which has to be a 2xx.
    async fn request(
        &self,
        dialog: &Dialog,
        method: &str,
        cseq: u32,
        more: &str,
        body: &str,
    ) -> Result<String, Fault> {
        let text = self.text(dialog, method, cseq, more, body);
        let key = key(&dialog.call_id, method);
        let (waiting, mut responses) = mpsc::unbounded_channel();
        self.state().waiting.insert(key.clone(), waiting);
        let mut outcome = Err(format!("no answer to {method}").into());
        let mut provisional = false;
        'tries: for n in 0..REPEATS {
            if !provisional {
                self.socket.send_to(text.as_bytes(), dialog.address).await?;
            }
            let wait = tokio::time::sleep(REPEAT * 2u32.pow(n));
            tokio::pin!(wait);
            loop {
                let response = tokio::select! {
                    Some(response) = responses.recv() => response,
                    () = &mut wait => continue 'tries,
                };
                match response.get(8..9) {
                    Some("1") => {
                        provisional = true;
                        continue;
                    }
                    Some("2") => outcome = Ok(response),
                    _ => {
                        let status = response.lines().next().unwrap_or_default();
                        outcome = Err(format!("{method}: {status}").into());
                    }
                }
                break 'tries;
            }
        }
        self.state().waiting.remove(&key);
        outcome
    }

    fn text(&self, dialog: &Dialog, method: &str, cseq: u32, more: &str, body: &str) -> String {
        let Dialog { call_id, from, to, target, .. } = dialog;
        let branch = self.next.fetch_add(1, Ordering::Relaxed);
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {0};branch=z9hG4bKload{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{more}Content-Length: {1}\r\n\r\n{body}",
            self.local,
            body.len()
        )
    }
}

fn key(call_id: &str, method: &str) -> String {
    format!("{method} {call_id}")
}

/// A response that says again what has to be said again.
fn response(request: &str, status: &str, more: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().skip(1).take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        if matches!(name.as_str(), "via" | "from" | "call-id" | "cseq") {
            text.push_str(line);
            text.push_str("\r\n");
        } else if name == "to" {
            text.push_str(line);
            text.push_str(if line.contains(";tag=") { "\r\n" } else { ";tag=load\r\n" });
        }
    }
    text.push_str(more);
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The URI of a name-addr.
fn uri(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default(),
    }
}

fn user(value: &str) -> Option<&str> {
    value.split_once("sip:")?.1.split('@').next()
}
