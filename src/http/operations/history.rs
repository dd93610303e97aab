//! Finished calls: found, exported, their signalling as a capture file.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use http_body::Frame;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;
use tracing::warn;
use utoipa::ToSchema;

use super::csv;
use crate::http::app::{App, Shared};
use crate::http::operators::Reader;
use crate::http::reply::{self, ErrorReply, Problem};
use crate::journal::store::{Page, Search, Store, StoreError};
use crate::journal::{CallRecord, History, pcap};

/// Calls in an answer.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Of an export that are read at a time.
const PART: usize = 500;

/// Parts of an export that wait for a slow client.
const PARTS_AHEAD: usize = 2;

/// How long a client may leave an export waiting.
const SLOW: Duration = Duration::from_secs(60);

/// Who reads the store at a time: a disk is one.
static READERS: Semaphore = Semaphore::const_new(4);
static EXPORTS: Semaphore = Semaphore::const_new(4);

/// Longest text that is looked for; a Call-ID may be long.
const MAX_TEXT: usize = 256;

const PARAMETERS: &[&str] = &[
    "from",
    "to",
    "q",
    "dn",
    "agent_id",
    "peer",
    "call_id",
    "call_uuid",
    "ended_by",
    "min_mos",
    "max_mos",
    "limit",
    "before",
    "format",
];

/// Finished calls, the latest first.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the document; records are passed on as they are kept")]
pub(in crate::http) struct CallsReply {
    calls: Vec<CallRecord>,
    /// For `before`, where there are more.
    next: Option<String>,
}

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum CallsFormat {
    Json,
    /// A record a line.
    Ndjson,
    /// RFC 4180.
    Csv,
}

/// Finds finished calls. As JSON a page of them, as CSV (RFC 4180) and as lines of JSON all that are as asked,
/// streamed.
#[utoipa::path(get, path = "/api/calls", operation_id = "find_calls", tag = "operation",
    security(("operator" = [])),
    params(
        ("from" = Option<String>, Query, description = "Began then or later: Unix milliseconds, a date, or RFC 3339.", example = "2026-11-21"),
        ("to" = Option<String>, Query, description = "Began before."),
        ("q" = Option<String>, Query, description = "Somewhere in a number, a name, the reason, one of the call's ids."),
        ("dn" = Option<String>, Query, description = "The agent's DN."),
        ("agent_id" = Option<String>, Query, description = "The client's own id in the raw-SDP dialect."),
        ("peer" = Option<String>, Query, description = "The other side."),
        ("call_id" = Option<String>, Query, description = "Our id of the call, or a SIP Call-ID."),
        ("call_uuid" = Option<String>, Query, description = "X-Genesys-CallUUID."),
        ("ended_by" = Option<String>, Query, description = "`browser`, `peer`, `network`, `gateway`."),
        ("min_mos" = Option<f64>, Query, description = "The direction that was heard worst was heard so or better."),
        ("max_mos" = Option<f64>, Query, description = "So or worse."),
        ("limit" = Option<u32>, Query, description = "100 in JSON unless given; in the other formats all.", minimum = 1, maximum = 1000),
        ("before" = Option<String>, Query, description = "`next` of the page before."),
        ("format" = Option<CallsFormat>, Query, description = "`json` unless given."),
    ),
    responses(
        (status = 200, description = "What was found.",
            content((CallsReply = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        (status = 400, description = "A parameter cannot be used, or is none.", body = ErrorReply),
        (status = 401, description = "No operator's token, or one that is not known.", body = ErrorReply),
        (status = 403, description = "The token may not, or there is none and the request is not from this machine.", body = ErrorReply),
        (status = 422, description = "It would take too long: narrow `from` and `to`.", body = ErrorReply),
        (status = 429, description = "Too many wrong tokens.", body = ErrorReply),
        (status = 503, description = "The store cannot be read, or too many exports run.", body = ErrorReply),
    ))]
pub(in crate::http) async fn find(
    State(app): Shared,
    uri: Uri,
    Reader(operator): Reader,
) -> Response {
    let found = async {
        let (search, limit, format) = parse(&uri)?;
        let store = store(&app)?;
        match format {
            CallsFormat::Json => page(store, search, limit.unwrap_or(DEFAULT_LIMIT)).await,
            format => export(store, search, limit, format, operator.remote()).await,
        }
    };
    found.await.unwrap_or_else(Problem::into_response)
}

/// One call's SIP messages as pcapng, each as a UDP packet with the addresses and the time it had.
#[utoipa::path(get, path = "/api/calls/{id}/pcap", operation_id = "call_pcap", tag = "operation",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Our id of the call, a SIP Call-ID of it, or its CallUUID; a DN for its latest call.")),
    responses(
        (status = 200, description = "For Wireshark; credentials and keys are taken out.", content_type = "application/x-pcapng", body = Vec<u8>),
        (status = 400, description = "The path is not UTF-8.", body = String, content_type = "text/plain"),
        (status = 401, description = "No operator's token, or one that is not known.", body = ErrorReply),
        (status = 403, description = "The token may not, or there is none and the request is not from this machine.", body = ErrorReply),
        (status = 404, description = "There is no such call, or none of its messages is kept.", body = ErrorReply),
        (status = 429, description = "Too many wrong tokens.", body = ErrorReply),
        (status = 503, description = "The store cannot be read.", body = ErrorReply),
    ))]
