//! An attended transfer whole, between three user agents on sockets of their own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use wrtc_gateway::sip::{
    Claim, Command, Driven, EndedBy, Endpoint, Event, HeaderPair, Hop, Referred, SessionId,
};

use super::support::*;

/// Generous: the machine that runs this may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn phone(endpoint: &Endpoint, user: &str, server: SocketAddr) -> Driven {
    let here = endpoint.local_addr().to_string();
    let config = config(user, &here, &server.to_string());
    Driven::new(endpoint, Claim::User(user.into()), config)
}

/// The next event that `want` takes; what it leaves aside is thrown away.
async fn wait<T>(ua: &mut Driven, what: &str, mut want: impl FnMut(&Event) -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = want(&ua.next_event().await) {
                return found;
            }
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{what}"))
}

/// Takes the next call, and tells which of its own it replaces.
async fn pick_up(ua: &mut Driven) -> (SessionId, Option<SessionId>, Option<String>) {
    let (session, replaces, by) = wait(ua, "Invited", |event| match event {
        Event::Invited { session, invite } => {
            Some((*session, invite.replaces, invite.referred_by.clone()))
        }
        _ => None,
    })
    .await;
    ua.command(Command::Progress { session, code: 180, sdp: None });
    ua.command(Command::Accept { session, sdp: ANSWER.into() });
    wait(ua, "Acked", |event| matches!(event, Event::Acked { .. }).then_some(())).await;
    (session, replaces, by)
}

async fn call(ua: &mut Driven, session: SessionId, to: String, headers: Vec<HeaderPair>) {
    ua.command(Command::Invite { session, to, sdp: Some(OFFER.into()), headers });
    wait(ua, "Answered", |event| matches!(event, Event::Answered { .. }).then_some(())).await;
}

async fn ended(ua: &mut Driven, which: SessionId) -> EndedBy {
    wait(ua, "Ended", |event| match event {
        Event::Ended { session, end } if *session == which => Some(end.by),
        _ => None,
    })
    .await
}

/// REFER out (blind and attended with Replaces) and in; NOTIFY sipfrag to the end; INVITE with Replaces.
#[tokio::test]
async fn an_attended_transfer_from_beginning_to_end() {
    let bind = || Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
    let (at_a, at_b, at_c) = (bind(), bind(), bind());
    let (b_addr, c_addr) = (at_b.local_addr(), at_c.local_addr());
    let mut a = phone(&at_a, "a", c_addr);
    let mut b = phone(&at_b, "b", at_a.local_addr());
    let mut c = phone(&at_c, "c", at_a.local_addr());

    // B calls A; A consults C.
    let (b_to_a, a_to_c) = (SessionId(1), SessionId(2));
    let picked_up = async { pick_up(&mut a).await };
    let (_, (a_from_b, ..)) = tokio::join!(
        call(&mut b, b_to_a, format!("sip:a@{}", at_a.local_addr()), vec![]),
        picked_up
    );
    let (_, (c_from_a, replaced, _)) =
        tokio::join!(call(&mut a, a_to_c, "c".into(), vec![]), pick_up(&mut c));
    assert_eq!(replaced, None);

    let to = format!("sip:c@{c_addr}");
    a.command(Command::Refer { session: a_from_b, to, replaces: Some(a_to_c) });

    let transferor = async {
        let mut last = 0;
        wait(&mut a, "the end of the transfer", |event| match event {
            Event::Transferring { session, code, done, .. } => {
                assert_eq!(*session, a_from_b);
                last = *code;
                done.then_some(())
            }
            _ => None,
        })
        .await;
        assert_eq!(last, 200);
        a.command(Command::End { session: a_from_b, code: 200, text: String::new() });
        assert_eq!(ended(&mut a, a_from_b).await, EndedBy::Us);
        timeout(PATIENCE, a.wind_down()).await.expect("the BYE is answered");
    };
    let transferee = async {
        let (refer, session, referred) = wait(&mut b, "Referred", |event| match event {
            Event::Referred { refer, session, referred } => {
                Some((*refer, *session, (**referred).clone()))
            }
            _ => None,
        })
        .await;
        assert_eq!(session, Some(b_to_a));
        b.command(Command::AcceptRefer { refer });
        let Referred { to, replaces, referred_by, .. } = referred;
        let headers = vec![
            ("Replaces".to_owned(), replaces.expect("Replaces")),
            ("Referred-By".to_owned(), referred_by.expect("Referred-By")),
        ];
        let session = SessionId(3);
        // No server stands between these three: calls go to where this points.
        b.set_server(Hop::udp(c_addr), b_addr);
        call(&mut b, session, to, headers).await;
        b.command(Command::ReferProgress { refer, code: 200, text: "OK".into() });
        assert_eq!(ended(&mut b, b_to_a).await, EndedBy::Peer, "A has done its part");
        b.command(Command::End { session, code: 200, text: String::new() });
        timeout(PATIENCE, b.wind_down()).await.expect("all is answered");
    };
    let target = async {
        let (session, replaces, by) = pick_up(&mut c).await;
        assert_eq!(replaces, Some(c_from_a));
        assert_eq!(by.as_deref(), Some("<sip:a@example.org>"));
        c.command(Command::End { session: c_from_a, code: 200, text: "replaced".into() });
        assert_eq!(ended(&mut c, c_from_a).await, EndedBy::Us);
        assert_eq!(ended(&mut c, session).await, EndedBy::Peer);
        timeout(PATIENCE, c.wind_down()).await.expect("the BYE is answered");
    };
    tokio::join!(transferor, transferee, target);
}
