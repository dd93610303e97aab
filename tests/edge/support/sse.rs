//! A reader of an event stream, as a page has one that reads with `fetch`.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;

/// Generous: what is waited for comes within two seconds.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Events {
    response: Response,
    seen: Vec<u8>,
}

impl Events {
    /// # Panics
    /// Where there is no stream.
    pub async fn open(url: &str, token: Option<&str>) -> Self {
        let response = ask(url, token).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Events { response, seen: Vec::new() }
    }

    /// The next event by name and data; a comment has no name. `None`: the stream is over.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.seen.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.seen.drain(..end + 2).collect();
                return Some(parse(std::str::from_utf8(&event).expect("UTF-8")));
            }
            let chunk = tokio::time::timeout(LIMIT, self.response.chunk()).await;
            match chunk.expect("the stream is silent") {
                Ok(Some(chunk)) => self.seen.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The data of the next event of that name that `wanted` takes; others are passed over.
    pub async fn until(&mut self, name: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let search = async {
            loop {
                let (event, data) = self.next().await.expect("the stream goes on");
                if event == name && wanted(&data) {
                    return data;
                }
            }
        };
        let found = tokio::time::timeout(LIMIT, search).await;
        found.unwrap_or_else(|_| panic!("no such {name} has come"))
    }
}

pub async fn ask(url: &str, token: Option<&str>) -> Response {
    let request = Client::new().get(url);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    request.send().await.expect("an answer")
}

fn parse(event: &str) -> (String, Value) {
    let mut name = String::new();
    let mut data = Value::Null;
    for line in event.trim_end().lines() {
        match line.split_once(':').expect("a field or a comment") {
            ("event", value) => name = value.trim_start().to_owned(),
            ("data", value) => data = serde_json::from_str(value.trim_start()).expect("JSON"),
            ("", _) | (_, "") => {}
            (field, _) => panic!("{field} is no field of ours"),
        }
    }
    (name, data)
}
