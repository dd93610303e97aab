//! One dialog: its identity, where its requests go, its numbers (RFC 3261 12).

use super::hop::Hop;

use rsipstack::sip::{Method, Request, Uri};

use super::core::Core;
use super::message::{self, NameAddr, get, get_list, header, hop_of, parse_uri, tag_of};
use super::types::Place;

/// Proxies on a path. Real ones have two or three; a longer list is somebody's joke.
const MAX_ROUTES: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Dialog {
    pub call_id: String,
    /// Our From or To value, tag included.
    local: String,
    pub local_tag: String,
    /// The peer's, tag included.
    remote: String,
    pub remote_tag: Option<String>,
    target: Option<Uri>,
    routes: Vec<String>,
    pub local_cseq: u32,
    pub remote_cseq: Option<u32>,
    /// By which server it goes, where that is not the one the DN is at.
    place: Option<Place>,
    /// Where the peer's messages come from: used when its URIs hold names.
    pub peer: Hop,
    /// The peer's Allow names UPDATE (RFC 3311 4).
    pub allows_update: bool,
    /// What both sides' media is by now.
    pub agreed: Agreed,
    /// RSeq of the peer's last reliable provisional answer that we acknowledged (RFC 3262 4).
    pub rseq: Option<u32>,
}

/// The descriptions in force in a dialog: those of its last finished offer and answer (RFC 3264 5).
/// A refresh repeats ours, so that the version in its `o=` line stays, too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreed {
    pub local: Option<String>,
    pub remote: Option<String>,
    /// The first exchange is over, before the call is up even: then either side may offer again.
    /// An SDP in a provisional answer that was not reliable settles nothing (RFC 3261 13.2.1).
    pub settled: bool,
}

impl Agreed {
    pub(crate) fn settle(&mut self, local: Option<String>, remote: Option<String>) {
        *self = Self { local, remote, settled: true };
    }
}

impl Dialog {
    /// What a dialog of ours will be when an answer to the INVITE gives it a tag.
    pub(crate) fn caller(
        core: &mut Core,
        call_id: String,
        to: &str,
        target: Uri,
        peer: Hop,
    ) -> Self {
        let local_tag = core.token();
        Self {
            call_id,
            local: format!("{};tag={local_tag}", core.own_party()),
            local_tag,
            remote: to.to_owned(),
            remote_tag: None,
            target: Some(target),
            routes: Vec::new(),
            local_cseq: 0,
            remote_cseq: None,
            place: None,
            peer,
            allows_update: false,
            agreed: Agreed::default(),
            rseq: None,
        }
    }

    /// The dialog that an answer to our INVITE makes of the template (RFC 3261 12.1.2).
    pub(crate) fn established(&self, response: &rsipstack::sip::Response, from: Hop) -> Self {
        let mut dialog = self.clone();
        dialog.remote_tag = tag_of(response, "To").map(str::to_owned);
        if let Some(to) = get(response, "To") {
            dialog.remote = to.to_owned();
        }
        dialog.peer = from;
        dialog.routes = get_list(response, "Record-Route")
            .into_iter()
            .rev()
            .take(MAX_ROUTES)
            .map(str::to_owned)
            .collect();
        dialog.refresh_target(response);
        dialog
    }

    /// The dialog an incoming INVITE opens (RFC 3261 12.1.1). None when it cannot.
    pub(crate) fn callee(core: &mut Core, invite: &Request, from: Hop) -> Option<Self> {
        let local_tag = core.token();
        let (cseq, _) = message::cseq(invite)?;
        // Callers of RFC 2543 may say no more than From (RFC 4475 3.4.1).
        let contact = get_list(invite, "Contact").first().copied().or(get(invite, "From"))?;
        let target = parse_uri(&NameAddr::parse(contact)?.uri)?;
        let mut dialog = Self {
            call_id: message::call_id(invite)?.to_owned(),
            local: format!("{};tag={local_tag}", get(invite, "To")?),
            local_tag,
            remote: get(invite, "From")?.to_owned(),
            remote_tag: tag_of(invite, "From").map(str::to_owned),
            target: Some(target),
            routes: get_list(invite, "Record-Route")
                .into_iter()
                .take(MAX_ROUTES)
                .map(str::to_owned)
                .collect(),
            local_cseq: 0,
            remote_cseq: Some(cseq),
            place: None,
            peer: from,
            allows_update: false,
            agreed: Agreed::default(),
            rseq: None,
        };
        dialog.refresh_target(invite);
        Some(dialog)
    }

