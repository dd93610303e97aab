//! Who is at the far ends: numbers of the contact centre and what they do.

use std::net::IpAddr;
use std::time::Duration;

use super::super::phone::{PhoneConfig, Sound};
use super::step::Body;
use crate::sdp::Codec;

/// What a far end does when an agent's call reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    Answers {
        after: Duration,
    },
    /// The server acknowledges the agent with this and hangs up, with cause 403.
    Fails {
        with: Body,
    },
}

/// One number.
#[derive(Debug, Clone)]
pub struct Role {
    pub number: &'static str,
    pub about: &'static str,
    pub sound: Sound,
    /// Last byte of its address on loopback, 127.0.0.x.
    host: u8,
    pub manner: Manner,
}

const fn tone(hz: f64) -> Sound {
    Sound::Tone { hz, dbfs: -12.0 }
}

const fn after(seconds: u64) -> Manner {
    Manner::Answers { after: Duration::from_secs(seconds) }
}

const fn role(
    number: &'static str,
    about: &'static str,
    sound: Sound,
    host: u8,
    manner: Manner,
) -> Role {
    Role { number, about, sound, host, manner }
}

/// The far ends that have a number of their own; any other number is a customer with a tone.
pub static CAST: [Role; 9] = [
    role("7001", "a customer who hums 1 kHz", tone(1000.0), 1, after(1)),
    role("7002", "a customer who repeats what you say", Sound::Echo, 1, after(1)),
    role("7003", "music on hold", Sound::Melody, 1, after(0)),
    role("7004", "a customer in another network, 800 Hz", tone(800.0), 2, after(1)),
    role("7005", "answers after 20 s", tone(1000.0), 1, after(20)),
    role(
        "7006",
        "fails: our own SDP comes back",
        Sound::Stopped,
        1,
        Manner::Fails { with: Body::Mirrored },
    ),
    role(
        "7007",
        "fails: a black hole comes back",
        Sound::Stopped,
        1,
        Manner::Fails { with: Body::BlackHole },
    ),
    role("7100", "a colleague, 600 Hz", tone(600.0), 3, after(1)),
    role(
        "7300",
        "a conference: customer and colleague at once",
        Sound::Chord { hz: [1000.0, 600.0], dbfs: -10.0 },
        4,
        after(0),
    ),
];

/// The role behind a number.
pub fn role_of(number: &str) -> &'static Role {
    CAST.iter().find(|role| role.number == number).unwrap_or(&CAST[0])
}

impl Role {
    /// Its telephone. On loopback each lives at an address of its own, elsewhere all live at `home`.
    pub fn phone(&self, home: IpAddr) -> PhoneConfig {
        let address = match home {
            // Linux has all of 127/8; other systems have the first only.
            IpAddr::V4(ip) if ip.is_loopback() && cfg!(target_os = "linux") => {
                IpAddr::from([127, 0, 0, self.host])
            }
            home => home,
        };
        PhoneConfig {
            address,
            // What is heard is measured, and G.722 is not looked into.
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            telephone_event: Some(101),
            sound: self.sound,
        }
    }
}
