//! DN to DN.

use wrtc_gateway::lab::{Hold, Lab, Party};
use wrtc_gateway::sdp::Direction;
use wrtc_gateway::sip::{Command, EndedBy, Event, NotifyEvent, SessionId};

use crate::support::*;

struct Pair {
    lab: Lab,
    a: Telephone,
    b: Telephone,
    a_session: SessionId,
    b_session: SessionId,
}

async fn ringing(offer: bool) -> Pair {
    let lab = lab().await;
    let mut a = Telephone::signed_in(&lab, "5001").await;
    let mut b = Telephone::signed_in(&lab, "5002").await;
    let a_session = a.dial("5002", offer);
    let (b_session, invite) = b.invited().await;
    assert_eq!((invite.from.as_str(), invite.sdp.is_some()), ("5001", offer));
    if let Some(sdp) = invite.sdp {
        // Kept for the answer below.
        b.audio.answer(&sdp).unwrap();
        assert_eq!(sdp, a.audio.offer(), "SDP passes as it is");
    }
    b.send(Command::Progress { session: b_session, code: 180, sdp: None });
    a.wait("ringing", |event| matches!(event, Event::Progressed { code: 180, .. }).then_some(()))
        .await;
    Pair { lab, a, b, a_session, b_session }
}

async fn talking() -> Pair {
    let mut pair = ringing(true).await;
    let sdp = pair.b.audio.answer(&pair.a.audio.offer()).unwrap();
    pair.b.send(Command::Accept { session: pair.b_session, sdp });
    let answer = pair.a.answer().await;
    pair.a.audio.take_answer(&answer).unwrap();
    pair
}

#[tokio::test]
async fn both_hear_each_other_and_the_end_takes_its_reason_along() {
    let mut pair = talking().await;
    let mut reports = pair.lab.reports();
    pair.b.audio.play(wrtc_gateway::lab::Sound::Tone { hz: 700.0, dbfs: -12.0 });
    tokio::join!(pair.a.hears_tone(700.0), pair.b.hears_tone(440.0));
    pair.b.end(pair.b_session, 403, "Not allowed");
    let end = pair.a.ended().await;
    assert_eq!(end.by, EndedBy::Peer);
    let reason = end.reason_header.unwrap();
    assert!(reason.contains("cause=403") && reason.contains("Not allowed"), "{reason}");
    let report = report(&mut reports).await;
    assert_eq!((report.heard, report.end.by), (None, Party::Callee));
}

#[tokio::test]
async fn hold_passes_and_so_does_retrieve() {
    let mut pair = talking().await;
    pair.a.hears(20).await;
    for (hold, held) in [
        (Hold::SendOnly, Direction::RecvOnly),
        (Hold::Inactive, Direction::Inactive),
        (Hold::No, Direction::SendRecv),
    ] {
        pair.a.audio.set_hold(hold);
        let sdp = Some(pair.a.audio.offer());
        pair.a.send(Command::Reinvite { session: pair.a_session, sdp });
        let offer = pair.b.reinvited().await.expect("an offer");
        let sdp = pair.b.audio.answer(&offer).unwrap();
        pair.b.send(Command::AcceptReinvite { session: pair.b_session, sdp });
        let answer = pair.a.reinvite_answered().await;
        pair.a.audio.take_answer(&answer).unwrap();
        assert_eq!(pair.b.audio.direction(), held);
    }
    tokio::join!(pair.a.hears_tone(440.0), pair.b.hears_tone(440.0));
}

#[tokio::test]
async fn offerless_invite_and_reinvite_go_all_the_way_round() {
    let mut pair = ringing(false).await;
    pair.b.send(Command::Accept { session: pair.b_session, sdp: pair.b.audio.offer() });
    let offer = pair.a.answer().await;
    let sdp = pair.a.audio.answer(&offer).unwrap();
    pair.a.send(Command::AnswerInAck { session: pair.a_session, sdp });
    let answer = pair.b.acked().await.expect("an answer");
    pair.b.audio.take_answer(&answer).unwrap();
    tokio::join!(pair.a.hears(50), pair.b.hears(50));

    pair.b.send(Command::Reinvite { session: pair.b_session, sdp: None });
    assert_eq!(pair.a.reinvited().await, None);
    let sdp = pair.a.audio.offer();
    pair.a.send(Command::AcceptReinvite { session: pair.a_session, sdp });
    let offer = pair.b.reinvite_answered().await;
    let sdp = pair.b.audio.answer(&offer).unwrap();
    pair.b.send(Command::AnswerInAck { session: pair.b_session, sdp });
    let answer = pair.a.acked().await.expect("an answer");
    pair.a.audio.take_answer(&answer).unwrap();
    tokio::join!(pair.a.hears_tone(440.0), pair.b.hears_tone(440.0));
}

#[tokio::test]
async fn busy_passes() {
    let mut pair = ringing(true).await;
    pair.b.end(pair.b_session, 486, "Busy Here");
    let end = pair.a.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 486));
}

#[tokio::test]
async fn cancel_passes() {
    let mut pair = ringing(true).await;
    let mut reports = pair.lab.reports();
    pair.a.end(pair.a_session, 487, "Never mind");
    let end = pair.b.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 487));
    assert_eq!(report(&mut reports).await.end.by, Party::Caller);
}

#[tokio::test]
async fn info_and_notify_pass() {
    let mut pair = talking().await;
    let info = Command::Info {
        session: pair.a_session,
        content_type: "text/plain".to_owned(),
        body: b"a=b".to_vec(),
    };
    pair.a.send(info);
    let body = pair
        .b
        .wait("INFO", |event| match event {
            Event::Informed { body, .. } => Some(body),
            _ => None,
        })
        .await;
    assert_eq!(body, b"a=b");
    pair.b.send(Command::Notify { session: pair.b_session, event: NotifyEvent::Hold });
    let event = pair
        .a
        .wait("NOTIFY", |event| match event {
            Event::Notified { event, .. } => Some(event),
            _ => None,
        })
        .await;
    assert_eq!(event, NotifyEvent::Hold);
}
