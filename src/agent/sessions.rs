//! All signed-in agents.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::{Identity, Session};

/// The table: by SSID, by the client's own id (raw-SDP dialect), by DN.
///
/// One lock over three plain maps and not three concurrent maps: a sign-in changes them together,
/// and nobody may see one half. A look-up holds it for the time of a hash.
#[derive(Debug, Default)]
pub struct Sessions {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    by_ssid: HashMap<String, Arc<Session>>,
    by_client_id: HashMap<String, Arc<Session>>,
    by_identity: HashMap<Identity, Arc<Session>>,
}

impl Sessions {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts it in. Returns the sessions whose place it takes: that of the same DN and that of the
    /// same client id. They are out of the table already; ending them is the caller's business.
    pub fn insert(&self, session: Arc<Session>) -> Vec<Arc<Session>> {
        let mut tables = self.write();
        let mut replaced: Vec<Arc<Session>> = Vec::new();
        if let Some(older) = tables.by_identity.get(session.identity()) {
            replaced.push(Arc::clone(older));
        }
        if let Some(older) = session.client_id().and_then(|id| tables.by_client_id.get(id))
            && !replaced.iter().any(|known| Arc::ptr_eq(known, older))
        {
            replaced.push(Arc::clone(older));
        }
        replaced.retain(|older| !Arc::ptr_eq(older, &session));
        for older in &replaced {
            tables.remove(older);
        }
        tables.by_ssid.insert(session.ssid().expose().to_owned(), Arc::clone(&session));
        if let Some(id) = session.client_id() {
            tables.by_client_id.insert(id.to_owned(), Arc::clone(&session));
        }
        tables.by_identity.insert(session.identity().clone(), session);
        replaced
    }

    /// Takes this very session out; a newer one of the same DN stays. False if it was out already.
    pub fn remove(&self, session: &Arc<Session>) -> bool {
        self.write().remove(session)
    }

    pub fn by_ssid(&self, ssid: &str) -> Option<Arc<Session>> {
        self.read().by_ssid.get(ssid).cloned()
    }

    pub fn by_client_id(&self, id: &str) -> Option<Arc<Session>> {
        self.read().by_client_id.get(id).cloned()
    }

    /// The session that owns a DN, not a guest's.
    pub fn by_dn(&self, dn: &str) -> Option<Arc<Session>> {
        self.by_identity(&Identity::Dn(dn.to_owned()))
    }

    pub fn by_identity(&self, identity: &Identity) -> Option<Arc<Session>> {
        self.read().by_identity.get(identity).cloned()
    }

    /// Sessions of DNs, `most` of them at most.
    pub fn of_dns(&self, most: usize) -> Vec<Arc<Session>> {
        let tables = self.read();
        let dns = tables.by_identity.iter().filter(|(who, _)| matches!(who, Identity::Dn(_)));
        dns.take(most).map(|(_, session)| Arc::clone(session)).collect()
    }

    /// Sessions whose client has not been heard of for `lease`. They stay in the table.
    pub fn expired(&self, now: Instant, lease: Duration) -> Vec<Arc<Session>> {
        self.read()
            .by_ssid
            .values()
            .filter(|session| now.saturating_duration_since(session.last_seen(now)) >= lease)
            .cloned()
            .collect()
    }

    pub fn all(&self) -> Vec<Arc<Session>> {
        self.read().by_ssid.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.read().by_ssid.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn remove(&mut self, session: &Arc<Session>) -> bool {
        let was_in = self.by_ssid.remove(session.ssid().expose()).is_some();
        if let Some(id) = session.client_id()
            && self.by_client_id.get(id).is_some_and(|known| Arc::ptr_eq(known, session))
        {
            self.by_client_id.remove(id);
        }
        if self.by_identity.get(session.identity()).is_some_and(|known| Arc::ptr_eq(known, session))
        {
            self.by_identity.remove(session.identity());
        }
        was_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Dialect, SignIn};

    fn session(dn: &str, client_id: Option<&str>) -> Arc<Session> {
        Session::new(&SignIn {
            dialect: if client_id.is_some() { Dialect::Rest } else { Dialect::Jsapi },
            client_id: client_id.map(str::to_owned),
            identity: Identity::Dn(dn.to_owned()),
            password: None,
            remote: [127, 0, 0, 1].into(),
        })
    }

    #[test]
    fn newest_sign_in_of_a_dn_owns_it() {
        let sessions = Sessions::new();
        let (old, new) = (session("5001", None), session("5001", Some("agent")));
        assert!(sessions.insert(Arc::clone(&old)).is_empty());
        let replaced = sessions.insert(Arc::clone(&new));
        assert!(replaced.len() == 1 && Arc::ptr_eq(&replaced[0], &old));
        assert!(sessions.by_ssid(old.ssid().expose()).is_none());
        assert!(Arc::ptr_eq(&sessions.by_dn("5001").unwrap(), &new));
        // The old one's belated sign-out does not touch the new one.
        assert!(!sessions.remove(&old));
        assert!(sessions.by_dn("5001").is_some() && sessions.by_client_id("agent").is_some());
        assert!(sessions.remove(&new));
        assert!(sessions.is_empty() && sessions.by_client_id("agent").is_none());
    }

    #[test]
    fn client_id_and_dn_may_each_replace_another() {
        let sessions = Sessions::new();
        sessions.insert(session("5001", Some("a")));
        sessions.insert(session("5002", Some("b")));
        assert_eq!(sessions.insert(session("5001", Some("b"))).len(), 2);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn lease_runs_from_the_last_sign_of_life() {
        let sessions = Sessions::new();
        let session = session("5001", None);
        sessions.insert(Arc::clone(&session));
        let (now, lease) = (Instant::now(), Duration::from_secs(60));
        assert!(sessions.expired(now, lease).is_empty());
        assert_eq!(sessions.expired(now + lease * 2, lease).len(), 1);
        session.touch(now + lease);
        assert!(sessions.expired(now + lease + lease / 2, lease).is_empty());
    }

    #[test]
    fn ssids_need_no_escaping_and_differ() {
        let (a, b) = (session("1", None), session("1", None));
        assert_ne!(a.ssid(), b.ssid());
        let safe = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        assert!(a.ssid().expose().len() == 32 && a.ssid().expose().chars().all(safe));
        assert!(!format!("{a:?}").contains(a.ssid().expose()));
    }
}
