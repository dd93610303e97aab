//! Signing in and out.

use wrtc_gateway::lab::{Challenge, Lab, LabConfig};
use wrtc_gateway::sip::{Command, Event};

use crate::support::*;

async fn refused(dn: &str, password: &str) -> u16 {
    let lab = lab().await;
    let mut telephone = Telephone::new(&lab, dn, password).await;
    telephone.send(Command::Register);
    match telephone.next().await {
        Event::RegistrationFailed { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_challenge_can_be_met() {
    for challenge in [Challenge::None, Challenge::Md5, Challenge::Sha256, Challenge::Both] {
        let lab = Lab::start(LabConfig { challenge, ..config() }).await.unwrap();
        let _telephone = Telephone::signed_in(&lab, "5001").await;
        let signed_in = lab.registrations().borrow().clone();
        assert_eq!(signed_in.len(), 1, "{challenge:?}");
        assert_eq!((signed_in[0].dn.as_str(), signed_in[0].expires.as_secs()), ("5001", 300));
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_after_the_challenge() {
    assert_eq!(refused("5001", "wrong").await, 401);
}

#[tokio::test]
async fn an_unknown_dn_is_not_found() {
    assert_eq!(refused("5021", PASSWORD).await, 404);
}

#[tokio::test]
async fn signing_out_and_in_elsewhere_moves_the_dn() {
    let lab = lab().await;
    let mut registrations = lab.registrations();
    let mut first = Telephone::signed_in(&lab, "5002").await;
    let old = registrations.borrow_and_update()[0].clone();
    let second = Telephone::signed_in(&lab, "5002").await;
    let new = registrations.borrow_and_update()[0].clone();
    assert_ne!(old.hop, new.hop);
    // The first has nothing to sign out of any more.
    first.send(Command::Unregister);
    first.wait("sign-out", |event| (event == Event::Unregistered).then_some(())).await;
    assert_eq!(*registrations.borrow(), [new]);
    second.send(Command::Unregister);
    soon("nobody is left", registrations.wait_for(|all| all.is_empty())).await.unwrap();
}
