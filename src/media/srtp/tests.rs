use super::*;
use crate::media::rtp::Packet;
use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

const ALL: [Profile; 4] = [
    Profile::AeadAes128Gcm,
    Profile::AeadAes256Gcm,
    Profile::Aes128CmSha1_80,
    Profile::Aes128CmSha1_32,
];

fn material(profile: Profile) -> Vec<u8> {
    (0..profile.material_len() as u8).collect()
}

fn pair(profile: Profile) -> (Srtp, Srtp) {
    let end = |client| {
        let keys = SrtpKeys::split(profile, &material(profile), client).unwrap();
        Srtp::new(profile, &keys).unwrap()
    };
    (end(true), end(false))
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let packet = Packet {
        payload_type: 0,
        marker: false,
        sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc,
        payload: &[sequence as u8; 160],
    };
    packet.write(&mut [0; 400]).unwrap().to_vec()
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut data = vec![0x80, 201, 0, 1];
    data.extend(ssrc.to_be_bytes());
    data
}

fn with_room(plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + OVERHEAD, 0);
    buffer
}

fn seal(srtp: &mut Srtp, plain: &[u8]) -> Vec<u8> {
    srtp.seal_rtp(&mut with_room(plain), plain.len()).unwrap().to_vec()
}

fn seal_report(srtp: &mut Srtp, plain: &[u8]) -> Vec<u8> {
    srtp.seal_rtcp(&mut with_room(plain), plain.len()).unwrap().to_vec()
}

fn open(srtp: &mut Srtp, sealed: &[u8]) -> Result<Vec<u8>, Refused> {
    srtp.open_rtp(&mut sealed.to_vec()).map(<[u8]>::to_vec)
}

fn open_report(srtp: &mut Srtp, sealed: &[u8]) -> Result<Vec<u8>, Refused> {
    srtp.open_rtcp(&mut sealed.to_vec()).map(<[u8]>::to_vec)
}

#[test]
fn opens_what_the_other_side_sealed_over_a_rollover() {
    for profile in ALL {
        let (mut a, mut b) = pair(profile);
        for n in 65_500..65_600u32 {
            let plain = rtp(1, n as u16);
            let sealed = seal(&mut a, &plain);
            assert_ne!(sealed[12..172], plain[12..172]);
            assert_eq!(open(&mut b, &sealed).unwrap(), plain);
            assert_eq!(open(&mut b, &sealed), Err(Refused::Replay));
        }
        let sealed = seal_report(&mut a, &rtcp(1));
        assert_eq!(open_report(&mut b, &sealed).unwrap(), rtcp(1));
        assert_eq!(open_report(&mut b, &sealed), Err(Refused::Replay));
    }
}

#[test]
fn forged_packets_leave_the_stream_alone() {
    for profile in ALL {
        let (mut a, mut b) = pair(profile);
        // Forged before the first true one, far ahead of it: it must not place the window.
        for n in 0..200u32 {
            let mut forged = rtp(1, 30_000);
            forged.extend([n as u8; 16]);
            assert_eq!(open(&mut b, &forged), Err(Refused::Authentication));
            let mut forged = rtp(n + 2, 5);
            forged.extend([0; 16]);
            assert_eq!(open(&mut b, &forged), Err(Refused::Authentication));
        }
        for n in 0..50 {
            let sealed = seal(&mut a, &rtp(1, n));
            let mut forged = sealed.clone();
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(open(&mut b, &forged), Err(Refused::Authentication));
            assert_eq!(open(&mut b, &sealed).unwrap(), rtp(1, n));
        }
    }
}

/// What is heard of a stream with that SSRC, by a packet of that number.
fn heard(from: &mut Srtp, by: &mut Srtp, ssrc: u32, sequence: u16) -> Result<(), Refused> {
    let sealed = seal(from, &rtp(ssrc, sequence));
    open(by, &sealed).map(drop)
}

#[test]
fn streams_are_bounded() {
    let (mut a, mut b) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..20 {
        assert_eq!(heard(&mut a, &mut b, ssrc, 1).is_ok(), ssrc < 8);
    }
    assert_eq!(heard(&mut a, &mut b, 0, 2), Ok(()));
}

