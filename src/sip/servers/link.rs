//! What joins a user agent to the choice of servers and to the pacer.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::{News, Pacing};
use crate::sip::hop::Hop;
use crate::sip::types::Place;

/// The server that all user agents are to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    pub server: Hop,
    /// `host:port` of ours toward it.
    pub advertise: SocketAddr,
    /// Servers that a call goes by which it does not take, the best first.
    pub others: Arc<[Place]>,
    /// Why it is not worth a try now.
    pub down: Option<Arc<str>>,
    /// Counts up when the connection there is lost: a server that reaches its telephones by the
    /// connection they made wants them to register again.
    pub epoch: u64,
}

/// Held by each user agent's [`crate::sip::Driven`].
#[derive(Clone)]
pub struct Link {
    /// Or why there is none.
    pub current: watch::Receiver<Result<Current, Arc<str>>>,
    /// What is met at a server. Where nobody reads fast enough, news are lost; others follow.
    pub news: mpsc::Sender<(Hop, News)>,
    pub pacing: Pacing,
}
