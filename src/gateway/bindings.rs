//! Keeps a DN's sign-out and the sign-in that follows it apart.
//!
//! Both speak about the same binding at the registrar, and a registrar goes by what comes last: a
//! REGISTER with expires 0 that was lost and comes again after the new session's REGISTER would take
//! the DN out of service without anybody noticing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::agent::Identity;

/// The identities that sign in or out just now.
#[derive(Default)]
pub(super) struct Bindings {
    under_way: Mutex<HashMap<Identity, Weak<RwLock<()>>>>,
}

/// Held by a sign-in until it is decided.
pub(super) type Registering = OwnedRwLockReadGuard<()>;

/// Held by a sign-out until the SIP server has confirmed it, a few seconds at most.
pub(super) type Unregistering = OwnedRwLockWriteGuard<()>;

impl Bindings {
    /// Waits for a sign-out under way, not for other sign-ins.
    pub async fn register(&self, identity: &Identity) -> Registering {
        self.binding(identity).read_owned().await
    }

    /// None while somebody signs in: what is registered is his.
    pub fn unregister(&self, identity: &Identity) -> Option<Unregistering> {
        self.binding(identity).try_write_owned().ok()
    }

    fn binding(&self, identity: &Identity) -> Arc<RwLock<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binding) = under_way.get(identity).and_then(Weak::upgrade) {
            return binding;
        }
        // Only now and then, so that it costs nothing on average.
        if under_way.len() == under_way.capacity() {
            under_way.retain(|_, binding| binding.strong_count() > 0);
        }
        let binding = Arc::new(RwLock::new(()));
        under_way.insert(identity.clone(), Arc::downgrade(&binding));
        binding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dn(number: u32) -> Identity {
        Identity::Dn(number.to_string())
    }

    #[tokio::test]
    async fn nobody_unregisters_while_somebody_registers_and_the_other_way_round() {
        let bindings = Bindings::default();
        let (first, second) = (bindings.register(&dn(1)).await, bindings.register(&dn(1)).await);
        assert!(bindings.unregister(&dn(1)).is_none());
        assert!(bindings.unregister(&dn(2)).is_some(), "another DN is none of its business");
        drop((first, second));
        let unregistering = bindings.unregister(&dn(1)).expect("nobody registers any more");
        let id = dn(1);
        let mut registering = std::pin::pin!(bindings.register(&id));
        assert!(is_pending(registering.as_mut()).await);
        drop(unregistering);
        registering.await;
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending()))
            .await
    }

    #[tokio::test]
    async fn settled_ones_are_forgotten() {
        let bindings = Bindings::default();
        for number in 0..10_000 {
            bindings.register(&dn(number)).await;
        }
        assert!(bindings.under_way.lock().unwrap().len() < 100);
    }
}
