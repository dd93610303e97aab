//! Who calls, as the network says it: P-Asserted-Identity (RFC 3325), Remote-Party-ID (its draft, as
//! Asterisk and old gateways send it), Diversion (RFC 5806), History-Info (RFC 7044), Privacy (RFC 3323).
//!
//! Whoever may send us SIP at all is trusted to assert identities: the endpoint drops strangers.

use rsipstack::sip::{HasHeaders, Request, Response};

use super::core::Core;
use super::dialog::Dialog;
use super::message::{
    NameAddr, get, get_all, get_list, param, parse_uri, split_outside, unescape, unquote,
};
use super::session::Session;
use super::types::{Diversion, Event, Identity, Party};
use super::uas::user_of;

/// Longest display name handed on, in characters: more than any screen of a telephone shows.
const MAX_NAME: usize = 128;
/// Longest number: E.164 has 15 digits, SIP users and hosts are somewhat longer.
const MAX_NUMBER: usize = 128;
/// Longest URI.
const MAX_URI: usize = 512;
/// Diversions of one call: a call forwarded more often than this is in a loop.
const MAX_DIVERSIONS: usize = 8;

/// For logs and screens: `%0A` in a number must not begin a line of the log, and no override of the
/// writing direction may make a name read as another.
pub(crate) fn printable(text: &str) -> String {
    let direction = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !direction(*c)).collect()
}

/// The same, of at most `max` characters.
fn capped(text: &str, max: usize) -> String {
    printable(text).chars().take(max).collect()
}

/// A display name that is worth showing.
pub(crate) fn display(name: Option<String>) -> Option<String> {
    name.map(|name| capped(&name, MAX_NAME).trim().to_owned()).filter(|name| !name.is_empty())
}

/// The user part of a URI or its host, the number of a `tel` URI.
pub(crate) fn number(uri: &str) -> String {
    let tel = uri.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("tel:"));
    let found = match (tel, parse_uri(uri)) {
        (Some(_), _) => {
            let rest = uri.get(4..).unwrap_or_default();
            unescape(rest.split([';', '?']).next().unwrap_or_default())
        }
        (None, Some(uri)) => {
            let user = user_of(&uri);
            if user.is_empty() { uri.host_with_port.host.to_string() } else { user }
        }
        (None, None) => uri.to_owned(),
    };
    capped(&found, MAX_NUMBER)
}

fn scheme(uri: &str) -> Option<&'static str> {
    let (scheme, rest) = uri.split_once(':')?;
    let known = ["sip", "sips", "tel"].into_iter().find(|k| k.eq_ignore_ascii_case(scheme.trim()));
    known.filter(|_| !rest.is_empty())
}

impl Party {
    /// None for what is no SIP or `tel` URI.
    pub(crate) fn read(value: &str) -> Option<Self> {
        NameAddr::parse(value).and_then(Self::of)
    }

    pub(crate) fn of(from: NameAddr) -> Option<Self> {
        scheme(&from.uri)?;
        Some(Self {
            number: number(&from.uri),
            uri: capped(&from.uri, MAX_URI),
            display_name: display(from.display),
        })
    }
}

/// What an INVITE that starts a session says about its sender.
pub(crate) fn identity(invite: &Request) -> Identity {
    Identity {
        asserted: asserted(invite, &["calling"]),
        diverted: diverted(invite),
        private: is_private(invite),
    }
}

/// P-Asserted-Identity, of several the SIP URI; else Remote-Party-ID of one of `parties`, or of none said.
pub(crate) fn asserted(message: &impl HasHeaders, parties: &[&str]) -> Option<Party> {
    let values = get_list(message, "P-Asserted-Identity");
    let mut asserted: Vec<Party> = values.into_iter().filter_map(Party::read).collect();
    // A `tel` URI often comes beside it, and has no display name.
    let sip = asserted.iter().position(|party| scheme(&party.uri) != Some("tel")).unwrap_or(0);
    if sip < asserted.len() {
        return Some(asserted.swap_remove(sip));
    }
    get_list(message, "Remote-Party-ID").into_iter().find_map(|value| {
        let party = NameAddr::parse(value)?;
        let role = party.param("party").map(|role| role.trim_matches('"'));
        let fits = role.is_none_or(|role| parties.iter().any(|p| p.eq_ignore_ascii_case(role)));
        fits.then(|| Party::of(party)).flatten()
    })
}

