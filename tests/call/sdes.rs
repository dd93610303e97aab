//! SRTP toward SIP: whose keys, when, and what is refused.

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::{CallConfig, CallEndedBy, InviteOffer, MediaCommand};
use wrtc_gateway::sdp::{
    Crypto, CryptoSuite, KeySource, RtcpTarget, SdpError, SipSdp, SrtpPair, SrtpPolicy,
};
use wrtc_gateway::sip::{Invited, NotifyEvent};

const FAR: &str = "203.0.113.5:30000";
const OTHER: &str = "203.0.113.6:30000";

fn secured(srtp: SrtpPolicy) -> CallConfig {
    CallConfig { srtp, ..config() }
}

/// Lines of a peer's own, of all suites.
fn theirs(seed: u8) -> Vec<Crypto> {
    KeySource::new([seed; 32]).offer()
}

/// A peer's description with these keys.
fn with_keys(addr: &str, profile: &str, version: u32, lines: &[Crypto]) -> String {
    let lines: String = lines.iter().map(|line| format!("a=crypto:{}\r\n", line.value())).collect();
    sip_sdp(addr, "0 101", "sendrecv", version).replace("RTP/AVP", profile) + &lines
}

/// Our last description as the peer reads it.
fn ours(bench: &Bench) -> SipSdp {
    SipSdp::parse_with(&bench.sip_text(), &ALL, SrtpPolicy::Preferred).unwrap()
}

fn profile(bench: &Bench) -> String {
    let sdp = ours(bench);
    sdp.lines[sdp.audio].proto.clone()
}

fn keys(bench: &Bench) -> Option<SrtpPair> {
    bench.remote().srtp.map(|pair| *pair)
}

/// An answer that takes the `n`th line of our offer.
fn answer_to(bench: &Bench, n: usize, addr: &str, seed: u8) -> (String, SrtpPair) {
    let (ours, theirs) = (ours(bench).crypto[n].clone(), theirs(seed));
    let same = theirs.iter().find(|line| line.key.suite() == ours.key.suite()).unwrap();
    let line = Crypto { tag: ours.tag, key: same.key.clone() };
    let text = with_keys(addr, &profile(bench), 1, std::slice::from_ref(&line));
    (text, SrtpPair { local: ours.key, remote: line.key })
}

fn outgoing(srtp: SrtpPolicy) -> Bench {
    Bench::outgoing_with(secured(srtp), &browser_offer("u0", 1, "sendrecv"), &[])
}

#[test]
fn an_offer_has_keys_by_the_policy() {
    for (srtp, expected, lines) in [
        (SrtpPolicy::Off, "RTP/AVP", 0),
        (SrtpPolicy::Preferred, "RTP/AVP", 4),
        (SrtpPolicy::Required, "RTP/SAVP", 4),
    ] {
        let bench = outgoing(srtp);
        assert_eq!((profile(&bench).as_str(), ours(&bench).crypto.len()), (expected, lines));
    }
}

#[test]
fn the_answers_tag_chooses_among_our_keys() {
    for n in 0..4 {
        let mut bench = outgoing(SrtpPolicy::Required);
        let (answer, pair) = answer_to(&bench, n, FAR, 1);
        bench.answered(&answer);
        assert_eq!(keys(&bench), Some(pair));
        assert!(bench.flow().to_sip);
    }
}

#[test]
fn a_plain_answer_is_taken_where_srtp_is_preferred_and_ends_the_call_where_it_is_required() {
    let plain = sip_sdp(FAR, "0 101", "sendrecv", 1);
    let mut bench = outgoing(SrtpPolicy::Preferred);
    bench.answered(&plain);
    assert_eq!(keys(&bench), None);
    assert!(bench.flow().to_sip);
    let mut bench = outgoing(SrtpPolicy::Required);
    bench.answered(&plain);
    let end = bench.ended.as_ref().expect("the call ends");
    assert_eq!((end.by, end.code), (CallEndedBy::Gateway, 488));
    assert!(end.text.contains("only SRTP"), "{}", end.text);
}

