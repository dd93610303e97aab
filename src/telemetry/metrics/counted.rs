//! What is counted when it happens.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::agent::{EndReason, VideoFigures, VideoLeg};
use crate::journal::{CallRecord, LegRecord, StreamRecord, What};
use crate::media::MediaEvent;

/// Names and values of a sample's labels. Static, so that none can be a DN or an address.
type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "6xx"];
const DIRECTIONS: [&str; 2] = ["incoming", "outgoing"];
const ENDED_BY: [&str; 4] = ["browser", "peer", "network", "gateway"];
/// Beside these there are the refusals that the HTTP side has a word for.
const SIGN_INS: [&str; 14] = [
    "ok",
    "bad_id",
    "credentials_refused",
    "token_unknown",
    "token_wanted",
    "no_guests",
    "dn_forbidden",
    "dn_unknown",
    "id_in_use",
    "too_many_tries",
    "gateway_draining",
    "gateway_busy",
    "sip_unavailable",
    "sip_timeout",
];
const ALERTS: [&str; 9] = [
    "registration",
    "no_rtp",
    "ports",
    "sip_server",
    "certificate",
    "turn",
    "store",
    "clock",
    "sign_in",
];
const ACTS: [&str; 7] = ["hangup", "sign_out", "trace_on", "trace_off", "log", "reload", "drain"];
const CONNECTION_FAULTS: [&str; 11] = [
    "displaced",
    "no_place",
    "address_limit",
    "accept_failed",
    "slow_head",
    "slow_body",
    "slow_reader",
    "gone",
    "malformed",
    "tls_failed",
    "tls_slow",
];
const LEGS: [&str; 2] = ["browser", "sip"];
const STREAMS: [&str; 2] = ["rx", "tx"];

/// Start to answer, in seconds: a person's patience with ringing.
fn setup_buckets() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0])
}

/// What a message or an answer takes within the process, up to what a poll that is slow to return costs.
fn delivery_buckets() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

fn answer_buckets() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
    ])
}

fn duration_buckets() -> Histogram {
    Histogram::new([5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0])
}

/// Bounds of the words that G.107 Annex B has for scores: all, many, some users dissatisfied.
fn mos_buckets() -> Histogram {
    Histogram::new([1.5, 2.0, 2.58, 3.1, 3.6, 3.8, 4.03, 4.2, 4.34, 4.5])
}