/// `Privacy: id`, `header` or `user`, or Remote-Party-ID's `privacy`.
fn asks_privacy(message: &impl HasHeaders) -> bool {
    let hides = |token: &str| {
        ["id", "header", "user"].iter().any(|known| token.trim().eq_ignore_ascii_case(known))
    };
    let by_rpid = |value: &str| {
        let party = NameAddr::parse(value);
        party.as_ref().and_then(|party| party.param("privacy")).is_some_and(|privacy| {
            let privacy = privacy.trim_matches('"').to_ascii_lowercase();
            ["full", "uri", "name"].iter().any(|known| privacy.starts_with(known))
        })
    };
    get_all(message, "Privacy").flat_map(|line| line.split([';', ','])).any(hides)
        || get_list(message, "Remote-Party-ID").into_iter().any(by_rpid)
}

/// The same, or an anonymous From.
fn is_private(request: &Request) -> bool {
    let from = get(request, "From").and_then(NameAddr::parse);
    asks_privacy(request) || from.is_some_and(|from| is_anonymous(&from))
}

/// RFC 3323 4.1.1.3, and what is sent in its place with the caller's own domain.
fn is_anonymous(from: &NameAddr) -> bool {
    let Some(uri) = parse_uri(&from.uri) else { return false };
    let host = uri.host_with_port.host.to_string();
    user_of(&uri).eq_ignore_ascii_case("anonymous")
        || host.eq_ignore_ascii_case("anonymous.invalid")
}

impl Session {
    /// Whom an answer to our INVITE says the session is with.
    pub(crate) fn identify_answer(&mut self, core: &mut Core, response: &Response) {
        if !asks_privacy(response)
            && let Some(party) = asserted(response, &["called", "calling"])
        {
            self.identified(core, party);
        }
    }

    /// The same of a re-INVITE or UPDATE: the connected line. Without an assertion, a From that is another
    /// than the dialog's (RFC 4916); the dialog itself goes on under the one it began with.
    pub(crate) fn identify_request(&mut self, core: &mut Core, request: &Request) {
        if asks_privacy(request) {
            return;
        }
        let began = self.dialog.as_ref().and_then(Dialog::remote_party).map(|from| from.uri);
        let party = asserted(request, &["calling", "called"]).or_else(|| {
            let from = get(request, "From").and_then(NameAddr::parse)?;
            let changed = began.is_some_and(|began| number(&began) != number(&from.uri));
            (changed && !is_anonymous(&from)).then(|| Party::of(from)).flatten()
        });
        if let Some(party) = party {
            self.identified(core, party);
        }
    }

    fn identified(&mut self, core: &mut Core, party: Party) {
        let same = |known: &Party| {
            (&known.number, &known.display_name) == (&party.number, &party.display_name)
        };
        if !self.party.as_ref().is_some_and(same) {
            self.party = Some(party.clone());
            self.emit(core, Event::Identified { session: self.id, party });
        }
    }
}

/// Diversion, else History-Info; the latest first.
fn diverted(invite: &Request) -> Vec<Diversion> {
    let by_diversion = get_list(invite, "Diversion").into_iter().filter_map(|value| {
        let party = NameAddr::parse(value)?;
        let reason = party.param("reason").unwrap_or_default().trim_matches('"');
        let reason = capped(&unquote(reason), MAX_NAME);
        Some(Diversion { reason, party: Party::of(party)? })
    });
    let mut diverted: Vec<Diversion> = by_diversion.take(MAX_DIVERSIONS).collect();
    if diverted.is_empty() {
        diverted = from_history(invite);
    }
    diverted
}

