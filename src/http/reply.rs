//! Answers of both dialects.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::BodyError;
use crate::agent::{MessageError, SignInError};

pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A cached poll would be somebody's call.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

/// Of plain values and lists of them: nothing that JSON cannot say.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_string(value).unwrap_or_default();
    with_type(status, "application/json", body)
}

pub(super) fn ok() -> Response {
    text(StatusCode::OK, "OK")
}

/// 405, saying what would be possible.
pub(super) fn not_allowed(response: Response, allow: &'static str) -> Response {
    let mut response = response;
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

pub(super) fn retry_after(mut response: Response, seconds: u64) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// An error, as a client gets it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorReply {
    /// For people.
    error: String,
    /// For programs.
    #[schema(value_type = String, example = "missing_parameter")]
    code: &'static str,
    /// The parameters that are needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    required: Option<&'static [&'static str]>,
    /// The names of those that were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    provided: Option<Vec<String>>,
    /// RFC 3339.
    timestamp: String,
}

/// The code of a 401 that an operator's token would turn.
pub(super) const OPERATOR_UNKNOWN: &str = "operator_unknown";

/// An error of the raw-SDP surface.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub status: StatusCode,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub sentence: String,
    /// Parameters that are needed, and those that came (names only).
    pub parameters: Option<(&'static [&'static str], Vec<String>)>,
    pub retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, sentence: impl ToString) -> Self {
        Problem { status, code, sentence: sentence.to_string(), ..Problem::default() }
    }

    pub(super) fn into_response(self) -> Response {
        let (required, provided) = self.parameters.unzip();
        let error = ErrorReply {
            error: self.sentence,
            code: self.code,
            required,
            provided,
            timestamp: rfc3339(SystemTime::now()),
        };
        let mut response = json(self.status, &error);
        if self.code == OPERATOR_UNKNOWN {
            // RFC 9110 15.5.2.
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        match self.retry_after {
            Some(seconds) => retry_after(response, seconds),
            None => response,
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code) = body_status(error);
        Problem::new(status, code, error)
    }
}

/// Status and code word. 504 where no answer came; the JSAPI dialect makes 503 of it.
pub(super) fn sign_in_status(error: &SignInError) -> (StatusCode, &'static str) {
    let status = match error {
        SignInError::BadId(_) => StatusCode::BAD_REQUEST,
        SignInError::Refused(_)
        | SignInError::WrongPassword
        | SignInError::TokenWanted
        | SignInError::Token => StatusCode::UNAUTHORIZED,
        SignInError::Forbidden(_) | SignInError::NoGuests => StatusCode::FORBIDDEN,
        SignInError::UnknownDn(_) => StatusCode::NOT_FOUND,
        SignInError::IdInUse => StatusCode::CONFLICT,
        SignInError::TooManyTries { .. } => StatusCode::TOO_MANY_REQUESTS,
        SignInError::Draining { .. } | SignInError::Busy(_) | SignInError::Unavailable(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        SignInError::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
    };
    (status, error.label())
}

pub(super) fn message_status(error: &MessageError) -> (StatusCode, &'static str) {
    match error {
        MessageError::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        MessageError::NotSignedIn => (StatusCode::NOT_FOUND, "not_signed_in"),
        MessageError::WrongState(_) => (StatusCode::CONFLICT, "wrong_state"),
        MessageError::UnusableSdp(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unusable_sdp"),
        MessageError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    }
}

pub(super) fn body_status(error: BodyError) -> (StatusCode, &'static str) {
    match error {
        BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        BodyError::Broken | BodyError::NotText => (StatusCode::BAD_REQUEST, "bad_body"),
        BodyError::Slow => (StatusCode::REQUEST_TIMEOUT, "body_too_slow"),
    }
}

/// `2026-11-21T09:30:00.123Z`. Times before 1970 show as 1970.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Civil date from days: eras of 400 years, years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), shown);
        }
    }
}