#[test]
fn an_answer_whose_key_fits_nothing_ends_the_call() {
    let mut bench = outgoing(SrtpPolicy::Required);
    let wrong = Crypto { tag: 9, ..theirs(1)[0].clone() };
    bench.answered(&with_keys(FAR, "RTP/SAVP", 1, &[wrong]));
    assert!(bench.ended.is_some_and(|end| end.text.contains("fits none that was offered")));
}

#[test]
fn an_offer_is_answered_in_its_profile_with_its_tag() {
    for (srtp, theirs_is) in [
        (SrtpPolicy::Preferred, "RTP/SAVP"),
        (SrtpPolicy::Preferred, "RTP/AVP"),
        (SrtpPolicy::Required, "RTP/SAVPF"),
    ] {
        let lines = &theirs(1)[1..3];
        let text = with_keys(FAR, theirs_is, 1, lines) + "a=rtcp-mux\r\n";
        let mut bench = Bench::incoming_with(secured(srtp), Dialect::Jsapi, Some(&text));
        bench.answer(&browser_answer("u1", "sendrecv", "0 126"));
        let answer = ours(&bench);
        assert_eq!((profile(&bench).as_str(), answer.rtcp), (theirs_is, RtcpTarget::Mux));
        assert_eq!((answer.crypto.len(), answer.crypto[0].tag), (1, 2));
        let pair = keys(&bench).expect("keys");
        assert_eq!((&pair.local, &pair.remote), (&answer.crypto[0].key, &lines[0].key));
        assert_ne!(pair.local, pair.remote);
        assert_eq!(bench.remote().rtcp, RtcpTarget::Mux);
    }
}

#[test]
fn what_the_policy_does_not_take_is_refused_with_a_reason() {
    let refused = |srtp, text: &str| {
        let invited = Invited { sdp: Some(text.to_owned()), ..Invited::default() };
        InviteOffer::parse(&invited, &secured(srtp)).unwrap_err()
    };
    let plain = sip_sdp(FAR, "0 101", "sendrecv", 1);
    assert_eq!(refused(SrtpPolicy::Required, &plain), SdpError::Unencrypted);
    let encrypted = with_keys(FAR, "RTP/SAVP", 1, &theirs(1));
    assert_eq!(refused(SrtpPolicy::Off, &encrypted), SdpError::Profile("RTP/SAVP".into()));
}

/// The key of a session that stays is not changed: neither by us, nor under us.
#[test]
fn hold_and_retrieve_keep_the_keys() {
    let mut bench = outgoing(SrtpPolicy::Required);
    let (answer, pair) = answer_to(&bench, 1, FAR, 1);
    bench.answered(&answer);
    bench.notified(NotifyEvent::Hold);
    let offer = ours(&bench);
    assert_eq!((offer.crypto.len(), &offer.crypto[0].key), (1, &pair.local));
    assert_eq!(profile(&bench), "RTP/SAVP");
    bench.reinvite_answered(&answer.replace("sendrecv", "recvonly"));
    assert_eq!(keys(&bench), Some(pair.clone()));
    bench.notified(NotifyEvent::Talk);
    bench.reinvite_answered(&answer);
    // And the peer's own: a session refresh.
    let line = Crypto { tag: 5, key: pair.remote.clone() };
    bench.reinvited(Some(&with_keys(FAR, "RTP/SAVP", 3, &[line])));
    assert_eq!(keys(&bench), Some(pair));
    assert_eq!(ours(&bench).crypto[0].tag, 5);
}

/// A transfer by re-INVITE: whoever comes knows nothing of how many packets there have been.
#[test]
fn a_new_key_of_theirs_gets_a_new_one_of_ours() {
    let mut bench = outgoing(SrtpPolicy::Preferred);
    let (answer, pair) = answer_to(&bench, 0, FAR, 1);
    bench.answered(&answer);
    bench.reinvited(Some(&with_keys(OTHER, "RTP/AVP", 2, &theirs(2)[..1])));
    let new = keys(&bench).unwrap();
    assert_eq!(new.remote, theirs(2)[0].key);
    assert_ne!(new.local, pair.local);
    // And the one after it speaks plain RTP.
    bench.reinvited(Some(&sip_sdp(OTHER, "0 101", "sendrecv", 3)));
    assert_eq!(keys(&bench), None);
    assert!(ours(&bench).crypto.is_empty());
}

