//! Configuration: sources, defaults, and every fault told at once.

use std::path::{Path, PathBuf};

use wrtc_gateway::config::{
    Advertise, Config, ConfigErrors, KEYS, LogFormat, Origin, OriginRule, Origins, environment_name,
};
use wrtc_gateway::sdp::{Codec, SrtpPolicy, VideoCodec};

fn from_sets(sets: &[&str]) -> Result<Config, ConfigErrors> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    Config::load(None, [], &sets)
}

fn with(set: &str) -> Result<Config, ConfigErrors> {
    from_sets(&["sip.servers=sip:sip.example", set])
}

struct File(PathBuf);

impl File {
    fn new(text: &str) -> File {
        let name =
            format!("wrtc-config-{}-{:016x}.toml", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn load(&self, env: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigErrors> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        Config::load(Some(&self.0), env, &sets)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn one_server_is_enough() {
    let config = from_sets(&["sip.servers=sip:10.0.0.5:5070"]).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8086");
    assert_eq!(config.http.base_path, "");
    assert_eq!(config.http.allowed_origins, Origins::List(vec![OriginRule::Loopback]));
    assert_eq!(config.http.tls, None);
    assert_eq!(config.sip.domain, "10.0.0.5");
    assert_eq!(config.sip.servers[0].to_string(), "sip:10.0.0.5:5070");
    assert_eq!(config.sip.advertise, None);
    assert_eq!(config.media.rtp_ports, 20_000..=29_999);
    assert!((1..=4).contains(&config.media.workers));
    assert_eq!(config.media.codecs, Codec::ALL);
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Text));
}

#[test]
fn no_server_is_a_fault() {
    let faults = from_sets(&[]).unwrap_err().0;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].key, "sip.servers");
}

#[test]
fn later_sources_win() {
    let file = File::new(
        "[http]\nlisten = \"127.0.0.1:1001\"\nbase_path = \"/one/\"\n[sip]\nservers = [\"sip:a.example\"]\n\
         [log]\nformat = \"json\"\n",
    );
    let config = file.load(&[], &[]).unwrap();
    assert_eq!((config.http.listen.port(), config.http.base_path.as_str()), (1001, "/one"));
    let env = [
        ("WRTC_HTTP__LISTEN", "127.0.0.1:1002"),
        ("WRTC_SIP__SERVERS", "sip:b.example, sip:c.example:5071"),
        ("HOME", "/root"),
        ("WRTC_GATEWAY_SERVICE_HOST", "10.1.1.1"),
        ("WRTC_GATEWAY_PORT_8086_TCP_ADDR", "10.1.1.1"),
    ];
    let config = file.load(&env, &["http.listen=127.0.0.1:1003"]).unwrap();
    assert_eq!(config.http.listen.port(), 1003);
    assert_eq!(config.log.format, LogFormat::Json);
    let servers: Vec<_> = config
        .sip
        .servers
        .iter()
        .map(|s| (s.host.as_str(), s.port_or_default(), s.transport))
        .collect();
    assert_eq!(servers, [("b.example", 5060, None), ("c.example", 5071, None)]);
}

