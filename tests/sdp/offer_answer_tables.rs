//! RFC 3264 6.1 (directions) and the choice of codecs, for every combination.

use proptest::prelude::*;
use wrtc_gateway::sdp::write::{self, SipSide};
use wrtc_gateway::sdp::{Codec, Direction, Format, Origin, PayloadMap, SipSdp, negotiate};

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        Just(Direction::SendRecv),
        Just(Direction::SendOnly),
        Just(Direction::RecvOnly),
        Just(Direction::Inactive),
    ]
}

fn codecs() -> impl Strategy<Value = Vec<Codec>> {
    proptest::sample::subsequence(Codec::ALL.to_vec(), 0..=3).prop_shuffle()
}

proptest! {
    #[test]
    fn an_answer_never_does_what_the_offer_does_not_allow(a in direction(), b in direction()) {
        let answer = negotiate::answer_direction(a, b);
        prop_assert!(!answer.sends() || (a.receives() && b.sends()));
        prop_assert!(!answer.receives() || (a.sends() && b.receives()));
        // And all that both allow.
        prop_assert_eq!(answer.sends(), a.receives() && b.sends());
        prop_assert_eq!(answer.receives(), a.sends() && b.receives());
        prop_assert_eq!(a.reversed().reversed(), a);
    }

    #[test]
    fn an_answer_keeps_the_offers_order_and_numbers(
        offered in codecs(),
        ours in codecs(),
        first in 96..120u8,
    ) {
        let offer = PayloadMap {
            formats: offered
                .iter()
                .enumerate()
                .map(|(i, codec)| Format { codec: *codec, payload: first + i as u8 })
                .collect(),
            telephone_event: Some(121),
            telephone_event_48k: None,
            wishes: Default::default(),
        };
        let answer = negotiate::common(&offer, &ours);
        let expected: Vec<Codec> = offered.iter().copied().filter(|c| ours.contains(c)).collect();
        let got: Vec<Codec> = answer.formats.iter().map(|f| f.codec).collect();
        prop_assert_eq!(got, expected);
        for format in &answer.formats {
            prop_assert_eq!(offer.payload_of(format.codec), Some(format.payload));
        }
        prop_assert_eq!(answer.telephone_event, Some(121));
    }

    #[test]
    fn what_is_written_reads_back(codecs in codecs(), wanted in direction(), port in 1024..65000u16) {
        prop_assume!(!codecs.is_empty());
        let payloads = write::offered(&codecs);
        let rtp = std::net::SocketAddr::from(([192, 0, 2, 1], port));
        let side = SipSide { direction: wanted, ..SipSide::plain(rtp, &payloads) };
        let text = write::sip(&mut Origin::new(9), side, None);
        let read = SipSdp::parse(&text, &Codec::ALL).unwrap();
        prop_assert_eq!(read.payloads, payloads);
        prop_assert_eq!(read.direction, wanted);
        prop_assert_eq!(read.target, Some(rtp));
    }
}

#[test]
fn the_version_counts_changes_and_nothing_else() {
    let payloads = write::offered(&[Codec::Pcmu]);
    let rtp = std::net::SocketAddr::from(([192, 0, 2, 1], 4000));
    let mut origin = Origin::new(9);
    let mut versions = Vec::new();
    for direction in [
        Direction::SendRecv,
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::SendOnly,
        Direction::SendRecv,
    ] {
        write::sip(&mut origin, SipSide { direction, ..SipSide::plain(rtp, &payloads) }, None);
        versions.push(origin.version());
    }
    assert_eq!(versions, [1, 1, 2, 2, 3]);
}
