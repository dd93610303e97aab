//! What the phone is told by RTCP while its call is held, and of which stream.

use std::time::{Duration, Instant};

use rtc_rtcp::packet::unmarshal;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::SourceDescription;

use super::world::World;
use super::{HELD_BY_US, HELD_WITH_MUSIC, MINUTE, MUTED, SECOND, sounds};
use crate::media::types::Flow;

/// A report of a stream of ours: what it is called, and packets and octets where it has sent since the last.
struct Told {
    at: Instant,
    ssrc: u32,
    sent: Option<(u32, u32)>,
}

fn told(world: &World) -> Vec<Told> {
    let read = |(at, to, data): &(Instant, std::net::SocketAddr, Vec<u8>)| {
        assert_eq!(to.port(), world.phone_address.port() + 1);
        let packets = unmarshal(&mut data.as_slice()).unwrap();
        let kind = |n: usize| packets[n].as_any();
        assert!(kind(1).is::<SourceDescription>());
        let (ssrc, sent) = match kind(0).downcast_ref::<SenderReport>() {
            Some(report) => (report.ssrc, Some((report.packet_count, report.octet_count))),
            None => (kind(0).downcast_ref::<ReceiverReport>().unwrap().ssrc, None),
        };
        Told { at: *at, ssrc, sent }
    };
    world.reports.iter().map(read).collect()
}

/// RFC 3264 8.4: whatever the direction, RTCP goes on.
#[test]
fn reports_go_on_through_every_hold() {
    let mut world = World::new(5, sounds(), None);
    world.run(12 * SECOND);
    for (flow, sends) in
        [(HELD_BY_US, true), (HELD_WITH_MUSIC, false), (MUTED, true), (Flow::NONE, false)]
    {
        world.set_flow(flow);
        world.phone.silent = flow == Flow::NONE;
        world.run(6 * SECOND);
        let since = world.now;
        world.run(MINUTE);
        let told: Vec<Told> = told(&world).into_iter().filter(|told| told.at >= since).collect();
        assert!((11..=13).contains(&told.len()), "{flow:?}: {} reports", told.len());
        assert!(told.iter().all(|told| told.sent.is_some() == sends), "{flow:?}");
    }
}

/// RFC 3550 6.4.1: "The count SHOULD be reset if the sender changes its SSRC identifier."
#[test]
fn a_stream_is_counted_from_its_own_beginning() {
    let mut world = World::new(6, sounds(), None);
    world.run(12 * SECOND);
    world.browser.ssrc = 0xC0C0;
    world.run(12 * SECOND);
    world.browser.ssrc = 0xD0D0;
    world.run(12 * SECOND);
    let told = told(&world);
    let mut ssrcs: Vec<u32> = told.iter().map(|told| told.ssrc).collect();
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), 3);
    // A datagram is under way for a millisecond.
    let under_way = Duration::from_millis(1);
    for report in &told {
        let heard = world.at_phone.iter().filter(|h| h.ssrc == report.ssrc);
        let packets = heard.filter(|h| h.at <= report.at + under_way).count() as u32;
        assert_eq!(report.sent, Some((packets, packets * 160)));
    }
}