#[test]
fn every_key_can_come_from_everywhere() {
    let values = [
        ("http.listen", "0.0.0.0:8443", "\"0.0.0.0:8443\""),
        ("http.base_path", "/webrtc", "\"/webrtc\""),
        (
            "http.allowed_origins",
            "https://wwe.example,loopback",
            "[\"https://wwe.example\", \"loopback\"]",
        ),
        ("http.allowed_hosts", "gw.example,GW2.example", "[\"gw.example\", \"gw2.example\"]"),
        ("http.frame_ancestors", "https://wwe.example", "[\"https://wwe.example\"]"),
        ("http.tls", "files", "\"files\""),
        ("http.tls_cert", "/etc/gw/cert.pem", "\"/etc/gw/cert.pem\""),
        ("http.tls_key", "/etc/gw/key.pem", "\"/etc/gw/key.pem\""),
        ("http.hsts_seconds", "3600", "3600"),
        ("http.trusted_proxies", "10.0.0.0/8,192.0.2.1", "[\"10.0.0.0/8\", \"192.0.2.1\"]"),
        ("http.forwarded_header", "forwarded", "\"forwarded\""),
        ("http.sign_ins_per_second", "20", "20"),
        ("http.free_tries", "3", "3"),
        ("http.lockout_seconds", "120", "120"),
        ("http.max_connections", "1000", "1000"),
        ("http.max_connections_per_address", "100", "100"),
        (
            "http.operator_tokens",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]",
        ),
        ("http.operator_tokens_file", "/dev/null", "\"/dev/null\""),
        ("connector.tokens", "0123456789abcdef=5001", "[\"0123456789abcdef=5001\"]"),
        ("connector.tokens_file", "/dev/null", "\"/dev/null\""),
        ("connector.bare_paths", "on", "\"on\""),
        (
            "sip.servers",
            "sip:a.example,sip:b.example:5070;transport=udp",
            "[\"sip:a.example\", \"sip:b.example:5070;transport=udp\"]",
        ),
        ("sip.domain", "example.com", "\"example.com\""),
        ("sip.listen", "0.0.0.0:5080", "\"0.0.0.0:5080\""),
        ("sip.tls_listen", "0.0.0.0:5081", "\"0.0.0.0:5081\""),
        ("sip.tls_ca", "/etc/gw/ca.pem", "\"/etc/gw/ca.pem\""),
        (
            "sip.tls_pins",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]",
        ),
        ("sip.tls_cert", "/etc/gw/sip.pem", "\"/etc/gw/sip.pem\""),
        ("sip.tls_key", "/etc/gw/sip-key.pem", "\"/etc/gw/sip-key.pem\""),
        ("sip.advertise", "192.0.2.1:5080", "\"192.0.2.1:5080\""),
        ("sip.networks", "192.0.2.0/24,2001:db8::/32", "[\"192.0.2.0/24\", \"2001:db8::/32\"]"),
        ("sip.ping_seconds", "0", "0"),
        ("sip.register_expires", "120", "120"),
        ("sip.register_rate", "50", "50"),
        ("sip.session_expires", "600", "600"),
        ("sip.min_session_expires", "120", "120"),
        ("sip.reliable", "supported", "\"supported\""),
        ("sip.headers", "X-Tenant: blue,X-Site: 7", "[\"X-Tenant: blue\", \"X-Site: 7\"]"),
        ("sip.attached_prefix", "X-Data-", "\"X-Data-\""),
        ("sip.dtmf", "info", "\"info\""),
        ("sip.user_agent", "gw one", "\"gw one\""),
        ("media.listen", "0.0.0.0:40000", "\"0.0.0.0:40000\""),
        ("media.tcp_listen", "0.0.0.0:4443", "\"0.0.0.0:4443\""),
        ("media.advertise", "192.0.2.1,203.0.113.5", "[\"192.0.2.1\", \"203.0.113.5\"]"),
        ("media.rtp_address", "192.0.2.2", "\"192.0.2.2\""),
        ("media.rtp_ports", "10000-10999", "\"10000-10999\""),
        ("media.workers", "3", "3"),
        ("media.codecs", "PCMA,g722", "[\"PCMA\", \"g722\"]"),
        ("media.opus_complexity", "9", "9"),
        ("media.video", "VP8,h264", "[\"VP8\", \"h264\"]"),
        ("media.tones", "de", "\"de\""),
        ("media.hold_music", "/etc/gw/hold.wav", "\"/etc/gw/hold.wav\""),
        ("media.silence_alarm_seconds", "60", "60"),
        ("media.srtp", "required", "\"required\""),
        ("turn.listen", "0.0.0.0:3479", "\"0.0.0.0:3479\""),
        ("turn.tls_listen", "0.0.0.0:443", "\"0.0.0.0:443\""),
        ("turn.tls_cert", "/etc/gw/turn.pem", "\"/etc/gw/turn.pem\""),
        ("turn.tls_key", "/etc/gw/turn-key.pem", "\"/etc/gw/turn-key.pem\""),
        ("turn.advertise", "turn.example,192.0.2.1", "[\"turn.example\", \"192.0.2.1\"]"),
        ("turn.realm", "example.com", "\"example.com\""),
        ("turn.secret", "0123456789abcdef", "\"0123456789abcdef\""),
        ("turn.secret_file", "/etc/gw/turn-secret", "\"/etc/gw/turn-secret\""),
        ("turn.credential_seconds", "3600", "3600"),
        ("turn.max_allocations", "100", "100"),
        ("turn.max_allocations_per_address", "70", "70"),
        (
            "turn.external",
            "turn:t.example?transport=tcp,stun:s.example:3478",
            "[\"turn:t.example?transport=tcp\", \"stun:s.example:3478\"]",
        ),
        ("agents.lease_seconds", "30", "30"),
        ("agents.max_calls", "2", "2"),
        ("agents.secrets_file", "/dev/null", "\"/dev/null\""),
        ("agents.secrets_command", "/bin/dn-secret,--of", "[\"/bin/dn-secret\", \"--of\"]"),
        ("agents.secrets_command_seconds", "2", "2"),
        ("agents.secrets_for", "origins", "\"origins\""),
        ("agents.token_key_file", "/dev/null", "\"/dev/null\""),
        ("agents.sign_in", "sip", "\"sip\""),
        ("agents.guests", "off", "\"off\""),
        ("operations.no_rtp_seconds", "7", "7"),
        ("gateway.drain_seconds", "300", "300"),
        ("journal.store", "/var/lib/gw/calls.db", "\"/var/lib/gw/calls.db\""),
        ("journal.keep_days", "7", "7"),
        ("journal.max_megabytes", "100", "100"),
        ("journal.keep_bodies", "off", "\"off\""),
        ("journal.call_records", "/var/log/gw/calls.jsonl", "\"/var/log/gw/calls.jsonl\""),
        ("journal.hep", "udp:homer.example:9061", "\"udp:homer.example:9061\""),
        ("journal.hep_capture_id", "7", "7"),
        ("journal.hep_password_file", "/etc/gw/hep", "\"/etc/gw/hep\""),
        ("log.level", "info,wrtc_gateway::sip=debug", "\"info,wrtc_gateway::sip=debug\""),
        ("log.format", "json", "\"json\""),
        ("log.file", "/var/log/gw.log", "\"/var/log/gw.log\""),
        ("log.rotate_mb", "10", "10"),
        ("log.rotate_daily", "true", "true"),
        ("log.keep", "3", "3"),
        ("metrics.listen", "127.0.0.1:9186", "\"127.0.0.1:9186\""),
        ("metrics.open", "true", "true"),
        ("tracing.otlp", "http://otel.example:4318", "\"http://otel.example:4318\""),
    ];
    assert_eq!(values.map(|(key, ..)| key), KEYS);
    // Those that another of them forbids, and the one whose file is not to be empty.
    let forbidden = ["turn.secret_file", "media.srtp", "agents.token_key_file"];
    let values = values.into_iter().filter(|(key, ..)| !forbidden.contains(key));
    let values: Vec<(&str, &str, &str)> = values.collect();
    let sets: Vec<String> = values.iter().map(|(key, value, _)| format!("{key}={value}")).collect();
    let by_set = Config::load(None, [], &sets).unwrap();
    let env = values.iter().map(|(key, value, _)| (environment_name(key), (*value).to_owned()));
    let by_env = Config::load(None, env, &[]).unwrap();
    let mut text = String::new();
    for (key, _, toml) in values {
        text.push_str(&format!("{key} = {toml}\n"));
    }
    let by_file = File::new(&text).load(&[], &[]).unwrap();
    assert_eq!(by_set, by_env);
    assert_eq!(by_set, by_file);
    assert_eq!(by_set.media.workers, 3);
    assert_eq!(by_set.media.opus_complexity, 9);
    assert_eq!(by_set.media.codecs, [Codec::Pcma, Codec::G722]);
    assert_eq!(by_set.media.video, VideoCodec::ALL);
    assert_eq!(
        by_set.sip.advertise,
        Some(Advertise { ip: [192, 0, 2, 1].into(), port: Some(5080) })
    );
}

