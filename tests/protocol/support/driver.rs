//! The task that drives a sans-I/O peer connection over a real UDP socket on loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::browser::{Codec, Command};
use super::heard::{Heard, RtpHeader};
use super::sdp::{self, LocalDescription};
use super::tone::Law;
use super::voice::Voice;

pub(super) struct Core {
    pub(super) pc: RTCPeerConnection,
    pub(super) local_addr: SocketAddr,
    pub(super) ssrc: u32,
    pub(super) voice: Voice,
    pub(super) last_srtp: Option<(Vec<u8>, SocketAddr)>,
    socket: Arc<UdpSocket>,
    sender: RTCRtpSenderId,
    /// Own `a=` direction of the last description that was settled.
    sends: bool,
    pending_direction: Option<&'static str>,
    connected: bool,
}

pub(super) struct Driver {
    pub(super) core: Core,
    heard: Arc<Mutex<Heard>>,
    state: watch::Sender<RTCPeerConnectionState>,
    inbox: mpsc::UnboundedReceiver<Command>,
}

impl Driver {
    pub(super) async fn new(
        codecs: &[Codec],
        heard: Arc<Mutex<Heard>>,
        state: watch::Sender<RTCPeerConnectionState>,
        inbox: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a UDP port on loopback");
        let local_addr = socket.local_addr().expect("bound");
        let mut media_engine = MediaEngine::default();
        for codec in codecs {
            media_engine
                .register_codec(parameters(codec), RtpCodecKind::Audio)
                .expect("an audio codec");
        }
        let registry = configure_rtcp_reports(Registry::new());
        let settings = SettingEngineBuilder::new()
            // What browsers do, an ICE-lite peer or not.
            .with_answering_dtls_role(RTCDtlsRole::Client)
            .build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(media_engine)
            .with_interceptor_registry(registry)
            .build(Instant::now())
            .expect("a peer connection");
        let ssrc = rand::random::<u32>() | 1;
        let track = MediaStreamTrack::new(
            "stream".to_owned(),
            "microphone".to_owned(),
            "microphone".to_owned(),
            RtpCodecKind::Audio,
            vec![RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters {
                    ssrc: Some(ssrc),
                    ..Default::default()
                },
                ..Default::default()
            }],
        );
        let sender = pc.add_track(track).expect("a microphone");
        let core = Core {
            pc,
            local_addr,
            ssrc,
            voice: Voice::new(ssrc),
            last_srtp: None,
            socket: Arc::new(socket),
            sender,
            sends: true,
            pending_direction: None,
            connected: false,
        };
        Self { core, heard, state, inbox }
    }

    /// Runs until the handle is dropped.
    pub(super) async fn run(mut self) {
        let mut buffer = [0; 2048];
        // A late tick is made up for: the far end shall see the clock run at its rate.
        let mut frames = tokio::time::interval(Duration::from_millis(20));
        loop {
            self.drain();
            // At least a millisecond, so that a timer in the past cannot spin.
            let wait = self.core.pc.poll_timeout().map_or(Duration::from_secs(1), |at| {
                at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
            });
            let socket = Arc::clone(&self.core.socket);
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(command) => command(&mut self.core),
                    None => break,
                },
                Ok((length, from)) = socket.recv_from(&mut buffer) => {
                    self.datagram(&buffer[..length], from);
                }
                _ = frames.tick() => self.core.speak(),
                () = tokio::time::sleep(wait) => {
                    let _ = self.core.pc.handle_timeout(Instant::now());
                }
            }
        }
        let _ = self.core.pc.close();
        self.drain();
    }

    fn datagram(&mut self, datagram: &[u8], from: SocketAddr) {
        if let Some(header) = RtpHeader::parse(datagram) {
            self.heard.lock().expect("heard").datagram(header);
        }
        let message = TaggedBytesMut {
            now: Instant::now(),
            transport: TransportContext {
                local_addr: self.core.local_addr,
                peer_addr: from,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            },
            message: datagram.into(),
        };
        // What does not belong to the connection is an error here; a browser drops it.
        let _ = self.core.pc.handle_read(message);
    }

    fn drain(&mut self) {
        while let Some(out) = self.core.pc.poll_write() {
            self.core.send(&out.message, out.transport.peer_addr);
        }
        while let Some(event) = self.core.pc.poll_event() {
            if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                self.core.connected = state == RTCPeerConnectionState::Connected;
                let _ = self.state.send(state);
            }
        }
        while let Some(TaggedRTCMessage { message, .. }) = self.core.pc.poll_read() {
            let RTCMessage::RtpPacket(_, packet) = message else { continue };
            let mut heard = self.heard.lock().expect("heard");
            let number = packet.header.payload_type;
            match self.core.voice.meaning(number) {
                Meaning::Sound(law) => heard.audio(law, &packet.payload),
                Meaning::Event => heard.event(packet.header.timestamp, &packet.payload),
                Meaning::Other => heard.other(number, &packet.payload),
            }
        }
    }
}

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Sound(Law),
    Event,
    Other,
}

