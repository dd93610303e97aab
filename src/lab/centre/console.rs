//! The centre's console: a page on loopback, and the few requests behind it. For the demo; no part of
//! the gateway's own HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::cast::CAST;
use super::dialog::Caller;
use super::scenario;
use super::server::{CallNumber, Centre, CentreError};
use crate::lab::phone::Hold;
use crate::sip::HeaderPair;

/// How long a request for news waits.
const NEWS: Duration = Duration::from_secs(15);
/// Between two answers with news: a person sees no more than that.
const PACE: Duration = Duration::from_millis(60);

/// A console that serves until it is dropped.
#[derive(Debug)]
pub struct Console {
    local: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Console {
    /// Serves at `listen`, which has to be loopback: whoever reaches it may make calls.
    pub async fn start(listen: SocketAddr, centre: Centre) -> io::Result<Self> {
        if !listen.ip().is_loopback() {
            let why = "the console has no password: it listens on loopback only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let listener = TcpListener::bind(listen).await?;
        let local = listener.local_addr()?;
        let app = Router::new()
            .route("/", get(async || page("text/html", include_str!("console/index.html"))))
            .route(
                "/console.css",
                get(async || page("text/css", include_str!("console/console.css"))),
            )
            .route(
                "/console.js",
                get(async || page("text/javascript", include_str!("console/console.js"))),
            )
            .route("/api/cast", get(cast))
            .route("/api/state", get(state))
            .route("/api/queue", post(queue))
            .route("/api/dial", post(dial))
            .route("/api/play", post(play))
            .route("/api/calls/{call}/{act}", post(act))
            .layer(middleware::from_fn(from_here))
            .with_state(centre);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the console has ended");
            }
        });
        Ok(Self { local, task })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.local)
    }
}

/// Only what is meant for this machine, and of what changes something only what our own page sends: a
/// page of the web may neither rebind its name to us nor post to us.
async fn from_here(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let here = name.is_some_and(|name| matches!(name, "127.0.0.1" | "localhost" | "[::1]"));
    let ours = request.method() == "GET" || request.headers().contains_key("x-console");
    if here && ours { next.run(request).await } else { StatusCode::FORBIDDEN.into_response() }
}

fn page(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    let policy = "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    (headers, text)
}

async fn cast() -> Json<Value> {
    let numbers: Vec<_> = CAST.iter().map(|role| (role.number, role.about)).collect();
    let scenarios: Vec<_> = scenario::ALL.iter().map(|one| (one.name, one.about)).collect();
    Json(json!({ "numbers": numbers, "scenarios": scenarios }))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    call: u64,
}

async fn state(State(centre): State<Centre>, Query(asked): Query<Asked>) -> Json<Value> {
    let mut changes = centre.changes();
    if *changes.borrow() <= asked.after {
        let news = changes.wait_for(|version| *version > asked.after);
        // What is heard goes on without a message.
        let _ = tokio::time::timeout(NEWS.min(Duration::from_secs(1)), news).await;
    }
    tokio::time::sleep(PACE).await;
    let version = *changes.borrow_and_update();
    let ladder = centre
        .call(CallNumber(asked.call))
        .map(|call| json!({ "call": call.id, "rungs": call.rungs, "gone": call.gone }));
    Json(json!({
        "version": version,
        "agents": centre.agents(),
        "calls": centre.calls(),
        "ladder": ladder,
    }))
}

#[derive(Deserialize)]
struct NewCall {
    dn: String,
    number: String,
    name: Option<String>,
    #[serde(default)]
    headers: Vec<HeaderPair>,
    scenario: Option<String>,
}

impl NewCall {
    fn caller(&self) -> Result<Caller, Refused> {
        let digits = |text: &str| {
            (1..=32).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+')
        };
        let token = |text: &str| {
            (3..=64).contains(&text.len())
                && text.starts_with("X-")
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !digits(&self.number) {
            return Err(Refused::Asked("a number has 1 to 32 digits or letters"));
        }
        if self.headers.len() > 16
            || !self.headers.iter().all(|(name, value)| token(name) && value.len() <= 256)
        {
            return Err(Refused::Asked("attached data are up to 16 pairs like Segment=Gold"));
        }
        Ok(Caller {
            display_name: self.name.clone().filter(|name| !name.is_empty()),
            headers: self.headers.clone(),
            ..Caller::new(&self.number)
        })
    }
}

enum Refused {
    Centre(CentreError),
    Asked(&'static str),
}

impl From<CentreError> for Refused {
    fn from(error: CentreError) -> Self {
        Refused::Centre(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refused::Asked(text) => (StatusCode::BAD_REQUEST, text.to_owned()),
            Refused::Centre(error) => {
                let status = match error {
                    CentreError::NotRegistered(_) | CentreError::NoSuchCall => {
                        StatusCode::NOT_FOUND
                    }
                    CentreError::WrongState(_) => StatusCode::CONFLICT,
                    CentreError::NoSocket | CentreError::Full => StatusCode::SERVICE_UNAVAILABLE,
                };
                (status, error.to_string())
            }
        };
        (status, Json(json!({ "error": text }))).into_response()
    }
}

type Started = Result<Json<Value>, Refused>;

fn started(call: CallNumber) -> Started {
    Ok(Json(json!({ "call": call.0 })))
}

async fn queue(State(centre): State<Centre>, Json(new): Json<NewCall>) -> Started {
    started(centre.queue(&new.dn, new.caller()?).await?)
}

async fn dial(State(centre): State<Centre>, Json(new): Json<NewCall>) -> Started {
    started(centre.dial(&new.dn, new.caller()?).await?)
}

async fn play(State(centre): State<Centre>, Json(new): Json<NewCall>) -> Started {
    let scenario = new.scenario.as_deref().and_then(scenario::find);
    let scenario = scenario.ok_or(Refused::Asked("there is no such scenario"))?;
    started(centre.run(&new.dn, new.caller()?, scenario).await?)
}

#[derive(Deserialize, Default)]
struct Target {
    #[serde(default)]
    number: String,
}

async fn act(
    State(centre): State<Centre>,
    Path((call, act)): Path<(u64, String)>,
    Json(target): Json<Target>,
) -> Started {
    let call = CallNumber(call);
    match act.as_str() {
        "talk" | "retrieve" => centre.talk(call)?,
        "hold" => centre.hold(call)?,
        "offerless" => centre.ask_for_offer(call)?,
        "far-hold" => {
            let view = centre.call(call).ok_or(CentreError::NoSuchCall)?;
            centre.far_hold(call, if view.far_holds { Hold::No } else { Hold::SendOnly })?;
        }
        "transfer" => centre.transfer(call, &target.number).await?,
        "hangup" => centre.hang_up(call)?,
        _ => return Err(Refused::Asked("there is no such button")),
    }
    started(call)
}