pub(in crate::http) async fn capture(
    State(app): Shared,
    Path(id): Path<String>,
    _: Reader,
) -> Response {
    capture_of(&app, id).await.unwrap_or_else(Problem::into_response)
}

async fn capture_of(app: &App, id: String) -> Result<Response, Problem> {
    let store = store(app)?;
    let nothing = |code, sentence| Problem::new(StatusCode::NOT_FOUND, code, sentence);
    let (record, timeline) = match app.backend.timelines().and_then(|calls| calls.find(&id)) {
        Some(call) => (call.record, call.timeline),
        None => {
            let call = reading(move || store.find(&id))
                .await?
                .map_err(|error| unreadable(&error))?
                .ok_or_else(|| nothing("no_such_call", "there is no such call, or not any more"))?;
            (call.record, call.timeline)
        }
    };
    let file = pcap::write(&timeline.events).ok_or_else(|| {
        nothing("no_messages", "none of its SIP messages is kept; see journal.keep_bodies")
    })?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = record.call.chars().take(64).map(plain).collect();
    let mut response = reply::with_type(StatusCode::OK, "application/x-pcapng", file);
    attach(&mut response, &format!("call-{name}.pcapng"));
    Ok(response)
}

fn store(app: &App) -> Result<Arc<Store>, Problem> {
    app.backend.store().ok_or_else(|| {
        let sentence = "this gateway keeps no finished calls";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_store", sentence)
    })
}

async fn page(store: Arc<Store>, search: Search, limit: usize) -> Result<Response, Problem> {
    let Page { records, next } = read(store, search, limit).await?;
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    // They are JSON already.
    let body = format!("{{\"calls\":[{}],\"next\":{next}}}", records.join(","));
    Ok(reply::with_type(StatusCode::OK, "application/json", body))
}

async fn read(store: Arc<Store>, search: Search, limit: usize) -> Result<Page, Problem> {
    let found = reading(move || store.search(&search, limit)).await?;
    found.map_err(|error: StoreError| match error.is_too_broad() {
        true => {
            let sentence = "it takes too long to look through so many calls; narrow from and to";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "search_too_broad", sentence)
        }
        false => unreadable(&error),
    })
}

/// Reads the store when it is one's turn. The turn ends with the reading, which goes on when who asked has
/// gone.
pub(super) async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    // Nobody closes it.
    let turn = READERS.acquire().await.ok();
    let read = spawn_blocking(move || {
        let found = read();
        drop(turn);
        found
    });
    read.await.map_err(gone)
}