#[test]
fn every_fault_is_told_with_its_line() {
    let file = File::new(
        "[http]\nlisten = \"localhost\"\nlisen = 1\ntls_cert = \"c.pem\"\n\n[sip]\nregister_expires = 5\n\n\
         [media]\nrtp_ports = \"20001-20010\"\ncodecs = [\"PCMU\", \"iLBC\"]\n[medai]\nx = 1\n",
    );
    let errors = file
        .load(
            &[("WRTC_LOG__FORMT", "json"), ("WRTC_HTTP_LISTEN", "x")],
            &["agents.lease=4", "nonsense"],
        )
        .unwrap_err();
    let told: Vec<(String, Option<usize>)> = errors
        .0
        .iter()
        .map(|fault| {
            let line = match &fault.origin {
                Origin::File { line, .. } => *line,
                _ => None,
            };
            (fault.key.clone(), line)
        })
        .collect();
    for (key, line) in [
        ("http.listen", Some(2)),
        ("http.lisen", Some(3)),
        ("http.tls_cert", Some(4)),
        ("sip.register_expires", Some(7)),
        ("media.rtp_ports", Some(10)),
        ("media.codecs", Some(11)),
        ("medai", Some(12)),
        ("sip.servers", None),
        ("WRTC_LOG__FORMT", None),
        ("WRTC_HTTP_LISTEN", None),
        ("agents.lease", None),
        ("nonsense", None),
    ] {
        assert!(told.contains(&(key.to_owned(), line)), "{key} {line:?} in {told:#?}");
    }
    assert_eq!(told.len(), 12, "{told:#?}");
    let shown = errors.to_string();
    assert_eq!(shown.lines().count(), 12);
    assert!(
        shown.contains("http.lisen: there is no such key; did you mean http.listen?"),
        "{shown}"
    );
    assert!(shown.contains("did you mean WRTC_LOG__FORMAT?"), "{shown}");
    assert!(shown.contains("did you mean WRTC_HTTP__LISTEN?"), "{shown}");
    assert!(shown.contains("http.listen = \"localhost\": it is not an address"), "{shown}");
}

