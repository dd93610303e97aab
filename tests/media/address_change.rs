//! A browser that is elsewhere all of a sudden: another network, another NAT binding, another family.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::support::phone::{assert_gapless, spoken, tone_of};
use crate::support::{Call, LOOPBACK, PATIENCE, config, map};
use wrtc_gateway::media::{BrowserLocal, Engine, MediaConfig, MediaEvent};
use wrtc_gateway::sdp::Codec;

const TALK: Duration = Duration::from_millis(600);
const FRAMES: usize = 30;

fn established(engine: Engine) -> Call {
    let mut call = Call::on(engine);
    call.describe();
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call
}

fn elsewhere() -> UdpSocket {
    UdpSocket::bind((LOOPBACK, 0)).unwrap()
}

/// Each side has heard all that the other has said, at one go.
fn assert_whole(call: &Call, frames: usize, what: &str) {
    assert_eq!(call.browser.heard.len(), frames, "{what}: frames at the browser");
    assert_gapless(&call.browser.heard, what);
    assert_gapless(&call.phone.heard, what);
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.98, "{what}: 1 kHz at the browser: {tone}");
    let tone = tone_of(&spoken(&call.phone.heard, frames), 440);
    assert!(tone > 0.98, "{what}: 440 Hz at the phone: {tone}");
}

/// What came at a socket that was left.
fn waiting_at(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| socket.recv_from(&mut [0; 2048]).ok()).count()
}

#[test]
fn a_new_nat_binding_is_followed_at_the_first_check() {
    let mut call = established(Engine::start(config()).unwrap());
    call.talk(TALK);
    let local = call.bridge.browser_local();
    let old = call.browser.socket.try_clone().unwrap();
    for n in 1..=3 {
        // The same credentials from another port; the browser itself may not know.
        call.browser.move_to(elsewhere());
        assert!(call.browser.ping(&local, PATIENCE));
        call.talk(TALK);
        assert_whole(&call, FRAMES * (n + 1), "another port");
    }
    assert_eq!(waiting_at(&old), 0, "nothing goes where the browser was");
    let restarts = call.seen.iter().filter(|e| matches!(e, MediaEvent::IceConnected { .. }));
    assert_eq!(restarts.count(), 1, "it is the same session: {:?}", call.seen);
    assert!(!call.seen.contains(&MediaEvent::IceLost));
}

#[test]
fn an_ice_restart_on_another_network_leaves_no_hole() {
    let mut call = established(Engine::start(config()).unwrap());
    call.talk(TALK);
    let local = call.bridge.restart_ice();
    call.browser.ice.ufrag = "anew".into();
    call.describe_browser();
    // The old path carries on for as long as the new one is not there.
    call.talk(TALK);
    assert_whole(&call, 2 * FRAMES, "during the restart");
    let old = call.browser.socket.try_clone().unwrap();
    call.browser.move_to(elsewhere());
    assert!(call.browser.ping(&local, PATIENCE));
    call.talk(TALK);
    assert_whole(&call, 3 * FRAMES, "after the restart");
    assert_eq!(waiting_at(&old), 0);
    let remote = call.browser.socket.local_addr().unwrap();
    assert!(call.seen.contains(&MediaEvent::IceConnected { remote }), "{:?}", call.seen);
}

/// The path that the browser keeps as a spare is checked, but not nominated.
#[test]
fn a_spare_path_gets_nothing_until_it_is_nominated() {
    let mut call = established(Engine::start(config()).unwrap());
    let local = call.bridge.browser_local();
    let spare = elsewhere();
    for _ in 0..20 {
        let check = call.browser.check_of(&local.ice, false);
        spare.send_to(&check, call.browser.gateway.unwrap()).unwrap();
        call.talk(Duration::from_millis(40));
    }
    assert_whole(&call, 40, "beside a spare path");
    // As many answers as checks, and no media.
    assert_eq!(waiting_at(&spare), 20);
}

/// The gateway's address of that family first, as if the browser had no other.
fn only(local: &BrowserLocal, ip: IpAddr) -> BrowserLocal {
    let mut local = local.clone();
    local.candidates.retain(|candidate| candidate.address.ip() == ip);
    local
}

#[test]
fn one_call_goes_from_ipv6_to_ipv4_and_back_on_a_socket_of_both() {
    let six = IpAddr::from(Ipv6Addr::LOCALHOST);
    let Ok(at_six) = UdpSocket::bind((six, 0)) else {
        // A host without IPv6, as some containers are.
        return;
    };
    let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let advertise = vec![LOOPBACK, six];
    let engine = Engine::start(MediaConfig { listen, advertise, ..config() }).unwrap();
    let mut call = Call::on(engine);
    call.describe();
    let local = call.bridge.browser_local();
    assert_eq!(local.candidates.len(), 2);
    call.browser.move_to(at_six.try_clone().unwrap());
    call.browser.connect(&only(&local, six));
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.talk(TALK);
    assert_whole(&call, FRAMES, "IPv6");
    call.browser.move_to(elsewhere());
    // The answer to the check names our address as one of IPv4.
    assert!(call.browser.ping(&only(&local, LOOPBACK), PATIENCE));
    call.talk(TALK);
    assert_whole(&call, 2 * FRAMES, "IPv4");
    call.browser.move_to(at_six);
    assert!(call.browser.ping(&only(&local, six), PATIENCE));
    call.talk(TALK);
    assert_whole(&call, 3 * FRAMES, "IPv6 again");
    call.bridge.set_browser(call.browser.remote(map(&[(Codec::Pcmu, 0)], None)));
}
