//! Answers outside of dialogs (RFC 3261 8.2.6).

use rsipstack::sip::{ContentLength, Header, Request, Response, StatusCode, To};

/// An answer to a request, with more headers.
pub fn reply(request: &Request, code: u16, more: Vec<Header>) -> Response {
    let mut headers = Vec::new();
    for header in request.headers.iter() {
        match header {
            Header::Via(_) | Header::From(_) | Header::CallId(_) | Header::CSeq(_) => {
                headers.push(header.clone());
            }
            Header::To(to) if code > 100 && !has_tag(to.value()) => {
                let tag: u64 = rand::random();
                headers.push(Header::To(To::new(format!("{};tag={tag:x}", to.value()))));
            }
            Header::To(_) => headers.push(header.clone()),
            _ => {}
        }
    }
    headers.extend(more);
    headers.push(Header::ContentLength(ContentLength::new("0")));
    Response { status_code: StatusCode::from(code), headers: headers.into(), ..Response::default() }
}

/// Whether a From or To has a tag.
pub fn has_tag(value: &str) -> bool {
    let parameters = match value.rsplit_once('>') {
        Some((_, rest)) => rest,
        None => value.split_once(';').map_or("", |(_, rest)| rest),
    };
    parameters.split(';').any(|parameter| {
        parameter.trim().split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("tag"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_what_it_must_and_tags_to_once() {
        let text = "OPTIONS sip:lab SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
                    Via: SIP/2.0/UDP b;branch=z9hG4bK2\r\nFrom: <sip:a;tag=no@b>;tag=1\r\n\
                    To: <sip:lab;tag=no>\r\nCall-ID: 1\r\nCSeq: 7 OPTIONS\r\n\r\n";
        let request = Request::try_from(text).unwrap();
        let answer = reply(&request, 405, Vec::new()).to_string();
        assert!(answer.starts_with("SIP/2.0 405"), "{answer}");
        assert_eq!(answer.matches("Via:").count(), 2);
        assert!(answer.contains("To: <sip:lab;tag=no>;tag=") && answer.contains("CSeq: 7 OPTIONS"));
        assert!(has_tag("sip:a@b;tag=1") && !has_tag("sip:a@b;x=tag"));
    }
}
