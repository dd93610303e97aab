//! A call that has nothing to do with what goes wrong elsewhere.

use std::time::Duration;

use super::gateway::Demo;
use super::jsapi::Jsapi;

/// A call of another agent's, which nothing here may disturb.
pub struct Witness {
    phone: Jsapi,
}

impl Witness {
    pub async fn start(demo: &Demo) -> Self {
        let mut phone = demo.phone("5020").await;
        phone.browser.play(440.0).await;
        phone.connect("600").await;
        phone.browser.hears(440.0, 0.4).await;
        Self { phone }
    }

    #[track_caller]
    pub fn undisturbed(&mut self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            self.phone.browser.forget();
            let heard = self.phone.browser.hears(440.0, 0.4).await;
            assert!(heard.streams.len() == 1 && heard.loss() < 0.01, "{caller}: {heard:?}");
            if let Some(message) = self.phone.within(Duration::ZERO).await {
                panic!("{caller}: the witness was told {}", message.body);
            }
        }
    }

    /// Waits until the witness's call is the only one.
    #[track_caller]
    pub fn alone<'a>(&'a self, demo: &'a Demo) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..600 {
                if demo.health().await["active_calls"] == 1 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            panic!("{caller}: calls are left: {}", demo.health().await);
        }
    }
}
