//! A running centre: one UDP socket, a player for each call, and a person or a test that decides what
//! happens next.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::cast::{Manner, role_of};
use super::dialog::Caller;
use super::far::FarEnd;
use super::player::{Failure, Player, Setup, Stage};
use super::registrar::{Agent, Registrar, answer};
use super::scenario::{self, Scenario};
use super::step::{Body, Step};
use super::text::Text;
use super::view::CallView;
use crate::due::sleep_until;
use crate::lab::phone::{Hold, Phone};
use crate::lab::{Heard, Registration};

/// Calls at a time; each has a pair of ports.
const MAX_CALLS: usize = 500;
/// Calls that are over and still shown; the oldest go first.
const KEEP_ENDED: usize = 30;

/// A call of the centre's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallNumber(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CentreError {
    #[error("DN {0} is not signed in")]
    NotRegistered(String),
    #[error("there is no such call")]
    NoSuchCall,
    #[error("{0}")]
    WrongState(&'static str),
    #[error("no socket could be opened for the far end")]
    NoSocket,
    #[error("the centre has as many calls as it may")]
    Full,
}

pub(super) struct Entry {
    pub player: Player,
    /// What it is, in a word or two: `queued`, `dialled`, a scenario's name.
    pub kind: String,
    /// The number at the far end now.
    pub number: String,
    pub phone: Option<Arc<Phone>>,
    pub far_holds: Hold,
}

#[derive(Default)]
struct State {
    registrar: Registrar,
    /// Those of a lab.
    followed: BTreeMap<String, Agent>,
    calls: BTreeMap<CallNumber, Entry>,
    by_call_id: HashMap<String, CallNumber>,
    last: u64,
}

struct Inner {
    me: SocketAddr,
    socket: UdpSocket,
    state: Mutex<State>,
    wake: Notify,
    changed: watch::Sender<u64>,
}

/// Ends with its last handle.
#[derive(Debug)]
struct Tasks(Mutex<Vec<JoinHandle<()>>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            task.abort();
        }
    }
}

/// A running contact centre; clones are the same one.
#[derive(Clone)]
pub struct Centre {
    inner: Arc<Inner>,
    tasks: Arc<Tasks>,
}

impl Centre {
    /// Opens a UDP socket and serves within the tokio runtime it is called in. `listen` is what the
    /// messages say, too, so it has to be one address; port 0 for any.
    pub async fn start(listen: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(listen).await?;
        // Until the runtime has seen it writable once, a first datagram would be lost.
        socket.writable().await?;
        let inner = Arc::new(Inner {
            me: socket.local_addr()?,
            socket,
            state: Mutex::default(),
            wake: Notify::new(),
            changed: watch::Sender::new(0),
        });
        let task = tokio::spawn(run(inner.clone()));
        Ok(Self { inner, tasks: Arc::new(Tasks(Mutex::new(vec![task]))) })
    }

    /// Where it is reached: to be in `sip.servers`, or beside a lab that is.
    pub fn addr(&self) -> SocketAddr {
        self.inner.me
    }

