//! What the HTTP side asks of the gateway.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::warn;

use super::{Gateway, Life, Request, SIGN_OUT_LIMIT};
use crate::agent::{
    Answer, Backend, Draining, EndReason, Health, IceServers, Identity, LineCommand, LineState,
    MessageError, Operations, ReloadError, Reloaded, Session, SignIn, SignInError,
};
use crate::journal::store::Store;
use crate::journal::{Timelines, Traces};
use crate::wire::FromBrowser;

impl Backend for Gateway {
    fn sign_in(&self, request: SignIn) -> Answer<'_, Result<Arc<Session>, SignInError>> {
        Box::pin(self.sign_in(request))
    }

    fn sign_in_refused(&self, remote: IpAddr, user: &str, error: &SignInError) {
        self.note_refusal(remote, user, error);
    }

    fn sign_out<'a>(&'a self, session: &'a Arc<Session>) -> Answer<'a, ()> {
        Box::pin(async move {
            let (done, finished) = oneshot::channel();
            let asked = self.ask(session, Request::SignOut { done }, finished);
            if tokio::time::timeout(SIGN_OUT_LIMIT, asked).await.is_err() {
                warn!(
                    user = session.identity().user(),
                    "the SIP server did not confirm a sign-out"
                );
            }
            session.end(EndReason::SignedOut);
        })
    }

    fn message<'a>(
        &'a self,
        session: &'a Arc<Session>,
        to: Option<String>,
        message: FromBrowser,
    ) -> Answer<'a, Result<(), MessageError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let (message, posted) = (Box::new((to, message)), Instant::now());
            let asked = self.ask(session, Request::Message { message, posted, reply }, answer);
            asked.await.unwrap_or(Err(MessageError::NotSignedIn))
        })
    }

    fn by_ssid(&self, ssid: &str) -> Option<Arc<Session>> {
        self.shared.sessions.by_ssid(ssid)
    }

    fn by_client_id(&self, id: &str) -> Option<Arc<Session>> {
        self.shared.sessions.by_client_id(id)
    }

    fn by_dn(&self, dn: &str) -> Option<Arc<Session>> {
        self.shared.sessions.by_dn(dn)
    }

    fn signed_in(&self, most: usize) -> Vec<Arc<Session>> {
        self.shared.sessions.of_dns(most)
    }

    fn line<'a>(&'a self, session: &'a Arc<Session>) -> Answer<'a, Option<LineState>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.ask(session, Request::State { reply }, answer).await
        })
    }

    fn command<'a>(
        &'a self,
        session: &'a Arc<Session>,
        command: LineCommand,
    ) -> Answer<'a, Result<(), MessageError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let asked = self.ask(session, Request::Command { command, reply }, answer);
            asked.await.unwrap_or(Err(MessageError::NotSignedIn))
        })
    }

    fn store(&self) -> Option<Arc<Store>> {
        self.shared.store.get().cloned()
    }

    fn drain(&self) -> Draining {
        match Gateway::drain(self) {
            Life::Draining { calls, until } => {
                Draining { calls, left: until.saturating_duration_since(Instant::now()) }
            }
            Life::Serving | Life::Stopping => Draining::default(),
        }
    }

    fn reload(&self) -> Answer<'_, Result<Reloaded, ReloadError>> {
        Box::pin(self.reload())
    }

    fn timelines(&self) -> Option<Arc<Timelines>> {
        Some(Arc::clone(&self.shared.journaling.get()?.timelines))
    }

    fn traces(&self) -> Option<Arc<Traces>> {
        Some(Arc::clone(&self.shared.journaling.get()?.traces))
    }

    fn health(&self) -> Health {
        Health {
            registered_agents: self.shared.registered.load(Ordering::Relaxed),
            active_calls: self.shared.active_calls.load(Ordering::Relaxed),
        }
    }

    fn operations(&self) -> &dyn Operations {
        self
    }

    fn ice_servers(&self, user: &Identity) -> IceServers {
        self.shared.ice.servers(user)
    }
}
