//! A browser: a full WebRTC peer connection of another code path than the gateway's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::{Core, Driver};
use super::heard::Heard;
use super::sdp::LocalDescription;

/// Longer than anything takes on a busy two-core machine.
pub const LIMIT: Duration = Duration::from_secs(20);

/// As long as a tone is away it has ended.
pub const SILENCE: Duration = Duration::from_millis(600);

/// What a peer connection offers, in order.
#[derive(Debug, Clone)]
pub struct Codec {
    pub name: &'static str,
    pub clock: u32,
    pub channels: u16,
    pub payload_type: u8,
    pub fmtp: &'static str,
}

const fn codec(name: &'static str, clock: u32, payload_type: u8) -> Codec {
    Codec { name, clock, channels: 1, payload_type, fmtp: "" }
}

pub const PCMU: Codec = codec("PCMU", 8000, 0);
pub const PCMA: Codec = codec("PCMA", 8000, 8);
pub const G722: Codec = codec("G722", 8000, 9);
pub const EVENT_8K: Codec = codec("telephone-event", 8000, 126);

/// As Chromium has it: Opus and RED first, comfort noise, events at 48 and 8 kHz under its own numbers.
pub fn chrome() -> Vec<Codec> {
    vec![
        Codec {
            name: "opus",
            clock: 48000,
            channels: 2,
            payload_type: 111,
            fmtp: "minptime=10;useinbandfec=1",
        },
        Codec { name: "red", clock: 48000, channels: 2, payload_type: 63, fmtp: "111/111" },
        G722,
        PCMU,
        PCMA,
        codec("CN", 8000, 13),
        codec("telephone-event", 48000, 110),
        EVENT_8K,
    ]
}

/// The same without G.722, which these tests cannot speak: for calls whose codec is not fixed
/// by a G.711 telephone at the far end.
pub fn chrome_g711() -> Vec<Codec> {
    chrome().into_iter().filter(|codec| codec.name != "G722").collect()
}

/// The handle; the connection itself lives in a task until the handle is dropped.
pub struct TestBrowser {
    commands: mpsc::UnboundedSender<Command>,
    heard: Arc<Mutex<Heard>>,
    state: watch::Receiver<RTCPeerConnectionState>,
    pub local_addr: SocketAddr,
    pub ssrc: u32,
}

pub(super) type Command = Box<dyn FnOnce(&mut Core) + Send>;

impl TestBrowser {
    /// As Chromium would offer.
    pub async fn new() -> Self {
        Self::with_codecs(chrome()).await
    }

