//! The numbers to try out a telephone with.

use wrtc_gateway::lab::{Lab, LabConfig, Party};
use wrtc_gateway::sip::{EndedBy, Event};

use crate::support::*;

#[tokio::test]
async fn extension_600_sends_everything_back_and_tells_what_it_heard() {
    let lab = lab().await;
    let mut reports = lab.reports();
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let session = telephone.call("600").await;
    telephone.hears_tone(440.0).await;
    telephone.audio.dtmf("12#");
    telephone.hears(50).await;
    telephone.end(session, 200, "Done");
    let report = report(&mut reports).await;
    assert_eq!((report.number.as_str(), report.caller.as_str()), ("600", "5001"));
    assert_eq!((report.end.by, report.end.code), (Party::Caller, 200));
    let heard = report.heard.unwrap();
    assert!(heard.tone_near(440.0, 5.0).seconds > 1.9, "{heard}");
    assert!((heard.received.lost, heard.received.sources) == (0, 1), "{heard}");
    assert_eq!(heard.digits, "12#");
}

#[tokio::test]
async fn extension_601_plays_1_khz() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    telephone.call("601").await;
    telephone.hears_tone(1000.0).await;
}

#[tokio::test]
async fn extension_602_rings_until_the_caller_gives_up() {
    let lab = lab().await;
    let mut reports = lab.reports();
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let session = telephone.dial("602", true);
    telephone
        .wait("ringing", |event| matches!(event, Event::Progressed { code: 180, .. }).then_some(()))
        .await;
    telephone.end(session, 487, "Enough");
    assert_eq!(telephone.ended().await.by, EndedBy::Us);
    let report = report(&mut reports).await;
    assert_eq!((report.talked, report.end.by), (None, Party::Caller));
}

#[tokio::test]
async fn extension_603_is_busy() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    telephone.dial("603", true);
    let end = telephone.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 486));
}

#[tokio::test]
async fn extension_604_calls_back() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let session = telephone.call("604").await;
    telephone.hears(10).await;
    telephone.end(session, 200, "Call me");
    let (session, invite) = telephone.invited().await;
    assert_eq!(invite.from, "604");
    telephone.accept(session, &invite);
    telephone.acked().await;
    telephone.hears_tone(440.0).await;
}

#[tokio::test]
async fn extension_1003_rings_and_then_answers_by_itself() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    telephone.dial("1003", true);
    telephone
        .wait("ringing", |event| match event {
            Event::Progressed { code: 180, .. } => Some(()),
            Event::Answered { .. } => panic!("answered without ringing"),
            _ => None,
        })
        .await;
    let answer = telephone.answer().await;
    telephone.audio.take_answer(&answer).unwrap();
    telephone.hears_tone(440.0).await;
}

#[tokio::test]
async fn an_extension_answers_a_call_without_an_offer() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let session = telephone.dial("600", false);
    let offer = telephone.answer().await;
    let sdp = telephone.audio.answer(&offer).unwrap();
    telephone.send(wrtc_gateway::sip::Command::AnswerInAck { session, sdp });
    telephone.hears_tone(440.0).await;
}

#[tokio::test]
async fn numbers_that_lead_nowhere_say_so() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    for (number, code) in [("999", 404), ("5002", 480)] {
        telephone.dial(number, true);
        assert_eq!(telephone.ended().await.code, code, "{number}");
    }
}

#[tokio::test]
async fn guests_may_call_but_nobody_may_pass_for_a_dn() {
    let lab = lab().await;
    let mut guest = Telephone::guest(&lab).await;
    guest.call("600").await;
    guest.hears(20).await;
    let mut impostor = Telephone::new(&lab, "5003", "guessed").await;
    impostor.dial("600", true);
    assert_eq!(impostor.ended().await.code, 407);
}

#[tokio::test]
async fn one_call_too_many_is_told_to_come_later() {
    let lab = Lab::start(LabConfig { max_calls: 1, ..config() }).await.unwrap();
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let first = telephone.call("600").await;
    telephone.dial("600", true);
    assert_eq!(telephone.ended().await.code, 503);
    telephone.end(first, 200, "Done");
    assert_eq!(telephone.ended().await.code, 200);
    let mut reports = lab.reports();
    let again = telephone.call("600").await;
    telephone.end(again, 200, "Done");
    report(&mut reports).await;
}

#[tokio::test]
async fn a_lab_that_closes_takes_leave() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    telephone.call("601").await;
    soon("the lab closes", lab.stop()).await;
    assert_eq!(telephone.ended().await.by, EndedBy::Peer);
}

#[tokio::test]
async fn a_lab_without_an_address_to_tell_does_not_start() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let error = Lab::start(LabConfig { listen, ..config() }).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
