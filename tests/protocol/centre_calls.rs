//! Calls of a contact centre, message by message as its SIP server writes them, with the sound of each
//! moment: a customer that the agent hears and that hears the agent. Quotes are of sip-behaviour.md.

use std::time::{Duration, Instant};

use crate::support::browser::LIMIT;
use crate::support::far::{hears_no, tone};
use crate::support::gateway::Demo;
use crate::support::jsapi::{Delivered, Jsapi};
use crate::support::roap::Roap;
use wrtc_gateway::lab::centre::{CallNumber, Caller, Centre, scenario};
use wrtc_gateway::lab::{Hold, Sound};

/// The agent's voice, and the customers'.
const VOICE: f64 = 440.0;
const CUSTOMER: f64 = 1000.0;
const COLLEAGUE: f64 = 600.0;

struct Desk {
    centre: Centre,
    phone: Jsapi,
    /// What waits for the agent's word.
    offer: Option<Roap>,
    invited: bool,
    talked: bool,
    connected: bool,
    /// Sessions that were begun, with an OFFER or an INVITE.
    begun: u32,
    /// What the last message was about, by the server's id.
    call_uuid: Option<String>,
    demo: Demo,
}

impl Desk {
    async fn new() -> Self {
        let demo = Demo::start().await;
        let phone = demo.phone("5001").await;
        phone.browser.play(VOICE).await;
        let centre = demo.centre().await;
        let limit = Instant::now() + LIMIT;
        while centre.agents().is_empty() {
            assert!(Instant::now() < limit, "5001 is not seen by the centre");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (offer, invited, talked, connected) = (None, false, false, false);
        let (begun, call_uuid) = (0, None);
        Self { centre, phone, offer, invited, talked, connected, begun, call_uuid, demo }
    }

    /// Does what the JSAPI client does with a message.
    async fn reacts(&mut self, message: Delivered) {
        self.call_uuid.clone_from(&message.call_uuid);
        if let Some(roap) = message.roap() {
            match roap.kind.as_str() {
                "OFFER" => {
                    self.begun += 1;
                    self.phone.peer = message.peer;
                    self.offer = Some(roap);
                }
                "ANSWER" => {
                    self.phone.take_answer(&roap, std::panic::Location::caller()).await;
                    self.connected = true;
                }
                "OK" => {}
                // An ANSWER that the caller's BYE met on its way.
                "ERROR" if message.body.contains("no call is there") => self.connected = false,
                other => panic!("{other}: {}", message.body),
            }
        } else {
            match message.body.as_str() {
                "INVITE" if self.connected => self.offers("sendrecv").await,
                "INVITE" => {
                    self.begun += 1;
                    self.phone.peer = message.peer;
                    self.invited = true;
                }
                "EVENT-TALK" if self.connected => self.offers("sendrecv").await,
                "EVENT-TALK" => self.talked = true,
                "EVENT-HOLD" => self.offers("inactive").await,
                "BYE" => {
                    self.phone.fresh().await;
                    self.phone.browser.play(VOICE).await;
                    self.offer = None;
                    (self.invited, self.talked, self.connected) = (false, false, false);
                }
                body if body.starts_with("INFO-PEER") => {}
                other => panic!("{other}"),
            }
        }
        // The server's talk is the agent's word.
        if self.talked
            && let Some(offer) = self.offer.take()
        {
            self.talked = false;
            // Not `accept`: the call may be over before its OK.
            let sdp = offer.sdp.as_deref().expect("sdp");
            let local = self.phone.browser.answer(sdp, &offer.candidates).await;
            let body = self.phone.roap.answer(&offer, &local);
            self.phone.posted(&body).await;
            self.connected = true;
        } else if self.talked && std::mem::take(&mut self.invited) {
            self.talked = false;
            self.offers("sendrecv").await;
        }
    }

    async fn offers(&mut self, direction: &'static str) {
        let local = if self.connected {
            self.phone.browser.offer_with_direction(direction).await
        } else {
            self.phone.browser.offer().await
        };
        self.phone.offer(&local).await;
    }

    /// The script of a call runs to its end, and the browser does its part.
    async fn settles(&mut self, call: CallNumber) {
        let centre = self.centre.clone();
        let limit = tokio::time::sleep(2 * LIMIT);
        tokio::pin!(limit);
        let settled = centre.settled(call);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                result = &mut settled => {
                    if let Err(failure) = result {
                        panic!("{failure}\n{}", self.ladder(call));
                    }
                    break;
                }
                message = self.phone.next() => self.reacts(message).await,
                () = &mut limit => panic!("no end of it\n{}", self.ladder(call)),
            }
        }
        // The SIP side does not wait for the browser: it has still to hear of what was done.
        while let Some(message) = self.phone.within(Duration::from_millis(300)).await {
            self.reacts(message).await;
        }
    }

    /// What is on its way to the browser gets there.
    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !done(self) {
            assert!(Instant::now() < limit, "waited for {what}");
            if let Some(message) = self.phone.within(Duration::from_millis(100)).await {
                self.reacts(message).await;
            }
        }
    }

    fn ladder(&self, call: CallNumber) -> String {
        let view = self.centre.call(call).expect("a call");
        let rungs = view.rungs.iter().map(|rung| {
            let way = if rung.out { "-->" } else { "<--" };
            format!("{:>9.1} ms {way} {}", rung.at_us as f64 / 1000.0, rung.title)
        });
        rungs.collect::<Vec<_>>().join("\n")
    }

    async fn answered_call(&mut self) -> CallNumber {
        let call = self.centre.queue("5001", Caller::new("7001")).await.expect("queued");
        self.settles(call).await;
        self.centre.talk(call).expect("it rings");
        self.settles(call).await;
        self.until("the connection", |desk| desk.connected).await;
        self.phone.browser.connected().await;
        call
    }

    async fn both_hear(&self, call: CallNumber, customer: f64) {
        let phone = self.centre.phone(call).expect("a far end");
        phone.listen_afresh();
        self.phone.browser.forget();
        let far = async {
            let limit = Instant::now() + LIMIT;
            while phone.heard_afresh().tone_near(VOICE, 30.0).seconds < 0.5 {
                let heard = phone.heard_afresh();
                assert!(Instant::now() < limit, "the far end: {heard}\n{}", self.ladder(call));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::join!(self.phone.browser.hears(customer, 0.5), far);
        self.phone.browser.heard().assert_one_unbroken_stream();
    }

    /// Nobody hears anybody for a while.
    async fn silence(&self, call: CallNumber) {
        let phone = self.centre.phone(call).expect("a far end");
        tokio::join!(hears_no(&phone, VOICE), self.phone.browser.hears_no(CUSTOMER));
    }
}

/// The whole of "Call to the agent, answered in WWE": 180, NOTIFY talk, 200, ACK, the offerless
/// re-INVITE, and its ACK with the far endpoint's SDP; then "X-Genesys-CallUUID (hand it to the browser)"
/// with its messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_is_answered_in_wwe_and_both_hear_each_other() {
    let mut desk = Desk::new().await;
    let call = desk.answered_call().await;
    desk.both_hear(call, CUSTOMER).await;
    let view = desk.centre.call(call).expect("a call");
    let titles: Vec<_> = view.rungs.iter().map(|rung| rung.title.as_str()).collect();
    let wanted = [
        "INVITE",
        "180 Ringing (INVITE)",
        "NOTIFY talk",
        "200 OK (NOTIFY)",
        "200 OK (INVITE)",
        "ACK",
        "re-INVITE",
        "200 OK (INVITE)",
        "ACK",
    ];
    let mut titles = titles.into_iter();
    for title in wanted {
        assert!(titles.any(|t| t == title), "{title} is not in its place\n{}", desk.ladder(call));
    }
    assert_eq!(desk.call_uuid.as_deref(), Some(view.uuid.as_str()), "the browser is told");
    assert!(view.ring_ms.is_some() && view.answer_ms.is_some(), "{view:?}");
    desk.centre.hang_up(call).expect("it is up");
    desk.settles(call).await;
    desk.until("the end", |desk| !desk.connected).await;
    assert_eq!(desk.call_uuid.as_deref(), Some(view.uuid.as_str()), "of its end, too");
    desk.demo.idle().await;
}