/// One entry of History-Info.
struct Entry {
    party: Party,
    /// Of the Reason embedded in it: why the request left here.
    left: Option<u16>,
    /// RFC 4458: why it came here.
    came: Option<u16>,
    hidden: bool,
}

fn from_history(invite: &Request) -> Vec<Diversion> {
    // The list is in the order of the call's way. Twice the bound: a proxy adds an entry for the same
    // number where it only found its telephone.
    let values = get_list(invite, "History-Info");
    let skipped = values.len().saturating_sub(2 * MAX_DIVERSIONS);
    let entries: Vec<Entry> = values.into_iter().skip(skipped).filter_map(Entry::read).collect();
    let mut diverted: Vec<Diversion> = entries
        .windows(2)
        .filter_map(|pair| {
            let [from, to] = pair else { return None };
            let moved = from.party.number != to.party.number && !from.hidden;
            moved.then(|| Diversion {
                party: from.party.clone(),
                reason: from.left.or(to.came).map(reason_of_cause).unwrap_or_default().to_owned(),
            })
        })
        .collect();
    diverted.reverse();
    diverted.truncate(MAX_DIVERSIONS);
    diverted
}

impl Entry {
    fn read(value: &str) -> Option<Self> {
        let mut entry = NameAddr::parse(value)?;
        let uri = std::mem::take(&mut entry.uri);
        let (uri, headers) = uri.split_once('?').unwrap_or((&uri, ""));
        entry.uri = uri.to_owned();
        let embedded = |wanted: &str| {
            headers.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.eq_ignore_ascii_case(wanted).then(|| unescape(value))
            })
        };
        let cause = |params: &str| param(params, "cause").and_then(|cause| cause.parse().ok());
        let left = embedded("Reason").and_then(|reason| cause(reason.get(reason.find(';')?..)?));
        let came = uri.find(';').and_then(|at| cause(uri.get(at..)?));
        let hidden = embedded("Privacy").is_some_and(|privacy| {
            split_outside(&privacy, ';').iter().any(|p| !p.eq_ignore_ascii_case("none"))
        });
        Some(Self { party: Party::of(entry)?, left, came, hidden })
    }
}