#[test]
fn broken_file_and_missing_file_are_told() {
    let errors =
        File::new("[http\nlisten = 1\n").load(&[], &["sip.servers=a.example"]).unwrap_err();
    assert!(errors.to_string().contains("not TOML"), "{errors}");
    let errors = Config::load(Some("/nonexistent/gw.toml".as_ref()), [], &[]).unwrap_err();
    let errors = errors.to_string();
    assert!(errors.contains("cannot be read"), "{errors}");
    assert!(!errors.contains("missing"), "what stands in it nobody knows: {errors}");
}

#[test]
fn values_that_are_refused() {
    for bad in [
        "http.listen=8086",
        "http.base_path=webrtc",
        "http.base_path=/a/../b",
        "http.allowed_origins=https://wwe.example/path",
        "http.allowed_origins=*,https://wwe.example",
        "http.allowed_origins=wwe.example",
        "http.tls_key=key.pem",
        "sip.servers=",
        "sip.servers=sip:user@a.example",
        "sip.servers=sip:a.example:0",
        "sip.servers=sip:a.example;transport=sctp",
        "sip.tls_listen=0.0.0.0:5063",
        "sip.tls_key=key.pem",
        "sip.tls_pins=aa:bb",
        "sip.networks=192.0.2.0/33",
        "sip.networks=example.org",
        "sip.ping_seconds=301",
        "sip.register_rate=0",
        "sip.session_expires=60",
        "sip.reliable=always",
        "sip.headers=Via: SIP/2.0/UDP x",
        "sip.headers=X-Tenant",
        "sip.headers=v: x",
        "sip.attached_prefix=X Attached",
        "sip.dtmf=inband",
        "sip.servers=sip:300.1.1.1",
        "sip.servers=sip:a.example,sip:a.example",
        "sip.servers=http://a.example",
        "sip.domain=a b",
        "sip.advertise=0.0.0.0",
        "sip.register_expires=59",
        "sip.user_agent=a\r\nb",
        "sip.listen=0.0.0.0:20010",
        "sip.listen=0.0.0.0:30000",
        "media.listen=0.0.0.0:20000",
        "media.listen=0.0.0.0:19999",
        "media.advertise=gw.example",
        "media.advertise=0.0.0.0",
        "media.advertise=fe80::1",
        "media.advertise=2001:db8::1",
        "media.advertise=10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8,10.0.0.9",
        "media.tcp_listen=443",
        "media.tcp_listen=0.0.0.0:5062",
        "media.tcp_listen=127.0.0.1:8086",
        "media.rtp_ports=20000",
        "media.rtp_ports=20001-20011",
        "media.rtp_ports=20000-20010",
        "media.rtp_ports=20000-20000",
        "media.rtp_ports=30000-20001",
        "media.rtp_ports=80-99",
        "media.rtp_ports=0-70000",
        "media.workers=65",
        "media.workers=-1",
        "media.codecs=PCMU,PCMU",
        "media.codecs=",
        "media.video=VP9",
        "media.video=VP8,vp8",
        "media.opus_complexity=11",
        "media.opus_complexity=-1",
        "media.tones=atlantis",
        "media.hold_music=",
        "media.silence_alarm_seconds=4",
        "media.srtp=yes",
        "turn.tls_listen=0.0.0.0:5349",
        "turn.tls_cert=cert.pem",
        "turn.listen=0.0.0.0:30000",
        "turn.listen=0.0.0.0:20010",
        "turn.advertise=turn:turn.example",
        "turn.realm=a:b",
        "turn.realm=",
        "turn.secret=short",
        "turn.credential_seconds=59",
        "turn.max_allocations=0",
        "turn.max_allocations_per_address=0",
        "turn.external=turn.example",
        "turn.external=turn:turn.example?transport=sctp",
        "turn.external=stun:stun.example?transport=udp",
        "turn.external=turn:turn.example:0",
        // Nobody else knows a random secret.
        "turn.external=turn:turn.example",
        "agents.lease_seconds=9",
        "agents.max_calls=0",
        // More than a user agent has sessions for.
        "agents.max_calls=9",
        "log.level=inf",
        "log.format=xml",
    ] {
        let errors = match bad.starts_with("media.listen=0.0.0.0:19999") {
            true => from_sets(&["sip.servers=a.example", "media.workers=2", bad]),
            false => with(bad),
        };
        let key = bad.split('=').next().unwrap();
        let errors = errors.expect_err(bad);
        assert!(errors.0.iter().all(|fault| fault.key == key), "{bad}: {errors}");
        assert!(errors.0.iter().all(|f| !f.reason.is_empty() && !f.remedy.is_empty()));
    }
}

