//! One dialog of the centre's, and its messages as such a server writes them: the length before Via,
//! bare addr-specs in From and To, option tags in its own order. Templates, not a serialiser: what
//! stands there is what goes out.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::text::Text;
use crate::sip::HeaderPair;

/// How header names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    #[default]
    AsUsual,
    Lower,
    Upper,
    /// `v`, `f`, `t`, `i`, `m`, `l`, `c`, `k` (RFC 3261 7.3.3).
    Compact,
}

/// Who calls, and what a call brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub number: String,
    /// With one, From is a name-addr; without one it is a bare addr-spec.
    pub display_name: Option<String>,
    /// Further headers of the INVITE, attached data above all.
    pub headers: Vec<HeaderPair>,
    /// `X-Genesys-CallUUID`.
    pub uuid: String,
    pub names: Names,
}

impl Caller {
    pub fn new(number: &str) -> Self {
        Self {
            number: number.to_owned(),
            display_name: None,
            headers: Vec::new(),
            // 32 signs of base 32, as the server's own are.
            uuid: (0..32).map(|_| base32(rand::random())).collect(),
            names: Names::AsUsual,
        }
    }
}

fn base32(random: u8) -> char {
    char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUV"[usize::from(random % 32)])
}

const INVITE: &str = "\
{method} {target} SIP/2.0
Content-Length: {length}
Via: SIP/2.0/UDP {me};branch={branch}
From: {from}
To: {to}
Call-ID: {call}
CSeq: {cseq} {method}
Contact: <sip:{number}@{me}>
{content}
Max-Forwards: 69
X-Genesys-CallUUID: {uuid}
{extra}
Session-Expires: 1800;refresher=uac
Min-SE: 90
Supported: uui,100rel,timer
Allow: ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, OPTIONS, PRACK, REFER, UPDATE
";

const REQUEST: &str = "\
{method} {target} SIP/2.0
From: {from}
To: {to}
Call-ID: {call}
CSeq: {cseq} {method}
Content-Length: {length}
Via: SIP/2.0/UDP {me};branch={branch}
Contact: <sip:{number}@{me}>
{content}
{extra}
Max-Forwards: 69
";

const RESPONSE: &str = "\
SIP/2.0 {code}
{via}
From: {from}
To: {to}
Call-ID: {call}
CSeq: {cseq}
Content-Length: {length}
Contact: <sip:{number}@{me}>
{content}
{extra}
";