    pub async fn with_codecs(codecs: Vec<Codec>) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (state_in, state) = watch::channel(RTCPeerConnectionState::New);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let driver = Driver::new(&codecs, Arc::clone(&heard), state_in, inbox).await;
        let (local_addr, ssrc) = (driver.core.local_addr, driver.core.ssrc);
        tokio::spawn(driver.run());
        Self { commands, heard, state, local_addr, ssrc }
    }

    async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> R + Send + 'static,
    ) -> R {
        let (done, result) = oneshot::channel();
        let command: Command = Box::new(move |core| {
            let _ = done.send(work(core));
        });
        assert!(self.commands.send(command).is_ok(), "the browser's task has ended");
        result.await.expect("the browser's task panicked")
    }

    pub async fn offer(&self) -> LocalDescription {
        self.with(|core| core.offer()).await
    }

    /// An offer with new ICE credentials on the same connection.
    pub async fn restart_offer(&self) -> LocalDescription {
        self.with(|core| {
            core.pc.restart_ice();
            core.offer()
        })
        .await
    }

    /// An offer whose audio says `sendrecv`, `sendonly`, `recvonly` or `inactive`.
    pub async fn offer_with_direction(&self, direction: &'static str) -> LocalDescription {
        self.with(move |core| core.offer_with_direction(direction)).await
    }

    /// `candidates` as they came beside the SDP, with or without `a=`.
    pub async fn set_answer(&self, sdp: &str, candidates: &[String]) {
        let (sdp, candidates) = (sdp.to_owned(), candidates.to_vec());
        self.with(move |core| {
            let answer = RTCSessionDescription::answer(sdp.clone()).expect("not an SDP answer");
            core.set_remote(answer, &candidates);
            core.answered(&sdp);
        })
        .await;
    }

    /// Takes a remote offer and answers it.
    pub async fn answer(&self, sdp: &str, candidates: &[String]) -> LocalDescription {
        let (sdp, candidates) = (sdp.to_owned(), candidates.to_vec());
        self.with(move |core| {
            let offer = RTCSessionDescription::offer(sdp).expect("not an SDP offer");
            core.set_remote(offer, &candidates);
            let answer = core.answer();
            core.answered(&answer.sdp);
            answer
        })
        .await
    }

    /// Speaks a tone of so many hertz; without one the microphone is silent, but open.
    pub async fn play(&self, hertz: impl Into<Option<f64>>) {
        let hertz = hertz.into();
        self.with(move |core| core.voice.play(hertz)).await;
    }

    /// Sends these payloads in turn, for codecs that are not G.711.
    pub async fn play_payloads(&self, payloads: Vec<Vec<u8>>) {
        self.with(move |core| core.voice.payloads = payloads).await;
    }

    /// Queues digits: 100 ms each with 60 ms between (RFC 4733).
    pub async fn send_digits(&self, digits: &str) {
        let digits = digits.to_owned();
        self.with(move |core| core.voice.dial(&digits)).await;
    }

    pub fn state(&self) -> RTCPeerConnectionState {
        *self.state.borrow()
    }

    /// Waits for ICE and DTLS.
    #[track_caller]
    pub fn connected(&self) -> impl Future<Output = ()> + '_ {
        let mut state = self.state.clone();
        let caller = std::panic::Location::caller();
        async move {
            let done = state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
            if tokio::time::timeout(LIMIT, done).await.is_err() {
                panic!("{caller}: the browser did not connect: {}", self.state());
            }
        }
    }

    pub fn heard(&self) -> Heard {
        self.heard.lock().expect("heard").clone()
    }

    /// Forgets what was heard so far; streams are remembered.
    pub fn forget(&self) {
        self.heard.lock().expect("heard").forget();
    }

    /// Waits until `seconds` of `hertz` were heard since the last [`TestBrowser::forget`].
    #[track_caller]
    pub fn hears(&self, hertz: f64, seconds: f64) -> impl Future<Output = Heard> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let wanted = |heard: &Heard| heard.tone_seconds(hertz) >= seconds;
            match self.heard_until(LIMIT, wanted).await {
                Ok(heard) => heard,
                Err(heard) => panic!(
                    "{caller}: {seconds} s of {hertz} Hz were not heard; dominant {:?}, {:.2} s of \
                     it, {:.2} s of audio, {} datagrams, {} decrypted, state {}",
                    heard.dominant(),
                    heard.tone_seconds(hertz),
                    heard.seconds(),
                    heard.received(),
                    heard.decrypted,
                    self.state(),
                ),
            }
        }
    }

    /// Waits until this tone is away for a while: what was on its way may still come.
    #[track_caller]
    pub fn hears_no(&self, hertz: f64) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                self.forget();
                tokio::time::sleep(SILENCE).await;
                let seconds = self.heard().tone_seconds(hertz);
                if seconds == 0.0 {
                    return;
                }
                assert!(Instant::now() < end, "{caller}: {seconds} s of {hertz} Hz");
            }
        }
    }

    /// Waits for a condition on what was heard; `Err` with the last state when the time is up.
    pub async fn heard_until(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&Heard) -> bool,
    ) -> Result<Heard, Heard> {
        let end = Instant::now() + limit;
        loop {
            let heard = self.heard();
            if wanted(&heard) {
                return Ok(heard);
            }
            if Instant::now() > end {
                return Err(heard);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last SRTP packet sent and where to, as it went over the wire.
    pub async fn last_srtp(&self) -> Option<(Vec<u8>, SocketAddr)> {
        self.with(|core| core.last_srtp.clone()).await
    }

    /// Sends any datagram from the browser's own socket.
    pub async fn send_raw(&self, datagram: Vec<u8>, to: SocketAddr) {
        self.with(move |core| core.send(&datagram, to)).await;
    }

    /// Moves to another socket: an ICE restart has to follow.
    pub async fn change_address(&self) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a UDP port");
        self.with(move |core| core.move_to(socket)).await;
    }

    /// As [`TestBrowser::new`], at an address of this host that is not loopback's.
    pub async fn at(address: std::net::IpAddr) -> Self {
        let mut browser = Self::new().await;
        let socket = tokio::net::UdpSocket::bind((address, 0)).await.expect("a UDP port");
        browser.local_addr = socket.local_addr().expect("bound");
        browser.with(move |core| core.move_to(socket)).await;
        browser
    }

    /// Stops the microphone's RTP altogether, or starts it again.
    pub async fn mute_packets(&self, mute: bool) {
        self.with(move |core| core.voice.stopped = mute).await;
    }
}