/// A page that renegotiates all day long, and has a stream or two at a time.
#[test]
fn streams_that_fell_silent_make_room() {
    let (mut a, mut b) = pair(Profile::AeadAes128Gcm);
    let mut refused = 0;
    for n in 0..200 {
        // Each speaks beside the next one for a while; one goes on all the time.
        for ssrc in [7_000, n, n + 1] {
            let sequence = 2 * n as u16 + u16::from(ssrc == n);
            refused += u32::from(heard(&mut a, &mut b, ssrc, sequence).is_err());
        }
        let report = seal_report(&mut a, &rtcp(n));
        refused += u32::from(open_report(&mut b, &report).is_err());
        b.age();
    }
    assert_eq!(refused, 0);
    assert_eq!(b.opener.rtp.counts(), (8, 194));
    assert_eq!(b.opener.rtcp.counts(), (8, 192));
}

/// What was recorded of any of them cannot be played again: new ones are refused before one is forgotten.
#[test]
fn no_stream_that_made_room_is_forgotten() {
    let (mut a, mut b) = pair(Profile::AeadAes128Gcm);
    let recorded = seal(&mut a, &rtp(0, 1));
    assert_eq!(open(&mut b, &recorded).err(), None);
    let mut heard_of = 1;
    for ssrc in 1..400 {
        for _ in 0..streams::QUIET {
            b.age();
        }
        heard_of += u32::from(heard(&mut a, &mut b, ssrc, 1).is_ok());
    }
    assert_eq!(heard_of, 8 + streams::MAX_PAST as u32);
    assert_eq!(open(&mut b, &recorded).err(), Some(Refused::Replay));
    assert_eq!(heard(&mut a, &mut b, 0, 2), Ok(()), "one of before is back");
}

/// Eight that speak leave no room, however long: a flood costs what eight streams cost.
#[test]
fn streams_that_speak_make_no_room() {
    let (mut a, mut b) = pair(Profile::Aes128CmSha1_80);
    for sequence in 0..50 {
        for ssrc in 0..8 {
            assert_eq!(heard(&mut a, &mut b, ssrc, sequence), Ok(()));
        }
        let another = heard(&mut a, &mut b, 100 + u32::from(sequence), 1);
        assert_eq!(another, Err(Refused::TooManyStreams));
        b.age();
    }
}

/// Neither does a packet without the keys: what is forged displaces nobody.
#[test]
fn forged_streams_displace_nobody() {
    let (mut a, mut b) = pair(Profile::AeadAes128Gcm);
    for ssrc in 0..8 {
        assert_eq!(heard(&mut a, &mut b, ssrc, 1), Ok(()));
    }
    for _ in 0..100 {
        b.age();
    }
    for ssrc in 100..200 {
        let mut forged = rtp(ssrc, 5);
        forged.extend([0; 16]);
        assert_eq!(open(&mut b, &forged), Err(Refused::Authentication));
    }
    assert_eq!(b.opener.rtp.counts(), (8, 0));
    assert_eq!(heard(&mut a, &mut b, 0, 2), Ok(()));
}

/// What was taken once is not taken again from a stream that has made room, and it goes on where it was, over
/// a rollover, when it is heard again.
#[test]
fn a_stream_that_made_room_is_not_replayed() {
    let (mut a, mut b) = pair(Profile::AeadAes128Gcm);
    let mut taken = Vec::new();
    for n in 65_500..65_600u32 {
        let sealed = seal(&mut a, &rtp(1, n as u16));
        assert!(open(&mut b, &sealed).is_ok());
        taken.push(sealed);
    }
    // The other end has eight in its memory too.
    let next = seal(&mut a, &rtp(1, 64));
    for ssrc in 2..10 {
        if ssrc == 9 {
            for _ in 0..3 {
                b.age();
            }
        }
        assert_eq!(heard(&mut a, &mut b, ssrc, 1), Ok(()));
    }
    assert_eq!(b.opener.rtp.counts(), (8, 1));
    for sealed in &taken {
        assert_eq!(open(&mut b, sealed), Err(Refused::Replay));
    }
    assert_eq!(open(&mut b, &next), Ok(rtp(1, 64)));
    assert_eq!(b.opener.rtp.counts(), (8, 1), "another one has made room for it");
}