#[test]
fn video_is_off_unless_asked_for_and_is_plain() {
    assert_eq!(with("media.srtp=required").unwrap().media.srtp, SrtpPolicy::Required);
    assert_eq!(with("media.codecs=PCMU").unwrap().media.video, []);
    let sets = ["sip.servers=sip:sip.example", "media.video=VP8", "media.srtp=required"];
    let errors = from_sets(&sets).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert_eq!(errors.0[0].key, "media.video");
}

#[test]
fn values_that_are_taken() {
    for good in [
        "http.listen=[::]:8086",
        "http.base_path=/",
        "http.allowed_origins=*",
        "http.allowed_origins=null",
        "http.allowed_origins=",
        "sip.servers=sip.example",
        "sip.servers=sip:[2001:db8::1]:5060",
        "sip.listen=0.0.0.0:0",
        "media.listen=127.0.0.1:0",
        "media.listen=[::]:30000",
        "media.tcp_listen=[::]:30000",
        "media.tcp_listen=192.0.2.1:8086",
        "media.rtp_ports=20000-20001",
        "media.workers=0",
        "media.opus_complexity=0",
        "media.opus_complexity=10",
        "media.video=",
        "media.video=H264",
        "media.tones=off",
        "media.tones=GB",
        "media.silence_alarm_seconds=0",
        "media.srtp=Preferred",
        "turn.listen=[::]:0",
        "turn.advertise=2001:db8::1",
        "turn.secret_file=/etc/secret",
        "turn.external=stun:stun.example,stuns:[2001:db8::1]:5349",
        "log.level=debug",
    ] {
        with(good).unwrap_or_else(|errors| panic!("{good}: {errors}"));
    }
}

