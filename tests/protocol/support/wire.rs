//! The requests of the JSAPI dialect, one function each, and a poll that can be cut.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// As the client finds it: the second piece of the first line, split at `=`.
    #[track_caller]
    pub fn ssid(&self) -> String {
        assert!(self.status.is_success(), "sign_in: {} {}", self.status, self.body);
        let line = self.body.lines().next().expect("a first line");
        let ssid = line.split('=').nth(1).expect("NAME=SSID");
        super::secrecy::forbid("an SSID", ssid);
        ssid.to_owned()
    }
}

/// 4xx or 5xx fires `onFailed`; the body says why.
#[track_caller]
pub fn assert_failed(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status.as_u16()), "{} {}", answer.status, answer.body);
    assert!(!answer.body.trim().is_empty(), "no reason given with {}", answer.status);
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain"), "a text body, not {content_type:?}");
}

/// A base URL and a connection pool such as a browser's.
#[derive(Debug, Clone)]
pub struct Wire {
    pub base: String,
    pub client: Client,
}

impl Wire {
    pub fn new(base: &str) -> Self {
        let client = Client::builder().pool_max_idle_per_host(6).build().expect("an HTTP client");
        Self { base: base.trim_end_matches('/').to_owned(), client }
    }

    pub async fn request(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.try_request(method, path, body).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await? })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.request(Method::POST, path, Some(body.into())).await
    }

    pub async fn sign_in_get(&self, id: &str) -> Answer {
        self.get(&format!("/sign_in?{id}")).await
    }

    /// `dn:password` raw under a content type that says form, as the client does.
    pub async fn sign_in_post(&self, dn: &str, password: &str) -> Answer {
        let response = self
            .client
            .post(format!("{}/sign_in", self.base))
            .header("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
            .body(format!("{dn}:{password}"))
            .send()
            .await
            .expect("sign_in");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("a text body") }
    }

    pub async fn wait(&self, ssid: &str) -> Answer {
        self.get(&format!("/wait?id={ssid}")).await
    }

    /// A poll that its client gives up after `limit`.
    pub async fn wait_for(&self, ssid: &str, limit: Duration) -> Option<Answer> {
        tokio::time::timeout(limit, self.wait(ssid)).await.ok()
    }

    pub async fn message(&self, ssid: &str, to: &str, body: &str) -> Answer {
        self.post(&format!("/message?from={ssid}&to={to}"), body).await
    }

    pub async fn sign_out(&self, ssid: &str) -> Answer {
        self.get(&format!("/sign_out?id={ssid}")).await
    }

    /// A request on a socket of its own.
    pub async fn raw(&self, request: &str) -> TcpStream {
        let address = self.base.strip_prefix("http://").expect("plain HTTP");
        let mut stream = TcpStream::connect(address).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("nodelay");
        stream.write_all(request.as_bytes()).await.expect("the request is written");
        stream
    }

    /// A hanging GET that can be cut at any byte.
    pub async fn raw_wait(&self, ssid: &str) -> TcpStream {
        self.raw(&format!("GET /wait?id={ssid} HTTP/1.1\r\nHost: gateway\r\n\r\n")).await
    }
}

/// Reads one answer off a socket: `None` when it ends before the answer does.
pub async fn read_answer(stream: &mut TcpStream) -> Option<(u16, String, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = whole_answer(&bytes) {
            return Some(answer);
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Status, head and body, once they are all there.
fn whole_answer(bytes: &[u8]) -> Option<(u16, String, String)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some((status, head, String::from_utf8_lossy(body).into_owned()))
}
