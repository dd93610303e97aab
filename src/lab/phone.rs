//! The audio end of a lab telephone: an RTP socket, what it plays and what it heard.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::meter::{Heard, Meter};
use super::rtp::Packet;
use super::sdp::{Described, Local, SdpError};
pub use super::voice::Sound;
use super::voice::Voice;
use crate::sdp::{Codec, Direction, Format, PayloadMap};

const TICK: Duration = Duration::from_millis(20);
/// How a telephone's own next offer says that the peer is on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hold {
    #[default]
    No,
    /// `a=sendonly`.
    SendOnly,
    /// `a=inactive`.
    Inactive,
    /// `c=0.0.0.0`, as RFC 2543 had it.
    BlackHole,
}

/// How a telephone starts.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Where its RTP socket is bound, any port; what its SDP says.
    pub address: IpAddr,
    /// What it offers, the preferred first, and what it takes.
    pub codecs: Vec<Codec>,
    /// Payload type of telephone-event in its offers; `None` to do without.
    pub telephone_event: Option<u8>,
    pub sound: Sound,
}

impl Default for PhoneConfig {
    fn default() -> Self {
        Self {
            address: IpAddr::from([127, 0, 0, 1]),
            codecs: vec![Codec::Pcmu, Codec::Pcma, Codec::G722],
            telephone_event: Some(101),
            sound: Sound::Silence,
        }
    }
}

/// One call's audio. Silent and deaf until an offer and an answer have met; its socket closes
/// when it is dropped.
#[derive(Debug)]
pub struct Phone {
    shared: Arc<Shared>,
    address: IpAddr,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A new socket waits in the state.
    moved: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counters at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Phone {
    pub async fn open(config: PhoneConfig) -> io::Result<Phone> {
        let sockets = Sockets::bind(config.address).await?;
        let address = config.address;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(config, sockets.rtp.local_addr()?)),
            moved: Notify::new(),
        });
        let task = tokio::spawn(run(sockets, shared.clone()));
        Ok(Phone { shared, address, task })
    }

    /// Where it hears.
    pub fn addr(&self) -> SocketAddr {
        self.shared.lock().local.address
    }

    /// An offer for what the telephone wants now. The version in `o=` counts up with each change.
    pub fn offer(&self) -> String {
        self.shared.lock().offer()
    }

    /// Takes the peer's offer and gives the answer.
    pub fn answer(&self, offer: &str) -> Result<String, SdpError> {
        self.shared.lock().answer(offer)
    }

    /// Takes the answer to [`Phone::offer`].
    pub fn take_answer(&self, answer: &str) -> Result<(), SdpError> {
        self.shared.lock().take_answer(answer)
    }

    /// For the next offer or answer.
    pub fn set_hold(&self, hold: Hold) {
        self.shared.lock().hold = hold;
    }

    /// For the next offer or answer.
    pub fn set_codecs(&self, codecs: Vec<Codec>) {
        self.shared.lock().codecs = codecs;
    }

    /// Payload type of telephone-event in the next offer.
    pub fn set_telephone_event(&self, payload: Option<u8>) {
        self.shared.lock().telephone_event = payload;
    }

    /// Opens another port; the old one closes. The peer learns of it by the next offer.
    pub async fn change_port(&self) -> io::Result<SocketAddr> {
        let sockets = Sockets::bind(self.address).await?;
        let address = sockets.rtp.local_addr()?;
        let mut state = self.shared.lock();
        state.local.address = address;
        state.new_sockets = Some(sockets);
        drop(state);
        self.shared.moved.notify_one();
        Ok(address)
    }

    pub fn play(&self, sound: Sound) {
        self.shared.lock().voice.play(sound);
    }

    /// Sends digits as telephone events (RFC 4733), one after the other. What is no digit, and
    /// what the peer has no payload type for, is left out.
    pub fn dtmf(&self, digits: &str) {
        self.shared.lock().voice.dial(digits);
    }

    /// Digits that came another way (SIP INFO) belong to what was heard.
    pub fn note_digit(&self, digit: char) {
        self.shared.lock().meter.digit(digit);
    }

    /// All that was heard since the telephone was opened.
    pub fn heard(&self) -> Heard {
        self.shared.lock().meter.heard()
    }

    /// What was heard since [`Phone::listen_afresh`].
    pub fn heard_afresh(&self) -> Heard {
        self.shared.lock().meter.heard_afresh()
    }

    pub fn listen_afresh(&self) {
        self.shared.lock().meter.afresh();
    }

    /// The call is over: nothing is sent any more. What was heard stays.
    pub fn stop(&self) {
        self.shared.lock().target = None;
    }

    /// RTP packets sent.
    pub fn sent(&self) -> u64 {
        self.shared.lock().voice.sent()
    }

    /// The direction last agreed on, as this telephone sees it.
    pub fn direction(&self) -> Direction {
        self.shared.lock().direction
    }
}