fn loss_buckets() -> Histogram {
    Histogram::new([0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
}

pub(super) struct Counted {
    sign_ins: Counters<1>,
    sessions_ended: Counters<1>,
    registrations: Counter,
    registration_failures: Counters<1>,
    calls_started: Counters<1>,
    calls_ended: Counters<3>,
    setup: Histograms<1>,
    talk_to_200: Histogram,
    poll_delivery: Histogram,
    duration: Histograms<1>,
    mos: Histograms<2>,
    loss: Histograms<2>,
    video_packets: Counters<2>,
    video_lost: Counters<2>,
    video_nacks: Counters<2>,
    video_pictures: Counters<2>,
    media_events: Counters<1>,
    server_changes: Counters<1>,
    alerts: Counters<1>,
    acts: Counters<1>,
    reloads: Counter,
    store_failing: Gauge<u64, AtomicU64>,
    draining: Gauge<u64, AtomicU64>,
    http_requests: Counters<2>,
    pub http_connections: Gauge,
    connection_faults: Counters<1>,
}

impl Default for Counted {
    fn default() -> Self {
        let counted = Self {
            sign_ins: Family::default(),
            sessions_ended: Family::default(),
            registrations: Counter::default(),
            registration_failures: Family::default(),
            calls_started: Family::default(),
            calls_ended: Family::default(),
            setup: Family::new_with_constructor(setup_buckets),
            talk_to_200: answer_buckets(),
            poll_delivery: delivery_buckets(),
            duration: Family::new_with_constructor(duration_buckets),
            mos: Family::new_with_constructor(mos_buckets),
            loss: Family::new_with_constructor(loss_buckets),
            video_packets: Family::default(),
            video_lost: Family::default(),
            video_nacks: Family::default(),
            video_pictures: Family::default(),
            media_events: Family::default(),
            server_changes: Family::default(),
            alerts: Family::default(),
            acts: Family::default(),
            reloads: Counter::default(),
            store_failing: Gauge::default(),
            draining: Gauge::default(),
            http_requests: Family::default(),
            http_connections: Gauge::default(),
            connection_faults: Family::default(),
        };
        counted.begin_at_zero();
        counted
    }
}

impl Counted {
    /// A counter that is not there before the first event shows that event as no increase.
    fn begin_at_zero(&self) {
        for outcome in SIGN_INS {
            drop(self.sign_ins.get_or_create(&[("outcome", outcome)]));
        }
        for reason in [
            EndReason::SignedOut,
            EndReason::Dismissed,
            EndReason::Replaced,
            EndReason::LeaseExpired,
            EndReason::MailboxFull,
            EndReason::RegistrationLost,
            EndReason::Stumbled,
            EndReason::Shutdown,
        ] {
            drop(self.sessions_ended.get_or_create(&[("reason", end_reason(reason))]));
        }
        for class in &CLASSES[1..] {
            drop(self.registration_failures.get_or_create(&[("class", class)]));
        }
        for direction in DIRECTIONS {
            let direction = ("direction", direction);
            drop(self.calls_started.get_or_create(&[direction]));
            drop(self.setup.get_or_create(&[direction]));
            drop(self.duration.get_or_create(&[direction]));
            for by in ENDED_BY {
                for class in CLASSES {
                    let labels = [direction, ("ended_by", by), ("class", class)];
                    drop(self.calls_ended.get_or_create(&labels));
                }
            }
        }
        for leg in LEGS {
            for stream in STREAMS {
                let labels = [("leg", leg), ("direction", stream)];
                drop(self.mos.get_or_create(&labels));
                drop(self.loss.get_or_create(&labels));
                for video in
                    [&self.video_packets, &self.video_lost, &self.video_nacks, &self.video_pictures]
                {
                    drop(video.get_or_create(&labels));
                }
            }
        }
        for event in MEDIA_EVENTS {
            drop(self.media_events.get_or_create(&[("event", event)]));
        }
        for to in ["up", "down"] {
            drop(self.server_changes.get_or_create(&[("to", to)]));
        }
        for kind in ALERTS {
            drop(self.alerts.get_or_create(&[("kind", kind)]));
        }
        for fault in CONNECTION_FAULTS {
            drop(self.connection_faults.get_or_create(&[("fault", fault)]));
        }
        for act in ACTS {
            drop(self.acts.get_or_create(&[("act", act)]));
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        let r = registry;
        r.register("wrtc_sign_ins", "Sign-ins by what came of them", self.sign_ins.clone());
        r.register(
            "wrtc_sessions_ended",
            "Sessions of agents and guests that ended, by why",
            self.sessions_ended.clone(),
        );
        r.register(
            "wrtc_registrations",
            "DNs that the SIP server has come to accept: at sign-in, and again after a failure",
            self.registrations.clone(),
        );
        r.register(
            "wrtc_registration_failures",
            "REGISTERs that failed, by the class of the SIP status; a silent server is a 408",
            self.registration_failures.clone(),
        );
        r.register(
            "wrtc_calls_started",
            "Calls that began, answered or not, as the agent sees them",
            self.calls_started.clone(),
        );
        r.register(
            "wrtc_calls_ended",
            "Calls that ended, by whose doing it was and the class of the SIP status",
            self.calls_ended.clone(),
        );
        r.register_with_unit(
            "wrtc_call_setup",
            "From the beginning of a call to its answer",
            Unit::Seconds,
            self.setup.clone(),
        );
        r.register_with_unit(
            "wrtc_talk_to_200",
            "From the browser's ANSWER, NOTIFY talk or a command to the 200 on its way",
            Unit::Seconds,
            self.talk_to_200.clone(),
        );
        r.register_with_unit(
            "wrtc_poll_delivery",
            "How long messages for a browser waited until a poll took them",
            Unit::Seconds,
            self.poll_delivery.clone(),
        );
        r.register_with_unit(
            "wrtc_call_duration",
            "From the answer of a call to its end",
            Unit::Seconds,
            self.duration.clone(),
        );
        r.register(
            "wrtc_call_mos",
            "Mean opinion score of each stream of a finished call (G.107); rx is what the gateway heard, tx what the other side reports",
            self.mos.clone(),
        );
        r.register_with_unit(
            "wrtc_call_loss",
            "Lost packets of each stream of a finished call",
            Unit::Other("ratio".to_owned()),
            self.loss.clone(),
        );
        r.register(
            "wrtc_call_video_packets",
            "Packets of video of finished calls; rx is what came from that leg, tx what it was sent",
            self.video_packets.clone(),
        );
        r.register(
            "wrtc_call_video_lost",
            "Packets of video that were lost in finished calls; of tx as the other side reports",
            self.video_lost.clone(),
        );
        r.register(
            "wrtc_call_video_nacks",
            "Packets of video that their receiver asked for again (NACK), of finished calls",
            self.video_nacks.clone(),
        );
        r.register(
            "wrtc_call_video_pictures",
            "Whole pictures that the receiver of a video asked for (PLI, FIR, INFO), of finished calls",
            self.video_pictures.clone(),
        );
        r.register(
            "wrtc_media_events",
            "What the media plane noticed: ICE, DTLS, silence where there should be RTP",
            self.media_events.clone(),
        );
        r.register(
            "wrtc_sip_server_changes",
            "SIP servers that came up or went down",
            self.server_changes.clone(),
        );
        r.register("wrtc_alerts", "Alerts of the gateway that were raised", self.alerts.clone());
        r.register(
            "wrtc_reloads",
            "Reloads of the configuration that took effect",
            self.reloads.clone(),
        );
        r.register("wrtc_operator_acts", "What operators did", self.acts.clone());
        r.register(
            "wrtc_store_failing",
            "1 while the store of finished calls cannot keep them",
            self.store_failing.clone(),
        );
        r.register(
            "wrtc_draining",
            "1 while the gateway lets its calls finish before it stops",
            self.draining.clone(),
        );
        r.register(
            "wrtc_http_requests",
            "HTTP requests by route and class of the status; paths without a route are other",
            self.http_requests.clone(),
        );
        r.register(
            "wrtc_http_connections",
            "HTTP connections that stand now, those at metrics.listen among them",
            self.http_connections.clone(),
        );
        r.register(
            "wrtc_http_connection_faults",
            "HTTP connections that were turned away, were cut or came to nothing, by fault",
            self.connection_faults.clone(),
        );
    }

    pub fn http_connection_fault(&self, fault: &'static str) {
        self.connection_faults.get_or_create(&[("fault", fault)]).inc();
    }

    pub fn http_request(&self, route: &'static str, status: u16) {
        self.http_requests.get_or_create(&[("route", route), ("class", class(status))]).inc();
    }

    pub fn observe(&self, what: &What) {
        match what {
            What::SignedIn { .. } => {
                self.sign_ins.get_or_create(&[("outcome", "ok")]).inc();
            }
            What::SignInRefused { fault, .. } => {
                self.sign_ins.get_or_create(&[("outcome", fault)]).inc();
            }
            What::SessionEnded { why } => {
                self.sessions_ended.get_or_create(&[("reason", end_reason(*why))]).inc();
            }
            What::Registered { .. } => {
                self.registrations.inc();
            }
            What::RegistrationFailed { code, .. } => {
                self.registration_failures.get_or_create(&[("class", class(*code))]).inc();
            }
            What::CallStarted { incoming, .. } => {
                let direction = direction(*incoming);
                self.calls_started.get_or_create(&[("direction", direction)]).inc();
            }
            What::Answered { took } => self.talk_to_200.observe(took.as_secs_f64()),
            What::Http { waited: Some(waited), .. } => {
                self.poll_delivery.observe(waited.as_secs_f64());
            }
            What::Media(event) => {
                if let Some(event) = media_event(event) {
                    self.media_events.get_or_create(&[("event", event)]).inc();
                }
            }
            What::CallEnded(record) => self.ended(record),
            What::Server { up, .. } => {
                let to = if *up { "up" } else { "down" };
                self.server_changes.get_or_create(&[("to", to)]).inc();
            }
            What::Draining { .. } => {
                self.draining.set(1);
            }
            What::Reloaded { .. } => {
                self.reloads.inc();
            }
            What::Store { fault } => {
                self.store_failing.set(fault.is_some().into());
            }
            What::Operated { act, .. } => {
                self.acts.get_or_create(&[("act", act)]).inc();
            }
            What::Alert { kind, raised: true, .. } => {
                self.alerts.get_or_create(&[("kind", kind)]).inc();
            }
            _ => {}
        }
    }

    fn ended(&self, record: &CallRecord) {
        let direction = ("direction", direction(record.incoming));
        let by = ENDED_BY.into_iter().find(|by| record.ended_by == *by).unwrap_or("other");
        let labels = [direction, ("ended_by", by), ("class", class(record.code))];
        self.calls_ended.get_or_create(&labels).inc();
        if let Some(setup) = record.setup_ms {
            self.setup.get_or_create(&[direction]).observe(seconds(setup));
        }
        if let Some(talked) = record.talked_ms {
            self.duration.get_or_create(&[direction]).observe(seconds(talked));
        }
        for (leg, LegRecord { rx, tx, .. }) in [("browser", &record.browser), ("sip", &record.sip)]
        {
            for (stream, StreamRecord { packets, lost, mos, .. }) in [("rx", rx), ("tx", tx)] {
                let labels = [("leg", leg), ("direction", stream)];
                if let Some(mos) = mos {
                    self.mos.get_or_create(&labels).observe(*mos);
                }
                let all = packets.saturating_add(*lost);
                if all > 0 {
                    self.loss.get_or_create(&labels).observe(*lost as f64 / all as f64);
                }
            }
        }
        if let Some(video) = &record.video {
            self.video(video);
        }
    }

    fn video(&self, video: &VideoFigures) {
        for (leg, VideoLeg { rx, tx }) in [("browser", &video.browser), ("sip", &video.sip)] {
            for (stream, figures) in [("rx", rx), ("tx", tx)] {
                let labels = [("leg", leg), ("direction", stream)];
                self.video_packets.get_or_create(&labels).inc_by(figures.packets);
                self.video_lost.get_or_create(&labels).inc_by(figures.lost);
                self.video_nacks.get_or_create(&labels).inc_by(figures.nacks);
                self.video_pictures.get_or_create(&labels).inc_by(figures.pictures);
            }
        }
    }
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

fn direction(incoming: bool) -> &'static str {
    if incoming { DIRECTIONS[0] } else { DIRECTIONS[1] }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        6 => "6xx",
        _ => "other",
    }
}

fn end_reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::SignedOut => "signed_out",
        EndReason::Dismissed => "dismissed",
        EndReason::Replaced => "replaced",
        EndReason::LeaseExpired => "lease_expired",
        EndReason::MailboxFull => "mailbox_full",
        EndReason::RegistrationLost => "registration_lost",
        EndReason::Stumbled => "stumbled",
        EndReason::Shutdown => "shutdown",
    }
}

const MEDIA_EVENTS: [&str; 9] = [
    "ice_connected",
    "ice_lost",
    "dtls_connected",
    "dtls_failed",
    "sip_media",
    "silent_browser",
    "silent_sip",
    "heard_again_browser",
    "heard_again_sip",
];

fn media_event(event: &MediaEvent) -> Option<&'static str> {
    Some(match event {
        MediaEvent::IceConnected { .. } => "ice_connected",
        MediaEvent::IceLost => "ice_lost",
        MediaEvent::DtlsConnected { .. } => "dtls_connected",
        MediaEvent::DtlsFailed { .. } => "dtls_failed",
        MediaEvent::SipMedia { .. } => "sip_media",
        MediaEvent::Silent { from_sip: false, .. } => "silent_browser",
        MediaEvent::Silent { from_sip: true, .. } => "silent_sip",
        MediaEvent::HeardAgain { from_sip: false, .. } => "heard_again_browser",
        MediaEvent::HeardAgain { from_sip: true, .. } => "heard_again_sip",
        MediaEvent::Digit { .. } | MediaEvent::PictureWanted => return None,
    })
}
