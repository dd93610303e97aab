//! A gateway without SIP behind the real HTTP server, and a raw HTTP client that can be cut anywhere.
#![allow(dead_code)]

pub mod operations;
pub mod sse;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use wrtc_gateway::agent::{
    Answer, Backend, EndReason, Health, Identity, LineCommand, LineState, MessageError, Operations,
    Session, Sessions, SignIn, SignInError,
};
use wrtc_gateway::config::Config;
use wrtc_gateway::http::{Control, Server};
use wrtc_gateway::journal::store::Store;
use wrtc_gateway::journal::{Timelines, Traces};
use wrtc_gateway::wire::{Envelope, FromBrowser, ToBrowser};

use operations::FakeOperations;

use crate::wrote;

/// The password that this backend's SIP server knows for every DN.
pub const PASSWORD: &str = "a:b&c%d+e=f g";

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub identity: Identity,
    pub to: Option<String>,
    pub message: FromBrowser,
}

#[derive(Default)]
pub struct FakeBackend {
    pub sessions: Sessions,
    pub received: Mutex<Vec<Received>>,
    pub sign_ins: Mutex<Vec<SignIn>>,
    /// What the next message is answered with.
    pub refuse: Mutex<Option<MessageError>>,
    /// How every line of this fake stands.
    pub line: Mutex<LineState>,
    pub commands: Mutex<Vec<LineCommand>>,
    pub store: OnceLock<Arc<Store>>,
    pub timelines: OnceLock<Arc<Timelines>>,
    pub traces: Arc<Traces>,
    pub operations: FakeOperations,
}

impl FakeBackend {
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl FakeBackend {
    pub fn by_ssid_or_panic(&self, ssid: &str) -> Arc<Session> {
        self.sessions.by_ssid(ssid).expect("a session of this SSID")
    }
}

impl Backend for FakeBackend {
    fn sign_in(&self, request: SignIn) -> Answer<'_, Result<Arc<Session>, SignInError>> {
        Box::pin(async move {
            self.sign_ins.lock().unwrap().push(request.clone());
            if let Identity::Dn(dn) = &request.identity {
                let password = request.password.as_ref().map(|p| p.expose().to_owned());
                match dn.as_str() {
                    "4030" => return Err(SignInError::Forbidden("forbidden".to_owned())),
                    "4040" => return Err(SignInError::UnknownDn("unknown".to_owned())),
                    "5030" => return Err(SignInError::Unavailable("down".to_owned())),
                    "5040" => return Err(SignInError::NoAnswer),
                    // A DN of this fake without a password.
                    "5000" => {}
                    _ if password.as_deref() == Some(PASSWORD) => {}
                    _ => return Err(SignInError::Refused("403 wrong password".to_owned())),
                }
            }
            if let Some(id) = &request.client_id
                && let Some(known) = self.sessions.by_client_id(id)
            {
                if *known.identity() != request.identity {
                    return Err(SignInError::IdInUse);
                }
                return Ok(known);
            }
            let session = Session::new(&request);
            for older in self.sessions.insert(Arc::clone(&session)) {
                let _ = older.post(envelope("", ToBrowser::Replaced));
                older.end(EndReason::Replaced);
            }
            Ok(session)
        })
    }

    fn sign_out<'a>(&'a self, session: &'a Arc<Session>) -> Answer<'a, ()> {
        Box::pin(async move {
            self.sessions.remove(session);
        })
    }

    fn message<'a>(
        &'a self,
        session: &'a Arc<Session>,
        to: Option<String>,
        message: FromBrowser,
    ) -> Answer<'a, Result<(), MessageError>> {
        Box::pin(async move {
            if let Some(error) = self.refuse.lock().unwrap().take() {
                return Err(error);
            }
            let identity = session.identity().clone();
            self.received.lock().unwrap().push(Received { identity, to, message });
            Ok(())
        })
    }

    fn by_ssid(&self, ssid: &str) -> Option<Arc<Session>> {
        self.sessions.by_ssid(ssid)
    }

    fn by_client_id(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.by_client_id(id)
    }

    fn by_dn(&self, dn: &str) -> Option<Arc<Session>> {
        self.sessions.by_dn(dn)
    }

    fn signed_in(&self, most: usize) -> Vec<Arc<Session>> {
        self.sessions.of_dns(most)
    }

    fn line<'a>(&'a self, session: &'a Arc<Session>) -> Answer<'a, Option<LineState>> {
        Box::pin(async move {
            if session.ended().is_cancelled() {
                return None;
            }
            Some(self.line.lock().unwrap().clone())
        })
    }

    fn command<'a>(
        &'a self,
        _session: &'a Arc<Session>,
        command: LineCommand,
    ) -> Answer<'a, Result<(), MessageError>> {
        Box::pin(async move {
            if let Some(error) = self.refuse.lock().unwrap().take() {
                return Err(error);
            }
            self.commands.lock().unwrap().push(command);
            Ok(())
        })
    }

    fn store(&self) -> Option<Arc<Store>> {
        self.store.get().cloned()
    }

    fn timelines(&self) -> Option<Arc<Timelines>> {
        self.timelines.get().cloned()
    }

    fn traces(&self) -> Option<Arc<Traces>> {
        Some(Arc::clone(&self.traces))
    }

    fn health(&self) -> Health {
        Health { registered_agents: self.sessions.len(), active_calls: 0 }
    }

    fn operations(&self) -> &dyn Operations {
        &self.operations
    }
}