#[test]
fn an_offer_in_a_200_has_new_keys_and_the_ack_says_which_count() {
    let mut bench = outgoing(SrtpPolicy::Required);
    let (answer, before) = answer_to(&bench, 0, FAR, 1);
    bench.answered(&answer);
    bench.reinvited(None);
    let offered = ours(&bench).crypto;
    assert_eq!(offered.len(), 4);
    assert!(offered.iter().all(|line| line.key != before.local));
    assert_eq!(keys(&bench), Some(before), "until the ACK");
    let (answer, after) = answer_to(&bench, 2, OTHER, 2);
    bench.acked(Some(&answer));
    assert_eq!(keys(&bench), Some(after.clone()));
    assert_eq!(after.local.suite(), CryptoSuite::AeadAes256Gcm);
}

/// 3pcc: the first offer is in our 200, where there is no second try.
#[test]
fn an_invite_without_sdp_is_offered_keys() {
    let mut bench = Bench::incoming_with(secured(SrtpPolicy::Preferred), Dialect::Jsapi, None);
    bench.offer(ids(55, 1), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(profile(&bench), "RTP/AVP");
    let (answer, pair) = answer_to(&bench, 0, FAR, 1);
    bench.acked(Some(&answer));
    assert_eq!(keys(&bench), Some(pair));
}

/// "Neither may upset the media": a failed 3pcc call ends with the server's BYE, not with ours.
#[test]
fn a_black_hole_needs_no_key_and_hears_nothing() {
    let mut bench = Bench::incoming_with(secured(SrtpPolicy::Required), Dialect::Jsapi, None);
    bench.offer(ids(55, 1), &browser_offer("u0", 1, "sendrecv"));
    bench.acked(Some(&sip_sdp("0.0.0.0:30000", "0", "sendrecv", 1)));
    assert!(bench.ended.is_none());
    assert_eq!((bench.remote().target, keys(&bench)), (None, None));
    let flows = |command: &MediaCommand| matches!(command, MediaCommand::SetFlow(_));
    assert!(!bench.to_media.iter().any(flows), "nothing flows");
}

/// Early dialogs of a forked call have keys of their own; the last description counts.
#[test]
fn each_early_dialog_has_its_own_key() {
    let mut bench = outgoing(SrtpPolicy::Required);
    let (first, second) = (answer_to(&bench, 0, FAR, 1), answer_to(&bench, 1, OTHER, 2));
    bench.progressed(183, Some(&first.0), 1);
    assert_eq!(keys(&bench), Some(first.1));
    // Its choice has not used up the others' lines.
    bench.progressed(183, Some(&second.0), 2);
    assert_eq!(keys(&bench), Some(second.1.clone()));
    bench.answered(&second.0);
    assert_eq!(keys(&bench), Some(second.1));
}

/// Two calls of an agent share a port, and no key.
#[test]
fn calls_of_a_line_have_keys_of_their_own() {
    let text = with_keys(FAR, "RTP/SAVP", 1, &theirs(1));
    let two = [11, 12].map(|seed| {
        let mut keys = KeySource::new([seed; 32]);
        keys.fork().key(CryptoSuite::AesCm128HmacSha1_80)
    });
    assert_ne!(two[0], two[1]);
    let mut bench =
        Bench::incoming_with(secured(SrtpPolicy::Preferred), Dialect::Jsapi, Some(&text));
    bench.answer(&browser_answer("u1", "sendrecv", "0 126"));
    let first = keys(&bench).unwrap();
    bench.invited_with(secured(SrtpPolicy::Preferred), Some(&text));
    bench.sip(wrtc_gateway::sip::Event::Notified { session: SECOND, event: NotifyEvent::Talk });
    let second = keys(&bench).unwrap();
    assert_eq!(first.remote, second.remote);
    assert_ne!(first.local, second.local);
}
