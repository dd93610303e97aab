//! The lab in the hands of a test.

use std::time::Duration;

use wrtc_gateway::lab::{
    Ack, AckSdp, CallOut, ControlError, Hold, Leg, LegEvent, PhoneConfig, Sound,
};
use wrtc_gateway::sdp::{Codec, Direction};
use wrtc_gateway::sip::{Command, Event, NotifyEvent, SessionId};

use crate::support::*;

const WHISTLE: Sound = Sound::Tone { hz: 1200.0, dbfs: -12.0 };

fn whistling() -> CallOut {
    let mut call = CallOut::new("1234");
    call.phone = PhoneConfig { sound: WHISTLE, ..PhoneConfig::default() };
    call
}

/// What a leg tells next that is worth a test.
async fn told<T>(leg: &mut Leg, what: &str, mut pick: impl FnMut(LegEvent) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let event = leg.next().await.expect("the leg goes on");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    })
    .await
}

async fn notified(telephone: &mut Telephone) -> NotifyEvent {
    telephone
        .wait("NOTIFY", |event| match event {
            Event::Notified { event, .. } => Some(event),
            _ => None,
        })
        .await
}

/// A call of the lab that the telephone has taken.
async fn talking(leg: &Leg, telephone: &mut Telephone) -> SessionId {
    assert_eq!(leg.dn(), "5001");
    let (session, invite) = telephone.invited().await;
    telephone.accept(session, &invite);
    telephone.acked().await;
    session
}

#[tokio::test]
async fn a_call_without_an_offer_and_talk_while_it_rings() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let call = CallOut { offer: false, ..whistling() };
    let mut leg = lab.control().call("5001", call).await.unwrap();
    let (session, invite) = telephone.invited().await;
    assert_eq!((invite.from.as_str(), &invite.sdp), ("1234", &None));
    telephone.send(Command::Progress { session, code: 180, sdp: None });
    told(&mut leg, "ringing", |e| matches!(e, LegEvent::Progressed { .. }).then_some(())).await;
    leg.notify(NotifyEvent::Talk).await.unwrap();
    assert_eq!(notified(&mut telephone).await, NotifyEvent::Talk);
    telephone.accept(session, &invite);
    let answer = telephone.acked().await.expect("an answer in the ACK");
    telephone.audio.take_answer(&answer).unwrap();
    telephone.hears_tone(1200.0).await;
    leg.notify(NotifyEvent::Hold).await.unwrap();
    assert_eq!(notified(&mut telephone).await, NotifyEvent::Hold);
    until("440 Hz", || leg.phone().heard().tone_near(440.0, 5.0).seconds > 0.5).await;
}

#[tokio::test]
async fn an_ack_is_withheld_until_it_is_released() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    for (offer, sdp) in
        [(true, AckSdp::Answer), (false, AckSdp::Answer), (false, AckSdp::BlackHole)]
    {
        let call = CallOut { offer, ack: Ack::Withheld, ..whistling() };
        let mut leg = lab.control().call("5001", call).await.unwrap();
        let (session, invite) = telephone.invited().await;
        telephone.accept(session, &invite);
        told(&mut leg, "answered", |e| matches!(e, LegEvent::Answered { .. }).then_some(())).await;
        // A second is time enough for an ACK and for repeated answers.
        let early = tokio::time::timeout(Duration::from_secs(1), telephone.acked()).await;
        assert!(early.is_err(), "{early:?}");
        leg.release_ack(sdp).await.unwrap();
        let answer = telephone.acked().await;
        assert_eq!(answer.is_some(), !offer);
        if sdp == AckSdp::BlackHole {
            assert!(answer.unwrap().contains("c=IN IP4 0.0.0.0"));
        }
        leg.hang_up(403, "Refused").await.unwrap();
        let end = telephone.ended().await;
        assert!(end.reason_header.unwrap().starts_with("SIP;cause=403"), "{:?}", end.text);
    }
}

