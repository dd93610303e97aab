//! Two keys that want the same port are a fault of the configuration, not first of the start.

use wrtc_gateway::config::{Config, ConfigErrors, Fault};

fn faults(sets: &[&str]) -> Vec<Fault> {
    let all = ["sip.servers=sip:192.0.2.1"].iter().chain(sets);
    let sets: Vec<String> = all.map(|set| (*set).to_owned()).collect();
    match Config::load(None, [], &sets) {
        Ok(_) => Vec::new(),
        Err(ConfigErrors(faults)) => faults,
    }
}

#[test]
fn both_keys_are_named_with_what_to_do() {
    for (sets, key, other, port) in [
        (&["metrics.listen=0.0.0.0:8086"][..], "metrics.listen", "http.listen", "TCP port 8086"),
        (&["http.listen=0.0.0.0:5062"], "http.listen", "sip.listen", "TCP port 5062"),
        (&["sip.listen=0.0.0.0:8086"], "sip.listen", "http.listen", "TCP port 8086"),
        (&["metrics.listen=127.0.0.1:5062"], "metrics.listen", "sip.listen", "TCP port 5062"),
        (&["turn.listen=127.0.0.1:8086"], "turn.listen", "http.listen", "TCP port 8086"),
        // UDP and TCP both, and told once.
        (&["turn.listen=0.0.0.0:5062"], "turn.listen", "sip.listen", "UDP port 5062"),
        (&["turn.listen=0.0.0.0:20010"], "turn.listen", "media.rtp_ports", "20010 among them"),
        (
            &["turn.listen=0.0.0.0:30001", "media.workers=2"],
            "turn.listen",
            "media.listen",
            "UDP ports 30000 to 30001",
        ),
        (
            &["turn.listen=0.0.0.0:443", "media.tcp_listen=0.0.0.0:443"],
            "turn.listen",
            "media.tcp_listen",
            "TCP port 443",
        ),
        (
            &["metrics.listen=127.0.0.1:9102", "media.tcp_listen=0.0.0.0:9102"],
            "metrics.listen",
            "media.tcp_listen",
            "TCP port 9102",
        ),
        (&["sip.listen=0.0.0.0:20010"], "sip.listen", "media.rtp_ports", "20010 among them"),
        (
            &["media.rtp_ports=29000-30999", "media.workers=2"],
            "media.rtp_ports",
            "media.listen",
            "UDP ports 30000 to 30001",
        ),
    ] {
        let faults = faults(sets);
        assert_eq!(faults.len(), 1, "{sets:?}: {faults:?}");
        let fault = &faults[0];
        assert_eq!(fault.key, key, "{sets:?}: {fault}");
        assert!(fault.reason.contains(other) && fault.reason.contains(port), "{fault}");
        assert!(fault.remedy.contains(key) && fault.remedy.contains(other), "{fault}");
    }
}

#[test]
fn what_only_looks_alike_is_none() {
    for sets in [
        // Another protocol.
        &["http.listen=0.0.0.0:20000"][..],
        &["media.tcp_listen=0.0.0.0:30000"],
        // Another address.
        &["metrics.listen=192.0.2.1:8086"],
        &["sip.listen=192.0.2.1:20010", "media.rtp_address=192.0.2.2"],
        // Any port.
        &["http.listen=127.0.0.1:0", "sip.listen=0.0.0.0:0", "metrics.listen=127.0.0.1:0"],
        &["media.listen=0.0.0.0:0", "turn.listen=0.0.0.0:0"],
    ] {
        assert_eq!(faults(sets), [], "{sets:?}");
    }
}
