//! Both ends of a call do anything in any order. Nothing of it may be answered by a fault of the
//! server, break the poll, leave a call behind or spoil the next one.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::TestBrowser;
use crate::support::far::{Far, call_from};
use crate::support::gateway::Demo;
use crate::support::jsapi::Jsapi;
use crate::support::roap::Roap;
use crate::support::sdp;
use wrtc_gateway::lab::{Ack, AckSdp, Hold};

const ROUNDS: usize = 100;

/// A small generator, so that a failing round can be played again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    async fn pause(&mut self) {
        tokio::time::sleep(Duration::from_micros(self.roll(6000))).await;
    }
}

/// The browser's side, by hand: descriptions that are right, numbers that may not be.
struct Page {
    phone: Jsapi,
    sdp: String,
    own: u64,
    seq: u64,
    theirs: Option<u64>,
    offer: Option<Roap>,
}

impl Page {
    async fn act(&mut self, dice: &mut Dice) {
        while let Some(message) = self.phone.within(Duration::ZERO).await {
            if let Some(roap) = message.roap() {
                match roap.kind.as_str() {
                    "OFFER" => self.offer = Some(roap),
                    "ANSWER" => self.theirs = roap.answerer,
                    _ => {}
                }
            }
        }
        let direction = ["sendrecv", "inactive", "sendonly"][dice.roll(3) as usize];
        let sdp = sdp::with_direction(&self.sdp, direction);
        let body = match dice.roll(12) {
            0..=2 => {
                self.seq += 1;
                self.roap("OFFER", self.own, self.theirs, self.seq, &sdp)
            }
            3 => self.roap("OFFER", self.own, self.theirs, self.seq, &sdp),
            4 => {
                (self.own, self.seq, self.theirs) = (dice.roll(1 << 30), 1, None);
                self.roap("OFFER", self.own, None, 1, &sdp)
            }
            5..=7 => match &self.offer {
                Some(offer) => {
                    let active = sdp.replace("a=setup:actpass", "a=setup:active");
                    let numbers = (offer.offerer.unwrap_or(1), offer.seq.unwrap_or(1));
                    self.roap("ANSWER", numbers.0, Some(self.own), numbers.1, &active)
                }
                None => self.roap("ANSWER", 1, Some(self.own), 1, &sdp),
            },
            8 => self.roap("OK", self.own, self.theirs, self.seq, ""),
            9 => "INFO-PEER a=b".to_owned(),
            10 => "GET-STATS".to_owned(),
            _ if dice.roll(3) == 0 => "BYE".to_owned(),
            _ => self.roap("ERROR", self.own, self.theirs, self.seq, ""),
        };
        let status = self.phone.post(&body).await.status;
        assert!(status == 200 || status.is_client_error(), "{status} for {body}");
    }

    fn roap(&self, kind: &str, offerer: u64, answerer: Option<u64>, seq: u64, sdp: &str) -> String {
        let message = json!({"messageType": kind, "sdp": sdp, "offererSessionId": offerer,
            "answererSessionId": answerer, "seq": seq, "tiebreaker": 7, "errorType": "FAILED"});
        format!("RSMP {message}")
    }
}

/// The far end's side. What it cannot do in its state is its own affair.
async fn far_acts(far: &Far, dice: &mut Dice) {
    let leg = &far.leg;
    let _ = match dice.roll(12) {
        0 => leg.reinvite().await,
        1 => leg.hold(Hold::SendOnly).await,
        2 => leg.hold(Hold::Inactive).await,
        3 => leg.hold(Hold::BlackHole).await,
        4 => leg.hold(Hold::No).await,
        5 | 6 => leg.ask_for_offer().await,
        7 => leg.change_port().await.map(|_| ()),
        8 => {
            far.talk().await;
            Ok(())
        }
        9 => {
            far.hold().await;
            Ok(())
        }
        10 => leg.info("application/octet-stream", b"a=b").await,
        _ if dice.roll(3) == 0 => leg.hang_up(200, "Bye").await,
        _ => leg.release_ack(AckSdp::Answer).await,
    };
}

async fn plays(demo: &Demo, page: &mut Page, dice: &mut Dice) {
    let number = ["600", "602", "603", "1003", "null"][dice.roll(5) as usize];
    let mut far = None;
    if dice.roll(2) == 0 {
        page.phone.peer = number.to_owned();
    } else {
        let mut call = call_from("7123");
        call.offer = dice.roll(2) == 0;
        call.ack = if dice.roll(4) == 0 { Ack::Withheld } else { Ack::AtOnce };
        page.phone.peer = "7123".to_owned();
        far = Some(demo.calls("5001", call).await);
    }
    for _ in 0..8 {
        dice.pause().await;
        match &far {
            Some(far) if dice.roll(2) == 0 => far_acts(far, dice).await,
            _ => page.act(dice).await,
        }
    }
    let status = page.phone.post("BYE").await.status;
    assert_eq!(status, 200);
    if let Some(far) = far {
        let _ = far.leg.release_ack(AckSdp::BlackHole).await;
        far.hang_up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_events_leaves_the_gateway_sound() {
    let demo = Demo::start().await;
    let seed = rand::random::<u64>() | 1;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let mut page = Page {
        phone: demo.phone("5001").await,
        sdp: TestBrowser::new().await.offer().await.sdp,
        own: 5,
        seq: 0,
        theirs: None,
        offer: None,
    };
    for round in 0..ROUNDS {
        plays(&demo, &mut page, &mut dice).await;
        // 200s whose ACK was withheld for good are given up after 32 s; all others end at once.
        println!("round {round}");
        demo.idle().await;
    }
    demo.until_no_media().await;
    while page.phone.within(Duration::from_millis(300)).await.is_some() {}
    let mut phone = page.phone;
    phone.fresh().await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.5).await.assert_one_unbroken_stream();
}
