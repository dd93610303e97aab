//! Reading a request's body within bounds.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::Body as _;

/// The largest body read. The largest SDP of a browser with every codec and candidate is some
/// 20 KiB.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// What is read and thrown away of a body that is too large, so that the client hears the answer:
/// closing a connection with unread data resets it.
const MAX_DISCARDED: usize = 1024 * 1024;

/// How long a client may take over its body.
const BODY_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// 413
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    /// 400
    #[error("the body broke off")]
    Broken,
    /// 408
    #[error("the body took longer than 20 s")]
    Slow,
    /// 400
    #[error("the body is not UTF-8 text")]
    NotText,
}

pub(super) async fn read_text(body: Body) -> Result<String, BodyError> {
    let bytes = tokio::time::timeout(BODY_LIMIT, read(body)).await;
    let bytes = bytes.map_err(|_elapsed| BodyError::Slow)??;
    String::from_utf8(bytes).map_err(|_| BodyError::NotText)
}

async fn read(body: Body) -> Result<Vec<u8>, BodyError> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let mut length = 0usize;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        let data: Bytes = data;
        length = length.saturating_add(data.len());
        if length <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY { Err(BodyError::TooLarge) } else { Ok(bytes) }
}