/// The first part is read before anything is answered, so that a fault has its status.
async fn export(
    store: Arc<Store>,
    search: Search,
    limit: Option<usize>,
    format: CallsFormat,
    remote: IpAddr,
) -> Result<Response, Problem> {
    let permit = EXPORTS.try_acquire().map_err(|_| Problem {
        retry_after: Some(10),
        ..Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_exports",
            "other exports are running",
        )
    })?;
    let left = limit.unwrap_or(usize::MAX);
    let first = read(Arc::clone(&store), search.clone(), left.min(PART)).await?;
    let (sender, parts) = channel(PARTS_AHEAD);
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(problem) = send_parts(store, search, left, format, first, &sender).await {
            warn!(%remote, error = problem.sentence, "an export of calls broke off");
            // Cut short, it must not look whole.
            let _ = sender.send(Err(io::Error::other(problem.sentence))).await;
        }
    });
    let (kind, name) = match format {
        CallsFormat::Csv => ("text/csv; charset=utf-8; header=present", "calls.csv"),
        _ => ("application/x-ndjson", "calls.ndjson"),
    };
    let mut response = reply::with_type(StatusCode::OK, kind, Body::new(Parts(parts)));
    attach(&mut response, name);
    Ok(response)
}

async fn send_parts(
    store: Arc<Store>,
    mut search: Search,
    mut left: usize,
    format: CallsFormat,
    first: Page,
    sender: &Sender<io::Result<Bytes>>,
) -> Result<(), Problem> {
    let mut page = first;
    let mut text = if format == CallsFormat::Csv { csv::head() } else { String::new() };
    loop {
        left = left.saturating_sub(page.records.len());
        for record in &page.records {
            if format == CallsFormat::Csv {
                let record: Value = serde_json::from_str(record).unwrap_or_default();
                text.push_str(&csv::line(&record));
            } else {
                text.push_str(record);
                text.push('\n');
            }
        }
        let part = Bytes::from(std::mem::take(&mut text));
        match tokio::time::timeout(SLOW, sender.send(Ok(part))).await {
            Ok(Ok(())) => {}
            // Nobody reads any more.
            Ok(Err(_)) => return Ok(()),
            Err(_) => {
                let sentence = "the client took too long to read";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_client", sentence));
            }
        }
        if page.next.is_none() || left == 0 {
            return Ok(());
        }
        search.before = page.next;
        page = read(Arc::clone(&store), search.clone(), left.min(PART)).await?;
    }
}

/// A body that somebody else writes.
struct Parts(Receiver<io::Result<Bytes>>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(ready!(self.0.poll_recv(cx)).map(|part| part.map(Frame::data)))
    }
}

fn attach(response: &mut Response, name: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    warn!(%error, "finished calls cannot be read");
    let sentence = format!("finished calls cannot be read: {error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unreadable", sentence)
}

/// The runtime is being stopped.
fn gone(_: tokio::task::JoinError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is being stopped")
}

fn parse(uri: &Uri) -> Result<(Search, Option<usize>, CallsFormat), Problem> {
    let bad = |sentence: String| Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", sentence);
    let Query(mut given) = Query::<HashMap<String, String>>::try_from_uri(uri)
        .map_err(|_| bad("the query cannot be read".to_owned()))?;
    if let Some(unknown) = given.keys().find(|name| !PARAMETERS.contains(&name.as_str())) {
        let unknown: String = unknown.chars().take(32).collect();
        let known = PARAMETERS.join(", ");
        return Err(bad(format!("there is no parameter `{unknown}`; possible are {known}")));
    }
    // An empty field of a form.
    given.retain(|_, value| !value.is_empty());
    if let Some((name, _)) =
        given.iter().find(|(_, value)| value.len() > MAX_TEXT || value.contains('\0'))
    {
        return Err(bad(format!("{name} is too long, or no text")));
    }
    let mut text = |name: &str| given.remove(name);
    let at = |name: &str, value: Option<String>| match value {
        None => Ok(None),
        Some(value) => moment(&value).map(Some).ok_or_else(|| {
            bad(format!(
                "{name} is neither Unix milliseconds nor a date such as 2026-11-21T09:30:00Z"
            ))
        }),
    };
    let mos = |name: &str, value: Option<String>| match value {
        None => Ok(None),
        Some(value) => value
            .parse()
            .ok()
            .filter(|mos: &f64| mos.is_finite())
            .map(Some)
            .ok_or_else(|| bad(format!("{name} is no number"))),
    };
    let limit = match text("limit").map(|limit| limit.parse::<usize>()) {
        None => None,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => Some(limit),
        Some(_) => return Err(bad(format!("limit is not from 1 to {MAX_LIMIT}"))),
    };
    let format = match text("format").as_deref() {
        None | Some("json") => CallsFormat::Json,
        Some("ndjson") => CallsFormat::Ndjson,
        Some("csv") => CallsFormat::Csv,
        Some(_) => return Err(bad("format is none of json, ndjson, csv".to_owned())),
    };
    let before = match text("before").map(|before| before.parse()) {
        None => None,
        Some(Ok(before)) => Some(before),
        Some(Err(error)) => return Err(bad(format!("before: {error}"))),
    };
    let search = Search {
        from: at("from", text("from"))?,
        to: at("to", text("to"))?,
        text: text("q"),
        user: text("dn"),
        agent_id: text("agent_id"),
        peer: text("peer"),
        call_id: text("call_id"),
        call_uuid: text("call_uuid"),
        ended_by: text("ended_by"),
        min_mos: mos("min_mos", text("min_mos"))?,
        max_mos: mos("max_mos", text("max_mos"))?,
        before,
    };
    Ok((search, limit, format))
}

