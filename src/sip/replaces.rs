//! Replaces (RFC 3891): one call takes the place of another.

use std::collections::BTreeMap;
use std::fmt;

use rsipstack::sip::{HasHeaders, Request};

use super::dialog::Dialog;
use super::message::{get_all, split_outside};
use super::session::{Phase, Session};
use super::types::SessionId;

/// The dialog a Replaces header names, as its receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replaces {
    pub call_id: String,
    /// The receiver's own tag.
    pub to_tag: String,
    /// The tag of the receiver's peer.
    pub from_tag: String,
    /// Only while it is not answered.
    pub early_only: bool,
}

/// A Replaces header that cannot be one, or one of several (400).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadReplaces;

impl Replaces {
    /// The Replaces header of a message, if there is one.
    pub(crate) fn of(message: &impl HasHeaders) -> Result<Option<Self>, BadReplaces> {
        let mut lines = get_all(message, "Replaces");
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => Self::parse(line).map(Some).ok_or(BadReplaces),
            (Some(_), Some(_)) => Err(BadReplaces),
        }
    }

    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut pieces = split_outside(value, ';').into_iter();
        let call_id = pieces.next().filter(|id| is_word(id))?;
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for piece in pieces {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let (name, value) = (name.trim(), value.trim());
            let tag = match name {
                _ if name.eq_ignore_ascii_case("to-tag") => &mut to_tag,
                _ if name.eq_ignore_ascii_case("from-tag") => &mut from_tag,
                _ => {
                    early_only |= name.eq_ignore_ascii_case("early-only");
                    continue;
                }
            };
            // One of each (section 6.1).
            if !is_word(value) || tag.replace(value.to_owned()).is_some() {
                return None;
            }
        }
        Some(Self { call_id: call_id.to_owned(), to_tag: to_tag?, from_tag: from_tag?, early_only })
    }

    /// Whether it names that dialog. A tag of `0` stands for none, as RFC 2543 had it.
    pub(crate) fn names(&self, call_id: &str, local_tag: &str, remote_tag: Option<&str>) -> bool {
        self.call_id == call_id
            && self.to_tag == local_tag
            && self.from_tag == remote_tag.unwrap_or("0")
    }

    /// Escaped to be embedded in a URI (RFC 3261 19.1.1).
    pub(crate) fn escaped(&self) -> String {
        let mut out = String::new();
        for byte in self.to_string().bytes() {
            match byte {
                b if b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b) => out.push(b.into()),
                b => out.push_str(&format!("%{b:02X}")),
            }
        }
        out
    }
}

/// Characters of Call-IDs and tags: RFC 3261's `word` and the `@` between two.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !";,=".contains(c))
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call_id, to_tag, from_tag, early_only } = self;
        write!(f, "{call_id};to-tag={to_tag};from-tag={from_tag}")?;
        if *early_only { f.write_str(";early-only") } else { Ok(()) }
    }
}

/// The session that an INVITE is to take the place of, or the code that refuses the INVITE (section 3).
pub(crate) fn replaced(
    invite: &Request,
    sessions: &BTreeMap<SessionId, Box<Session>>,
) -> Result<Option<SessionId>, u16> {
    let Some(replaces) = Replaces::of(invite).map_err(|BadReplaces| 400u16)? else {
        return Ok(None);
    };
    let mut named =
        sessions.iter().filter_map(|(id, session)| Some((*id, session.replaceable(&replaces)?)));
    match (named.next(), named.next()) {
        (Some((id, Ok(()))), None) => Ok(Some(id)),
        (Some((_, Err(code))), None) => Err(code),
        _ => Err(481),
    }
}

impl Session {
    /// None: it is not the one meant. Otherwise whether it may be replaced, or why not.
    fn replaceable(&self, replaces: &Replaces) -> Option<Result<(), u16>> {
        let is = |dialog: &Dialog| {
            replaces.names(&dialog.call_id, &dialog.local_tag, dialog.remote_tag.as_deref())
        };
        let named = match &self.phase {
            Phase::Calling(outgoing) => outgoing.early.iter().any(is),
            _ => self.dialog.as_ref().is_some_and(is),
        };
        named.then_some(match self.phase {
            _ if self.ended => Err(603),
            Phase::Over => Err(603),
            Phase::Calling(_) => Ok(()),
            // Early, and not begun by us.
            Phase::Ringing(_) => Err(481),
            Phase::Up if replaces.early_only => Err(486),
            Phase::Up => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_their_shapes() {
        let r = Replaces::parse("98732@h.example ; from-tag=r33 ;to-tag=\t7743;x=y;early-only")
            .unwrap();
        assert_eq!((r.call_id.as_str(), r.to_tag.as_str()), ("98732@h.example", "7743"));
        assert!(r.early_only && r.names("98732@h.example", "7743", Some("r33")));
        assert!(!r.names("98732@h.example", "r33", Some("7743")));
        assert_eq!(r.escaped(), "98732%40h.example%3Bto-tag%3D7743%3Bfrom-tag%3Dr33%3Bearly-only");
        assert!(Replaces::parse("a;to-tag=1;from-tag=0").unwrap().names("a", "1", None));
        for bad in [
            "",
            ";to-tag=1;from-tag=2",
            "a;to-tag=1",
            "a;from-tag=1",
            "a;to-tag=;from-tag=2",
            "a;to-tag=1;to-tag=2;from-tag=3",
            "a b;to-tag=1;from-tag=2",
            "a, b;to-tag=1;from-tag=2",
        ] {
            assert_eq!(Replaces::parse(bad), None, "{bad}");
        }
    }
}
