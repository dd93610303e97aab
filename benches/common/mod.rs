//! What is measured of the packet path, step by step and whole, for each SRTP profile.

use std::hint::black_box;

use wrtc_gateway::media::bench::{PLAIN, Profile, ROOM, Rig, Seals, demux, packet};

/// SSRCs of the browser and of the telephone.
const BROWSER: u32 = 1;
const PHONE: u32 = 2;

/// Handles its `n`th packet; says how many bytes came of it.
pub type Run = Box<dyn FnMut(usize) -> usize>;

pub struct Probe {
    pub name: String,
    prepare: fn(Profile, usize) -> Option<Run>,
    profile: Profile,
}

impl Probe {
    /// Makes so many packets, which then are handled in order.
    pub fn prepare(&self, packets: usize) -> Run {
        (self.prepare)(self.profile, packets).expect("a call that is up")
    }
}

pub fn all() -> Vec<Probe> {
    let plain = [("demux", demuxed as fn(Profile, usize) -> Option<Run>), ("rewrite", rewritten)];
    let sealed = [
        ("unprotect", unprotected as fn(Profile, usize) -> Option<Run>),
        ("protect", protected),
        ("browser_to_sip", browser_to_sip),
        ("sip_to_browser", sip_to_browser),
    ];
    let probe = |name: String, prepare, profile| Probe { name, prepare, profile };
    let any = Profile::PREFERRED[0];
    let mut all: Vec<Probe> =
        plain.into_iter().map(|(name, prepare)| probe(name.to_owned(), prepare, any)).collect();
    for profile in Profile::PREFERRED {
        for (name, prepare) in sealed {
            all.push(probe(format!("{name}/{}", profile.name()), prepare, profile));
        }
    }
    all
}

fn numbered(n: usize) -> u16 {
    u16::try_from(n).expect("no more packets than sequence numbers")
}

fn plain(packets: usize, ssrc: u32) -> Vec<[u8; ROOM]> {
    let write = |n| {
        let mut buffer = [0; ROOM];
        assert_eq!(packet(numbered(n), ssrc, &mut buffer), PLAIN);
        buffer
    };
    (0..packets).map(write).collect()
}

/// As the browser would send them; and their length.
fn sealed(profile: Profile, packets: usize) -> Option<(Vec<[u8; ROOM]>, usize)> {
    let (mut seals, mut all, mut len) = (Seals::new(profile)?, plain(packets, BROWSER), 0);
    for buffer in &mut all {
        len = seals.seal(buffer, PLAIN);
    }
    Some((all, len))
}

fn demuxed(profile: Profile, packets: usize) -> Option<Run> {
    let (all, len) = sealed(profile, packets)?;
    Some(Box::new(move |n| usize::from(demux(black_box(&all[n][..len])))))
}

fn rewritten(profile: Profile, packets: usize) -> Option<Run> {
    let (mut rig, all, mut out) = (Rig::new(profile)?, plain(packets, BROWSER), [0; ROOM]);
    Some(Box::new(move |n| rig.rewrite(black_box(&all[n][..PLAIN]), &mut out)))
}

fn unprotected(profile: Profile, packets: usize) -> Option<Run> {
    let (mut seals, (mut all, len)) = (Seals::new(profile)?, sealed(profile, packets)?);
    Some(Box::new(move |n| seals.open(black_box(&mut all[n][..len]))))
}

fn protected(profile: Profile, packets: usize) -> Option<Run> {
    let (mut seals, mut all) = (Seals::new(profile)?, plain(packets, BROWSER));
    Some(Box::new(move |n| seals.seal(black_box(&mut all[n]), PLAIN)))
}

fn browser_to_sip(profile: Profile, packets: usize) -> Option<Run> {
    let (mut rig, (mut all, len)) = (Rig::new(profile)?, sealed(profile, packets)?);
    Some(Box::new(move |n| rig.from_browser(black_box(&mut all[n][..len]))))
}

fn sip_to_browser(profile: Profile, packets: usize) -> Option<Run> {
    let (mut rig, mut all) = (Rig::new(profile)?, plain(packets, PHONE));
    Some(Box::new(move |n| rig.from_sip(black_box(&mut all[n][..PLAIN]))))
}
