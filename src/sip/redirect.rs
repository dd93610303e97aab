//! Where a 3xx sends a call (RFC 3261 8.1.3.4).
//!
//! The INVITE goes to the configured server all the same, with the contact as its Request-URI: the call
//! goes where the deployment's own routing takes it, and no answer can make us talk to strangers.

use rsipstack::sip::{Response, Scheme, Uri};

use super::message::{NameAddr, get_list, parse_uri};

/// Targets of one call, the first included. A forwarded telephone has one or two; who names more is
/// having the caller walk in circles.
const MAX_TARGETS: usize = 6;

/// Targets of one call: those tried and those that wait, the best first.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    tried: Vec<String>,
    waiting: Vec<Uri>,
}

impl Targets {
    pub(crate) fn new(first: &Uri) -> Self {
        Self { tried: vec![key(first)], waiting: Vec::new() }
    }

    /// Takes the contacts of a 3xx, by their `q`. Those of another scheme than ours (a `tel:`, a
    /// `mailto:`), and those named before, are passed over. What a nearer 3xx named comes first.
    pub(crate) fn redirected(&mut self, response: &Response, secure: bool) {
        let mut found: Vec<(u16, Uri)> = Vec::new();
        for contact in get_list(response, "Contact") {
            let Some(contact) = NameAddr::parse(contact) else { continue };
            let Some(mut uri) = parse_uri(&contact.uri) else { continue };
            let usable = match uri.scheme {
                Some(Scheme::Sip) => true,
                Some(Scheme::Sips) => secure,
                _ => false,
            };
            // Headers and methods a contact would have us send are none of its business.
            uri.headers.clear();
            uri.params.retain(|p| !p.to_string().to_ascii_lowercase().starts_with(";method"));
            if usable && !self.tried.contains(&key(&uri)) && self.tried.len() < MAX_TARGETS {
                self.tried.push(key(&uri));
                found.push((quality(contact.param("q")), uri));
            }
        }
        found.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        self.waiting.splice(0..0, found.into_iter().map(|(_, uri)| uri));
    }

    pub(crate) fn next(&mut self) -> Option<Uri> {
        (!self.waiting.is_empty()).then(|| self.waiting.remove(0))
    }
}

/// Two that differ in parameters only are two targets; loops come back letter by letter.
fn key(uri: &Uri) -> String {
    uri.to_string()
}

/// `q` in thousandths; 1 where it is missing, and 0 where it is nonsense.
fn quality(q: Option<&str>) -> u16 {
    match q.map(str::parse::<f32>) {
        None => 1000,
        Some(Ok(q)) if (0.0..=1.0).contains(&q) => (q * 1000.0) as u16,
        Some(_) => 0,
    }
}
