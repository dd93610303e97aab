//! `wrtc-gateway doctor`: looks at everything that keeps calls from working before the first one does,
//! and says in plain words what to do. Nothing is changed, no gateway that runs is disturbed.

mod addresses;
mod certificate;
mod collectors;
mod firewall;
mod host;
mod ports;
mod report;
mod servers;
mod settings;
mod stun;

use std::time::SystemTime;

pub use report::{Finding, Mark, Opening, Report};

use crate::config::Config;

/// Looks at everything. Wants a tokio runtime; takes some seconds where something does not answer.
pub async fn examine(config: &Config) -> Report {
    let mut report = Report { firewall: firewall::openings(config), ..Report::default() };
    let running = ports::running_gateway(config);
    if let Some(gateway) = &running {
        report.running = Some(format!(
            "a gateway runs here (pid {}): it is left alone, and its ports are its own",
            gateway.pid
        ));
    }
    settings::examine(config, &mut report);
    ports::examine(config, running.as_ref(), &mut report);
    addresses::examine(config, running.is_some(), &mut report).await;
    certificate::examine(config, SystemTime::now(), &mut report);
    servers::examine(config, &mut report).await;
    collectors::examine(config, &mut report).await;
    host::examine(config, &mut report);
    report
}