#[test]
fn origins() {
    let rules =
        |list: &str| with(&format!("http.allowed_origins={list}")).unwrap().http.allowed_origins;
    let default = Origins::List(vec![OriginRule::Loopback]);
    for own in
        ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80", "http://127.9.9.9:1"]
    {
        assert!(default.allow(own), "{own}");
    }
    for foreign in ["https://localhost.evil.example", "https://evil.example", "null", "127.0.0.1"] {
        assert!(!default.allow(foreign), "{foreign}");
    }
    let list = rules("https://WWE.example,https://b.example:8443");
    assert!(list.allow("https://wwe.example") && list.allow("https://b.example:8443"));
    assert!(!list.allow("http://wwe.example") && !list.allow("https://b.example"));
    assert!(!list.allow("http://localhost"));
    assert!(rules("*").allow("https://anybody.example"));
}

/// The file that shows every key with its default says what the code does.
#[test]
fn the_example_file_is_the_defaults() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gw.toml");
    let shown = Config::load(Some(&example), [], &[]).unwrap();
    assert_eq!(shown, from_sets(&["sip.servers=sip:127.0.0.1:5060"]).unwrap());
    let text = std::fs::read_to_string(example).unwrap();
    for key in KEYS {
        let name = key.split('.').next_back().unwrap();
        let named = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(name);
        assert!(text.lines().any(named), "{key} is not shown");
    }
}

#[test]
fn networks_hold_the_addresses_they_name() {
    let sets = ["sip.servers=sip:a.example".to_owned()];
    let networks = "sip.networks=192.0.2.128/25,2001:db8::/32,198.51.100.7,0.0.0.0/0".to_owned();
    let config = Config::load(None, [], &[sets[0].clone(), networks]).unwrap();
    let holds = |index: usize, ip: &str| config.sip.networks[index].contains(ip.parse().unwrap());
    assert!(holds(0, "192.0.2.128") && holds(0, "192.0.2.255") && !holds(0, "192.0.2.127"));
    assert!(holds(0, "::ffff:192.0.2.200"), "a v4 peer of a v6 socket");
    assert!(holds(1, "2001:db8:1::1") && !holds(1, "2001:db9::1"));
    assert!(holds(2, "198.51.100.7") && !holds(2, "198.51.100.6"));
    assert!(holds(3, "203.0.113.1") && !holds(3, "2001:db8::1"));
}

#[test]
fn sip_servers_by_every_transport() {
    let sets = ["sip.servers=sip:a.example,sip:b.example;transport=tcp,sips:c.example".to_owned()];
    let config = Config::load(None, [], &sets).unwrap();
    let servers: Vec<_> =
        config.sip.servers.iter().map(|s| (s.to_string(), s.port_or_default())).collect();
    let expected = [
        ("sip:a.example", 5060),
        ("sip:b.example;transport=tcp", 5060),
        ("sip:c.example;transport=tls", 5061),
    ];
    assert_eq!(servers, expected.map(|(text, port)| (text.to_owned(), port)));
}

#[test]
fn a_secret_is_given_once_and_not_shown() {
    let both = ["sip.servers=a.example", "turn.secret=0123456789abcdef", "turn.secret_file=/etc/s"];
    let errors = from_sets(&both).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert_eq!(errors.0[0].key, "turn.secret_file");
    let short = with("turn.secret=hush-hush").unwrap_err();
    assert!(!format!("{short} {short:?}").contains("hush"), "{short}");
    let given = with("turn.secret=hush-hush-hush-hush").unwrap();
    assert!(!format!("{given:?}").contains("hush"));
    let shared =
        ["sip.servers=a.example", both[1], "turn.external=turns:t.example:443?transport=tcp"];
    assert_eq!(from_sets(&shared).unwrap().turn.external, ["turns:t.example:443?transport=tcp"]);
}

#[test]
fn turn_over_tls_takes_the_certificate_of_http() {
    let sets = ["sip.servers=a.example", "turn.tls_listen=0.0.0.0:5349"];
    let http = ["http.tls_cert=/c.pem", "http.tls_key=/k.pem"];
    let config = from_sets(&[sets, http].concat()).unwrap();
    assert_eq!(config.turn.tls, config.http.tls);
    let own = ["turn.tls_cert=/d.pem", "turn.tls_key=/l.pem"];
    let config = from_sets(&[sets, http, own].concat()).unwrap();
    assert_eq!(config.turn.tls.unwrap().cert, Path::new("/d.pem"));
}