/// A media server takes a new SSRC for each announcement, and none of them may be the last one heard.
#[test]
fn a_sip_side_may_have_any_number_of_streams() {
    let key = SrtpKey::new(CryptoSuite::AesCm128HmacSha1_32, &[7; 30]).unwrap();
    let mut sealer = Sealer::new(&key).unwrap();
    let mut opener = Opener::new(&key).unwrap();
    for ssrc in 0..200 {
        let plain = rtp(ssrc, 1);
        let mut sealed = sealer.seal_rtp(&mut with_room(&plain), plain.len()).unwrap().to_vec();
        assert_eq!(sealed.len(), plain.len() + 4, "the short tag");
        assert_eq!(opener.open_rtp(&mut sealed.clone()), Ok(plain.as_slice()));
        assert_eq!(opener.open_rtp(&mut sealed), Err(Refused::Replay));
        let report = rtcp(ssrc);
        let sealed = sealer.seal_rtcp(&mut with_room(&report), report.len()).unwrap().to_vec();
        assert_eq!(sealed.len(), report.len() + 4 + 10, "the long one all the same");
    }
    assert_eq!(opener.rtp.counts(), (32, 0));
}

#[test]
fn unencrypted_rtcp_is_refused() {
    for profile in ALL {
        let (_, mut b) = pair(profile);
        let mut forged = rtcp(1);
        forged.extend([0, 0, 0, 1]);
        forged.extend([0; 10]);
        assert_eq!(open_report(&mut b, &forged), Err(Refused::Authentication));
        let mut forged = rtcp(1);
        forged.extend([0; 30]);
        assert_eq!(open_report(&mut b, &forged), Err(Refused::Authentication));
    }
}

/// rtc-srtp's context for one direction: `local` for what the client end sends.
fn reference(profile: Profile, client: bool) -> Context {
    let theirs = match profile {
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Profile::Aes128CmSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let keys = SrtpKeys::split(profile, &material(profile), client).unwrap();
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    let (key, salt) = &keys.local;
    let (rtp, rtcp) = (srtp_replay_protection(128), srtcp_replay_protection(128));
    Context::new(key, salt, theirs, Some(rtp), Some(rtcp), provider.crypto()).unwrap()
}

#[test]
fn rtc_srtp_opens_what_we_seal_and_the_other_way_round() {
    for profile in ALL {
        let (mut ours, _) = pair(profile);
        let mut theirs_in = reference(profile, true);
        let mut theirs_out = reference(profile, false);
        // Over a rollover, with a CSRC and an extension in the header.
        for n in 65_530..65_545u32 {
            let mut plain = rtp(7, n as u16);
            plain[0] |= 0x11;
            plain.splice(12..12, [1, 2, 3, 4, 0xBE, 0xDE, 0, 1, 0x10, 9, 0, 0]);
            let opened = theirs_in.decrypt_rtp(&seal(&mut ours, &plain));
            assert!(opened.is_ok_and(|opened| opened == plain), "{profile:?} {n}");
            let sealed = theirs_out.encrypt_rtp(&plain).unwrap();
            assert_eq!(open(&mut ours, &sealed).unwrap(), plain);
            let mut report = rtcp(7);
            report.extend([n as u8; 40]);
            let sealed = seal_report(&mut ours, &report);
            assert_eq!(theirs_in.decrypt_rtcp(&sealed).unwrap(), report);
            let sealed = theirs_out.encrypt_rtcp(&report).unwrap();
            assert_eq!(open_report(&mut ours, &sealed).unwrap(), report);
        }
    }
}

proptest! {
    #[test]
    fn noise_is_refused(mut data in prop::collection::vec(any::<u8>(), 0..80), rtcp: bool) {
        if let Some(byte) = data.first_mut() {
            *byte = 0x80 | *byte & 0x3F;
        }
        for profile in ALL {
            let (_, mut b) = pair(profile);
            let opened = if rtcp { open_report(&mut b, &data) } else { open(&mut b, &data) };
            prop_assert!(opened.is_err());
        }
    }

    #[test]
    fn loss_and_disorder_of_any_kind_change_nothing(
        order in prop::collection::vec(0u32..90, 1..200),
        start in 65_400u32..65_536,
    ) {
        let (mut a, mut b) = pair(Profile::Aes128CmSha1_80);
        let plain: Vec<_> = (0..90).map(|n| rtp(1, (start + n) as u16)).collect();
        let sealed: Vec<_> = plain.iter().map(|plain| seal(&mut a, plain)).collect();
        // A receiver cannot know of a rollover before its first packet, so that one is from before it.
        let mut seen = std::collections::BTreeSet::new();
        for n in [0].into_iter().chain(order) {
            let opened = open(&mut b, &sealed[n as usize]);
            if !seen.insert(n) {
                prop_assert_eq!(opened, Err(Refused::Replay));
            } else {
                prop_assert_eq!(opened.as_deref(), Ok(plain[n as usize].as_slice()));
            }
        }
    }
}
