//! A user agent with its port and its inbox: what a task holds to drive one.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::sync::mpsc;

use super::endpoint::{Claim, Endpoint, Port};
use super::port::Incoming;
use super::{Command, Event, UaConfig, UserAgent};

/// Messages that may wait for one user agent. A DN has a handful of calls at most; whoever sends
/// it more than this between two polls is served by retransmission.
const INBOX: usize = 64;

/// One [`UserAgent`] attached to an [`Endpoint`], pumped by whoever awaits [`Driven::next_event`].
pub struct Driven {
    ua: UserAgent,
    port: Port,
    /// Further claims of the same inbox.
    claims: Vec<Port>,
    sender: mpsc::Sender<Incoming>,
    inbox: mpsc::Receiver<Incoming>,
}

impl Driven {
    /// Attaches a new user agent with random tags and Call-IDs.
    pub fn new(endpoint: &Endpoint, claim: Claim, config: UaConfig) -> Self {
        Self::with(endpoint, claim, UserAgent::new(config, rand::random()))
    }

    /// Attaches a user agent that stands already.
    pub fn with(endpoint: &Endpoint, claim: Claim, ua: UserAgent) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let port = endpoint.attach(claim, sender.clone());
        Self { ua, port, claims: Vec::new(), sender, inbox }
    }

    /// Claims more: a DN once its registration has been granted, not before.
    pub fn claim(&mut self, endpoint: &Endpoint, claim: Claim) {
        self.claims.push(endpoint.attach(claim, self.sender.clone()));
    }

    /// The user agent, for its getters.
    pub fn ua(&self) -> &UserAgent {
        &self.ua
    }

    /// Takes a command and sends at once what follows from it.
    pub fn command(&mut self, command: Command) {
        self.ua.handle_command(command, Instant::now());
        self.flush();
    }

    /// Points the user agent at another server, and tells what our address is toward it.
    pub fn set_server(&mut self, server: super::Hop, advertise: SocketAddr) {
        self.ua.set_server(server, advertise, Instant::now());
        self.flush();
    }

    /// Hands over a message that reached the owner by another way than the inbox: the lab's
    /// registrar takes the INVITE itself and gives it to a new leg.
    pub fn incoming(&mut self, incoming: Incoming) {
        self.ua.handle_incoming(incoming, Instant::now());
        self.flush();
    }

    /// Waits for the next event, moving messages and timers meanwhile. Cancel-safe: every step
    /// between two waits is whole. Nothing moves while nobody waits here.
    pub async fn next_event(&mut self) -> Event {
        loop {
            self.flush();
            match self.ua.poll_event() {
                Some(event) => return event,
                None => self.step().await,
            }
        }
    }

    /// Goes on until nothing is left to be sent or waited for (a BYE unanswered, a CANCEL that
    /// waits for its 180, a REGISTER under way). A call that comes in meanwhile is refused; other
    /// events are thrown away. Wants a time limit around it.
    pub async fn wind_down(&mut self) {
        loop {
            while let Some(event) = self.ua.poll_event() {
                match event {
                    Event::Invited { session, .. } => {
                        let text = "signing out".to_owned();
                        self.command(Command::End { session, code: 480, text });
                    }
                    Event::Referred { refer, .. } => {
                        self.command(Command::RejectRefer { refer, code: 480 });
                    }
                    _ => {}
                }
            }
            self.flush();
            if self.ua.is_idle() {
                return;
            }
            self.step().await;
        }
    }

    /// One message or one timer.
    async fn step(&mut self) {
        let wake = self.ua.poll_timeout();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(incoming) = self.inbox.recv() => {
                self.ua.handle_incoming(incoming, Instant::now());
            }
            () = sleep => self.ua.handle_timeout(Instant::now()),
        }
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.ua.poll_transmit() {
            self.port.transmit(transmit);
        }
    }
}
