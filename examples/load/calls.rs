//! Agents with a browser each, and one call of theirs from the first request to sound at both ends.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::browser::{Browser, Identity};
use crate::media::{End, Generator, Guard, Leg};
use crate::sdp::{self, Codec, Remote};
use crate::sip::{Dialog, Established, Server};
use crate::{Fault, net};

const PATIENCE: Duration = Duration::from_secs(20);

/// What all calls share.
pub struct World {
    pub base: String,
    pub http: reqwest::Client,
    pub server: Server,
    pub generator: Generator,
    pub identity: Arc<Identity>,
    pub codec: Codec,
}

/// Who calls whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The browser calls a telephone.
    Out,
    /// A telephone calls the browser.
    In,
}

/// From the caller's POST or INVITE.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Until the browser had its keys.
    pub keyed: Duration,
    /// Until both ends heard each other.
    pub media: Duration,
}

/// Somebody who is signed in, over the plain requests of `/api/webrtc`.
pub struct Agent {
    pub number: usize,
    world: Arc<World>,
    inbox: mpsc::UnboundedReceiver<Value>,
    poller: JoinHandle<()>,
    /// The call that is up, and how it came.
    call: Option<(Way, Dialog)>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

impl Agent {
    pub async fn sign_in(world: Arc<World>, number: usize) -> Result<Self, Fault> {
        let World { base, http, .. } = &*world;
        let (id, dn) = (id(number), dn(number));
        let url = format!("{base}/api/webrtc/sign_in?id={id}&dn={dn}&password=load");
        http.get(url).send().await?.error_for_status()?;
        let (messages, inbox) = mpsc::unbounded_channel();
        let url = format!("{base}/api/webrtc/message?id={id}&wait=60&events=1");
        let poller = tokio::spawn(poll(http.clone(), url, messages));
        Ok(Self { number, world, inbox, poller, call: None })
    }

    async fn post(&self, to: &str, body: String) -> Result<(), Fault> {
        let url = format!("{}/api/webrtc/message?from={}{to}", self.world.base, id(self.number));
        let answer = self.world.http.post(url).body(body).send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(format!("POST: {status} {}", answer.text().await?).into())
    }

    /// The next message of this kind; others are passed over.
    async fn next(&mut self, kind: &str) -> Result<Value, Fault> {
        let next = async {
            loop {
                let message = self.inbox.recv().await.ok_or("the session is over")?;
                match message["type"].as_str() {
                    Some(own) if own == kind => return Ok::<_, Fault>(message),
                    Some("bye") => return Err(format!("the call ended: {message}").into()),
                    _ => {}
                }
            }
        };
        let patience = tokio::time::timeout(PATIENCE, next).await;
        patience.map_err(|_| format!("no {kind} came"))?
    }

    /// Sets a call up and lets its ends speak.
    pub async fn call(&mut self, way: Way) -> Result<Took, Fault> {
        let world = self.world.clone();
        let browser = Browser::new(world.identity.clone())?;
        let (rtp, rtcp) = two_ports()?;
        let phone = sdp::phone(world.codec, net::port(&rtp)?);
        let number = self.number;
        let begun = Instant::now();
        // The dialog is kept for hanging up also when the media never come.
        let (dialog_there, dialog) = oneshot::channel();
        let far = async {
            let established = match way {
                Way::Out => {
                    let call = world.server.expect(&callee(number), phone);
                    tokio::time::timeout(PATIENCE, call).await??
                }
                Way::In => world.server.call(&dn(number), &phone).await?,
            };
            let Established { rtp: target, dialog } = established;
            let _ = dialog_there.send(dialog);
            net::connect(&rtp, target)?;
            net::connect(&rtcp, target + 1)?;
            let (told, heard) = oneshot::channel();
            let leg = Leg {
                socket: rtp,
                reports: Some(rtcp),
                guard: Guard::Plain { padded: false },
                check: None,
                heard: Some(told),
            };
            world.generator.put(number, End::Phone, leg);
            let heard = tokio::time::timeout(PATIENCE, heard).await;
            Ok::<_, Fault>(heard.map_err(|_| "the telephone hears nothing")??)
        };
        let near = async {
            let remote = self.describe(way, &browser).await?;
            let keyed = browser.connect(&remote).await?;
            let secure = Instant::now();
            let (told, heard) = oneshot::channel();
            let leg = Leg {
                socket: keyed.socket,
                reports: None,
                guard: Guard::Srtp { seal: Box::new(keyed.seal), open: Box::new(keyed.open) },
                check: Some(keyed.check),
                heard: Some(told),
            };
            world.generator.put(number, End::Browser, leg);
            let heard = tokio::time::timeout(PATIENCE, heard).await;
            Ok::<_, Fault>((secure, heard.map_err(|_| "the browser hears nothing")??))
        };
        let outcome = tokio::try_join!(far, near);
        self.call = dialog.await.ok().map(|dialog| (way, dialog));
        let (phone_hears, (secure, browser_hears)) = outcome?;
        let since = |at: Instant| at.saturating_duration_since(begun);
        Ok(Took { keyed: since(secure), media: since(phone_hears.max(browser_hears)) })
    }