/// "A browser that is not there: 480 at once."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_call_to_an_agent_whose_browser_is_gone_is_480() {
    let mut desk = Desk::new().await;
    desk.phone.stop_polling().await;
    // It may have gone to fetch its next poll, for a moment.
    desk.demo.until_it_is("absent").await;
    let call = desk.centre.queue("5001", Caller::new("7001")).await.expect("still registered");
    let limit = Instant::now() + LIMIT;
    while desk.centre.call(call).expect("a call").state != "ended" {
        assert!(Instant::now() < limit, "{}", desk.ladder(call));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let titles: Vec<_> =
        desk.centre.call(call).expect("a call").rungs.into_iter().map(|rung| rung.title).collect();
    assert!(titles.iter().any(|title| title.starts_with("480 ")), "{titles:?}");
    assert!(!titles.iter().any(|title| title.starts_with("180 ")), "it never rang: {titles:?}");
    desk.demo.idle().await;
}

/// A consultation, which is why an agent has several calls: the customer is held, the colleague comes as a
/// second call without an offer, "no human involved". It ends and the customer is retrieved; or the first
/// call gets the colleague's end by re-INVITE and the other one is over. All of it is one session of the
/// browser's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_colleague_is_consulted_and_the_transfer_is_completed() {
    let mut desk = Desk::new().await;
    let customer = desk.answered_call().await;
    desk.both_hear(customer, CUSTOMER).await;
    for completed in [false, true] {
        desk.centre.hold(customer).expect("it is up");
        desk.settles(customer).await;
        let held = desk.centre.phone(customer).expect("a far end");
        let consulted = desk.centre.dial("5001", Caller::new("7100")).await.expect("dialled");
        desk.settles(consulted).await;
        held.listen_afresh();
        desk.both_hear(consulted, COLLEAGUE).await;
        assert_eq!(held.heard_afresh().tone_near(VOICE, 30.0).seconds, 0.0, "the customer is held");
        let uuid = desk.centre.call(consulted).expect("a call").uuid;
        assert_eq!(desk.call_uuid, Some(uuid), "the browser is told which call it is with");
        assert_eq!(desk.demo.health().await["active_calls"], 2);
        if completed {
            desk.centre.transfer(customer, "7100").await.expect("it is up");
            desk.settles(customer).await;
            desk.both_hear(consulted, COLLEAGUE).await;
        }
        desk.centre.hang_up(consulted).expect("it is up");
        desk.settles(consulted).await;
        desk.silence(customer).await;
        desk.centre.talk(customer).expect("it is held");
        desk.settles(customer).await;
        desk.both_hear(customer, if completed { COLLEAGUE } else { CUSTOMER }).await;
    }
    assert_eq!(desk.begun, 1, "one session, one peer connection");
    desk.centre.hang_up(customer).expect("it is up");
    desk.settles(customer).await;
    desk.until("the end", |desk| !desk.connected).await;
    desk.demo.idle().await;
}

