//! A user agent with its port and its inbox: what a task holds to drive one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::endpoint::{Claim, Endpoint, Port};
use super::hop::Hop;
use super::pacer::Urgency;
use super::port::{Inbox, Incoming};
use super::servers::{Link, Turn};
use super::{Command, Event, UaConfig, UserAgent};
use crate::due::sleep_until;

/// Messages that may wait for one user agent. A DN has a handful of calls at most; whoever sends
/// it more than this between two polls is served by retransmission.
const INBOX: usize = 64;

/// One [`UserAgent`] attached to an [`Endpoint`], pumped by whoever awaits [`Driven::next_event`].
pub struct Driven {
    ua: UserAgent,
    port: Port,
    /// Further claims of the same inbox.
    claims: Vec<Port>,
    sender: Inbox,
    inbox: mpsc::Receiver<Box<Incoming>>,
    link: Option<Link>,
    /// That its REGISTER waits for, or has had and waits for the answer.
    turn: Option<(Urgency, Hop, Turn)>,
    /// See [`super::servers::Current::epoch`].
    epoch: Option<u64>,
}

impl Driven {
    /// The same for one of many at the same servers: it follows the current one, tells what it meets
    /// there, and sends each REGISTER when its turn has come.
    pub fn linked(endpoint: &Endpoint, claim: Claim, config: UaConfig, mut link: Link) -> Self {
        let mut ua = UserAgent::new(config, rand::random());
        ua.set_paced();
        // What the configuration says may be a moment old.
        link.current.mark_changed();
        Self { link: Some(link), ..Self::with(endpoint, claim, ua) }
    }

    /// Attaches a new user agent with random tags and Call-IDs.
    pub fn new(endpoint: &Endpoint, claim: Claim, config: UaConfig) -> Self {
        Self::with(endpoint, claim, UserAgent::new(config, rand::random()))
    }

    /// Attaches a user agent that stands already.
    pub fn with(endpoint: &Endpoint, claim: Claim, ua: UserAgent) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let port = endpoint.attach(claim, sender.clone());
        Self { ua, port, claims: Vec::new(), sender, inbox, link: None, turn: None, epoch: None }
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
    pub fn set_server(&mut self, server: Hop, advertise: SocketAddr) {
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
        let turn = async {
            match &mut self.turn {
                Some((.., turn)) if !turn.has_come() => turn.come().await,
                _ => std::future::pending().await,
            }
        };
        let moved = async {
            // Without a link, or after the last word of whoever chooses, nothing moves any more.
            let told = match &mut self.link {
                Some(link) => link.current.changed().await.is_ok(),
                None => false,
            };
            if !told {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            Some(incoming) = self.inbox.recv() => {
                self.ua.handle_incoming(*incoming, Instant::now());
            }
            () = turn => self.ua.take_turn(Instant::now()),
            () = moved => self.follow(),
            () = sleep_until(wake) => self.ua.handle_timeout(Instant::now()),
        }
    }

    /// To the current server.
    fn follow(&mut self) {
        let Some(link) = &mut self.link else { return };
        let Ok(current) = link.current.borrow_and_update().clone() else { return };
        let now = Instant::now();
        self.ua.set_others(current.others);
        // In this order: toward a server that is down nothing goes out.
        self.ua.set_reachable(current.down.as_deref().map_or(Ok(()), Err), now);
        self.ua.set_server(current.server, current.advertise, now);
        if self.epoch.replace(current.epoch).is_some_and(|epoch| epoch != current.epoch) {
            self.ua.register_again(now);
        }
    }

    /// Why the current server is not worth a try, as far as is known.
    pub fn server_down(&self) -> Option<Arc<str>> {
        match &*self.link.as_ref()?.current.borrow() {
            Ok(current) => current.down.clone(),
            Err(why) => Some(Arc::clone(why)),
        }
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.ua.poll_transmit() {
            self.port.transmit(transmit);
        }
        let Some(link) = &self.link else { return };
        if let Some(news) = self.ua.poll_news() {
            let _ = link.news.try_send(news);
        }
        match self.ua.awaits_turn() {
            Some(urgency) => {
                let server = self.ua.config().server;
                let waits = self.turn.as_ref().is_some_and(|(asked, to, turn)| {
                    (*asked, *to) == (urgency, server) && !turn.has_come()
                });
                if !waits {
                    // The old one first, for it may make room.
                    self.turn = None;
                    let turn = link.pacing.ask(urgency, server.transport.is_reliable());
                    self.turn = Some((urgency, server, turn));
                }
            }
            None if self.turn.is_some() && !self.ua.is_registering() => self.turn = None,
            None => {}
        }
    }
}
