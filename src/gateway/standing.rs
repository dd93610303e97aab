//! What a scrape asks of the gateway.

use crate::agent::Backend as _;
use crate::panics;
use crate::sip::servers::ServerState;
use crate::telemetry::logs;
use crate::telemetry::metrics::{ServerSnapshot, Snapshot, Source};
use crate::telemetry::traces::Tracer;

use super::Gateway;

pub(super) struct Standing {
    pub gateway: Gateway,
    pub tracer: Option<Tracer>,
}

impl Source for Standing {
    fn snapshot(&self) -> Snapshot {
        let gateway = &self.gateway;
        let health = gateway.health();
        let pinged = gateway.shared.settings.load().config.sip.ping.is_some();
        let known = gateway.shared.servers.load();
        let servers = known.servers.iter().map(|server| ServerSnapshot {
            unresolved: known.unresolved.iter().any(|name| name.name == server.name),
            // Who is never asked is not known to be away.
            up: match server.state {
                ServerState::Up => true,
                ServerState::Unknown => !pinged,
                ServerState::Down => false,
            },
            name: server.name.clone(),
            current: server.current,
            rtt: server.rtt,
            pings: server.pings,
            pings_missed: server.pings_missed,
        });
        let nowhere = known.unresolved.iter().filter(|name| !name.has_addresses);
        let nowhere = nowhere.map(|name| ServerSnapshot {
            name: name.name.clone(),
            unresolved: true,
            ..ServerSnapshot::default()
        });
        Snapshot {
            agents_registered: health.registered_agents,
            calls_active: health.active_calls,
            registers_waiting: gateway.waiting_registers(),
            media: gateway.media_stats(),
            rtp_ports: gateway.shared.ports,
            sip: gateway.sip_stats(),
            certificates: gateway.shared.certificates.states(),
            turn: gateway.turn_stats(),
            servers: servers.chain(nowhere).collect(),
            journal: gateway.journal_losses(),
            store: gateway.shared.store.get().map(|store| store.stats()).unwrap_or_default(),
            hep: gateway.hep_stats(),
            panics: panics::count(),
            log_lines_dropped: logs::logs().map_or(0, logs::Logs::dropped),
            traces: self.tracer.as_ref().map(Tracer::counts).unwrap_or_default(),
        }
    }
}
