//! What tells transactions apart.

use rsipstack::sip::{Method, Request};

use crate::sip::message::{self, branch, tag_of, top_via};
use crate::sip::transport::via::sent_by;

/// What branches of RFC 3261 begin with. Nothing but this is none (RFC 4475 3.2.1).
const COOKIE: &str = "z9hG4bK";

/// Names a transaction: branch, sent-by where it is a server's, method (17.1.3, 17.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

pub(super) fn client_key(branch: &str, method: Method) -> Key {
    Key(format!("{branch} {method}"))
}

/// 17.2.3: branch, sent-by and method, an ACK counting as its INVITE; for peers from before RFC 3261,
/// what identified a request then.
pub(super) fn server_key(request: &Request) -> Option<Key> {
    let via = top_via(request)?;
    let method = match request.method {
        Method::Ack => Method::Invite,
        method => method,
    };
    match branch(via).filter(|b| b.len() > COOKIE.len() && b.starts_with(COOKIE)) {
        Some(branch) => Some(Key(format!("{branch} {} {method}", sent_by(via)))),
        None => {
            let number = message::cseq(request)?.0;
            let from = tag_of(request, "From").unwrap_or_default();
            let call_id = message::call_id(request)?;
            Some(Key(format!("{call_id} {from} {number} {} {method}", sent_by(via))))
        }
    }
}

/// The key of the INVITE a CANCEL means.
pub(super) fn invite_key(cancel: &Key) -> Key {
    let stem = cancel.0.strip_suffix("CANCEL").unwrap_or(&cancel.0);
    Key(format!("{stem}INVITE"))
}