/// Content type and body.
pub type Content = Option<(&'static str, String)>;

#[derive(Debug)]
pub struct Dialog {
    pub caller: Caller,
    me: SocketAddr,
    /// The Request-URI: the Contact of the DN's registration, then that of its answers.
    pub target: String,
    /// To of the INVITE, From of what comes in.
    their_uri: String,
    our_tag: String,
    pub their_tag: Option<String>,
    pub call_id: String,
    /// Of the last request of ours.
    pub cseq: u32,
    branch: u64,
}

impl Dialog {
    /// A dialog to be, toward a DN at its registered contact.
    pub fn new(caller: Caller, me: SocketAddr, dn: &str, contact: &str) -> Self {
        let random: u64 = rand::random();
        Self {
            caller,
            me,
            target: contact.to_owned(),
            their_uri: format!("sip:{dn}@{me}"),
            our_tag: format!("{:X}-{:X}", random >> 40, random & 0xFFFF),
            their_tag: None,
            call_id: format!("{:016X}-{}@{}", random, me.port(), me.ip()),
            cseq: 0,
            branch: random >> 1,
        }
    }

    pub fn next_branch(&mut self) -> String {
        self.branch = self.branch.wrapping_add(1);
        format!("z9hG4bK{:X}", self.branch)
    }

    fn from(&self) -> String {
        let Caller { number, display_name, .. } = &self.caller;
        let (me, tag) = (self.me, &self.our_tag);
        match display_name {
            Some(name) => {
                let name = name.replace(['"', '\\', '\r', '\n'], " ");
                format!("\"{name}\" <sip:{number}@{me}>;tag={tag}")
            }
            None => format!("sip:{number}@{me};tag={tag}"),
        }
    }

    fn to(&self) -> String {
        match &self.their_tag {
            Some(tag) => format!("{};tag={tag}", self.their_uri),
            None => self.their_uri.clone(),
        }
    }

    /// A request of this number; the first INVITE with all that belongs to it.
    pub fn request(
        &self,
        method: &str,
        cseq: u32,
        branch: &str,
        extra: &[HeaderPair],
        content: Content,
    ) -> String {
        let template = if method == "INVITE" { INVITE } else { REQUEST };
        let mut extra = extra.to_vec();
        if method == "INVITE" && self.their_tag.is_none() {
            extra.extend(self.caller.headers.iter().cloned());
        }
        // A CANCEL and the ACK of a refusal are the INVITE's: To without a tag, and with theirs.
        let to = if method == "CANCEL" { self.their_uri.clone() } else { self.to() };
        let values = [
            ("method", method.to_owned()),
            ("target", self.target.clone()),
            ("branch", branch.to_owned()),
            ("from", self.from()),
            ("to", to),
            ("call", self.call_id.clone()),
            ("cseq", cseq.to_string()),
        ];
        self.write(template, &values, &extra, content)
    }

    /// The answer to a request in this dialog.
    pub fn response(
        &self,
        request: &Text,
        code: &str,
        extra: &[HeaderPair],
        content: Content,
    ) -> String {
        let via: Vec<String> = request.all("Via").map(|via| format!("Via: {via}")).collect();
        let get = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let values = [
            ("code", code.to_owned()),
            ("via", via.join("\n")),
            ("from", get("From")),
            ("to", get("To")),
            ("call", get("Call-ID")),
            ("cseq", get("CSeq")),
        ];
        self.write(RESPONSE, &values, extra, content)
    }

    fn write(
        &self,
        template: &str,
        values: &[(&str, String)],
        extra: &[HeaderPair],
        content: Content,
    ) -> String {
        let (kind, body) = content.map_or((String::new(), String::new()), |(kind, body)| {
            (format!("content-type: {kind}"), body)
        });
        let clean = |text: &str| text.replace(['\r', '\n'], " ");
        let extra: Vec<_> = extra
            .iter()
            .map(|(name, value)| format!("{}: {}", clean(name), clean(value)))
            .collect();
        let own = [
            ("me", self.me.to_string()),
            ("number", self.caller.number.clone()),
            ("uuid", self.caller.uuid.clone()),
            ("content", kind),
            ("extra", extra.join("\n")),
            ("length", body.len().to_string()),
        ];
        let values: Vec<(&str, &str)> =
            values.iter().chain(&own).map(|(key, value)| (*key, value.as_str())).collect();
        let mut out = String::with_capacity(template.len() + 512 + body.len());
        for line in template.lines() {
            let filled = fill(line, &values);
            for line in filled.lines().filter(|line| !line.is_empty()) {
                let _ = write!(out, "{}\r\n", named(line, self.caller.names, out.is_empty()));
            }
        }
        out.push_str("\r\n");
        out.push_str(&body);
        out
    }
}

/// Replaces each `{key}` once, from left to right: a value's own braces stay.
fn fill(line: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((key, behind)) = after.split_once('}') else {
            rest = after;
            break;
        };
        let value = values.iter().find(|(name, _)| *name == key);
        out.push_str(value.map_or("", |(_, value)| value));
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn named(line: &str, names: Names, first: bool) -> String {
    let Some((name, value)) = line.split_once(':').filter(|_| !first) else {
        return line.to_owned();
    };
    let short = match name.to_ascii_lowercase().as_str() {
        "via" => "v",
        "from" => "f",
        "to" => "t",
        "call-id" => "i",
        "contact" => "m",
        "content-length" => "l",
        "content-type" => "c",
        "supported" => "k",
        "event" => "o",
        _ => name,
    };
    match names {
        Names::AsUsual => line.to_owned(),
        Names::Lower => format!("{}:{value}", name.to_ascii_lowercase()),
        Names::Upper => format!("{}:{value}", name.to_ascii_uppercase()),
        Names::Compact => format!("{short}:{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(names: Names) -> Dialog {
        let caller = Caller {
            names,
            headers: vec![("X-A".into(), "{me}\r\nB: c".into())],
            ..Caller::new("7001")
        };
        Dialog::new(caller, "192.0.2.1:5060".parse().unwrap(), "5001", "sip:5001@192.0.2.9:5070")
    }

    #[test]
    fn an_invite_has_the_order_and_the_bare_addresses_of_the_captures() {
        let dialog = dialog(Names::AsUsual);
        let content = Some(("application/sdp", "v=0\r\n".to_owned()));
        let text = dialog.request("INVITE", 1, "z9hG4bK1", &[], content);
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(lines[0], "INVITE sip:5001@192.0.2.9:5070 SIP/2.0");
        assert_eq!(lines[1], "Content-Length: 5");
        assert_eq!(lines[2], "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1");
        assert!(lines[3].starts_with("From: sip:7001@192.0.2.1:5060;tag="), "{text}");
        assert_eq!(lines[4], "To: sip:5001@192.0.2.1:5060");
        for line in [
            "content-type: application/sdp",
            "Session-Expires: 1800;refresher=uac",
            "Min-SE: 90",
            "Supported: uui,100rel,timer",
            // What a value holds is neither a placeholder nor a line.
            "X-A: {me}  B: c",
        ] {
            assert!(lines.contains(&line), "{line} in {text}");
        }
        assert!(text.ends_with("\r\n\r\nv=0\r\n"));
    }

    #[test]
    fn names_may_be_of_any_case() {
        for (names, from) in [
            (Names::Lower, "\r\nfrom: "),
            (Names::Upper, "\r\nFROM: "),
            (Names::Compact, "\r\nf: "),
        ] {
            let text = dialog(names).request("BYE", 2, "z9hG4bK2", &[], None);
            assert!(text.contains(from) && text.starts_with("BYE sip:"), "{text}");
            let read = Text::parse(text.as_bytes()).unwrap();
            assert_eq!(read.cseq(), Some((2, "BYE")));
            assert_eq!(read.header("Content-Length"), Some("0"));
        }
    }
}
