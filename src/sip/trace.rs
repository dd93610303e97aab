//! What a message trace may show.

/// Headers whose values open doors.
const SECRET: [&str; 4] =
    ["authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info"];

/// A message as text, with credentials and SDP keys taken out.
pub fn redact(datagram: &[u8]) -> String {
    let text = String::from_utf8_lossy(datagram);
    let mut out = String::with_capacity(text.len());
    let mut hiding = false;
    for line in text.split_inclusive('\n') {
        let folded = line.starts_with([' ', '\t']);
        if folded && hiding {
            continue;
        }
        let name = line.split(':').next().unwrap_or("").trim().to_ascii_lowercase();
        hiding = SECRET.contains(&name.as_str());
        let key = line.starts_with("a=crypto:") || line.starts_with("a=ice-pwd:");
        match line.split_once(':') {
            Some((name, _)) if hiding || key => {
                out.push_str(name);
                out.push_str(": ...\r\n");
            }
            _ => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_keys_do_not_show() {
        let shown = redact(
            b"REGISTER sip:h SIP/2.0\r\nauthorization: Digest response=\"s3\",\r\n cnonce=\"s4\"\r\n\
              Via: x\r\n\r\na=crypto:1 AES inline:s5\r\n",
        );
        assert!(!shown.contains("s3") && !shown.contains("s4") && !shown.contains("s5"));
        assert!(shown.contains("Via: x") && shown.contains("REGISTER"));
    }
}
