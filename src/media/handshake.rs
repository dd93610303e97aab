//! A DTLS association whose costly parts are worked on elsewhere: its key exchange and signatures
//! take a millisecond of CPU, in which a media worker would carry some hundred packets of others.
//!
//! Work leaves as a [`Job`], with the association in it, and comes back as [`Done`]. What arrives
//! meanwhile waits here.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::dtls::{Dtls, Event, Identity};
use super::types::DtlsFailure;
use crate::sdp::{Fingerprint, Setup};

/// Inputs that wait for an association to come back: two whole flights of a browser. What is dropped
/// comes again with the browser's next repetition.
const MAX_WAITING: usize = 16;

enum Input {
    Remote(Option<Fingerprint>, Setup),
    Reachable,
    Datagram(Vec<u8>),
}

/// Work for another thread.
pub struct Job {
    number: u32,
    dtls: Box<Dtls>,
    inputs: Vec<Input>,
}

/// The work, done.
pub struct Done {
    pub number: u32,
    /// `None` when the work could not be finished and the association is lost.
    dtls: Option<Box<Dtls>>,
    events: Vec<Event>,
}

impl Job {
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn run(self, now: Instant) -> Done {
        let Job { number, mut dtls, inputs } = self;
        let mut events = Vec::new();
        for input in inputs {
            match input {
                Input::Remote(fingerprint, setup) => {
                    dtls.set_remote(fingerprint, setup);
                    for datagram in dtls.take_early() {
                        events.extend(dtls.handle_datagram(now, &datagram));
                    }
                }
                Input::Reachable => dtls.handle_reachable(now),
                Input::Datagram(datagram) => events.extend(dtls.handle_datagram(now, &datagram)),
            }
        }
        Done { number, dtls: Some(dtls), events }
    }
}

impl Done {
    /// For a job that was lost on the way.
    pub fn lost(number: u32) -> Done {
        Done { number, dtls: None, events: vec![Event::Failed(DtlsFailure::Handshake)] }
    }
}

/// The association of one peer connection, here or away.
pub struct Handshake {
    number: u32,
    identity: Arc<Identity>,
    dtls: Option<Box<Dtls>>,
    waiting: Vec<Input>,
    /// As the association counted when it was here last.
    malformed: u64,
    /// What is in no association's count: dropped while it was away, or of one that was lost.
    dropped: u64,
}