/// Unix milliseconds of `1790000000000`, `2026-11-21`, `2026-11-21T09:30`, `2026-11-21T09:30:00.5+01:00`;
/// without a zone it is UTC.
fn moment(text: &str) -> Option<u64> {
    if text.bytes().all(|c| c.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let number = |part: &str, digits: usize, most: i64| {
        let right = part.len() == digits && part.bytes().all(|c| c.is_ascii_digit());
        part.parse::<i64>().ok().filter(|number| right && *number <= most)
    };
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4, 9999)?;
    let month = number(parts.next()?, 2, 12).filter(|month| *month > 0)?;
    let day = number(parts.next()?, 2, 31).filter(|day| *day > 0)?;
    if parts.next().is_some() {
        return None;
    }
    // Days from the civil date: years that begin in March, eras of 400 of them.
    let years = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + of_year - 719_468;
    let mut ms = days * 86_400_000;
    if let Some(time) = time {
        let (time, offset) = match time.find(['Z', 'z', '+', '-']) {
            Some(at) => time.split_at(at),
            None => (time, "Z"),
        };
        let clock = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            Some((number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?) * 60_000)
        };
        let (hours, seconds) = match time.match_indices(':').nth(1) {
            Some((at, _)) => (time.get(..at)?, time.get(at + 1..)?),
            None => (time, "00"),
        };
        let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        let fraction: f64 = match fraction.bytes().all(|c| c.is_ascii_digit()) {
            true => format!("0.{fraction}").parse().ok()?,
            false => return None,
        };
        ms += clock(hours)? + number(seconds, 2, 60)? * 1000 + (fraction * 1000.0) as i64;
        ms -= match (offset.get(..1)?, offset.get(1..)?) {
            ("Z" | "z", "") => 0,
            ("+", offset) => clock(offset)?,
            ("-", offset) => -clock(offset)?,
            _ => return None,
        };
    }
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, ms) in [
            ("1790000000123", Some(1_790_000_000_123)),
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400_000)),
            ("2000-02-29T23:59:59Z", Some(951_868_799_000)),
            ("2000-02-29 23:59", Some(951_868_740_000)),
            ("2000-03-01T00:59:59.250+01:00", Some(951_868_799_250)),
            ("2000-02-29T18:29:59-05:30", Some(951_868_799_000)),
            ("2100-03-01", Some(4_107_542_400_000)),
            ("1969-12-31", None),
            ("2026-13-01", None),
            ("2026-1-1", None),
            ("2026-01-01T25:00", None),
            ("2026-01-01T10:00+1", None),
            ("2026-01-01T10:00:0x", None),
            ("2026-01-01T10:00:00.x", None),
            ("yesterday", None),
            ("", None),
            ("é-é", None),
        ] {
            let found = if text.is_empty() { None } else { moment(text) };
            assert_eq!(found, ms, "{text}");
        }
    }
}
