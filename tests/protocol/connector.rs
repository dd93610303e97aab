//! The connector in use: a WWE that plays the observed order, and commands that act on the page.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::jsapi::Jsapi;
use crate::support::wire::{Answer, Wire};

const TOKEN: &str = "token-of-5001-0123456789";
const WWE: &str = "https://wwe.example";

/// What WWE sends, as often and in the order that was observed.
struct Wwe {
    wire: Wire,
    base: String,
    preflown: Vec<String>,
}

impl Wwe {
    fn new(demo: &Demo, base: &str) -> Self {
        Self { wire: Wire::new(&demo.base), base: base.to_owned(), preflown: Vec::new() }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let url = format!("{}{}/{path}", self.wire.base, self.base);
        let mut request = self.wire.client.request(method, url).header("Origin", WWE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.expect("the connector answers");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("text") }
    }

    /// As a browser does it: the content type on a GET makes a preflight of the first request.
    async fn ask(&mut self, method: Method, path: &str, body: &str) -> Answer {
        if !self.preflown.iter().any(|known| known == path) {
            let asked = [
                ("Access-Control-Request-Method", method.as_str()),
                ("Access-Control-Request-Headers", "content-type"),
            ];
            let answer = self.send(Method::OPTIONS, path, &asked, "").await;
            assert_eq!(answer.status, 200, "preflight of {path}");
            assert_eq!(answer.header("Access-Control-Allow-Origin"), Some(WWE));
            assert_eq!(answer.header("Access-Control-Allow-Headers"), Some("content-type"));
            let methods = answer.header("Access-Control-Allow-Methods").unwrap_or_default();
            assert!(methods.contains(method.as_str()), "{methods}");
            self.preflown.push(path.to_owned());
        }
        let kind = [("Content-Type", "application/json; charset=UTF-8")];
        self.send(method, path, &kind, body).await
    }

    #[track_caller]
    fn get<'a>(&'a mut self, path: &'a str) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.ask(Method::GET, path, "").await;
            assert_eq!(answer.status, 200, "{caller}: {path} {}", answer.body);
            let kind = answer.header("Content-Type");
            assert_eq!(kind, Some("application/json; charset=UTF-8"), "{caller}");
            assert_eq!(answer.header("Access-Control-Allow-Origin"), Some(WWE), "{caller}");
            answer.body
        }
    }

    async fn post(&mut self, path: &str, body: Value) -> (u16, String) {
        let answer = self.ask(Method::POST, path, &body.to_string()).await;
        (answer.status.as_u16(), answer.body)
    }

    #[track_caller]
    fn done<'a>(&'a mut self, path: &'a str, body: Value) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let done = (200, format!("{{\"{path}Result\":true}}"));
            assert_eq!(self.post(path, body).await, done, "{caller}");
        }
    }

    async fn json(&mut self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await).expect("JSON")
    }

    /// Polls as WWE does until the endpoint is (not) active.
    #[track_caller]
    fn until_active(&mut self, active: bool) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let wanted = format!("{{\"get_IsEndpointActiveResult\":{active}}}");
            for _ in 0..400 {
                if self.get("GetIsEndpointActive").await == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("{caller}: never {wanted}");
        }
    }
}

async fn demo() -> Demo {
    let tokens = format!("connector.tokens={TOKEN}=5001");
    Demo::with_settings(&[&tokens, "http.allowed_origins=https://wwe.example,loopback"]).await
}

fn under_token() -> String {
    format!("/connector/{TOKEN}")
}