pub fn envelope(peer: &str, message: ToBrowser) -> Envelope {
    Envelope {
        peer: peer.to_owned(),
        peer_name: None,
        call: String::new(),
        call_uuid: None,
        diverted_from: None,
        private: false,
        message,
    }
}

/// The real server over the fake backend; ends with the value.
pub struct Gateway {
    pub address: SocketAddr,
    pub scheme: &'static str,
    pub backend: Arc<FakeBackend>,
    pub control: Control,
    shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Gateway {
    pub async fn start(sets: &[&str]) -> Gateway {
        let mut all =
            vec!["http.listen=127.0.0.1:0".to_owned(), "sip.servers=127.0.0.1".to_owned()];
        all.extend(sets.iter().map(|&set| set.to_owned()));
        wrote::log();
        wrote::secret("a DN's password", PASSWORD);
        wrote::settings(all.iter().map(String::as_str));
        let config = Config::load(None, [], &all).unwrap();
        let backend = Arc::new(FakeBackend::default());
        let server = Server::bind(&config.http, Arc::clone(&backend) as Arc<dyn Backend>).unwrap();
        let (address, scheme) = (server.local_addr(), server.scheme());
        let control = server.control();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.run(shutdown.clone()));
        Gateway { address, scheme, backend, control, shutdown, task: Some(task) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Signs a DN in and returns its SSID.
    pub async fn jsapi_sign_in(&self, dn: &str) -> (String, Arc<Session>) {
        let (status, _, body) = exchange(
            self.address,
            &format!(
                "POST /sign_in HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{dn}:{PASSWORD}",
                dn.len() + 1 + PASSWORD.len()
            ),
        )
        .await
        .unwrap();
        assert_eq!(status, 200, "{body}");
        let ssid = body.lines().next().unwrap().split('=').nth(1).unwrap().to_owned();
        let session = self.backend.sessions.by_ssid(&ssid).unwrap();
        (ssid, session)
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.task.take().unwrap().await.unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// One request on a connection of its own.
pub async fn exchange(to: SocketAddr, request: &str) -> io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(request.as_bytes()).await?;
    read_response(&mut stream).await
}

/// Status, head, body; the connection may go on afterwards.
pub async fn read_response<S: AsyncReadExt + Unpin>(
    stream: &mut S,
) -> io::Result<(u16, String, String)> {
    let mut seen = Vec::new();
    let mut part = [0u8; 4096];
    let end = loop {
        if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut part).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => seen.extend_from_slice(&part[..n]),
        }
    };
    let mut body = seen.split_off(end);
    let head = String::from_utf8(seen).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length: usize = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
    // No request is pipelined here, so that nothing follows.
    let had = body.len();
    assert!(had <= length, "more than one response");
    body.resize(length, 0);
    stream.read_exact(&mut body[had..]).await?;
    let body = String::from_utf8(body).unwrap();
    wrote::handed_out(&body);
    Ok((status, head, body))
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// `GET path` as it goes over the wire.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n")
}

/// Does a poll of this session hang? Nothing else makes a client present for an hour.
pub fn hangs(session: &Session) -> bool {
    session.is_present(std::time::Instant::now() + std::time::Duration::from_secs(3600))
}

/// Waits for something that happens on another task.
pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if check() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("never: {what}");
}

/// A file of this test's own, in a folder of its own, gone with the value.
pub struct File {
    pub path: std::path::PathBuf,
}

impl File {
    pub fn new(text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("wrtc-edge-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        let file = Self { path: folder.join("file") };
        file.write(text);
        file
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }

    /// `key=path`, as `--set` takes it.
    pub fn set(&self, key: &str) -> String {
        format!("{key}={}", self.path.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap());
    }
}