/// A telephone on paper: it offers, answers and remembers as [`Phone`] does, without a socket or a
/// sound. For tests under virtual time.
#[derive(Debug)]
pub struct Paper(Mutex<State>);

impl Paper {
    /// `address` is what its SDP says; nothing is opened there.
    pub fn new(config: PhoneConfig, address: SocketAddr) -> Self {
        Self(Mutex::new(State::new(config, address)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Phone::offer`].
    pub fn offer(&self) -> String {
        self.lock().offer()
    }

    /// See [`Phone::answer`].
    pub fn answer(&self, offer: &str) -> Result<String, SdpError> {
        self.lock().answer(offer)
    }

    /// See [`Phone::take_answer`].
    pub fn take_answer(&self, answer: &str) -> Result<(), SdpError> {
        self.lock().take_answer(answer)
    }

    pub fn set_hold(&self, hold: Hold) {
        self.lock().hold = hold;
    }

    /// For the next offer or answer: another codec list and telephone-event.
    pub fn set_formats(&self, codecs: Vec<Codec>, telephone_event: Option<u8>) {
        let mut state = self.lock();
        state.codecs = codecs;
        state.telephone_event = telephone_event;
    }

    /// Where RTP would be sent to now; `None` while nothing is to be sent.
    pub fn target(&self) -> Option<SocketAddr> {
        self.lock().target()
    }

    /// The direction last agreed on, as this telephone sees it.
    pub fn direction(&self) -> Direction {
        self.lock().direction
    }
}

/// RTP on an even port and RTCP on the next (RFC 3550 11). RTCP is read and dropped: without
/// the socket the peer's reports would come back as ICMP errors.
#[derive(Debug)]
struct Sockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Sockets {
    async fn bind(address: IpAddr) -> io::Result<Self> {
        // Ports come at random; a pair is free at every other try or so.
        for _ in 0..64 {
            let rtp = UdpSocket::bind((address, 0)).await?;
            let port = rtp.local_addr()?.port();
            if port % 2 == 0
                && let Ok(rtcp) = UdpSocket::bind((address, port + 1)).await
            {
                // Until the runtime has seen it writable once, a first packet would be lost.
                rtp.writable().await?;
                return Ok(Self { rtp, rtcp });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no pair of RTP ports is free"))
    }
}

#[derive(Debug)]
struct State {
    codecs: Vec<Codec>,
    telephone_event: Option<u8>,
    hold: Hold,
    local: Local,
    /// `local` has been in an offer or answer since it last changed.
    written: Option<Local>,
    target: Option<SocketAddr>,
    /// The host that may speak: the last target's.
    peer: Option<IpAddr>,
    /// Where the peer's packets come from, when that is another host than its SDP says: it has
    /// several addresses, or is behind a NAT. The first to speak is believed.
    learned: Option<SocketAddr>,
    heard_peer: bool,
    direction: Direction,
    voice: Voice,
    meter: Meter,
    new_sockets: Option<Sockets>,
}

impl State {
    fn new(config: PhoneConfig, address: SocketAddr) -> Self {
        State {
            codecs: config.codecs,
            telephone_event: config.telephone_event,
            hold: Hold::No,
            local: Local {
                // As NTP seconds are usual there, and small enough for everybody.
                id: u64::from(rand::random::<u32>()),
                version: 1,
                address,
                black_hole: false,
                payloads: PayloadMap::default(),
                direction: Direction::SendRecv,
            },
            written: None,
            target: None,
            peer: None,
            learned: None,
            heard_peer: false,
            direction: Direction::Inactive,
            voice: Voice::new(config.sound),
            meter: Meter::default(),
            new_sockets: None,
        }
    }

    fn wanted(&self) -> Direction {
        match self.hold {
            Hold::No | Hold::BlackHole => Direction::SendRecv,
            Hold::SendOnly => Direction::SendOnly,
            Hold::Inactive => Direction::Inactive,
        }
    }

    fn write(&mut self, offer: Option<&Described>) -> String {
        self.local.black_hole = self.hold == Hold::BlackHole;
        if let Some(written) = &self.written
            && *written != self.local
        {
            self.local.version += 1;
        }
        self.written = Some(self.local.clone());
        self.local.write(offer)
    }

    fn offer(&mut self) -> String {
        let format = |codec: &Codec| Format { codec: *codec, payload: codec.offered_payload() };
        self.local.payloads = PayloadMap {
            formats: self.codecs.iter().map(format).collect(),
            telephone_event: self.telephone_event,
            ..PayloadMap::default()
        };
        self.local.direction = self.wanted();
        self.write(None)
    }

    fn answer(&mut self, offer: &str) -> Result<String, SdpError> {
        let offer = Described::parse(offer)?;
        let formats: smallvec::SmallVec<_> = offer
            .payloads
            .formats
            .iter()
            .filter(|format| self.codecs.contains(&format.codec))
            .copied()
            .collect();
        if formats.is_empty() {
            return Err(SdpError::NoCommonCodec);
        }
        // The offer's payload number, and from then on ours too (RFC 3264 8.3.2).
        if self.telephone_event.is_some() && offer.payloads.telephone_event.is_some() {
            self.telephone_event = offer.payloads.telephone_event;
        }
        let telephone_event = self.telephone_event.and(offer.payloads.telephone_event);
        self.local.payloads = PayloadMap { formats, telephone_event, ..PayloadMap::default() };
        self.local.direction = offer.direction.reversed().and(self.wanted());
        let text = self.write(Some(&offer));
        self.settle(offer.target, self.local.direction, self.local.payloads.clone());
        Ok(text)
    }

    fn take_answer(&mut self, answer: &str) -> Result<(), SdpError> {
        let answer = Described::parse(answer)?;
        let mut payloads = answer.payloads;
        payloads.formats.retain(|format| self.local.payloads.payload_of(format.codec).is_some());
        if payloads.formats.is_empty() {
            return Err(SdpError::NoCommonCodec);
        }
        let direction = answer.direction.reversed().and(self.local.direction);
        self.settle(answer.target, direction, payloads);
        Ok(())
    }

    fn settle(&mut self, target: Option<SocketAddr>, direction: Direction, to: PayloadMap) {
        let peer = target.map(|t| t.ip()).or(self.peer);
        if peer != self.peer {
            self.peer = peer;
            self.learned = None;
            self.heard_peer = false;
        }
        self.target = target;
        self.direction = direction;
        if !direction.receives() || self.local.black_hole {
            self.meter.pause();
        }
        self.voice.set_payloads(to);
    }

    fn target(&self) -> Option<SocketAddr> {
        let target = self.target.filter(|_| self.direction.sends())?;
        Some(self.learned.unwrap_or(target))
    }

    fn is_peer(&mut self, from: SocketAddr) -> bool {
        let Some(peer) = self.peer else { return true };
        if peer == from.ip() {
            self.heard_peer = true;
            self.learned = None;
            return true;
        }
        if !self.heard_peer {
            self.learned.get_or_insert(from);
        }
        self.learned == Some(from)
    }

    /// A datagram that came, and where its echo goes; the echo itself is in `out`.
    fn handle(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let packet = Packet::parse(datagram).filter(|_| self.is_peer(from));
        let Some(packet) = packet else {
            self.meter.strange();
            return None;
        };
        self.meter.packet(&packet, &self.local.payloads, now);
        let target = self.target()?;
        let codec = self.local.payloads.codec_of(packet.payload_type)?;
        self.voice.echo(codec, &packet, out).then_some(target)
    }
}

async fn run(mut sockets: Sockets, shared: Arc<Shared>) {
    // Catches up after a pause of the machine: 50 frames a second on average, without drift.
    let mut tick = tokio::time::interval(TICK);
    // The largest UDP payload that an Ethernet carries, and then some.
    let (mut buffer, mut reports, mut out) = ([0; 2048], [0; 2048], Vec::with_capacity(2048));
    loop {
        tokio::select! {
            got = sockets.rtp.recv_from(&mut buffer) => {
                let Ok((length, from)) = got else { continue };
                let now = Instant::now();
                let target = shared.lock().handle(&buffer[..length], from, now, &mut out);
                if let Some(target) = target {
                    // A full send buffer loses the packet, as a network would.
                    let _ = sockets.rtp.try_send_to(&out, target);
                }
            }
            _ = tick.tick() => {
                let mut state = shared.lock();
                let target = state.target();
                state.voice.tick(target.is_some(), &mut out, |packet| {
                    if let Some(target) = target {
                        let _ = sockets.rtp.try_send_to(packet, target);
                    }
                });
            }
            _ = sockets.rtcp.recv_from(&mut reports) => {}
            () = shared.moved.notified() => {
                if let Some(new) = shared.lock().new_sockets.take() {
                    sockets = new;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn phone(sound: Sound, codecs: &[Codec]) -> Phone {
        let config = PhoneConfig { sound, codecs: codecs.to_vec(), ..PhoneConfig::default() };
        Phone::open(config).await.unwrap()
    }

    fn connect(offerer: &Phone, answerer: &Phone) {
        offerer.take_answer(&answerer.answer(&offerer.offer()).unwrap()).unwrap();
    }

    async fn until(what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..1500 {
            if done() {
                return;
            }
            tokio::time::sleep(TICK).await;
        }
        panic!("waited for 30 s: {what}");
    }

    #[tokio::test]
    async fn an_echo_brings_a_tone_and_nothing_else_back() {
        let tone = phone(Sound::Tone { hz: 440.0, dbfs: -12.0 }, &[Codec::Pcma]).await;
        let echo = phone(Sound::Echo, &Codec::ALL).await;
        connect(&tone, &echo);
        until("a second of echo", || tone.heard().received.packets >= 50).await;
        let heard = tone.heard();
        assert_eq!((heard.received.lost, heard.received.sources, heard.strange), (0, 1, 0));
        assert!(heard.tone_near(440.0, 5.0).share > 0.95, "{heard}");
        assert_eq!(heard.codec, Some("PCMA"));
    }

    #[tokio::test]
    async fn g722_is_echoed_as_it_comes() {
        let caller = phone(Sound::Silence, &[Codec::G722]).await;
        let echo = phone(Sound::Echo, &Codec::ALL).await;
        connect(&caller, &echo);
        until("half a second of echo", || caller.heard().received.packets >= 25).await;
        let heard = caller.heard();
        assert_eq!((heard.codec, heard.received.lost), (Some("G722"), 0));
        // It is not looked into.
        assert_eq!((heard.frames, heard.unknown_payload), (0, 0));
    }

    #[tokio::test]
    async fn digits_arrive_once_each() {
        let (caller, called) = (
            phone(Sound::Silence, &[Codec::Pcmu]).await,
            phone(Sound::Silence, &[Codec::Pcmu]).await,
        );
        connect(&caller, &called);
        caller.dtmf("112#");
        until("four digits", || called.heard().digits == "112#").await;
    }

    #[tokio::test]
    async fn hold_stops_one_direction_and_a_new_port_is_followed() {
        let loud = Sound::Tone { hz: 440.0, dbfs: -12.0 };
        let (holder, held) = (phone(loud, &[Codec::Pcmu]).await, phone(loud, &[Codec::Pcmu]).await);
        connect(&holder, &held);
        until("sound", || holder.heard().received.packets > 0).await;
        for (hold, ours, theirs) in [
            (Hold::SendOnly, Direction::SendOnly, Direction::RecvOnly),
            (Hold::Inactive, Direction::Inactive, Direction::Inactive),
            (Hold::BlackHole, Direction::SendRecv, Direction::SendRecv),
        ] {
            holder.set_hold(hold);
            connect(&holder, &held);
            assert_eq!((holder.direction(), held.direction()), (ours, theirs), "{hold:?}");
            // What was on its way may still come.
            tokio::time::sleep(3 * TICK).await;
            let before = held.sent();
            tokio::time::sleep(5 * TICK).await;
            assert_eq!(held.sent(), before, "{hold:?}");
        }
        holder.set_hold(Hold::No);
        holder.change_port().await.unwrap();
        connect(&holder, &held);
        holder.listen_afresh();
        until("sound again", || holder.heard_afresh().received.packets > 10).await;
        assert_eq!(holder.heard().received.lost, 0);
    }

    #[tokio::test]
    async fn the_version_of_an_offer_counts_changes() {
        let phone = phone(Sound::Stopped, &[Codec::Pcmu]).await;
        let version = |sdp: &str| {
            let origin = sdp.lines().find(|l| l.starts_with("o=")).unwrap().to_owned();
            origin.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
        };
        let first = phone.offer();
        assert_eq!(phone.offer(), first);
        phone.set_hold(Hold::SendOnly);
        let second = phone.offer();
        phone.set_codecs(vec![Codec::Pcma]);
        phone.set_telephone_event(Some(96));
        let third = phone.offer();
        assert!(version(&first) < version(&second) && version(&second) < version(&third));
        assert!(third.contains("RTP/AVP 8 96\r\n"), "{third}");
    }

    #[test]
    fn a_peer_that_speaks_from_another_host_than_it_says_is_answered_there() {
        let mut state = State::new(PhoneConfig::default(), "127.0.0.1:4000".parse().unwrap());
        let said: SocketAddr = "192.0.2.2:5000".parse().unwrap();
        let (real, other) = ("127.0.0.1:5000".parse().unwrap(), "127.0.0.9:1".parse().unwrap());
        state.settle(Some(said), Direction::SendRecv, PayloadMap::default());
        assert_eq!(state.target(), Some(said));
        assert!(state.is_peer(real) && !state.is_peer(other));
        assert_eq!(state.target(), Some(real));
        assert!(state.is_peer(said) && !state.is_peer(real));
        assert_eq!(state.target(), Some(said));
    }
}
