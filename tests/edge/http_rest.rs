//! rest-api.md section 1 from outside, without a call behind it.

use crate::support::{Gateway, PASSWORD, envelope, eventually, hangs};
use reqwest::Client;
use serde_json::Value;
use wrtc_gateway::agent::{EndReason, MessageError, Session};
use wrtc_gateway::wire::{Envelope, FromBrowser, RoapIds, ToBrowser};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";

struct Client1 {
    gateway: Gateway,
    http: Client,
    session: std::sync::Arc<Session>,
}

impl Client1 {
    async fn signed_in() -> Client1 {
        let gateway = Gateway::start(&[]).await;
        let http = Client::new();
        let query = [("id", "agent123"), ("dn", "5001"), ("password", PASSWORD)];
        let url = gateway.url("/api/webrtc/sign_in");
        let response = http.get(url).query(&query).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.unwrap(), "OK");
        let session = gateway.backend.sessions.by_client_id("agent123").unwrap();
        Client1 { gateway, http, session }
    }

    async fn poll(&self, more: &str) -> reqwest::Response {
        let url = self.gateway.url(&format!("/api/webrtc/message?id=agent123{more}"));
        self.http.get(url).send().await.unwrap()
    }

    async fn post(&self, more: &str, body: &str) -> reqwest::Response {
        let url = self.gateway.url(&format!("/api/webrtc/message?from=agent123{more}"));
        self.http.post(url).body(body.to_owned()).send().await.unwrap()
    }

    fn tell(&self, message: ToBrowser) {
        self.session.post(envelope("1003", message)).unwrap();
    }
}

fn answer() -> ToBrowser {
    ToBrowser::Answer { ids: RoapIds::default(), sdp: SDP.into(), early: false }
}

fn head<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn problem(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    assert_eq!(head(&response, "content-type"), Some("application/json"));
    let body: Value = response.json().await.unwrap();
    assert!(
        !body["error"].as_str().unwrap().is_empty() && !body["code"].as_str().unwrap().is_empty()
    );
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    (status, body)
}

#[tokio::test]
async fn sign_in_by_get_form_and_json() {
    let gateway = Gateway::start(&[]).await;
    let http = Client::new();
    let url = gateway.url("/api/webrtc/sign_in");
    let fields = [("id", "a"), ("dn", "5001"), ("password", PASSWORD)];
    let json = serde_json::json!({"id": "b", "dn": "5002", "password": PASSWORD});
    for request in [
        http.get(&url).query(&fields),
        http.post(&url).form(&fields),
        http.post(&url).json(&json),
        http.post(&url).body(json.to_string()),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(head(&response, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.text().await.unwrap(), "OK");
        let sign_in = gateway.backend.sign_ins.lock().unwrap().pop().unwrap();
        assert_eq!(sign_in.password.unwrap().expose(), PASSWORD);
    }
    let url = gateway.url("/api/webrtc/sign_out?id=a");
    assert_eq!(http.get(&url).send().await.unwrap().text().await.unwrap(), "OK");
    assert_eq!(problem(http.get(&url).send().await.unwrap()).await.0, 404);
}

#[tokio::test]
async fn sign_in_refusals() {
    let gateway = Gateway::start(&[]).await;
    let http = Client::new();
    let at = |query: &str| gateway.url(&format!("/api/webrtc/sign_in?{query}"));
    for (query, status, code) in [
        ("", 400, "missing_parameter"),
        ("id=a&password=x", 400, "missing_parameter"),
        ("dn=5001&password=x", 400, "missing_parameter"),
        ("id=a&dn=5001", 400, "missing_parameter"),
        ("id=a&dn=50%2001&password=x", 400, "malformed_parameter"),
        ("id=a&dn=50%0d%0a01&password=x", 400, "malformed_parameter"),
        ("id=a&dn=%zz&password=x", 400, "malformed_parameter"),
        ("id=a&dn=5001&password=x", 401, "credentials_refused"),
        ("id=a&dn=4030&password=x", 403, "dn_forbidden"),
        ("id=a&dn=4040&password=x", 404, "dn_unknown"),
        ("id=a&dn=5030&password=x", 503, "sip_unavailable"),
        ("id=a&dn=5040&password=x", 504, "sip_timeout"),
    ] {
        let (got, body) = problem(http.get(at(query)).send().await.unwrap()).await;
        assert_eq!((got, body["code"].as_str().unwrap()), (status, code), "{query}");
        if code == "missing_parameter" {
            assert_eq!(body["required"], serde_json::json!(["id", "dn", "password"]));
            assert!(body["provided"].is_array());
        }
        assert!(!body.to_string().contains("\"x\""), "no value is repeated");
    }
    assert_eq!(http.get(at("id=a&dn=5000&password=")).send().await.unwrap().status(), 200);
    let (status, body) =
        problem(http.get(at("id=a&dn=5001&password=a:b%26c%25d%2Be%3Df+g")).send().await.unwrap())
            .await;
    assert_eq!((status, body["code"].as_str()), (409, Some("id_in_use")));
    let bad = http.post(at("")).header("content-type", "application/json").body("{").send();
    assert_eq!(problem(bad.await.unwrap()).await.0, 400);
    assert_eq!(problem(http.delete(at("")).send().await.unwrap()).await.0, 405);
}

#[tokio::test]
async fn polled_messages_are_typed_by_headers() {
    let client = Client1::signed_in().await;
    client
        .session
        .post(Envelope {
            peer: "1003".into(),
            peer_name: Some("Zoë Ö".into()),
            call: "c-1".into(),
            call_uuid: Some("UUID1".into()),
            diverted_from: None,
            private: false,
            message: answer(),
        })
        .unwrap();
    let response = client.poll("").await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("content-type", "application/sdp"),
        ("x-wrtc-type", "answer"),
        ("x-wrtc-call", "c-1"),
        ("x-wrtc-peer", "1003"),
        ("x-wrtc-peer-name", "Zo%C3%AB %C3%96"),
        ("x-wrtc-seq", "1"),
        ("x-genesys-calluuid", "UUID1"),
        ("pragma", "1003"),
    ] {
        assert_eq!(head(&response, name), Some(value), "{name}");
    }
    assert_eq!(response.text().await.unwrap(), SDP);
    assert_eq!(client.poll("&wait=0").await.status(), 204);
}