/// A page of our library: it says that it dials.
async fn page(demo: &Demo, dn: &str) -> (Jsapi, tokio::task::JoinHandle<Option<String>>) {
    let mut phone = demo.phone(dn).await;
    phone.stop_polling().await;
    let (wire, ssid) = (phone.wire.clone(), phone.ssid.clone());
    let poll = tokio::spawn(async move {
        loop {
            let answer = wire.get(&format!("/wait?id={ssid}&dial=1")).await;
            match answer.body.as_str() {
                "" if answer.status == 200 => {}
                body if answer.status == 200 => return Some(body.to_owned()),
                _ => return None,
            }
        }
    });
    (phone, poll)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wwe_that_plays_the_observed_order() {
    let demo = demo().await;
    for base in [under_token(), String::new()] {
        let mut wwe = Wwe::new(&demo, &base);
        assert_eq!(wwe.get("GetDnSIP").await, r#"{"get_DnSIPResult":""}"#);
        let options = json!({"value": {"uri": "https://127.0.0.1:8000", "sip-server-address": "host:5060",
            "register-interval": 1500, "wait-user-max-attempts": 20, "register-max-attempts": 10,
            "ping-interval": 2000, "max-failed-ping": 10, "transport-protocol": "UDP",
            "headset-unplugged-set-not-ready": true, "noise_suppression": "1",
            "policy.session.agc_mode": "1", "policy.session.auto_answer": "0"}});
        assert_eq!(wwe.post("SetOptions", options).await, (200, "{}".into()));
        let parameters =
            json!({"value": [{"Key": "SipEndpointTransportProtocol", "Value": "UDP"}]});
        let taken = (200, "{}".into());
        assert_eq!(wwe.post("SetSIPEndpointParameters", parameters).await, taken);
        let users = json!({"addresses": ["host:5060"], "users": ["5001"]});
        let registered = (200, r#"{"RegisterDnResult":true}"#.into());
        assert_eq!(wwe.post("RegisterDn/", users).await, registered);
        wwe.until_active(false).await;
        assert_eq!(wwe.get("GetDnSIP").await, r#"{"get_DnSIPResult":""}"#);
        let parameters = wwe.json("GetSIPEndpointParameters").await;
        let status = &parameters["get_SIPEndpointParametersResult"][0]["Value"];
        assert_eq!(status, "EndpointStatus_NotReady");

        // The agent signs in at the page.
        let phone = demo.phone("5001").await;
        wwe.until_active(true).await;
        assert_eq!(wwe.get("GetDnSIP").await, r#"{"get_DnSIPResult":"5001"}"#);
        let ready = r#"{"get_SIPEndpointParametersResult":[{"Key":"EndpointStatus","Value":"EndpointStatus_Ready"},{"Key":"IsPingMandatory","Value":false},{"Key":"Status","Value":"Initialized"}]}"#;
        assert_eq!(wwe.get("GetSIPEndpointParameters").await, ready);
        assert_eq!(wwe.post("SetPingPeriod", json!({"value": 2000})).await, (200, "{}".into()));
        for _ in 0..3 {
            assert_eq!(wwe.get("Ping").await, r#"{"PingResult":[]}"#);
        }
        wwe.done("UnregisterDn", json!({})).await;
        wwe.until_active(false).await;
        assert!(demo.is_registered("5001"), "the page's registration is the page's");
        let unknown = wwe.ask(Method::GET, "GetEverything", "").await;
        assert_eq!(unknown.status, 400);
        phone.sign_out().await;
        demo.until_unregistered("5001").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wwe_that_stops_pinging_loses_its_session_and_the_agent_nothing() {
    let demo = demo().await;
    let _phone = demo.phone("5001").await;
    let mut wwe = Wwe::new(&demo, &under_token());
    wwe.done("RegisterDn", json!({"users": ["5001"]})).await;
    wwe.until_active(true).await;
    // 30 missed pings at the shortest period are 15 s.
    assert_eq!(wwe.post("SetPingPeriod", json!({"value": 1})).await.0, 200);
    wwe.until_active(false).await;
    assert_eq!(wwe.get("Ping").await, r#"{"PingResult":[]}"#);
    wwe.until_active(false).await;
    assert!(demo.is_registered("5001"));
    wwe.done("RegisterDn", json!({"users": ["5001"]})).await;
    wwe.until_active(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmodified_page_is_answered_held_and_hung_up_by_commands() {
    let demo = demo().await;
    let mut phone = demo.phone("5001").await;
    let mut wwe = Wwe::new(&demo, &under_token());
    let (status, body) = wwe.post("AnswerCall", json!({})).await;
    assert_eq!(status, 409, "{body}");
    assert_eq!(wwe.json("GetIncomingCall").await["hasIncomingCall"], false);

    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    let incoming = wwe.json("GetIncomingCall").await;
    assert_eq!(
        (&incoming["hasIncomingCall"], &incoming["callerId"]),
        (&json!(true), &json!("7123"))
    );
    let time = incoming["timestamp"].as_str().unwrap_or_default();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    wwe.done("AnswerCall", json!({})).await;
    phone.expect("EVENT-TALK").await;
    far.answered().await;
    phone.accept(&offer).await;
    phone.browser.connected().await;
    far.play(tone(1000.0));
    phone.browser.hears(1000.0, 0.3).await;
    let status = wwe.json("GetCallStatus").await;
    let expected = json!({"registered": true, "dn": "5001", "callActive": true,
        "hasIncomingCall": false, "callerId": "7123"});
    assert_eq!(status, expected);

    wwe.done("SendDTMF", json!({"digits": "12#"})).await;
    far.hears_digits("12#").await;

    wwe.done("Hold", json!({})).await;
    far.reinvited().await;
    phone.expect("EVENT-HOLD").await;
    assert_eq!(wwe.post("Hold", json!({})).await.0, 409, "held already");
    wwe.done("Retrieve", json!({})).await;
    far.reinvited().await;
    phone.expect("EVENT-TALK").await;

    wwe.done("HangUp", json!({})).await;
    phone.expect("BYE").await;
    far.ended().await;
    demo.idle().await;
    let (status, body) = wwe.post("MakeCall", json!({"destination": "600"})).await;
    assert_eq!(status, 409);
    assert!(body.contains("does not dial"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ringing_call_is_rejected() {
    let demo = demo().await;
    let mut phone = demo.phone("5001").await;
    let mut wwe = Wwe::new(&demo, &under_token());
    let mut far = demo.calls("5001", call_from("7123")).await;
    phone.expect_roap("OFFER").await;
    wwe.done("HangUp", json!({})).await;
    phone.expect("BYE").await;
    assert_eq!(far.ended().await.code, 603);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_dials_is_told_whom_to_call() {
    let demo = demo().await;
    let mut wwe = Wwe::new(&demo, &under_token());
    let (status, body) = wwe.post("MakeCall", json!({"destination": "7000"})).await;
    assert!(status == 409 && body.contains("not signed in"), "{status} {body}");
    let (mut phone, poll) = page(&demo, "5001").await;
    wwe.done("RegisterDn", json!({"users": ["5001"]})).await;
    wwe.until_active(true).await;
    let mut legs = demo.take("7000").await;
    let nobody = wwe.post("MakeCall", json!({"destination": "<7000>"})).await;
    assert_eq!(nobody.0, 400, "{}", nobody.1);
    wwe.done("MakeCall", json!({"destination": "7000"})).await;
    assert_eq!(poll.await.expect("the poll"), Some("DIAL 7000".into()));
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    let (status, body) = wwe.post("MakeCall", json!({"destination": "7000"})).await;
    assert!(status == 409 && body.contains("a call already"), "{status} {body}");
    far.leg.accept().await.expect("200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_the_raw_sdp_dialect_is_told_in_its_own_words() {
    let demo = demo().await;
    let wire = Wire::new(&demo.base);
    let form = format!("id=agent123&dn=5001&password={}", demo.password);
    assert_eq!(wire.post("/api/webrtc/sign_in", form).await.status, 200);
    let mut wwe = Wwe::new(&demo, &under_token());
    let dial = json!({"destination": "+49301003"});
    wire.get("/api/webrtc/message?id=agent123&wait=0&events=1").await;
    assert_eq!(wwe.post("MakeCall", dial.clone()).await.0, 409, "it has not said that it dials");
    wire.get("/api/webrtc/message?id=agent123&wait=0&dial=1").await;
    wwe.done("MakeCall", dial.clone()).await;
    let told = wire.get("/api/webrtc/message?id=agent123&wait=5&dial=1").await;
    assert_eq!((told.header("X-Wrtc-Type"), told.body.as_str()), (Some("dial"), "DIAL +49301003"));
    wwe.done("MakeCall", dial).await;
    // By somebody who does not: it is not kept for later.
    let told = wire.get("/api/webrtc/message?id=agent123&wait=0&events=1").await;
    assert_eq!(told.status, 204);
}
