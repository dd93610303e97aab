//! The centre's own registrar, for where no lab is beside it: takes a DN by its address, without a
//! challenge, as a Genesys SIP Server may.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::text::{Text, parameter};

/// Where a DN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub contact: String,
    pub addr: SocketAddr,
}

/// DNs that may be registered; the load tests have ten thousand.
const MAX_AGENTS: usize = 100_000;

#[derive(Debug, Default)]
pub struct Registrar {
    agents: BTreeMap<String, Agent>,
}

impl Registrar {
    pub fn find(&self, dn: &str) -> Option<&Agent> {
        self.agents.get(dn)
    }

    pub fn dns(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// The 200 to a REGISTER; `None`: silence, which is what a DN gets that signs out and never was in.
    pub fn handle(&mut self, request: &Text, from: SocketAddr) -> Option<String> {
        let dn = request.uri("To")?.split_once(':')?.1.split(['@', ';']).next()?.to_owned();
        let contact = request.header("Contact").unwrap_or_default();
        let expires = parameter(contact, "expires").or(request.header("Expires"));
        let expires: u32 = expires.map_or(Some(1800), |text| text.parse().ok())?;
        if expires == 0 {
            self.agents.remove(&dn)?;
        } else if self.agents.len() < MAX_AGENTS || self.agents.contains_key(&dn) {
            let contact = request.uri("Contact")?.to_owned();
            self.agents.insert(dn, Agent { contact, addr: from });
        }
        Some(answer(
            request,
            "200 OK",
            from,
            &format!("Contact: {contact}\r\nExpires: {expires}\r\n"),
        ))
    }
}

/// An answer outside of any dialog. `received` is there without `rport` being asked for.
pub fn answer(request: &Text, code: &str, from: SocketAddr, more: &str) -> String {
    let mut out = format!("SIP/2.0 {code}\r\n");
    for (at, via) in request.all("Via").enumerate() {
        let received = if at == 0 { format!(";received={}", from.ip()) } else { String::new() };
        out.push_str(&format!("Via: {via}{received}\r\n"));
    }
    for name in ["From", "To", "Call-ID", "CSeq"] {
        let tag = if name == "To" && request.tag("To").is_none() { ";tag=centre" } else { "" };
        out.push_str(&format!("{name}: {}{tag}\r\n", request.header(name).unwrap_or_default()));
    }
    format!("{out}{more}Content-Length: 0\r\n\r\n")
}
