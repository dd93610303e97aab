//! The pages and the `grtc` library, embedded in the binary.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use rust_embed::RustEmbed;

use super::policy::Policy;
use super::reply;
use crate::config::{OriginRule, Origins};

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// What a page of ours may do. It runs its own scripts and no inline ones, talks to its own gateway
/// or to the one that its URL names, and may be framed by the pages that may use the API (WWE).
/// `None`: by nobody, not even ourselves.
pub(super) fn page_policy(framing: Option<&Origins>) -> HeaderValue {
    let ancestors = match framing {
        None => "'none'".to_owned(),
        Some(Origins::Any) => "*".to_owned(),
        Some(Origins::List(rules)) => {
            let mut sources = "'self'".to_owned();
            for rule in rules {
                match rule {
                    OriginRule::Exact(origin) if origin != "null" => {
                        sources.push(' ');
                        sources.push_str(origin);
                    }
                    OriginRule::Exact(_) => {}
                    OriginRule::Loopback => {
                        sources.push_str(" http://localhost:* https://localhost:*");
                        sources.push_str(" http://127.0.0.1:* https://127.0.0.1:*");
                    }
                }
            }
            sources
        }
    };
    let policy = format!(
        "default-src 'self'; script-src 'self' blob:; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; media-src 'self' blob: data: mediastream:; \
         connect-src 'self' http: https:; worker-src 'self' blob:; object-src 'none'; \
         base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'self'"))
}

/// `path` is what follows the base path, with its slash.
pub(super) fn serve(method: &Method, path: &str, asked: &HeaderMap, policy: &Policy) -> Response {
    let Some(name) = file_name(path) else { return not_found() };
    let Some(file) = Dist::get(&name) else { return not_found() };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let refusal = reply::text(StatusCode::METHOD_NOT_ALLOWED, "a file is read with GET");
        return reply::not_allowed(refusal, "GET, HEAD, OPTIONS");
    }
    let etag = etag(&file.metadata.sha256_hash());
    let fresh = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*");
    let mut response = if fresh {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        reply::with_type(StatusCode::OK, mime(&name), file.data.into_owned())
    };
    let headers = response.headers_mut();
    // Ask every time, fetch only what has changed: a new gateway brings a new library at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    // Who acts there acts on all agents: no click on it may be somebody else's.
    let policy = if name.starts_with("dashboard") { &policy.unframed_page } else { &policy.page };
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(
        "cross-origin-resource-policy",
        // The library is meant to be loaded by pages elsewhere.
        HeaderValue::from_static("cross-origin"),
    );
    response
}

fn not_found() -> Response {
    reply::text(StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// A plain relative name, or nothing.
fn file_name(path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let name = match path.strip_suffix('/') {
        Some(folder) => format!("{folder}/index.html"),
        None if path.is_empty() => "index.html".to_owned(),
        // Pages go without their extension, and files have one: `/gadget` is gadget.html.
        None if !path.contains('.') => format!("{path}.html"),
        None => path.to_owned(),
    };
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    name.split('/').all(plain).then_some(name)
}

fn etag(hash: &[u8; 32]) -> String {
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn mime(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("ts" | "txt" | "md") => "text/plain; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("wav") => "audio/wav",
        Some("mp3") => "audio/mpeg",
        Some("ogg") => "audio/ogg",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names() {
        assert_eq!(file_name("/").as_deref(), Some("index.html"));
        assert_eq!(file_name("/lib/").as_deref(), Some("lib/index.html"));
        assert_eq!(file_name("/gadget").as_deref(), Some("gadget.html"));
        assert_eq!(file_name("/grtc.d.ts").as_deref(), Some("grtc.d.ts"));
        for bad in ["", "/../Cargo.toml", "//etc/passwd", "/.gitkeep", "/a/%2e%2e/b", "/a\\b"] {
            assert_eq!(file_name(bad), None, "{bad}");
        }
    }
}