/// "Hold from WWE: NOTIFY `Event: hold` (the gateway re-INVITEs with hold) ... Retrieve: NOTIFY talk, or a
/// re-INVITE without SDP."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_in_wwe_is_silent_and_retrieve_brings_the_sound_back() {
    let mut desk = Desk::new().await;
    let call = desk.answered_call().await;
    desk.both_hear(call, CUSTOMER).await;
    for offerless in [false, true] {
        desk.centre.hold(call).expect("it is up");
        desk.settles(call).await;
        assert_eq!(desk.centre.call(call).expect("a call").state, "held");
        desk.silence(call).await;
        if offerless {
            desk.centre.ask_for_offer(call).expect("it is up");
        } else {
            desk.centre.talk(call).expect("it is held");
        }
        desk.settles(call).await;
        desk.both_hear(call, CUSTOMER).await;
    }
}

/// "a re-INVITE with `sendonly`, `inactive` or `c=0.0.0.0`": music, or nothing, and never our voice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_far_end_holds_in_all_three_forms() {
    let mut desk = Desk::new().await;
    let call = desk.answered_call().await;
    let phone = desk.centre.phone(call).expect("a far end");
    for hold in [Hold::SendOnly, Hold::Inactive, Hold::BlackHole] {
        phone.play(Sound::Melody);
        desk.centre.far_hold(call, hold).expect("it is up");
        desk.settles(call).await;
        if hold == Hold::SendOnly {
            desk.phone.browser.forget();
            // Two notes of the tune.
            desk.phone.browser.hears(523.25, 0.1).await;
            desk.phone.browser.hears(880.0, 0.1).await;
        }
        phone.play(tone(CUSTOMER));
        hears_no(&phone, VOICE).await;
        desk.centre.far_hold(call, Hold::No).expect("it is up");
        desk.settles(call).await;
        desk.both_hear(call, CUSTOMER).await;
    }
}

