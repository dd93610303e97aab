//! The Genesys JSAPI client: its poll, its ROAP state and the rules it enforces.

use std::collections::VecDeque;
use std::panic::Location;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::browser::{LIMIT, TestBrowser};
use super::roap::{Roap, Session};
use super::sdp::LocalDescription;
use super::wire::{Answer, Wire};

/// A message that came through the hanging GET.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The `Pragma` header: the other party.
    pub peer: String,
    /// `X-Genesys-CallUUID`, where the call has one.
    pub call_uuid: Option<String>,
    pub body: String,
}

impl Delivered {
    pub fn roap(&self) -> Option<Roap> {
        self.body.starts_with("SDP").then(|| Roap::parse(&self.body)).flatten()
    }
}

/// What the poll found.
#[derive(Debug)]
pub enum Polled {
    Message(Delivered),
    /// The client would fire `onConnectionError`, or worse sign out.
    Failed(StatusCode),
    Broken(String),
}

/// A signed-in client with one page's worth of state.
pub struct Jsapi {
    pub wire: Wire,
    pub ssid: String,
    pub browser: TestBrowser,
    pub roap: Session,
    /// The party of the call, as `Pragma` or the dialled number has it.
    pub peer: String,
    offer_outstanding: bool,
    established: bool,
    inbox: mpsc::UnboundedReceiver<Polled>,
    ahead: VecDeque<Delivered>,
    poll: JoinHandle<()>,
}

impl Drop for Jsapi {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl Jsapi {
    /// `register(dn)` with a password.
    #[track_caller]
    pub fn sign_in(base: &str, dn: &str, password: &str) -> impl Future<Output = Self> {
        let (wire, dn, password) = (Wire::new(base), dn.to_owned(), password.to_owned());
        let caller = Location::caller();
        async move {
            let answer = wire.sign_in_post(&dn, &password).await;
            assert!(answer.status.is_success(), "{caller}: {} {}", answer.status, answer.body);
            Self::with_session(wire, answer.ssid(), LIMIT).await
        }
    }

    /// `connect()`: 36 characters that begin with `anon`.
    pub async fn anonymous(base: &str) -> Self {
        let wire = Wire::new(base);
        let id = format!("anon{:032x}", rand::random::<u128>());
        let answer = wire.sign_in_get(&id).await;
        assert!(answer.status.is_success(), "{} {}", answer.status, answer.body);
        Self::with_session(wire, answer.ssid(), LIMIT).await
    }

    /// A client whose GET gives up after `polling_timeout` and asks again.
    pub async fn with_session(wire: Wire, ssid: String, polling_timeout: Duration) -> Self {
        let (found, inbox) = mpsc::unbounded_channel();
        let poll = tokio::spawn(poll(wire.clone(), ssid.clone(), polling_timeout, found));
        Self {
            wire,
            ssid,
            browser: TestBrowser::new().await,
            roap: Session::new(),
            peer: String::new(),
            offer_outstanding: false,
            established: false,
            inbox,
            ahead: VecDeque::new(),
            poll,
        }
    }

    /// Stops polling, to do it by hand.
    pub async fn stop_polling(&mut self) {
        self.poll.abort();
        let _ = (&mut self.poll).await;
    }

    pub async fn post(&self, body: &str) -> Answer {
        self.wire.message(&self.ssid, &self.peer, body).await
    }

    #[track_caller]
    pub fn posted<'a>(&'a self, body: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = Location::caller();
        async move {
            let answer = self.post(body).await;
            assert_eq!(answer.status, 200, "{caller}: {} for {body:.60}", answer.body);
        }
    }