impl Handshake {
    /// The number is one that no other association of the call has had.
    pub fn new(number: u32, identity: Arc<Identity>) -> Self {
        let dtls = Some(Box::new(Dtls::new(identity.clone())));
        Handshake { number, identity, dtls, waiting: Vec::new(), malformed: 0, dropped: 0 }
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Never less than before.
    pub fn malformed(&self) -> u64 {
        self.dropped + self.dtls.as_ref().map_or(self.malformed, |dtls| dtls.malformed())
    }

    /// See [`Dtls::set_remote`].
    pub fn set_remote(&mut self, fingerprint: Option<Fingerprint>, setup: Setup) {
        match &mut self.dtls {
            Some(dtls) => {
                dtls.set_remote(fingerprint, setup);
                self.waiting.extend(dtls.take_early().into_iter().map(Input::Datagram));
            }
            None => {
                // The last description is the one that counts.
                self.waiting.retain(|input| !matches!(input, Input::Remote(..)));
                self.waiting.push(Input::Remote(fingerprint, setup));
            }
        }
    }

    /// The browser's address is known.
    pub fn handle_reachable(&mut self) {
        let start = self.dtls.as_ref().is_none_or(|dtls| dtls.wants_start());
        if start && !self.waiting.iter().any(|input| matches!(input, Input::Reachable)) {
            self.waiting.push(Input::Reachable);
        }
    }

    /// A datagram from an address that ICE has validated.
    pub fn handle_datagram(&mut self, now: Instant, data: &[u8]) -> Option<Event> {
        match &mut self.dtls {
            Some(dtls) if dtls.is_cheap() => return dtls.handle_datagram(now, data),
            _ if self.waiting.len() < MAX_WAITING => {
                self.waiting.push(Input::Datagram(data.to_vec()));
            }
            _ => self.dropped += 1,
        }
        None
    }

    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.dtls.as_mut()?.poll_transmit()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.dtls.as_ref()?.poll_timeout()
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Option<Event> {
        self.dtls.as_mut()?.handle_timeout(now)
    }

    /// Work to be done elsewhere, if there is any.
    pub fn poll_job(&mut self) -> Option<Job> {
        if self.waiting.is_empty() {
            return None;
        }
        let dtls = self.dtls.take()?;
        self.malformed = dtls.malformed();
        Some(Job { number: self.number, dtls, inputs: std::mem::take(&mut self.waiting) })
    }

    /// Nobody takes the job: its datagrams are lost, as on any network.
    pub fn handle_refused(&mut self, job: Job) {
        let Job { mut dtls, inputs, .. } = job;
        for input in inputs {
            if let Input::Remote(fingerprint, setup) = input {
                dtls.set_remote(fingerprint, setup);
            }
        }
        self.dtls = Some(dtls);
    }

    pub fn handle_done(&mut self, done: Done) -> Vec<Event> {
        let Done { dtls, events, .. } = done;
        let dtls = dtls.unwrap_or_else(|| {
            self.dropped += std::mem::take(&mut self.malformed);
            let mut dtls = Box::new(Dtls::new(self.identity.clone()));
            dtls.refuse();
            dtls
        });
        // The browser was described anew meanwhile, as somebody else: what came of the one before is
        // of no interest.
        let outdated = self.waiting.iter().any(|input| match input {
            Input::Remote(Some(fingerprint), _) => !dtls.expects(*fingerprint),
            Input::Remote(None, _) => true,
            Input::Reachable | Input::Datagram(_) => false,
        });
        self.dtls = Some(dtls);
        if outdated { Vec::new() } else { events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client, and our side, which expects it.
    fn ends(now: Instant) -> (Dtls, Handshake) {
        let [ours, theirs] = [(); 2].map(|()| Arc::new(Identity::generate().unwrap()));
        let mut client = Dtls::new(theirs.clone());
        client.set_remote(Some(ours.fingerprint()), Setup::Active);
        client.handle_reachable(now);
        let mut server = Handshake::new(7, ours);
        server.set_remote(Some(theirs.fingerprint()), Setup::Passive);
        (client, server)
    }

    /// Hands over what each has to send; true when something moved.
    fn carry(now: Instant, client: &mut Dtls, server: &mut Handshake) -> bool {
        let mut moved = false;
        while let Some(datagram) = client.poll_transmit() {
            assert!(
                server.handle_datagram(now, &datagram).is_none(),
                "nothing costly is done here"
            );
            moved = true;
        }
        while let Some(datagram) = server.poll_transmit() {
            client.handle_datagram(now, &datagram);
            moved = true;
        }
        moved
    }

    fn finish(now: Instant, client: &mut Dtls, server: &mut Handshake) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let moved = carry(now, client, server);
            match server.poll_job() {
                Some(job) => events.extend(server.handle_done(job.run(now))),
                None if !moved => return events,
                None => {}
            }
        }
    }

    fn is_connected(events: &[Event]) -> bool {
        matches!(events, [Event::Connected { .. }])
    }

    #[test]
    fn a_handshake_is_done_by_jobs_alone() {
        let now = Instant::now();
        let (mut client, mut server) = ends(now);
        assert!(server.poll_job().is_none(), "there is nothing to do yet");
        assert!(is_connected(&finish(now, &mut client, &mut server)));
        assert!(server.poll_job().is_none());
    }

    #[test]
    fn what_comes_meanwhile_waits_and_not_without_bound() {
        let now = Instant::now();
        let (mut client, mut server) = ends(now);
        let hello = client.poll_transmit().unwrap();
        assert!(server.handle_datagram(now, &hello).is_none());
        let job = server.poll_job().unwrap();
        for _ in 0..100 {
            assert!(server.handle_datagram(now, &hello).is_none());
        }
        assert!(server.poll_job().is_none(), "it is away");
        assert_eq!(server.waiting.len(), MAX_WAITING);
        let dropped = 100 - MAX_WAITING as u64;
        assert_eq!(server.malformed(), dropped);
        assert!(server.poll_timeout().is_none());
        assert!(server.handle_done(job.run(now)).is_empty());
        assert_eq!(server.malformed(), dropped, "and is counted still");
        assert!(is_connected(&finish(now, &mut client, &mut server)));
    }

    #[test]
    fn a_refused_job_only_waits_for_the_next_repetition() {
        let now = Instant::now();
        let (mut client, mut server) = ends(now);
        carry(now, &mut client, &mut server);
        let job = server.poll_job().unwrap();
        server.handle_refused(job);
        assert!(finish(now, &mut client, &mut server).is_empty(), "the hello is lost");
        let again = client.poll_timeout().unwrap();
        assert!(client.handle_timeout(again).is_none());
        assert!(is_connected(&finish(again, &mut client, &mut server)));
    }

    /// The browser was exchanged for another while the last step of the first one's handshake was
    /// worked on: the keys of the first are not installed.
    #[test]
    fn a_description_of_somebody_else_voids_what_is_under_way() {
        let now = Instant::now();
        for fingerprint in [Some(Fingerprint([1; 32])), None] {
            let (mut client, mut server) = ends(now);
            let mut connected = None;
            while connected.is_none() {
                carry(now, &mut client, &mut server);
                let Some(job) = server.poll_job() else { continue };
                let done = job.run(now);
                if is_connected(&done.events) {
                    server.set_remote(fingerprint, Setup::Passive);
                    connected = Some(!server.handle_done(done).is_empty());
                } else {
                    assert!(server.handle_done(done).is_empty());
                }
            }
            assert_eq!(connected, Some(false));
        }
    }

    #[test]
    fn a_lost_job_ends_the_handshake() {
        let now = Instant::now();
        let (mut client, mut server) = ends(now);
        server.handle_datagram(now, b"\x16");
        let job = server.poll_job().unwrap();
        server.handle_done(job.run(now));
        assert_eq!(server.malformed(), 1);
        carry(now, &mut client, &mut server);
        drop(server.poll_job().unwrap());
        let events = server.handle_done(Done::lost(server.number()));
        assert_eq!(server.malformed(), 1);
        assert!(matches!(events[..], [Event::Failed(DtlsFailure::Handshake)]));
        let again = client.poll_timeout().unwrap();
        assert!(client.handle_timeout(again).is_none());
        assert!(finish(again, &mut client, &mut server).is_empty());
    }
}