/// "Genesys mostly transfers by re-INVITE", "The SDP is the far endpoint's own: media goes to any subnet."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_and_a_conference_move_the_sound() {
    let mut desk = Desk::new().await;
    let call = desk.answered_call().await;
    desk.both_hear(call, CUSTOMER).await;
    let customer = desk.centre.phone(call).expect("a far end");
    desk.centre.transfer(call, "7100").await.expect("it is up");
    desk.settles(call).await;
    desk.both_hear(call, COLLEAGUE).await;
    let heard = customer.heard().received.packets;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(customer.heard().received.packets, heard, "the customer is somebody else's now");
    desk.centre.transfer(call, "7004").await.expect("it is up");
    desk.settles(call).await;
    desk.both_hear(call, 800.0).await;
    // Customer and colleague at once: no frame is one tone, and none is silent.
    desk.centre.transfer(call, "7300").await.expect("it is up");
    desk.settles(call).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    desk.phone.browser.forget();
    desk.phone
        .browser
        .heard_until(LIMIT, |heard| heard.samples.len() > 4000)
        .await
        .expect("half a second of conference");
    let heard = desk.phone.browser.heard();
    let loud = heard.samples.iter().filter(|sample| sample.unsigned_abs() > 1000).count();
    assert!(loud > heard.samples.len() / 2, "{loud} of {}", heard.samples.len());
}

/// The whole of "Call from the agent, dialled in WWE (3pcc)": the ACK comes with the far end, and there is
/// sound from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_dialled_in_wwe_is_heard_when_the_far_end_answers() {
    let mut desk = Desk::new().await;
    let call = desk.centre.dial("5001", Caller::new("7001")).await.expect("dialled");
    desk.settles(call).await;
    desk.until("the connection", |desk| desk.connected).await;
    desk.phone.browser.connected().await;
    desk.both_hear(call, CUSTOMER).await;
    assert!(desk.centre.call(call).expect("a call").repeats >= 1, "the 200 comes again meanwhile");
    desk.phone.hang_up().await;
    let limit = Instant::now() + LIMIT;
    while desk.centre.call(call).expect("a call").state != "ended" {
        assert!(Instant::now() < limit, "{}", desk.ladder(call));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// "A failed call: ACK with the gateway's own SDP echoed back or with a black hole ... Neither may upset
/// the media": the next call has sound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_calls_leave_the_next_one_its_sound() {
    let mut desk = Desk::new().await;
    for number in ["7006", "7007"] {
        let call = desk.centre.dial("5001", Caller::new(number)).await.expect("dialled");
        desk.settles(call).await;
        let view = desk.centre.call(call).expect("a call");
        assert!(view.note.contains("cause=403"), "{view:?}");
        desk.demo.idle().await;
        let over = |desk: &Desk| !desk.connected && !desk.invited && desk.offer.is_none();
        // Its last messages are read before the next call.
        tokio::time::sleep(Duration::from_millis(100)).await;
        desk.until("the end", over).await;
    }
    let call = desk.answered_call().await;
    desk.both_hear(call, CUSTOMER).await;
}

/// Every scenario but the one of half a minute, one after the other, and then a call with sound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_is_survived_and_the_next_call_has_sound() {
    let mut desk = Desk::new().await;
    for scenario in scenario::ALL.iter().filter(|s| s.name != "late-ack") {
        println!("{}", scenario.name);
        let call = desk.centre.run("5001", Caller::new("7001"), *scenario).await.expect("starts");
        desk.settles(call).await;
        desk.demo.idle().await;
        while let Some(message) = desk.phone.within(Duration::from_millis(200)).await {
            desk.reacts(message).await;
        }
        assert!(!desk.connected && desk.offer.is_none(), "{}", scenario.name);
    }
    let call = desk.answered_call().await;
    desk.both_hear(call, CUSTOMER).await;
}

/// "No answer: the SIP server cancels." And a DN that nobody has signed in has no telephone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_with_a_name_gives_up() {
    let mut desk = Desk::new().await;
    let caller = Caller {
        display_name: Some("Kim \"K\" Customer".to_owned()),
        headers: vec![("X-Segment".to_owned(), "Gold".to_owned())],
        ..Caller::new("7001")
    };
    let call = desk.centre.queue("5001", caller).await.expect("queued");
    desk.settles(call).await;
    let unknown = desk.centre.queue("5019", Caller::new("7001")).await;
    assert!(unknown.is_err(), "nobody is signed in there");
    desk.centre.hang_up(call).expect("it rings");
    desk.settles(call).await;
    desk.until("487", |desk| desk.centre.look(call, |player| player.has_ended()) == Some(true))
        .await;
    let view = desk.centre.call(call).expect("a call");
    assert_eq!(view.state, "ended");
    assert!(view.rungs.iter().any(|rung| rung.title.starts_with("487 ")), "{}", desk.ladder(call));
    desk.demo.idle().await;
}
