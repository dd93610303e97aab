//! Whatever comes: no panic, nothing forwarded, nothing kept.

use proptest::prelude::*;
use rtc_stun::attributes::AttrType;
use rtc_stun::message::*;

use crate::support::*;

const METHODS: [Method; 6] = [
    METHOD_ALLOCATE,
    METHOD_REFRESH,
    METHOD_CREATE_PERMISSION,
    METHOD_CHANNEL_BIND,
    METHOD_SEND,
    METHOD_BINDING,
];

fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let types = prop_oneof![
        prop::sample::select(vec![
            0x000cu16, 0x000d, 0x0012, 0x0013, 0x0017, 0x0018, 0x0019, 0x001a, 0x0022, 0x8000,
        ]),
        any::<u16>(),
    ];
    (types, prop::collection::vec(any::<u8>(), 0..24))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn strangers(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut bench = Bench::new();
        for datagram in datagrams {
            bench.send(&datagram);
        }
        prop_assert!(!bench.session.is_open() && bench.to_peer.is_empty());
    }

    /// One who has credentials and means no good.
    #[test]
    fn users(
        requests in prop::collection::vec(
            (prop::sample::select(METHODS.to_vec()), prop::collection::vec(attribute(), 0..5)), 1..12,
        ),
        torn in prop::collection::vec(any::<u8>(), 0..40),
        wait in 0..700u64,
    ) {
        let mut bench = Bench::open();
        for (method, attributes) in requests {
            let parts: Vec<Part> =
                attributes.iter().map(|(typ, value)| raw(AttrType(*typ), value)).collect();
            let request = bench.signed(method, &parts);
            bench.send(&request.raw);
            bench.send(&message(METHOD_SEND, CLASS_INDICATION, &parts).raw);
            bench.send(&[b"\x40\x00".as_slice(), &torn].concat());
            bench.peer_sends(0, &torn);
            bench.pass(wait);
        }
        let ours = ["10.0.0.5:30000", "10.0.0.5:30001"].map(addr);
        prop_assert!(bench.connected.iter().all(|(_, to)| ours.contains(to)));
    }

    #[test]
    fn a_changed_byte_of_a_signed_request_does_nothing(at in 0..200usize, bit in 0..8u32) {
        let mut bench = Bench::open();
        let mut request = bench.signed(METHOD_REFRESH, &[lifetime(0)]).raw;
        // Without the fingerprint, which would catch it before the signature is looked at.
        request.truncate(request.len() - 8);
        let length = (request.len() - 20) as u16;
        request[2..4].copy_from_slice(&length.to_be_bytes());
        let at = at % request.len();
        request[at] ^= 1 << bit;
        bench.send(&request);
        // The padding behind the user name is signed as well.
        prop_assert!(bench.session.is_open(), "byte {}", at);
    }
}