    /// Calls the DNs that are registered with a lab, too.
    pub fn follow(&self, mut registrations: watch::Receiver<Vec<Registration>>) {
        let inner = self.inner.clone();
        let task = tokio::spawn(async move {
            loop {
                let all: BTreeMap<_, _> = registrations
                    .borrow_and_update()
                    .iter()
                    .map(|r| (r.dn.clone(), Agent { contact: r.contact.clone(), addr: r.hop.addr }))
                    .collect();
                inner.lock().followed = all;
                inner.tell();
                if registrations.changed().await.is_err() {
                    return;
                }
            }
        });
        self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// DNs that can be called, sorted.
    pub fn agents(&self) -> Vec<String> {
        let state = self.inner.lock();
        let mut dns: Vec<String> = state.registrar.dns().map(str::to_owned).collect();
        dns.extend(state.followed.keys().cloned());
        dns.sort();
        dns.dedup();
        dns
    }

    /// Counts up with whatever happens.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Starts a script toward a DN.
    pub fn place(
        &self,
        dn: &str,
        kind: &str,
        caller: Caller,
        far: Arc<dyn FarEnd>,
        steps: Vec<Step>,
    ) -> Result<CallNumber, CentreError> {
        self.enter(dn, kind, caller, far, None, steps)
    }

    fn enter(
        &self,
        dn: &str,
        kind: &str,
        caller: Caller,
        far: Arc<dyn FarEnd>,
        phone: Option<Arc<Phone>>,
        steps: Vec<Step>,
    ) -> Result<CallNumber, CentreError> {
        let now = Instant::now();
        let mut state = self.inner.lock();
        let agent = state.registrar.find(dn).or_else(|| state.followed.get(dn)).cloned();
        let agent = agent.ok_or_else(|| CentreError::NotRegistered(dn.to_owned()))?;
        let live = state.calls.values().filter(|entry| !entry.player.has_ended()).count();
        if live >= MAX_CALLS {
            return Err(CentreError::Full);
        }
        state.last += 1;
        let id = CallNumber(state.last);
        let number = caller.number.clone();
        let setup = Setup {
            caller,
            me: self.inner.me,
            dn: dn.to_owned(),
            contact: agent.contact,
            addr: agent.addr,
        };
        let mut player = Player::new(setup, far, now);
        state.by_call_id.insert(player.call_id().to_owned(), id);
        player.play(steps, now);
        let kind = kind.to_owned();
        state.calls.insert(id, Entry { player, kind, number, phone, far_holds: Hold::No });
        state.tidy();
        self.inner.flush(&mut state);
        drop(state);
        self.inner.wake.notify_one();
        Ok(id)
    }

    async fn phone_of(&self, number: &str) -> Result<Arc<Phone>, CentreError> {
        let config = role_of(number).phone(self.inner.me.ip());
        Phone::open(config).await.map(Arc::new).map_err(|_| CentreError::NoSocket)
    }

    /// A customer's call goes to a DN, and rings there.
    pub async fn queue(&self, dn: &str, caller: Caller) -> Result<CallNumber, CentreError> {
        let phone = self.phone_of(&caller.number).await?;
        self.enter(dn, "queued", caller, phone.clone(), Some(phone), scenario::ring())
    }

    /// The agent has dialled in WWE: INVITE without SDP from the destination, talk at once, and the ACK
    /// when the far end has answered.
    pub async fn dial(&self, dn: &str, caller: Caller) -> Result<CallNumber, CentreError> {
        let phone = self.phone_of(&caller.number).await?;
        let mut steps = [scenario::ring_offerless(), scenario::talk_offerless()].concat();
        match &role_of(&caller.number).manner {
            Manner::Answers { after } => {
                steps.extend([Step::Wait(*after), Step::Ack(Body::Answer)]);
            }
            Manner::Fails { with } => steps.extend(scenario::fail(with.clone())),
        }
        self.enter(dn, "dialled", caller, phone.clone(), Some(phone), steps)
    }

    /// Plays a whole scenario.
    pub async fn run(
        &self,
        dn: &str,
        caller: Caller,
        scenario: Scenario,
    ) -> Result<CallNumber, CentreError> {
        let phone = self.phone_of(&caller.number).await?;
        self.enter(dn, scenario.name, caller, phone.clone(), Some(phone), (scenario.steps)())
    }

    /// Adds to the script of a call.
    pub fn play(&self, call: CallNumber, steps: Vec<Step>) -> Result<(), CentreError> {
        self.with(call, |entry| {
            if entry.player.has_ended() {
                return Err(CentreError::WrongState("the call is over"));
            }
            entry.player.play(steps, Instant::now());
            Ok(())
        })
    }

    fn with<R>(
        &self,
        call: CallNumber,
        act: impl FnOnce(&mut Entry) -> Result<R, CentreError>,
    ) -> Result<R, CentreError> {
        let mut state = self.inner.lock();
        let result = act(state.calls.get_mut(&call).ok_or(CentreError::NoSuchCall)?)?;
        self.inner.flush(&mut state);
        drop(state);
        self.inner.wake.notify_one();
        Ok(result)
    }

    /// What a person asks for is refused while the call is in the middle of something.
    fn act(
        &self,
        call: CallNumber,
        steps: impl FnOnce(&mut Entry) -> Result<Vec<Step>, CentreError>,
    ) -> Result<(), CentreError> {
        self.with(call, |entry| {
            if !entry.player.is_done() {
                return Err(CentreError::WrongState("the call is in the middle of something"));
            }
            let steps = steps(entry)?;
            entry.player.play(steps, Instant::now());
            Ok(())
        })
    }

    /// Answer in WWE, or retrieve: NOTIFY talk.
    pub fn talk(&self, call: CallNumber) -> Result<(), CentreError> {
        self.act(call, |entry| match entry.player.stage() {
            Stage::Ringing => Ok(scenario::talk()),
            Stage::Up if entry.player.agent_holds() => Ok(scenario::retrieve()),
            _ => Err(CentreError::WrongState(
                "talk is for a call that rings or that the agent holds",
            )),
        })
    }

    /// Hold in WWE: NOTIFY hold.
    pub fn hold(&self, call: CallNumber) -> Result<(), CentreError> {
        self.act(call, |entry| match entry.player.stage() {
            Stage::Up if !entry.player.agent_holds() => Ok(scenario::hold()),
            _ => Err(CentreError::WrongState("hold is for a call that is not held")),
        })
    }

    /// The re-INVITE without SDP, which retrieves a call that the agent holds.
    pub fn ask_for_offer(&self, call: CallNumber) -> Result<(), CentreError> {
        self.in_call(call, |_| scenario::offerless())
    }

    /// The far end holds, or with [`Hold::No`] comes back.
    pub fn far_hold(&self, call: CallNumber, hold: Hold) -> Result<(), CentreError> {
        self.in_call(call, |entry| {
            entry.far_holds = hold;
            [vec![Step::Hold(hold)], scenario::renew()].concat()
        })
    }

    /// The agent is connected with another number, by re-INVITE with its SDP. That of the conference
    /// makes a conference.
    pub async fn transfer(&self, call: CallNumber, number: &str) -> Result<(), CentreError> {
        let phone = self.phone_of(number).await?;
        self.in_call(call, |entry| {
            entry.far_holds = Hold::No;
            entry.phone = Some(phone.clone());
            entry.number = number.to_owned();
            [vec![Step::Connect(phone)], scenario::renew()].concat()
        })
    }

    fn in_call(
        &self,
        call: CallNumber,
        steps: impl FnOnce(&mut Entry) -> Vec<Step>,
    ) -> Result<(), CentreError> {
        self.act(call, |entry| match entry.player.stage() {
            Stage::Up => Ok(steps(entry)),
            _ => Err(CentreError::WrongState("the call is not connected")),
        })
    }

    /// CANCEL or BYE, whatever else is going on.
    pub fn hang_up(&self, call: CallNumber) -> Result<(), CentreError> {
        self.with(call, |entry| {
            let steps = match entry.player.stage() {
                Stage::Ended(_) => return Err(CentreError::WrongState("the call is over")),
                Stage::Calling => {
                    return Err(CentreError::WrongState("nothing has come back yet"));
                }
                Stage::Ringing => vec![Step::Cancel],
                // An ACK that is withheld goes first (RFC 3261 15).
                Stage::Answered => scenario::fail(Body::Mirrored),
                Stage::New | Stage::Up => scenario::hang_up(),
            };
            entry.player.abandon();
            entry.player.play(steps, Instant::now());
            Ok(())
        })
    }

    /// All calls, the newest first, without their messages.
    pub fn calls(&self) -> Vec<CallView> {
        let state = self.inner.lock();
        state.calls.iter().rev().map(|(id, entry)| CallView::of(*id, entry, false)).collect()
    }

    /// One call with its messages.
    pub fn call(&self, call: CallNumber) -> Option<CallView> {
        self.inner.lock().calls.get(&call).map(|entry| CallView::of(call, entry, true))
    }

    /// What the far end is, for its ears and its voice.
    pub fn phone(&self, call: CallNumber) -> Option<Arc<Phone>> {
        self.inner.lock().calls.get(&call).and_then(|entry| entry.phone.clone())
    }

    pub fn heard(&self, call: CallNumber) -> Option<Heard> {
        Some(self.phone(call)?.heard())
    }

    /// Reads something off a call's player.
    pub fn look<R>(&self, call: CallNumber, at: impl FnOnce(&Player) -> R) -> Option<R> {
        self.inner.lock().calls.get(&call).map(|entry| at(&entry.player))
    }

    /// Waits until the script of a call is done.
    ///
    /// # Errors
    /// What it waited for in vain.
    pub async fn settled(&self, call: CallNumber) -> Result<(), Failure> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let done = self.look(call, |player| match player.failure() {
                Some(failure) => Some(Err(failure.clone())),
                None => player.is_done().then_some(Ok(())),
            });
            match done {
                Some(Some(result)) => return result,
                Some(None) => {}
                None => return Ok(()),
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

impl State {
    fn tidy(&mut self) {
        let ended =
            |entry: &Entry| entry.player.has_ended() && entry.player.poll_timeout().is_none();
        let over: Vec<CallNumber> =
            self.calls.iter().filter(|(_, entry)| ended(entry)).map(|(id, _)| *id).collect();
        let too_many = over.len().saturating_sub(KEEP_ENDED);
        for id in over.into_iter().take(too_many) {
            if let Some(entry) = self.calls.remove(&id) {
                self.by_call_id.remove(entry.player.call_id());
            }
        }
    }

    fn handle_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
    ) -> Option<String> {
        let message = Text::parse(datagram)?;
        let call = message.call_id().and_then(|id| self.by_call_id.get(id)).copied();
        if let Some(entry) = call.and_then(|call| self.calls.get_mut(&call)) {
            entry.player.handle_datagram(datagram, now);
            return None;
        }
        match message.method()? {
            "REGISTER" => self.registrar.handle(&message, from),
            "OPTIONS" => Some(answer(&message, "200 OK", from, "")),
            "ACK" => None,
            // Calls of the agents' own are for the lab beside it.
            "INVITE" if message.tag("To").is_none() => {
                Some(answer(&message, "404 Not Found", from, ""))
            }
            _ => Some(answer(&message, "481 Call/Transaction Does Not Exist", from, "")),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in there can be half done: players are whole between two calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn flush(&self, state: &mut State) {
        for entry in state.calls.values_mut() {
            while let Some((to, text)) = entry.player.poll_transmit() {
                // A full send buffer loses the datagram, as a network would.
                let _ = self.socket.try_send_to(text.as_bytes(), to);
            }
        }
        self.tell();
    }
}

async fn run(inner: Arc<Inner>) {
    // The largest UDP payload.
    let mut buffer = vec![0; 65_535];
    loop {
        let next = inner.lock().calls.values().filter_map(|e| e.player.poll_timeout()).min();
        tokio::select! {
            got = inner.socket.recv_from(&mut buffer) => {
                let Ok((length, from)) = got else { continue };
                let now = Instant::now();
                let mut state = inner.lock();
                let datagram = buffer.get(..length).unwrap_or_default();
                if let Some(answer) = state.handle_datagram(datagram, from, now) {
                    let _ = inner.socket.try_send_to(answer.as_bytes(), from);
                }
                inner.flush(&mut state);
            }
            () = sleep_until(next) => {
                let now = Instant::now();
                let mut state = inner.lock();
                for entry in state.calls.values_mut() {
                    if entry.player.poll_timeout().is_some_and(|at| at <= now) {
                        entry.player.handle_timeout(now);
                    }
                }
                inner.flush(&mut state);
            }
            () = inner.wake.notified() => {}
        }
    }
}