#[tokio::test]
async fn plain_clients_hear_only_sdp() {
    let client = Client1::signed_in().await;
    client.tell(ToBrowser::Ringing);
    client.tell(answer());
    client.tell(ToBrowser::Bye { code: 200, reason: "OK".into() });
    let response = client.poll("").await;
    assert_eq!(
        (head(&response, "x-wrtc-seq"), head(&response, "x-wrtc-type")),
        (Some("1"), Some("answer"))
    );
    assert_eq!(client.poll("&wait=0").await.status(), 204);
}

#[tokio::test]
async fn events_on_request_as_text_or_json() {
    let client = Client1::signed_in().await;
    client.tell(ToBrowser::Ringing);
    client.tell(ToBrowser::Bye { code: 486, reason: "Busy Here".into() });
    client.tell(answer());
    let response = client.poll("&events=1").await;
    assert_eq!(
        (head(&response, "x-wrtc-type"), head(&response, "x-wrtc-seq")),
        (Some("ringing"), Some("1"))
    );
    assert_eq!(response.text().await.unwrap(), "RINGING");
    let url = client.gateway.url("/api/webrtc/message?id=agent123");
    let json = client.http.get(&url).header("accept", "text/html, application/json;q=0.9").send();
    let body: Value = json.await.unwrap().json().await.unwrap();
    assert_eq!(
        body,
        serde_json::json!({"type": "bye", "seq": 2, "peer": "1003", "code": 486, "reason": "Busy Here"})
    );
    let json = client.http.get(&url).header("accept", "application/json").send();
    let body: Value = json.await.unwrap().json().await.unwrap();
    assert_eq!(
        (&body["type"], &body["sdp"], &body["seq"]),
        (&"answer".into(), &SDP.into(), &3.into())
    );
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again() {
    let client = Client1::signed_in().await;
    client.tell(ToBrowser::Talk);
    client.tell(ToBrowser::Hold);
    let seq = |response: reqwest::Response| head(&response, "x-wrtc-seq").map(str::to_owned);
    assert_eq!(seq(client.poll("&events=1&ack=0").await).as_deref(), Some("1"));
    assert_eq!(seq(client.poll("&events=1&ack=0").await).as_deref(), Some("1"));
    assert_eq!(seq(client.poll("&events=1&ack=1").await).as_deref(), Some("2"));
    assert_eq!(seq(client.poll("&events=1&ack=1").await).as_deref(), Some("2"));
    assert_eq!(client.poll("&events=1&ack=2&wait=0").await.status(), 204);
    assert_eq!(client.session.backlog(), 0);
    assert_eq!(problem(client.poll("&ack=x").await).await.0, 400);
    assert_eq!(problem(client.poll("&wait=x").await).await.0, 400);
}

#[tokio::test]
async fn second_poll_takes_over_with_204() {
    let client = Client1::signed_in().await;
    let url = client.gateway.url("/api/webrtc/message?id=agent123");
    let first = tokio::spawn(client.http.get(&url).send());
    eventually("the poll hangs", || hangs(&client.session)).await;
    let second = tokio::spawn(client.http.get(&url).send());
    assert_eq!(first.await.unwrap().unwrap().status(), 204);
    client.tell(answer());
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn replaced_session_is_told() {
    let client = Client1::signed_in().await;
    let url = client.gateway.url("/api/webrtc/message?id=agent123&events=1");
    let hanging = tokio::spawn(client.http.get(&url).send());
    eventually("the poll hangs", || hangs(&client.session)).await;
    client.gateway.jsapi_sign_in("5001").await;
    let response = hanging.await.unwrap().unwrap();
    assert_eq!(head(&response, "x-wrtc-type"), Some("replaced"));
    assert_eq!(client.session.end_reason(), Some(EndReason::Replaced));
    assert_eq!(problem(client.poll("").await).await.0, 404);
}

#[tokio::test]
async fn posted_sdp_is_offer_or_answer() {
    let client = Client1::signed_in().await;
    assert_eq!(client.post("&to=1003", SDP).await.text().await.unwrap(), "OK");
    client.session.set_awaited_answer(Some("1004".into()));
    assert_eq!(problem(client.post("&to=1003", SDP).await).await.0, 409);
    assert_eq!(client.post("&to=1004", SDP).await.status(), 200);
    assert_eq!(client.post("", SDP).await.status(), 200);
    assert_eq!(client.post("", "BYE").await.status(), 200);
    client.session.set_awaited_answer(None);
    assert_eq!(client.post("", "DTMF 12#").await.status(), 200);
    let received = client.gateway.backend.received();
    let kinds: Vec<_> = received
        .iter()
        .map(|r| match &r.message {
            FromBrowser::Offer { sdp, .. } if sdp == SDP => "offer",
            FromBrowser::Answer { sdp, .. } if sdp == SDP => "answer",
            FromBrowser::Bye => "bye",
            FromBrowser::Dtmf(digits) if digits == "12#" => "dtmf",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["offer", "answer", "answer", "bye", "dtmf"]);
    assert_eq!(received[0].to.as_deref(), Some("1003"));
}

#[tokio::test]
async fn posts_that_are_refused() {
    let client = Client1::signed_in().await;
    for body in ["", "hello", "DTMF x", "TRANSFER"] {
        let (status, problem) = problem(client.post("&to=1003", body).await).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("bad_message")), "{body}");
    }
    for (error, status) in [
        (MessageError::WrongState("in a call already".into()), 409),
        (MessageError::UnusableSdp("no audio".into()), 422),
        (MessageError::Unavailable("no port".into()), 503),
    ] {
        let sentence = error.to_string();
        *client.gateway.backend.refuse.lock().unwrap() = Some(error);
        let (got, body) = problem(client.post("&to=1003", SDP).await).await;
        assert_eq!((got, body["error"].as_str()), (status, Some(sentence.as_str())));
    }
    let url = client.gateway.url("/api/webrtc/message?from=nobody&to=1003");
    let (status, body) = problem(client.http.post(url).body(SDP).send().await.unwrap()).await;
    assert_eq!((status, body["code"].as_str()), (404, Some("not_signed_in")));
    let url = client.gateway.url("/api/webrtc/message");
    assert_eq!(problem(client.http.get(&url).send().await.unwrap()).await.0, 400);
    assert_eq!(problem(client.http.put(&url).send().await.unwrap()).await.0, 405);
}

#[tokio::test]
async fn health_and_unknown_paths() {
    let client = Client1::signed_in().await;
    let response = client.http.get(client.gateway.url("/api/health")).send().await.unwrap();
    let health: Value = response.json().await.unwrap();
    assert_eq!((&health["status"], &health["service"]), (&"ok".into(), &"webrtc-gateway".into()));
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime"].is_u64());
    assert_eq!((&health["registered_agents"], &health["active_calls"]), (&1.into(), &0.into()));
    for path in ["/api", "/api/", "/api/nothing", "/api/webrtc/sign_in/x"] {
        let response = client.http.get(client.gateway.url(path)).send().await.unwrap();
        assert_eq!(problem(response).await.0, 404, "{path}");
    }
}
