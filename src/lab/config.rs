//! How a lab starts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::phone::{PhoneConfig, Sound};
use crate::sdp::Codec;
use crate::secret::Secret;
use crate::sip::{Hop, UaConfig};

pub(super) const USER_AGENT: &str = concat!("wrtc-gateway-lab/", env!("CARGO_PKG_VERSION"));

/// What a registrar asks of those who sign in (RFC 7616).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing: accepts by address, as a Genesys SIP Server may.
    None,
    Md5,
    Sha256,
    /// Two challenges in one 401, SHA-256 first (RFC 8760 2.4): the telephone picks. Telephones of
    /// before 2020 may give up on it; baresip 1.0 does.
    Both,
}

#[derive(Debug, Clone)]
pub struct LabConfig {
    /// Where SIP over UDP is served; port 0 for any.
    pub listen: SocketAddr,
    /// What Contact and SDP say, and where RTP is bound: an address of this host. `None` for
    /// `listen`'s own, which has to be one then and not `0.0.0.0`.
    pub advertise: Option<IpAddr>,
    /// Of every DN.
    pub password: Secret,
    pub first_dn: u32,
    /// Inclusive.
    pub last_dn: u32,
    pub realm: String,
    /// MD5 at first, for that is what the telephones know that people have.
    pub challenge: Challenge,
    /// Whether a DN that calls is challenged too (407). Guests, who are no DN, never are.
    pub challenge_calls: bool,
    /// The most that REGISTER is granted.
    pub max_expires: Duration,
    /// How long `1003` rings before it answers.
    pub ring: Duration,
    /// How long after a hang-up `604` calls back.
    pub call_back_after: Duration,
    /// What the lab's own telephones offer and take, the preferred first.
    pub codecs: Vec<Codec>,
    /// Calls at a time; one more gets 503. Each takes a pair of ports and, measuring, some 0.6 % of
    /// a core in a debug build.
    pub max_calls: usize,
}

impl LabConfig {
    /// A lab on any loopback port for the DNs 5001 to 5020.
    pub fn new(password: Secret) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            password,
            first_dn: 5001,
            last_dn: 5020,
            realm: "wrtc-gateway lab".to_owned(),
            challenge: Challenge::Md5,
            challenge_calls: true,
            max_expires: Duration::from_secs(3600),
            ring: Duration::from_secs(1),
            call_back_after: Duration::from_secs(1),
            codecs: vec![Codec::Pcmu, Codec::Pcma, Codec::G722],
            max_calls: 200,
        }
    }

    /// The address that others are told; `None` when there is none to tell.
    pub(super) fn advertised(&self) -> Option<IpAddr> {
        self.advertise.or(Some(self.listen.ip())).filter(|ip| !ip.is_unspecified())
    }

    /// A telephone of the lab's own.
    pub(super) fn phone(&self, address: IpAddr, sound: Sound) -> PhoneConfig {
        PhoneConfig { address, codecs: self.codecs.clone(), sound, ..PhoneConfig::default() }
    }

    /// A user agent that stands for a number toward a telephone.
    pub(super) fn user_agent(&self, local: SocketAddr, number: &str, telephone: Hop) -> UaConfig {
        UaConfig {
            registers: false,
            expires: self.max_expires,
            user_agent: USER_AGENT.to_owned(),
            ..UaConfig::new(number, local.ip().to_string(), telephone, local)
        }
    }

    pub(super) fn is_dn(&self, number: &str) -> bool {
        // `05001` is not 5001.
        !number.starts_with(['0', '+'])
            && number.parse().is_ok_and(|dn: u32| (self.first_dn..=self.last_dn).contains(&dn))
    }
}
