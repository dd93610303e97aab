//! A call from its first check to its last word over a network that delays, reorders and loses: 60 ms
//! give or take 40, and every twentieth packet.

use std::panic::Location;
use std::time::Duration;

use rand::RngExt as _;
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::between::{Between, Fate};
use crate::gateway::{Gateway, PASSWORD};
use crate::support::far::tone;
use crate::support::gateway::dialled;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_heard_through_delay_jitter_and_loss() {
    let lab = Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.unwrap();
    let gateway = Gateway::start(lab.sip_addr(), &[]);
    let mut phone = gateway.phone("5001").await;
    let mut legs = lab.control().take_number("7000").await.unwrap();
    phone.call("7000").await;
    let mut far = dialled(&mut legs).await;
    far.leg.accept().await.unwrap();

    // The browser is told of the one in the middle.
    let mut answer = phone.expect_roap("ANSWER").await;
    let lines = answer.sdp.iter().flat_map(|sdp| sdp.lines()).map(str::to_owned);
    let candidate = lines.chain(answer.candidates.clone()).find(|line| line.contains(" typ host"));
    let candidate = candidate.expect("a candidate");
    let port: u16 = candidate.split(' ').nth(5).unwrap().parse().unwrap();
    let between = Between::new(([127, 0, 0, 1], port).into()).await;
    between.rule(|_, _| match rand::rng().random_range(0..20) {
        0 => Fate::Lost,
        _ => Fate::Late(Duration::from_millis(rand::rng().random_range(20..100))),
    });
    let (old, new) =
        (format!(" 127.0.0.1 {port} typ"), format!(" 127.0.0.1 {} typ", between.addr.port()));
    answer.sdp = answer.sdp.map(|sdp| sdp.replace(&old, &new));
    for candidate in &mut answer.candidates {
        *candidate = candidate.replace(&old, &new);
    }
    phone.take_answer(&answer, Location::caller()).await;
    phone.browser.connected().await;
    far.play(tone(440.0));
    phone.browser.play(1000.0).await;

    // Until each has been spoken to for eight seconds.
    let telephone = far.leg.phone();
    let spoken = async {
        telephone.listen_afresh();
        while telephone.heard_afresh().frames < 400 || phone.browser.heard().seconds() < 8.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::gateway::LIMIT, spoken).await.expect("packets come");
    let there = telephone.heard_afresh();
    let share = there.tone_near(1000.0, 30.0).share;
    assert!(share > 0.8, "the telephone understood {share}: {there}");
    assert!((0.005..0.15).contains(&there.received.loss), "{there}");
    let here = phone.browser.heard();
    let share = here.tone_seconds(440.0) / here.seconds();
    assert!(share > 0.9, "the browser understood {share} of what came");
    assert!((0.005..0.15).contains(&here.loss()), "{} lost of {}", here.lost(), here.received());
    assert_eq!(here.streams.len(), 1);

    let stats = phone.stats().await;
    let counted = &stats["audio"]["rx"];
    let (packets, lost) = (counted["packets"].as_u64().unwrap(), counted["lost"].as_u64().unwrap());
    assert!(lost * 200 > packets && lost * 6 < packets, "{stats}");
    assert!(counted["jitter"].as_f64().unwrap() > 5.0, "{stats}");
    assert!(counted["reordered"].as_u64().unwrap() > 0, "{stats}");
    phone.hang_up().await;
    assert_eq!(far.ended().await.code, 200);
}