/// RFC 4458's causes, and the status codes they were made from, in Diversion's words.
fn reason_of_cause(cause: u16) -> &'static str {
    match cause {
        302 => "unconditional",
        408 => "no-answer",
        486 | 600 => "user-busy",
        480 | 487 => "deflection",
        503 => "unavailable",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(lines: &str) -> Request {
        let text = format!("INVITE sip:a@h SIP/2.0\r\n{lines}\r\n\r\n");
        Request::try_from(text.as_str()).unwrap()
    }

    fn name(value: &str) -> Option<String> {
        Party::read(value).unwrap().display_name
    }

    #[test]
    fn names_in_their_shapes() {
        assert_eq!(name("\"A \\\"B\\\" \\\\ C\" <sip:1@h>").as_deref(), Some("A \"B\" \\ C"));
        assert_eq!(name("\"Jürgen 李, Ops\" <sip:1@h>").as_deref(), Some("Jürgen 李, Ops"));
        assert_eq!(name("Plain Token <sip:1@h>").as_deref(), Some("Plain Token"));
        assert_eq!(name("\"\" <sip:1@h>"), None);
        assert_eq!(name("\" \u{7}\" <sip:1@h>"), None);
        assert_eq!(name("\"a\u{202e}b\u{85}\" <sip:1@h>").as_deref(), Some("ab"));
        let long = name(&format!("\"{}\" <sip:1@h>", "x".repeat(5000))).unwrap();
        assert_eq!(long.len(), MAX_NAME);
        assert_eq!(Party::read("\"x\" <javascript:1>"), None);
        assert_eq!(Party::read("\"open <sip:1@h>"), None);
    }

    #[test]
    fn numbers_of_uris() {
        for (uri, expected) in [
            ("sip:+4930123@h;user=phone", "+4930123"),
            ("sips:a%20b@h:5061", "a b"),
            ("sip:192.0.2.1:5060", "192.0.2.1"),
            ("tel:+49-30-123;phone-context=+49", "+49-30-123"),
            ("TEL:112", "112"),
        ] {
            assert_eq!(number(uri), expected, "{uri}");
        }
    }

    #[test]
    fn a_sip_uri_is_preferred_and_tel_is_taken() {
        let both = invite(
            "P-Asserted-Identity: tel:+4930123\r\nP-Asserted-Identity: \"Ann\" <sip:+4930123@h>",
        );
        assert_eq!(asserted(&both, &[]).unwrap().display_name.as_deref(), Some("Ann"));
        let tel = asserted(&invite("p-asserted-identity: <tel:112>"), &[]).unwrap();
        assert_eq!((tel.number.as_str(), tel.uri.as_str()), ("112", "tel:112"));
        assert_eq!(asserted(&invite("P-Asserted-Identity: <http://x>, <"), &[]), None);
    }

    #[test]
    fn remote_party_id_counts_for_its_party_only() {
        let line = "Remote-Party-ID: \"Me\" <sip:1@h>;party=called, \
            \"Ann\" <sip:2@h>;party=\"calling\";privacy=off;screen=yes";
        assert_eq!(asserted(&invite(line), &["calling"]).unwrap().number, "2");
        assert_eq!(asserted(&invite(line), &["called"]).unwrap().number, "1");
        assert!(!is_private(&invite(line)));
        assert_eq!(
            asserted(&invite("Remote-Party-ID: <sip:3@h>"), &["calling"]).unwrap().number,
            "3"
        );
        assert!(is_private(&invite("Remote-Party-ID: <sip:3@h>;privacy=full")));
    }

    #[test]
    fn privacy_in_its_shapes() {
        for line in [
            "Privacy: id",
            "Privacy: critical; HEADER",
            "Privacy: user;id",
            "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1",
            "From: sip:Anonymous@example.org;tag=1",
            "From: <sip:x@anonymous.invalid>;tag=1",
        ] {
            assert!(is_private(&invite(line)), "{line}");
        }
        for line in ["Privacy: none", "Privacy: session", "From: <sip:ann@h>;tag=1", "X: y"] {
            assert!(!is_private(&invite(line)), "{line}");
        }
    }

    #[test]
    fn diversions_the_latest_first() {
        let found = diverted(&invite(
            "Diversion: \"Bob\" <sip:2@h>;reason=no-answer;counter=1;screen=no\r\n\
             Diversion: <tel:+49301>;reason=\"user-busy\", <sip:4@h>",
        ));
        let short: Vec<(&str, &str)> =
            found.iter().map(|d| (d.party.number.as_str(), d.reason.as_str())).collect();
        assert_eq!(short, [("2", "no-answer"), ("+49301", "user-busy"), ("4", "")]);
        assert_eq!(found[0].party.display_name.as_deref(), Some("Bob"));
        let many = "Diversion: <sip:1@h>\r\n".repeat(50);
        assert_eq!(diverted(&invite(many.trim_end())).len(), MAX_DIVERSIONS);
    }

    #[test]
    fn history_is_read_where_nothing_says_diversion() {
        let history = "History-Info: <sip:1@h?Reason=SIP%3Bcause%3D486>;index=1,\
            \"Two\" <sip:2@h;cause=486>;index=1.1;mp=1\r\n\
            History-Info: <sip:2@192.0.2.1:5060>;index=1.1.1, \
            <sip:9@h?Privacy=history>;index=1.2, <sip:3@h;cause=408>;index=1.3";
        let found = diverted(&invite(history));
        let short: Vec<(&str, &str)> =
            found.iter().map(|d| (d.party.number.as_str(), d.reason.as_str())).collect();
        assert_eq!(short, [("2", ""), ("1", "user-busy")]);
        let both = format!("Diversion: <sip:7@h>\r\n{history}");
        assert_eq!(diverted(&invite(&both)).len(), 1);
        assert!(diverted(&invite("History-Info: <sip:1@h>;index=1")).is_empty());
    }
}
