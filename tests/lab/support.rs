//! A telephone: a user agent in a task of its own, and the audio end beside it.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use wrtc_gateway::lab::{CallReport, Lab, LabConfig, Phone, PhoneConfig, Sound};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::sip::{
    Claim, Command, Credentials, Driven, End, Endpoint, Event, Hop, Invited, SessionId, UaConfig,
};

pub const PASSWORD: &str = "pa:ss&wo%rd+";
pub const LOUD: Sound = Sound::Tone { hz: 440.0, dbfs: -12.0 };

pub async fn lab() -> Lab {
    Lab::start(config()).await.unwrap()
}

pub fn config() -> LabConfig {
    LabConfig::new(Secret::new(PASSWORD))
}

/// Far longer than anything takes on a busy machine.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = tokio::time::timeout(Duration::from_secs(30), future).await;
    limit.unwrap_or_else(|_| panic!("waited for 30 s: {what}"))
}

pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    soon(what, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

pub async fn report(reports: &mut broadcast::Receiver<CallReport>) -> CallReport {
    let report = soon("a report", reports.recv()).await.unwrap();
    println!("{report}\n{}", report.json());
    report
}

pub struct Telephone {
    commands: mpsc::UnboundedSender<Command>,
    events: mpsc::UnboundedReceiver<Event>,
    pub audio: Phone,
    sessions: u64,
}

impl Telephone {
    pub async fn new(lab: &Lab, dn: &str, password: &str) -> Self {
        let credentials = Credentials { username: dn.to_owned(), password: Secret::new(password) };
        Self::with(lab, dn, Some(credentials)).await
    }

    /// One who is no DN and calls without signing in.
    pub async fn guest(lab: &Lab) -> Self {
        Self::with(lab, "guest", None).await
    }

    async fn with(lab: &Lab, dn: &str, credentials: Option<Credentials>) -> Self {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let config = UaConfig {
            registers: credentials.is_some(),
            credentials,
            user_agent: "lab-test".to_owned(),
            ..UaConfig::new(dn, "127.0.0.1", Hop::udp(lab.sip_addr()), endpoint.local_addr())
        };
        let mut driven = Driven::new(&endpoint, Claim::User(dn.to_owned()), config);
        let (commands, mut inbox) = mpsc::unbounded_channel();
        let (outbox, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let _endpoint = endpoint;
            loop {
                tokio::select! {
                    command = inbox.recv() => match command {
                        Some(command) => driven.command(command),
                        None => return,
                    },
                    event = driven.next_event() => {
                        let _ = outbox.send(event);
                    }
                }
            }
        });
        let audio = PhoneConfig { sound: LOUD, ..PhoneConfig::default() };
        let audio = Phone::open(audio).await.unwrap();
        Self { commands, events, audio, sessions: 0 }
    }

    pub async fn signed_in(lab: &Lab, dn: &str) -> Self {
        let mut telephone = Self::new(lab, dn, PASSWORD).await;
        telephone.send(Command::Register);
        let granted = telephone.next().await;
        assert!(matches!(granted, Event::Registered { .. }), "{granted:?}");
        telephone
    }

    pub fn send(&self, command: Command) {
        self.commands.send(command).unwrap();
    }

    pub async fn next(&mut self) -> Event {
        soon("an event", self.events.recv()).await.unwrap()
    }

    /// The next event that says something; those before it are passed over.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        soon(what, async {
            loop {
                let event = self.events.recv().await.unwrap();
                println!("{event:?}");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        })
        .await
    }

    pub fn dial(&mut self, to: &str, offer: bool) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let sdp = offer.then(|| self.audio.offer());
        self.send(Command::Invite { session, to: to.to_owned(), sdp, headers: Vec::new() });
        session
    }

    /// Dials and waits for the answer.
    pub async fn call(&mut self, to: &str) -> SessionId {
        let session = self.dial(to, true);
        let answer = self.answer().await;
        self.audio.take_answer(&answer).unwrap();
        session
    }

    /// The SDP of the 200 to our INVITE.
    pub async fn answer(&mut self) -> String {
        self.wait("the answer", |event| match event {
            Event::Answered { sdp, .. } => Some(sdp.expect("SDP in the answer")),
            Event::Ended { end, .. } => panic!("{end:?}"),
            _ => None,
        })
        .await
    }

    pub async fn invited(&mut self) -> (SessionId, Box<Invited>) {
        self.wait("an INVITE", |event| match event {
            Event::Invited { session, invite } => Some((session, invite)),
            _ => None,
        })
        .await
    }

    /// Answers a call that rings.
    pub fn accept(&self, session: SessionId, invite: &Invited) {
        let sdp = match &invite.sdp {
            Some(offer) => self.audio.answer(offer).unwrap(),
            None => self.audio.offer(),
        };
        self.send(Command::Accept { session, sdp });
    }

    /// The SDP of a re-INVITE that came in.
    pub async fn reinvited(&mut self) -> Option<String> {
        self.wait("a re-INVITE", |event| match event {
            Event::Reinvited { sdp, .. } => Some(sdp),
            _ => None,
        })
        .await
    }

    pub async fn reinvite_answered(&mut self) -> String {
        self.wait("the answer to a re-INVITE", |event| match event {
            Event::ReinviteAnswered { sdp, .. } => Some(sdp.expect("SDP")),
            Event::ReinviteRefused { code, .. } => panic!("refused: {code}"),
            _ => None,
        })
        .await
    }

    pub async fn acked(&mut self) -> Option<String> {
        self.wait("the ACK", |event| match event {
            Event::Acked { sdp, .. } => Some(sdp),
            _ => None,
        })
        .await
    }

    pub fn end(&self, session: SessionId, code: u16, text: &str) {
        self.send(Command::End { session, code, text: text.to_owned() });
    }

    pub async fn ended(&mut self) -> End {
        self.wait("the end", |event| match event {
            Event::Ended { end, .. } => Some(end),
            _ => None,
        })
        .await
    }

    /// Waits until so many packets have come since this was asked.
    pub async fn hears(&self, packets: u64) {
        self.audio.listen_afresh();
        until("sound", || self.audio.heard_afresh().received.packets >= packets).await;
    }

    /// A tone has been there for two seconds, nearly without a gap.
    pub async fn hears_tone(&self, hz: f64) {
        self.hears(100).await;
        let heard = self.audio.heard_afresh();
        assert!(heard.tone_near(hz, 5.0).share > 0.9, "{heard}");
        assert!(heard.received.loss < 0.01, "{heard}");
    }
}
