//! Who gets a request: dialogs first, then claims.

use std::collections::HashMap;

use rsipstack::sip::Request;

use super::message::{self, tag_of};
use super::port::Inbox;
use super::transaction::Owner;
use super::uas::user_of;

/// Dialogs remembered for one port; beyond that the one unused for longest goes. A user agent has
/// at most eight at a time, and a forgotten one is still found by its claim.
const MAX_DIALOGS: usize = 64;

/// What an attached port is handed, beyond the dialogs and transactions it takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Requests outside of dialogs whose Request-URI has this user part.
    User(String),
    /// Requests with this Call-ID.
    CallId(String),
    /// What nobody else claims.
    Everything,
    /// Nothing but answers and its own dialogs.
    Nothing,
}

struct Entry {
    claim: Claim,
    inbox: Inbox,
    /// Call-ID and our tag, the one used last at the end.
    dialogs: Vec<(String, String)>,
}

#[derive(Default)]
pub(crate) struct Routes {
    next: Owner,
    ports: HashMap<Owner, Entry>,
    by_dialog: HashMap<(String, String), Owner>,
    by_user: HashMap<String, Owner>,
    by_call_id: HashMap<String, Owner>,
    everything: Option<Owner>,
}

impl Routes {
    /// The claim made last wins: the newest sign-in of a DN owns it.
    pub(crate) fn attach(&mut self, claim: Claim, inbox: Inbox) -> Owner {
        let owner = self.next;
        self.next += 1;
        match &claim {
            Claim::User(user) => {
                self.by_user.insert(user.clone(), owner);
            }
            Claim::CallId(call_id) => {
                self.by_call_id.insert(call_id.clone(), owner);
            }
            Claim::Everything => self.everything = Some(owner),
            Claim::Nothing => {}
        }
        self.ports.insert(owner, Entry { claim, inbox, dialogs: Vec::new() });
        owner
    }

    pub(crate) fn detach(&mut self, owner: Owner) {
        let Some(entry) = self.ports.remove(&owner) else { return };
        for dialog in &entry.dialogs {
            if self.by_dialog.get(dialog) == Some(&owner) {
                self.by_dialog.remove(dialog);
            }
        }
        match &entry.claim {
            Claim::User(user) if self.by_user.get(user) == Some(&owner) => {
                self.by_user.remove(user);
            }
            Claim::CallId(call_id) if self.by_call_id.get(call_id) == Some(&owner) => {
                self.by_call_id.remove(call_id);
            }
            Claim::Everything if self.everything == Some(owner) => self.everything = None,
            _ => {}
        }
    }

    pub(crate) fn ports(&self) -> usize {
        self.ports.len()
    }

    /// The port takes part in that dialog, or opens it.
    pub(crate) fn learn(&mut self, owner: Owner, call_id: &str, our_tag: &str) {
        let Some(entry) = self.ports.get_mut(&owner) else { return };
        let dialog = (call_id.to_owned(), our_tag.to_owned());
        entry.dialogs.retain(|known| *known != dialog);
        if entry.dialogs.len() >= MAX_DIALOGS {
            let oldest = entry.dialogs.remove(0);
            self.by_dialog.remove(&oldest);
        }
        entry.dialogs.push(dialog.clone());
        self.by_dialog.insert(dialog, owner);
    }

    pub(crate) fn owner(&mut self, request: &Request) -> Option<Owner> {
        let call_id = message::call_id(request)?;
        if let Some(tag) = tag_of(request, "To") {
            let known = self.by_dialog.get(&(call_id.to_owned(), tag.to_owned())).copied();
            if let Some(owner) = known {
                self.learn(owner, call_id, tag);
                return Some(owner);
            }
        }
        let by_call_id = self.by_call_id.get(call_id);
        let by_user = || self.by_user.get(&user_of(&request.uri));
        by_call_id.or_else(by_user).copied().or(self.everything)
    }

    /// The dialog of that Call-ID and our tag stands, or stood not long ago.
    pub(crate) fn knows(&self, call_id: Option<&str>, our_tag: Option<&str>) -> bool {
        let (Some(call_id), Some(tag)) = (call_id, our_tag) else { return false };
        self.by_dialog.contains_key(&(call_id.to_owned(), tag.to_owned()))
    }

    pub(crate) fn inbox(&self, owner: Owner) -> Option<&Inbox> {
        self.ports.get(&owner).map(|entry| &entry.inbox)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn request(user: &str, call_id: &str, tag: &str) -> Request {
        let text = format!(
            "BYE sip:{user}@h SIP/2.0\r\nTo: <sip:x@h>;tag={tag}\r\nCall-ID: {call_id}\r\n\r\n"
        );
        Request::try_from(text.as_str()).unwrap()
    }

    #[test]
    fn two_ends_of_one_call_id_are_told_apart_by_their_tags() {
        let mut routes = Routes::default();
        let (inbox, _kept) = mpsc::channel(1);
        let a = routes.attach(Claim::User("a".into()), inbox.clone());
        let b = routes.attach(Claim::User("b".into()), inbox);
        routes.learn(a, "c", "ta");
        routes.learn(b, "c", "tb");
        assert_eq!(routes.owner(&request("b", "c", "ta")), Some(a));
        assert_eq!(routes.owner(&request("a", "c", "tb")), Some(b));
        assert_eq!(routes.owner(&request("b", "c", "unknown")), Some(b), "by user");
        routes.detach(a);
        assert_eq!(routes.owner(&request("nobody", "c", "ta")), None);
    }

    #[test]
    fn dialogs_are_bounded_and_the_one_in_use_stays() {
        let mut routes = Routes::default();
        let (inbox, _kept) = mpsc::channel(1);
        let owner = routes.attach(Claim::Nothing, inbox);
        routes.learn(owner, "live", "t");
        for n in 0..1000 {
            routes.learn(owner, &format!("c{n}"), "t");
            assert_eq!(routes.owner(&request("x", "live", "t")), Some(owner));
        }
        assert_eq!(routes.by_dialog.len(), MAX_DIALOGS);
        assert_eq!(routes.owner(&request("x", "c1", "t")), None);
    }

    #[test]
    fn the_newest_claim_wins_and_the_older_ones_end_does_not_harm_it() {
        let mut routes = Routes::default();
        let (inbox, _kept) = mpsc::channel(1);
        let old = routes.attach(Claim::User("a".into()), inbox.clone());
        let new = routes.attach(Claim::User("a".into()), inbox);
        routes.detach(old);
        assert_eq!(routes.owner(&request("a", "c", "t")), Some(new));
    }
}