#[tokio::test]
async fn reinvites_of_every_kind_reach_the_telephone() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let mut leg = lab.control().call("5001", whistling()).await.unwrap();
    let session = talking(&leg, &mut telephone).await;
    telephone.hears(20).await;
    for (hold, direction) in [
        (Hold::SendOnly, Direction::RecvOnly),
        (Hold::Inactive, Direction::Inactive),
        (Hold::BlackHole, Direction::SendRecv),
        (Hold::No, Direction::SendRecv),
    ] {
        leg.hold(hold).await.unwrap();
        accept_reinvite(&mut telephone, session, &mut leg).await;
        assert_eq!(telephone.audio.direction(), direction, "{hold:?}");
    }
    let port = leg.change_port().await.unwrap();
    let offer = accept_reinvite(&mut telephone, session, &mut leg).await;
    assert!(offer.contains(&format!("m=audio {} ", port.port())), "{offer}");
    leg.change_codecs(vec![Codec::Pcma], Some(96)).await.unwrap();
    let offer = accept_reinvite(&mut telephone, session, &mut leg).await;
    assert!(offer.contains("RTP/AVP 8 96\r\n"), "{offer}");
    telephone.hears_tone(1200.0).await;
    assert_eq!(telephone.audio.heard_afresh().codec, Some("PCMA"));

    leg.ask_for_offer().await.unwrap();
    assert_eq!(telephone.reinvited().await, None);
    let sdp = telephone.audio.offer();
    telephone.send(Command::AcceptReinvite { session, sdp });
    let answer = telephone.acked().await.expect("an answer in the ACK");
    telephone.audio.take_answer(&answer).unwrap();
    tokio::join!(telephone.hears_tone(1200.0), async {
        leg.phone().listen_afresh();
        until("440 Hz", || leg.phone().heard_afresh().tone_near(440.0, 5.0).seconds > 0.5).await;
    });
}

async fn accept_reinvite(telephone: &mut Telephone, session: SessionId, leg: &mut Leg) -> String {
    let offer = telephone.reinvited().await.expect("an offer");
    let sdp = telephone.audio.answer(&offer).unwrap();
    telephone.send(Command::AcceptReinvite { session, sdp });
    told(leg, "re-INVITE answered", |event| match event {
        LegEvent::ReinviteAnswered { .. } => Some(()),
        LegEvent::ReinviteRefused { code, .. } => panic!("refused: {code}"),
        _ => None,
    })
    .await;
    offer
}

#[tokio::test]
async fn digits_info_and_silence_are_played() {
    let lab = lab().await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let leg = lab.control().call("5001", whistling()).await.unwrap();
    talking(&leg, &mut telephone).await;
    telephone.hears(20).await;
    leg.phone().dtmf("7*");
    until("two digits", || telephone.audio.heard().digits == "7*").await;
    leg.info("text/plain", b"hello").await.unwrap();
    telephone.wait("INFO", |event| matches!(event, Event::Informed { .. }).then_some(())).await;
    leg.phone().play(Sound::Silence);
    telephone.hears(5).await;
    telephone.hears(50).await;
    assert_eq!(telephone.audio.heard_afresh().silent, 1.0);
}

#[tokio::test]
async fn a_test_answers_a_number_and_finds_a_call_that_is_up() {
    let lab = lab().await;
    let mut numbers = lab.control().take_number("7777").await.unwrap();
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    let session = telephone.dial("7777", true);
    let leg = soon("the call", numbers.recv()).await.unwrap();
    assert!(leg.invite().unwrap().sdp.is_some());
    leg.phone().play(WHISTLE);
    leg.progress(183, true).await.unwrap();
    let early = telephone
        .wait("early media", |event| match event {
            Event::Progressed { code: 183, sdp, .. } => sdp,
            _ => None,
        })
        .await;
    telephone.audio.take_answer(&early).unwrap();
    leg.accept().await.unwrap();
    telephone.answer().await;
    telephone.hears_tone(1200.0).await;
    // Another hand on the same call.
    let found = lab.control().leg("5001").await.unwrap();
    until("440 Hz", || found.phone().heard().tone_near(440.0, 5.0).seconds > 0.5).await;
    found.hang_up(480, "Gone").await.unwrap();
    telephone.ended().await;
    let _ = session;
    assert_eq!(lab.control().leg("5001").await.err(), Some(ControlError::NoSuchCall));
    let nobody = lab.control().call("5009", whistling()).await.err();
    assert_eq!(nobody, Some(ControlError::NotRegistered));
}