impl Core {
    pub(super) fn send(&mut self, datagram: &[u8], to: SocketAddr) {
        if RtpHeader::parse(datagram).is_some_and(|header| header.ssrc == self.ssrc) {
            self.last_srtp = Some((datagram.to_vec(), to));
        }
        // Loopback: a full socket buffer is a lost packet, as on any network.
        let _ = self.socket.try_send_to(datagram, to);
    }

    pub(super) fn move_to(&mut self, socket: UdpSocket) {
        self.local_addr = socket.local_addr().expect("bound");
        self.socket = Arc::new(socket);
    }

    fn add_own_candidate(&mut self) {
        let config = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: self.local_addr.ip().to_string(),
                port: self.local_addr.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let candidate = config.new_candidate_host().expect("a host candidate");
        let init = RTCIceCandidate::from(&candidate).to_json().expect("a candidate line");
        self.pc.add_local_candidate(init).expect("a local candidate");
    }

    pub(super) fn offer(&mut self) -> LocalDescription {
        let offer = self.pc.create_offer(None).expect("an offer");
        self.pc.set_local_description(Instant::now(), offer).expect("an own offer");
        self.describe()
    }

    pub(super) fn offer_with_direction(&mut self, direction: &'static str) -> LocalDescription {
        self.pending_direction = Some(direction);
        let mut offer = self.offer();
        offer.sdp = sdp::with_direction(&offer.sdp, direction);
        offer
    }

    pub(super) fn answer(&mut self) -> LocalDescription {
        let answer = self.pc.create_answer(None).expect("an answer");
        self.pc.set_local_description(Instant::now(), answer).expect("an own answer");
        self.describe()
    }

    /// Gathering: the one socket there is.
    fn describe(&mut self) -> LocalDescription {
        self.add_own_candidate();
        let description = self.pc.local_description().expect("set just now");
        crate::wrote::description(&description.sdp);
        let mut local = LocalDescription::split(&description.sdp);
        // RTP and RTCP share one component; `rtc` names the second all the same.
        local.candidates.retain(|candidate| candidate.split(' ').nth(1) == Some("1"));
        local
    }

    pub(super) fn set_remote(&mut self, description: RTCSessionDescription, candidates: &[String]) {
        crate::wrote::description(&description.sdp);
        self.pc
            .set_remote_description(Instant::now(), description)
            .expect("a description the browser takes");
        for candidate in candidates {
            let candidate = candidate.trim_start_matches("a=").to_owned();
            let init = RTCIceCandidateInit { candidate, ..Default::default() };
            self.pc.add_remote_candidate(init).expect("a candidate the browser takes");
        }
    }

    /// The answer of an exchange, our own or theirs, says what is sent from now on.
    pub(super) fn answered(&mut self, answer: &str) {
        self.voice.negotiated(answer);
        let remote = sdp::direction(answer);
        self.sends = self.pending_direction.take().is_none_or(|d| d.starts_with("send"))
            && remote != "inactive";
    }

    fn speak(&mut self) {
        if !self.connected || !self.sends {
            return;
        }
        for packet in self.voice.tick() {
            let Some(mut sender) = self.pc.rtp_sender(self.sender) else { return };
            if let Err(error) = sender.write_rtp(Instant::now(), packet) {
                panic!("the browser cannot send: {error}");
            }
        }
    }
}

fn parameters(codec: &Codec) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: format!("audio/{}", codec.name),
            clock_rate: codec.clock,
            channels: codec.channels,
            sdp_fmtp_line: codec.fmtp.to_owned(),
            rtcp_feedback: vec![],
        },
        payload_type: codec.payload_type,
    }
}