    /// Whether an incoming request belongs here (RFC 3261 12.2.2).
    pub(crate) fn holds(&self, request: &Request) -> bool {
        message::call_id(request) == Some(self.call_id.as_str())
            && tag_of(request, "To") == Some(self.local_tag.as_str())
            && tag_of(request, "From") == self.remote_tag.as_deref()
    }

    /// A call to another target, for another try of the INVITE.
    pub(crate) fn set_target(&mut self, target: Uri) {
        self.target = Some(target);
    }

    /// By another server than the one the DN is at.
    pub(crate) fn go_by(&mut self, place: Place) {
        self.peer = place.server;
        self.place = Some(place);
    }

    pub(crate) fn place(&self, core: &Core) -> Place {
        self.place_or(core.place())
    }

    /// The same where the DN is `here`.
    pub(crate) fn place_or(&self, here: Place) -> Place {
        self.place.unwrap_or(here)
    }

    /// Our Contact in it.
    pub(crate) fn contact(&self, core: &Core) -> String {
        core.contact_toward(self.place(core))
    }

    /// Takes over what an early dialog counted and agreed on, now that it is confirmed.
    pub(crate) fn continue_from(&mut self, early: Dialog) {
        self.local_cseq = early.local_cseq;
        self.remote_cseq = early.remote_cseq;
        self.allows_update |= early.allows_update;
        self.agreed = early.agreed;
    }

    /// Takes the Contact of a target refresh request or its answer, and what Allow says.
    pub(crate) fn refresh_target(&mut self, message: &impl rsipstack::sip::HasHeaders) {
        let contact = get_list(message, "Contact").first().and_then(|c| NameAddr::parse(c));
        if let Some(uri) = contact.and_then(|contact| parse_uri(&contact.uri)) {
            self.target = Some(uri);
        }
        let allowed = get_list(message, "Allow");
        if !allowed.is_empty() {
            self.allows_update = allowed.iter().any(|m| m.eq_ignore_ascii_case("UPDATE"));
        }
    }

    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// A request in the dialog, with its next hop (RFC 3261 12.2.1.1).
    pub(crate) fn request(&self, core: &mut Core, method: Method, cseq: u32) -> (Request, Hop) {
        let target = self.target.clone().unwrap_or_default();
        let first =
            self.routes.first().and_then(|r| NameAddr::parse(r)).and_then(|r| parse_uri(&r.uri));
        let loose = first.as_ref().is_none_or(|uri| {
            uri.params.iter().any(|p| {
                // `;lr`, and `;lr=on` of old routers.
                p.to_string().split('=').next().is_some_and(|n| n.eq_ignore_ascii_case(";lr"))
            })
        });
        let (uri, routes) = match &first {
            Some(strict) if !loose => {
                let rest = self.routes.iter().skip(1).cloned();
                (strict.clone(), rest.chain([format!("<{target}>")]).collect())
            }
            _ => (target.clone(), self.routes.clone()),
        };
        let hop = first.as_ref().unwrap_or(&target);
        let to = hop_of(hop).unwrap_or(self.peer);
        let place = self.place(core);
        let parties = (&*self.local, &*self.remote);
        let mut request = core.request(place, method, uri, parties, &self.call_id, cseq);
        for route in routes {
            request.headers.push(header("Route", route));
        }
        (request, to)
    }

    /// ACK for a 2xx: the number of its INVITE, its credentials, the answer if one is due.
    pub(crate) fn ack(
        &self,
        core: &mut Core,
        invite: &Request,
        cseq: u32,
        sdp: Option<&str>,
    ) -> (Request, Hop) {
        let (mut ack, to) = self.request(core, Method::Ack, cseq);
        for h in Core::credentials_of(invite) {
            ack.headers.push(h);
        }
        if let Some(sdp) = sdp {
            message::set_body(
                &mut ack.headers,
                &mut ack.body,
                Some((message::SDP_TYPE, sdp.as_bytes().to_vec())),
            );
        }
        (ack, to)
    }

    /// From of the INVITE's sender, as the application sees it.
    pub(crate) fn remote_party(&self) -> Option<NameAddr> {
        NameAddr::parse(&self.remote)
    }
}
