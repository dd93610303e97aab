//! SRTP keys in descriptions of the SIP side (RFC 4568).

use std::net::SocketAddr;

use wrtc_gateway::sdp::write::{self, SipSide};
use wrtc_gateway::sdp::{
    BrowserSdp, Codec, Crypto, CryptoFault, CryptoSuite, KeySource, Origin, RtcpTarget, SdpError,
    SipSdp, SrtpPolicy, choose,
};

/// RFC 4568 6.1: 16 bytes of key and 14 of salt.
const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn body(proto: &str, lines: &[&str]) -> String {
    let attributes: String = lines.iter().map(|line| format!("a={line}\r\n")).collect();
    format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
         m=audio 6000 {proto} 0 8\r\n{attributes}"
    )
}

fn parse(proto: &str, lines: &[&str], srtp: SrtpPolicy) -> Result<SipSdp, SdpError> {
    SipSdp::parse_with(&body(proto, lines), &Codec::ALL, srtp)
}

fn line(rest: &str) -> Result<Crypto, CryptoFault> {
    Crypto::parse(rest)
}

#[test]
fn a_line_is_read_with_its_lifetime() {
    for lifetime in ["", "|2^20", "|2^48", "|1048576"] {
        let read = line(&format!("7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{lifetime}")).unwrap();
        assert_eq!((read.tag, read.key.suite()), (7, CryptoSuite::AesCm128HmacSha1_80));
        assert_eq!(read.key.master_key(), b"wDfvg&T+)xG7@fb5");
        assert_eq!(read.key.salt().len(), 14);
        assert_eq!(read.value(), format!("7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
        assert!(!format!("{read:?}").contains("100, 118"), "{read:?}");
    }
}

#[test]
fn every_suite_reads_as_it_was_written_with_padding_or_without() {
    for written in KeySource::new([5; 32]).offer() {
        assert_eq!(line(&written.value()), Ok(written.clone()));
        assert_eq!(line(written.value().trim_end_matches('=')), Ok(written));
    }
}

#[test]
fn what_is_not_spoken_is_refused_by_name() {
    let cm = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    for (text, fault) in [
        (format!("{cm}|2^20|1:4"), CryptoFault::Mki),
        (format!("{cm}|1:4"), CryptoFault::Mki),
        (format!("{cm}|2^20|1:4;inline:{KEY}|2^20|2:4"), CryptoFault::Mki),
        (format!("{cm} UNENCRYPTED_SRTP"), CryptoFault::Parameters),
        (format!("{cm} UNENCRYPTED_SRTCP"), CryptoFault::Parameters),
        (format!("{cm} UNAUTHENTICATED_SRTP"), CryptoFault::Parameters),
        (format!("{cm} WSH=128 KDR=3"), CryptoFault::Parameters),
        (format!("{cm} FEC_ORDER=FEC_SRTP"), CryptoFault::Parameters),
        (format!("{cm}|2^49"), CryptoFault::Lifetime),
        (format!("{cm}|0"), CryptoFault::Lifetime),
        (format!("{cm}|"), CryptoFault::Lifetime),
        (format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"), CryptoFault::Suite),
        (format!("1 AEAD_AES_128_GCM inline:{KEY}"), CryptoFault::Key),
        (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{KEY}"), CryptoFault::Key),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:!".into(), CryptoFault::Key),
        (format!("1 AES_CM_128_HMAC_SHA1_80 outline:{KEY}"), CryptoFault::Form),
        (format!("+1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), CryptoFault::Form),
        ("1 AES_CM_128_HMAC_SHA1_80".into(), CryptoFault::Form),
    ] {
        assert_eq!(line(&text), Err(fault), "{text}");
    }
    assert!(line(&format!("{cm} WSH=64 KDR=0 -OWN=1")).is_ok());
}

#[test]
fn the_offers_order_is_kept_but_the_short_tag_comes_last() {
    let lines = [
        format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"),
        format!("crypto:2 F8_128_HMAC_SHA1_80 inline:{KEY}"),
        format!("crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
        format!("crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let tags = |lines: &[&str]| {
        let sdp = parse("RTP/SAVP", lines, SrtpPolicy::Required).unwrap();
        (sdp.crypto.len(), choose(&sdp.crypto).unwrap().tag)
    };
    assert_eq!(tags(&lines), (2, 4));
    assert_eq!(tags(&lines[..3]), (1, 1));
}

#[test]
fn the_policy_says_which_audio_is_taken() {
    use SrtpPolicy::{Off, Preferred, Required};
    let good = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let bad = format!("{good}|1:4");
    let profile = Err(SdpError::Profile("RTP/SAVP".into()));
    for (proto, crypto, policy, expected) in [
        ("RTP/AVP", None, Off, Ok(0)),
        ("RTP/AVP", Some(&good), Off, Ok(0)),
        ("RTP/SAVP", Some(&good), Off, profile.clone()),
        ("RTP/AVP", None, Preferred, Ok(0)),
        ("RTP/AVP", Some(&good), Preferred, Ok(1)),
        ("RTP/AVP", Some(&bad), Preferred, Ok(0)),
        ("RTP/SAVP", Some(&good), Preferred, Ok(1)),
        ("RTP/SAVPF", Some(&good), Preferred, Ok(1)),
        ("RTP/SAVP", Some(&bad), Preferred, Err(SdpError::NoKey(CryptoFault::Mki))),
        ("RTP/SAVP", None, Preferred, Err(SdpError::KeyMissing)),
        ("RTP/AVP", None, Required, Err(SdpError::Unencrypted)),
        ("RTP/AVP", Some(&good), Required, Ok(1)),
        ("RTP/AVP", Some(&bad), Required, Err(SdpError::NoKey(CryptoFault::Mki))),
        ("RTP/SAVP", Some(&good), Required, Ok(1)),
        ("RTP/SAVP", None, Required, Err(SdpError::KeyMissing)),
    ] {
        let lines: Vec<&str> = crypto.into_iter().map(String::as_str).collect();
        let keys = parse(proto, &lines, policy).map(|sdp| sdp.crypto.len());
        assert_eq!(keys, expected, "{proto} {lines:?} {policy:?}");
    }
}

/// Both kinds in one offer, as some contact centres write it.
#[test]
fn encrypted_audio_goes_before_plain() {
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
         m=audio 6000 RTP/AVP 0\r\nm=audio 6002 RTP/SAVP 0\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"
    );
    for (policy, index) in
        [(SrtpPolicy::Off, 0), (SrtpPolicy::Preferred, 1), (SrtpPolicy::Required, 1)]
    {
        assert_eq!(SipSdp::parse_with(&text, &Codec::ALL, policy).unwrap().audio, index);
    }
}

/// A browser brings a fingerprint; keys in its SDP would have passed through who knows whose hands.
#[test]
fn keys_of_a_browser_are_not_looked_at() {
    let text = body("RTP/SAVP", &[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]);
    let sdp = BrowserSdp::parse(&text, &Codec::ALL).unwrap();
    assert_eq!(sdp.fingerprint, None, "no handshake, so no media");
}

#[test]
fn an_answer_has_one_line_and_an_offer_all() {
    let rtp: SocketAddr = "192.0.2.1:20000".parse().unwrap();
    let lines = KeySource::new([5; 32]).offer();
    let payloads = write::offered(&Codec::ALL);
    let side = SipSide { profile: "RTP/SAVP", crypto: &lines, ..SipSide::plain(rtp, &payloads) };
    let offer = write::sip(&mut Origin::new(1), side, None);
    assert!(offer.contains("m=audio 20000 RTP/SAVP "), "{offer}");
    let read = SipSdp::parse_with(&offer, &Codec::ALL, SrtpPolicy::Required).unwrap();
    assert_eq!(read.crypto, lines);
    let side = SipSide { crypto: &lines[1..2], rtcp_mux: true, ..SipSide::plain(rtp, &payloads) };
    let like = Some((&read.lines[..], read.audio));
    let answer = write::sip(&mut Origin::new(1), side, like);
    let read = SipSdp::parse_with(&answer, &Codec::ALL, SrtpPolicy::Required).unwrap();
    assert_eq!((read.crypto.as_slice(), read.rtcp), (&lines[1..2], RtcpTarget::Mux));
    assert_eq!(read.lines[0].proto, "RTP/SAVP");
}

#[test]
fn where_rtcp_is_wanted() {
    let at = |address: &str| RtcpTarget::At(address.parse().unwrap());
    for (attributes, expected) in [
        (&[][..], RtcpTarget::NextPort),
        (&["rtcp:7001"], at("10.0.0.9:7001")),
        (&["rtcp:7001 IN IP4 10.0.0.77"], at("10.0.0.77:7001")),
        (&["rtcp:7001 IN IP6 2001:db8::1"], at("[2001:db8::1]:7001")),
        (&["rtcp:0"], RtcpTarget::NextPort),
        (&["rtcp:x"], RtcpTarget::NextPort),
        (&["rtcp:7001", "rtcp-mux"], RtcpTarget::Mux),
    ] {
        let sdp = parse("RTP/AVP", attributes, SrtpPolicy::Off).unwrap();
        assert_eq!(sdp.rtcp, expected, "{attributes:?}");
    }
}
