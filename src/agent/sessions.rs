//! All signed-in agents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Identity, Session};

/// The table: by SSID, by the client's own id (raw-SDP dialect), by DN.
#[derive(Debug, Default)]
pub struct Sessions {}

impl Sessions {
    pub fn new() -> Self {
        Self::default()
    }
    /// Puts it in. Returns the sessions whose place it takes: that of the same DN, and that of the
    /// same client id. They are out of the table already; ending them is the caller's business.
    pub fn insert(&self, _session: Arc<Session>) -> Vec<Arc<Session>> {
        todo!()
    }
    /// Takes this very session out; a newer one of the same DN stays.
    pub fn remove(&self, _session: &Arc<Session>) -> bool {
        todo!()
    }
    pub fn by_ssid(&self, _ssid: &str) -> Option<Arc<Session>> {
        todo!()
    }
    pub fn by_client_id(&self, _id: &str) -> Option<Arc<Session>> {
        todo!()
    }
    pub fn by_dn(&self, _dn: &str) -> Option<Arc<Session>> {
        todo!()
    }
    pub fn by_identity(&self, _identity: &Identity) -> Option<Arc<Session>> {
        todo!()
    }
    /// Sessions whose client has not been heard of for `lease`. They stay in the table.
    pub fn expired(&self, _now: Instant, _lease: Duration) -> Vec<Arc<Session>> {
        todo!()
    }
    pub fn all(&self) -> Vec<Arc<Session>> {
        todo!()
    }
    pub fn len(&self) -> usize {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
