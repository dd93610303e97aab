//! A call that another one of the line has put aside goes on getting a stream of its own: the media plane is
//! told of all of those, before it is told of the one that takes their place.

use crate::support::*;
use wrtc_gateway::call::MediaCommand;
use wrtc_gateway::media::HeldLeg;
use wrtc_gateway::sip::{Command, End, EndedBy, Event, NotifyEvent, SessionId};

/// Host of the far end, whether it is sent to, whether we hold it.
type Told = (u8, bool, bool);

fn far(host: u8, direction: &str) -> String {
    sip_sdp(&format!("203.0.113.{host}:30000"), "0 101", direction, 1)
}

fn told(legs: &[HeldLeg]) -> Vec<Told> {
    let of = |leg: &HeldLeg| {
        let target = leg.remote.target.expect("a target").to_string();
        let host = target.split(['.', ':']).nth(3).unwrap().parse().unwrap();
        (host, leg.sends, leg.music)
    };
    legs.iter().map(of).collect()
}

/// Since the last [`Bench::clear`].
fn held(bench: &Bench) -> Vec<Vec<Told>> {
    let of = |command: &MediaCommand| match command {
        MediaCommand::SetHeld(legs) => Some(told(legs)),
        _ => None,
    };
    bench.to_media.iter().filter_map(of).collect()
}

fn agreed(bench: &mut Bench, session: SessionId, sdp: String) {
    bench.sip(Event::ReinviteAnswered { session, sdp: Some(sdp) });
}

fn ended(bench: &mut Bench, session: SessionId) {
    let end = End { by: EndedBy::Peer, code: 200, text: "OK".into(), reason_header: None };
    bench.sip(Event::Ended { session, end });
}

fn talk(bench: &mut Bench, session: SessionId) {
    bench.sip(Event::Notified { session, event: NotifyEvent::Talk });
}

/// The first call is held for a second one, which is talked on.
fn consulting() -> Bench {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    talk(&mut bench, SECOND);
    bench
}

#[test]
fn a_line_with_one_call_tells_of_none() {
    let mut bench = Bench::established();
    bench.notified(NotifyEvent::Hold);
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.notified(NotifyEvent::Talk);
    agreed(&mut bench, SESSION, far(5, "sendrecv"));
    bench.hung_up(200, "OK");
    assert!(held(&bench).is_empty());
}

#[test]
fn one_that_waits_is_not_held_and_the_first_is_once_it_is_taken() {
    let mut bench = Bench::established();
    bench.invited(Some(&far(8, "sendrecv")));
    assert!(held(&bench).is_empty());
    talk(&mut bench, SECOND);
    assert_eq!(held(&bench), [vec![(5, true, true)]]);
    let place = |of: fn(&MediaCommand) -> bool| bench.to_media.iter().position(of).unwrap();
    let first = place(|c| matches!(c, MediaCommand::SetHeld(_)));
    assert!(first < place(|c| matches!(c, MediaCommand::SetSip(_))), "its stream goes with it");
}

#[test]
fn the_two_change_places() {
    let mut bench = consulting();
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.clear();
    talk(&mut bench, SESSION);
    agreed(&mut bench, SECOND, far(8, "recvonly"));
    agreed(&mut bench, SESSION, far(5, "sendrecv"));
    assert_eq!(held(&bench), [vec![(8, true, true)]]);
}

#[test]
fn who_takes_nothing_from_us_is_told_of_and_not_sent_to() {
    for direction in ["sendonly", "inactive"] {
        let mut bench = consulting();
        bench.clear();
        bench.reinvited(Some(&far(5, direction)));
        assert_eq!(held(&bench), [vec![(5, false, true)]], "{direction}");
        bench.reinvited(Some(&far(5, "sendrecv")));
        assert_eq!(held(&bench)[1..], [vec![(5, true, true)]]);
    }
    // Nowhere to send to is nobody to tell of.
    let mut bench = consulting();
    bench.clear();
    bench.reinvited(Some(&sip_sdp("0.0.0.0:30000", "0 101", "inactive", 2)));
    assert_eq!(held(&bench), [vec![]]);
}

#[test]
fn the_first_call_is_held_while_the_second_is_dialled_and_after_that_failed() {
    let mut bench = Bench::established();
    bench.dialled("5003").unwrap();
    assert_eq!(held(&bench), [vec![(5, true, true)]]);
    bench.clear();
    ended(&mut bench, SECOND);
    assert!(held(&bench).is_empty(), "still held");
    talk(&mut bench, SESSION);
    assert_eq!(held(&bench), [vec![]]);
}

/// The server brings the two far ends together, and the second call ends.
#[test]
fn a_transfer_that_is_completed_leaves_one_stream_to_each_far_end() {
    let mut bench = consulting();
    agreed(&mut bench, SESSION, far(5, "recvonly"));
    bench.clear();
    bench.reinvited(Some(&far(8, "sendrecv")));
    assert_eq!(held(&bench), [vec![]], "both calls have one far end now");
    ended(&mut bench, SECOND);
    assert_eq!(held(&bench)[1..], [vec![(8, true, true)]], "nobody is with the first");
    talk(&mut bench, SESSION);
    assert_eq!(held(&bench)[2..], [vec![]]);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.8:30000");
}

#[test]
fn the_agents_own_transfer_ends_both() {
    let mut bench = consulting();
    bench.transferred("5003", Some(SECOND)).unwrap();
    assert!(bench.to_sip.iter().any(|command| matches!(command, Command::Refer { .. })));
    bench.clear();
    let (code, text) = (200, "OK".into());
    bench.sip(Event::Transferring { session: SESSION, code, text, done: true });
    assert!(bench.line.is_over());
    assert_eq!(held(&bench).last(), Some(&vec![]));
}