    /// Offer and answer; what the browser has to know of the gateway.
    async fn describe(&mut self, way: Way, browser: &Browser) -> Result<Remote, Fault> {
        let (codec, number) = (self.world.codec, self.number);
        let (setup, kind) = match way {
            Way::Out => ("actpass", "answer"),
            Way::In => ("active", "offer"),
        };
        let own = sdp::browser(codec, setup, &browser.own()?, number);
        if way == Way::Out {
            self.post(&format!("&to={}", callee(number)), own.clone()).await?;
        }
        let message = self.next(kind).await?;
        let sdp = message["sdp"].as_str().ok_or("a message without SDP")?;
        let remote = Remote::parse(sdp).ok_or_else(|| format!("not for a browser: {sdp}"))?;
        if way == Way::In {
            self.post("", own).await?;
        }
        Ok(remote)
    }

    /// The side that called hangs up.
    pub async fn hang_up(&mut self) -> Result<(), Fault> {
        let Some((way, _)) = self.call else { return Ok(()) };
        self.hang_up_by(way).await
    }

    /// The browser hangs up, or the telephone.
    pub async fn hang_up_by(&mut self, way: Way) -> Result<(), Fault> {
        self.world.generator.remove(self.number);
        let Some((_, dialog)) = self.call.take() else { return Ok(()) };
        match way {
            Way::Out => {
                self.post("", "BYE".to_owned()).await?;
                self.world.server.forget(&dialog);
            }
            Way::In => {
                self.world.server.hang_up(&dialog).await?;
                self.next_bye().await?;
            }
        }
        Ok(())
    }

    /// A line for the call that is up: `HOLD`, `DTMF 1`.
    pub async fn command(&self, line: &str) -> Result<(), Fault> {
        self.post("", line.to_owned()).await
    }

    /// Calls a number that nobody has, and is told so.
    pub async fn wrong_number(&mut self) -> Result<(), Fault> {
        let browser = Browser::new(self.world.identity.clone())?;
        let own = sdp::browser(self.world.codec, "actpass", &browser.own()?, self.number);
        self.post("&to=999", own).await?;
        self.next_bye().await
    }

    /// What came and was not asked for.
    pub fn forget_messages(&mut self) {
        while self.inbox.try_recv().is_ok() {}
    }

    pub async fn sign_out(self) -> Result<(), Fault> {
        let World { base, http, .. } = &*self.world;
        let url = format!("{base}/api/webrtc/sign_out?id={}", id(self.number));
        http.get(url).send().await?.error_for_status()?;
        Ok(())
    }

    async fn next_bye(&mut self) -> Result<(), Fault> {
        let bye = async {
            while let Some(message) = self.inbox.recv().await {
                if message["type"] == "bye" {
                    return Ok(());
                }
            }
            Err::<_, Fault>("the session is over".into())
        };
        tokio::time::timeout(PATIENCE, bye).await.map_err(|_| "no bye came")?
    }
}

fn id(number: usize) -> String {
    format!("load{number}")
}

fn dn(number: usize) -> String {
    (500_000 + number).to_string()
}

fn callee(number: usize) -> String {
    (800_000 + number).to_string()
}

/// As the page does: a hanging GET, again and again.
async fn poll(http: reqwest::Client, url: String, messages: mpsc::UnboundedSender<Value>) {
    loop {
        let request = http.get(&url).header("Accept", "application/json").send();
        let Ok(answer) = request.await else { return };
        match answer.status().as_u16() {
            204 => {}
            200 => match answer.json().await {
                Ok(message) => drop(messages.send(message)),
                Err(_) => return,
            },
            _ => return,
        }
    }
}

/// One for RTP, and the next for RTCP.
fn two_ports() -> Result<(UdpSocket, UdpSocket), Fault> {
    for _ in 0..1000 {
        let rtp = net::socket()?;
        if let Some(next) = net::port(&rtp)?.checked_add(1)
            && let Ok(rtcp) = net::bind(next)
        {
            return Ok((rtp, rtcp));
        }
    }
    Err("no two ports side by side".into())
}