    /// The next message, whatever it is.
    #[track_caller]
    pub fn next(&mut self) -> impl Future<Output = Delivered> + '_ {
        let caller = Location::caller();
        async move {
            if let Some(message) = self.ahead.pop_front() {
                return message;
            }
            match tokio::time::timeout(LIMIT, self.inbox.recv()).await {
                Ok(Some(Polled::Message(message))) => message,
                Ok(other) => panic!("{caller}: instead of a message the poll had {other:?}"),
                Err(_) => panic!("{caller}: no message came"),
            }
        }
    }

    /// The next thing the poll finds, failures too.
    pub async fn next_polled(&mut self) -> Option<Polled> {
        tokio::time::timeout(LIMIT, self.inbox.recv()).await.ok().flatten()
    }

    /// Puts a message back, to be the next.
    pub fn unread(&mut self, message: Delivered) {
        self.ahead.push_front(message);
    }

    /// A message that came within `limit`, if one did.
    pub async fn within(&mut self, limit: Duration) -> Option<Delivered> {
        if let Some(message) = self.ahead.pop_front() {
            return Some(message);
        }
        match tokio::time::timeout(limit, self.inbox.recv()).await {
            Ok(Some(Polled::Message(message))) => Some(message),
            Ok(other) => panic!("the poll had {other:?}"),
            Err(_) => None,
        }
    }

    /// Waits for exactly this body.
    #[track_caller]
    pub fn expect(&mut self, body: &'static str) -> impl Future<Output = Delivered> + '_ {
        let caller = Location::caller();
        async move {
            let message = self.next().await;
            assert_eq!(message.body, body, "{caller}");
            if body == "BYE" {
                self.over();
            }
            message
        }
    }

    /// Waits for a ROAP message of this type.
    #[track_caller]
    pub fn expect_roap(&mut self, kind: &'static str) -> impl Future<Output = Roap> + '_ {
        let caller = Location::caller();
        async move {
            let message = self.next().await;
            let roap = message.roap().unwrap_or_else(|| panic!("{caller}: {}", message.body));
            assert_eq!(roap.kind, kind, "{caller}: {}", message.body);
            if kind == "OFFER" {
                self.peer = message.peer;
            }
            roap
        }
    }

    /// `makeOffer(dn)`: the first OFFER of a call.
    pub async fn call(&mut self, to: &str) {
        self.peer = to.to_owned();
        let local = self.browser.offer().await;
        self.offer(&local).await;
    }

    /// Posts an OFFER with the next `seq`; returns the body for a repetition.
    #[track_caller]
    pub fn offer<'a>(
        &'a mut self,
        local: &'a LocalDescription,
    ) -> impl Future<Output = String> + 'a {
        let caller = Location::caller();
        async move {
            let body = self.roap.offer(local);
            let answer = self.post(&body).await;
            assert_eq!(answer.status, 200, "{caller}: {}", answer.body);
            self.offer_outstanding = true;
            body
        }
    }

    /// Marks an OFFER that was posted by hand as outstanding.
    pub fn offered(&mut self) {
        self.offer_outstanding = true;
    }

    /// Takes the ANSWER to the own OFFER, hands it to the browser and posts OK.
    #[track_caller]
    pub fn answered(&mut self) -> impl Future<Output = Roap> + '_ {
        let caller = Location::caller();
        async move {
            let answer = self.expect_roap("ANSWER").await;
            self.take_answer(&answer, caller).await;
            answer
        }
    }

    pub async fn take_answer(&mut self, answer: &Roap, caller: &Location<'_>) {
        assert!(self.offer_outstanding, "{caller}: ANSWER without an OFFER outstanding");
        assert_eq!(answer.offerer, Some(self.roap.own), "{caller}: offererSessionId");
        assert_eq!(answer.seq, Some(self.roap.seq), "{caller}: seq");
        assert!(answer.answerer.is_some(), "{caller}: answererSessionId {}", answer.json);
        if let Some(theirs) = self.roap.theirs {
            assert_eq!(answer.answerer, Some(theirs), "{caller}: answererSessionId changed");
        }
        let sdp = answer.sdp.as_deref().unwrap_or_else(|| panic!("{caller}: ANSWER without sdp"));
        self.browser.set_answer(sdp, &answer.candidates).await;
        self.offer_outstanding = false;
        self.established = true;
        let ok = self.roap.ok(answer);
        self.posted(&ok).await;
    }

    /// Takes an OFFER, answers it and waits for the OK.
    #[track_caller]
    pub fn accept<'a>(&'a mut self, offer: &'a Roap) -> impl Future<Output = ()> + 'a {
        let caller = Location::caller();
        async move {
            assert!(!self.offer_outstanding, "{caller}: the client ignores an OFFER meanwhile");
            let sdp = offer.sdp.as_deref().unwrap_or_else(|| panic!("{caller}: OFFER without sdp"));
            let local = self.browser.answer(sdp, &offer.candidates).await;
            let body = self.roap.answer(offer, &local);
            self.posted(&body).await;
            // The client counts a session as established with its own ANSWER.
            self.established = true;
            let ok = self.expect_roap("OK").await;
            assert_eq!((ok.offerer, ok.seq), (offer.offerer, offer.seq), "{caller}: {}", ok.json);
        }
    }

    /// An outgoing call up to sound.
    pub async fn connect(&mut self, to: &str) -> Roap {
        self.call(to).await;
        let answer = self.answered().await;
        self.browser.connected().await;
        answer
    }

    /// `terminateCall()`.
    pub async fn hang_up(&mut self) {
        self.posted("BYE").await;
        self.over();
    }

    pub fn over(&mut self) {
        self.offer_outstanding = false;
        self.established = false;
    }

    /// A new call on this page: a new peer connection and new numbers.
    pub async fn fresh(&mut self) {
        self.over();
        self.browser = TestBrowser::new().await;
        self.roap = Session::new();
    }

    pub async fn sign_out(mut self) {
        self.stop_polling().await;
        assert_eq!(self.wire.sign_out(&self.ssid).await.status, 200);
    }

    /// `getServerStats()`.
    pub async fn stats(&mut self) -> Value {
        self.posted("GET-STATS").await;
        let message = self.next().await;
        let json = message.body.strip_prefix("PUT-STATS ").expect("PUT-STATS");
        serde_json::from_str(json).expect("JSON statistics")
    }
}

/// Exactly one hanging GET at a time; an empty 200 only means to ask again.
async fn poll(
    wire: Wire,
    ssid: String,
    polling_timeout: Duration,
    found: mpsc::UnboundedSender<Polled>,
) {
    let path = format!("/wait?id={ssid}");
    loop {
        let request = wire.try_request(reqwest::Method::GET, &path, None);
        let polled = match tokio::time::timeout(polling_timeout, request).await {
            Err(_) => continue,
            Ok(Err(error)) => Polled::Broken(error.to_string()),
            Ok(Ok(answer)) if answer.status != 200 => Polled::Failed(answer.status),
            Ok(Ok(answer)) if answer.body.is_empty() => continue,
            Ok(Ok(answer)) => Polled::Message(Delivered {
                peer: answer.header("Pragma").unwrap_or_default().to_owned(),
                call_uuid: answer.header("X-Genesys-CallUUID").map(str::to_owned),
                body: answer.body,
            }),
        };
        let ended = !matches!(polled, Polled::Message(_));
        if found.send(polled).is_err() || ended {
            return;
        }
    }
}
