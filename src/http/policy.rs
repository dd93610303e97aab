//! What holds for every request and every answer, as the configuration has it now.

use std::net::SocketAddr;

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::assets;
use super::hosts;
use crate::config::{self, Guard, Origins};
use crate::tls::CertificateFacts;

/// What a page of ours, or one that frames ours, may ask the browser for.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "microphone=(self), camera=(self), autoplay=(self), speaker-selection=(self), \
     display-capture=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=()",
);

/// An answer of the API is no page: nothing of it is run, nothing of it is framed.
const NO_PAGE: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

pub(super) struct Policy {
    pub origins: Origins,
    pub guard: Guard,
    /// The Content-Security-Policy of pages that may be framed, and of those that may not.
    pub page: HeaderValue,
    pub unframed_page: HeaderValue,
    plain_on_loopback: bool,
    strict_transport: Option<HeaderValue>,
}

impl Policy {
    /// `certificate` is the one that is served; `None` for plain HTTP.
    pub(super) fn new(
        config: &config::Http,
        listen: SocketAddr,
        certificate: Option<&CertificateFacts>,
    ) -> Self {
        let framing = config.guard.frame_ancestors.as_ref().unwrap_or(&config.allowed_origins);
        // A browser that was told so could not be talked past a certificate that nobody vouches for.
        let strict_transport = certificate
            .filter(|certificate| !certificate.self_signed)
            .and(config.guard.hsts)
            .and_then(|age| HeaderValue::from_str(&format!("max-age={}", age.as_secs())).ok());
        Self {
            origins: config.allowed_origins.clone(),
            guard: config.guard.clone(),
            page: assets::page_policy(Some(framing)),
            unframed_page: assets::page_policy(None),
            plain_on_loopback: certificate.is_none() && listen.ip().to_canonical().is_loopback(),
            strict_transport,
        }
    }

    pub(super) fn allows_host(&self, headers: &HeaderMap) -> bool {
        hosts::allow(headers, &self.guard, self.plain_on_loopback)
    }

    /// Those of every answer. What a page has said of itself stays.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(PERMISSIONS_POLICY, PERMISSIONS);
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
        // Who may read it across origins asks by CORS, which this does not touch.
        headers.entry(RESOURCE_POLICY).or_insert(HeaderValue::from_static("same-origin"));
        if let Some(value) = &self.strict_transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
        }
    }
}
