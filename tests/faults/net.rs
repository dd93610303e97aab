//! The gateway in a network namespace of its own, with two wires out of it: one to the browsers, one to the
//! SIP side. Each can be cut as a network is: packets are lost on the way, and nobody is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

/// One wire, as seen from the test.
pub struct Wire {
    /// Our end.
    pub here: IpAddr,
    /// The gateway's.
    pub there: IpAddr,
    name: String,
    namespace: String,
}

pub struct Net {
    pub web: Wire,
    pub sip: Wire,
    namespace: String,
}

/// Networks of 256 addresses in 198.18.0.0/15, which no network routes (RFC 2544).
const NUMBERS: u16 = 512;

const ADVICE: &str = "`bash tests/run.sh faults` says whether this machine can have it";

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// A namespace whose number, which its addresses have too, is nobody else's: its name is.
fn namespace() -> (u16, String) {
    let first = rand::random_range(0..NUMBERS);
    for number in (first..NUMBERS).chain(0..first) {
        let name = format!("wrtc-{number:03}");
        match run("ip", &["netns", "add", &name]) {
            Ok(()) => return (number, name),
            Err(why) => assert!(why.contains("File exists"), "{why}; {ADVICE}"),
        }
    }
    panic!("{NUMBERS} namespaces are there already");
}

fn must(program: &str, arguments: &[&str]) {
    if let Err(why) = run(program, arguments) {
        panic!("{why}; {ADVICE}");
    }
}

impl Net {
    pub fn new() -> Self {
        let (number, namespace) = namespace();
        must("ip", &["-n", &namespace, "link", "set", "lo", "up"]);
        let wire = |kind: &str, half: u8| Wire::new(&namespace, number, kind, half);
        Self { web: wire("w", 0), sip: wire("s", 128), namespace }
    }

    /// A command that becomes the gateway, in there.
    pub fn gateway(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        command.args(["env", "-i", env!("CARGO_BIN_EXE_wrtc-gateway")]);
        command
    }

    /// Settings for it: browsers at one wire, SIP at the other.
    pub fn settings(&self, server: SocketAddr, more: &[&str]) -> Vec<String> {
        let (web, sip) = (self.web.there, self.sip.there);
        let base = [
            format!("http.listen={web}:0"),
            format!("sip.servers=sip:{server}"),
            "sip.domain=demo.invalid".to_owned(),
            format!("sip.listen={sip}:0"),
            format!("media.listen={web}:0"),
            format!("media.rtp_address={sip}"),
            crate::wrote::log_level().to_owned(),
        ];
        base.into_iter().chain(more.iter().map(|set| (*set).to_owned())).collect()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // The wires go with it.
        let _ = run("ip", &["netns", "del", &self.namespace]);
    }
}

impl Wire {
    /// Half of the network of this number.
    fn new(namespace: &str, number: u16, kind: &str, half: u8) -> Self {
        let [high, low] = number.to_be_bytes();
        let address = |end| IpAddr::from(Ipv4Addr::new(198, 18 + high, low, half + end));
        let (here, there) = (address(1), address(2));
        let name = format!("wrtc{number:03}{kind}");
        let peer = ["peer", "name", name.as_str(), "netns", namespace];
        must("ip", &[&["link", "add", "name", &name, "type", "veth"][..], &peer[..]].concat());
        for (at, address) in [(vec![], here), (vec!["-n", namespace], there)] {
            let address = format!("{address}/25");
            must("ip", &[&at[..], &["address", "add", &address, "dev", &name][..]].concat());
            must("ip", &[&at[..], &["link", "set", &name, "up"][..]].concat());
        }
        Self { here, there, name, namespace: namespace.to_owned() }
    }

    /// Both ways. By netem; a kernel without it sends the frames to a station that is not there.
    pub fn cut(&self) {
        let mut by = "netem";
        for ((ip, tc), far) in self.ends() {
            let name = self.name.as_str();
            let netem = ["qdisc", "replace", "dev", name, "root", "netem", "loss", "100%"];
            if run("tc", &[&tc[..], &netem[..]].concat()).is_err() {
                let nobody = ["lladdr", "02:00:00:00:00:01", "nud", "permanent", "dev", name];
                let neighbour = [&["neighbour", "replace", far.as_str()][..], &nobody[..]].concat();
                must("ip", &[&ip[..], &neighbour[..]].concat());
                by = "neighbour entries, for this kernel has no netem";
            }
        }
        println!("the wire to {} is cut by {by}", self.there);
    }

    pub fn mend(&self) {
        for ((ip, tc), far) in self.ends() {
            let name = self.name.as_str();
            if run("tc", &[&tc[..], &["qdisc", "delete", "dev", name, "root"][..]].concat())
                .is_err()
            {
                let neighbour = ["neighbour", "delete", far.as_str(), "dev", name];
                must("ip", &[&ip[..], &neighbour[..]].concat());
            }
        }
    }

    /// Where `ip` and `tc` have to look, and who is at the other end.
    #[allow(clippy::type_complexity)]
    fn ends(&self) -> [((Vec<&str>, Vec<&str>), String); 2] {
        let inside = vec!["-n", self.namespace.as_str()];
        [
            ((vec![], vec![]), self.there.to_string()),
            ((inside.clone(), inside), self.here.to_string()),
        ]
    }
}
