//! The flows of a contact centre as scripts, their odd endings among them. Each is whole by itself; the
//! parts of it are there for a person's buttons, too.

use std::time::Duration;

use super::super::phone::Hold;
use super::step::{Body, Expect, OFFERLESS_AFTER, SOON, Step};

/// The longest that the ACK is withheld while the far end rings.
pub const LATEST_ACK: Duration = Duration::from_secs(31);

/// A script with its name.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// As in `answered-in-wwe`.
    pub name: &'static str,
    /// What happens, in a line.
    pub about: &'static str,
    pub steps: fn() -> Vec<Step>,
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<Scenario> {
    ALL.iter().find(|scenario| scenario.name == name).copied()
}

macro_rules! scenarios {
    ($($name:literal $function:ident $about:literal,)*) => {
        /// All there are.
        pub const ALL: &[Scenario] = &[
            $(Scenario { name: $name, about: $about, steps: $function },)*
        ];
    };
}

scenarios! {
    "answered-in-wwe" answered_in_wwe "NOTIFY talk answers; the offerless re-INVITE follows after 12 ms",
    "offerless-at-once" offerless_at_once "the offerless re-INVITE comes with the ACK, not 12 ms after",
    "dialled-in-wwe" dialled_in_wwe "3pcc: INVITE without SDP, talk at once, the ACK comes with the far end",
    "late-ack" late_ack "3pcc: the far end answers after 31 s, so long the ACK is withheld",
    "lost-ack" lost_ack "the ACK is lost; the 200 comes again and is acknowledged again",
    "failed-mirrored" failed_mirrored "3pcc failed: ACK with the gateway's own SDP, BYE with cause 403",
    "failed-black-hole" failed_black_hole "3pcc failed: ACK with c=0.0.0.0, BYE with cause 403",
    "bye-with-the-ack" bye_with_the_ack "BYE in the same millisecond as the ACK",
    "notify-repeated" notify_repeated "the network repeats NOTIFY talk",
    "notify-twice" notify_twice "the server sends NOTIFY talk twice",
    "cancelled" cancelled "the caller hangs up while it rings: CANCEL, 487",
    "cancel-races-200" cancel_races_200 "CANCEL in the same millisecond as NOTIFY talk",
    "hold-by-notify" hold_by_notify "NOTIFY hold: the gateway re-INVITEs; NOTIFY talk retrieves",
    "hold-sendonly" hold_sendonly "the far end holds with sendonly and plays music, then retrieves",
    "hold-inactive" hold_inactive "the far end holds with inactive, then retrieves",
    "hold-black-hole" hold_black_hole "the far end holds with c=0.0.0.0, then retrieves",
    "offerless-retrieve" offerless_retrieve "NOTIFY hold; a re-INVITE without SDP retrieves",
    "refresh" refresh "session refresh by re-INVITE, the SDP unchanged",
    "refresh-update" refresh_update "session refresh by UPDATE, with and without the SDP",
    "odd-requests" odd_requests "OPTIONS, and an event that nobody knows",
    "unknown-method" unknown_method "a method that nobody knows",
    "user-data" user_data "INFO with user data",
}

/// INVITE with the far end's offer, up to the 180.
pub fn ring() -> Vec<Step> {
    vec![Step::Invite(Body::Offer), Step::status(180, "INVITE")]
}

/// INVITE without SDP, up to the 180: a call that the agent has dialled in WWE.
pub fn ring_offerless() -> Vec<Step> {
    vec![Step::Invite(Body::Nothing), Step::status(180, "INVITE")]
}

/// What answering in WWE does to a call that rings.
pub fn talk() -> Vec<Step> {
    let mut steps = talk_to_ack();
    steps.push(Step::Wait(OFFERLESS_AFTER));
    steps.extend(offerless());
    steps
}

fn talk_to_ack() -> Vec<Step> {
    vec![
        Step::Notify("talk"),
        Step::status(200, "NOTIFY"),
        Step::status(200, "INVITE"),
        Step::Ack(Body::Nothing),
    ]
}

/// What dialling in WWE does, until the gateway's offer is here.
pub fn talk_offerless() -> Vec<Step> {
    vec![Step::Notify("talk"), Step::status(200, "NOTIFY"), Step::status(200, "INVITE")]
}

/// The re-INVITE without SDP and its ACK with the far end's answer.
pub fn offerless() -> Vec<Step> {
    vec![Step::Reinvite(Body::Nothing), Step::status(200, "INVITE"), Step::Ack(Body::Answer)]
}

/// The far end as it is now is offered to the agent: transfer, conference, hold, another codec.
pub fn renew() -> Vec<Step> {
    vec![Step::Reinvite(Body::Offer), Step::status(200, "INVITE"), Step::Ack(Body::Nothing)]
}

/// Hold in WWE.
pub fn hold() -> Vec<Step> {
    vec![Step::Notify("hold"), Step::status(200, "NOTIFY"), Step::Expect(Expect::HoldOffer, SOON)]
}

/// Retrieve in WWE.
pub fn retrieve() -> Vec<Step> {
    vec![
        Step::Notify("talk"),
        Step::status(200, "NOTIFY"),
        Step::Expect(Expect::RetrieveOffer, SOON),
    ]
}

pub fn hang_up() -> Vec<Step> {
    vec![Step::Bye(Some("SIP;cause=200;text=\"Normal\"")), Step::status(200, "BYE")]
}

/// The far end did not take a call that the agent dialled.
pub fn fail(sdp: Body) -> Vec<Step> {
    vec![Step::Ack(sdp), Step::Bye(Some("SIP;cause=403")), Step::status(200, "BYE")]
}

fn all(parts: impl IntoIterator<Item = Vec<Step>>) -> Vec<Step> {
    parts.into_iter().flatten().collect()
}

fn a_while() -> Vec<Step> {
    vec![Step::Wait(Duration::from_millis(300))]
}

fn in_a_call(parts: impl IntoIterator<Item = Vec<Step>>) -> Vec<Step> {
    all([ring(), talk(), a_while(), all(parts), a_while(), hang_up()])
}

fn answered_in_wwe() -> Vec<Step> {
    in_a_call([])
}

fn offerless_at_once() -> Vec<Step> {
    all([ring(), talk_to_ack(), offerless(), a_while(), hang_up()])
}

fn dialled_in_wwe() -> Vec<Step> {
    let answer = vec![Step::Wait(Duration::from_secs(2)), Step::Ack(Body::Answer)];
    all([ring_offerless(), talk_offerless(), answer, a_while(), hang_up()])
}

fn late_ack() -> Vec<Step> {
    let answer = vec![Step::Wait(LATEST_ACK), Step::Ack(Body::Answer)];
    all([ring_offerless(), talk_offerless(), answer, a_while(), hang_up()])
}

fn lost_ack() -> Vec<Step> {
    let mut steps = all([ring(), talk_to_ack()]);
    steps.pop();
    steps.push(Step::AckLost(Body::Nothing));
    steps.push(Step::Wait(Duration::from_secs(3)));
    all([steps, offerless(), a_while(), hang_up()])
}

fn failed_mirrored() -> Vec<Step> {
    all([ring_offerless(), talk_offerless(), fail(Body::Mirrored)])
}

fn failed_black_hole() -> Vec<Step> {
    all([ring_offerless(), talk_offerless(), fail(Body::BlackHole)])
}

fn bye_with_the_ack() -> Vec<Step> {
    all([ring(), talk_to_ack(), hang_up()])
}

fn notify_repeated() -> Vec<Step> {
    let mut talk = talk();
    talk.insert(1, Step::Again);
    talk.insert(1, Step::Again);
    all([ring(), talk, a_while(), hang_up()])
}

fn notify_twice() -> Vec<Step> {
    let again = vec![Step::Notify("talk"), Step::status(200, "NOTIFY")];
    let mut talk = talk();
    talk.splice(2..2, again);
    all([ring(), talk, a_while(), hang_up()])
}

fn cancelled() -> Vec<Step> {
    let cancel = vec![Step::Cancel, Step::status(200, "CANCEL"), Step::status(487, "INVITE")];
    all([ring(), cancel])
}

fn cancel_races_200() -> Vec<Step> {
    let race = vec![
        Step::Notify("talk"),
        Step::Cancel,
        Step::status(200, "NOTIFY"),
        Step::expect(Expect::Final("INVITE")),
    ];
    all([ring(), race])
}

fn hold_by_notify() -> Vec<Step> {
    in_a_call([hold(), a_while(), retrieve(), a_while(), hold(), a_while(), retrieve()])
}

fn hold_with(hold: Hold) -> Vec<Step> {
    let held = all([vec![Step::Hold(hold)], renew()]);
    let again = all([vec![Step::Hold(Hold::No)], renew()]);
    in_a_call([held, a_while(), again])
}

fn hold_sendonly() -> Vec<Step> {
    hold_with(Hold::SendOnly)
}

fn hold_inactive() -> Vec<Step> {
    hold_with(Hold::Inactive)
}

fn hold_black_hole() -> Vec<Step> {
    hold_with(Hold::BlackHole)
}

fn offerless_retrieve() -> Vec<Step> {
    in_a_call([hold(), a_while(), offerless()])
}

fn refresh() -> Vec<Step> {
    let again = vec![
        Step::Reinvite(Body::Unchanged),
        Step::status(200, "INVITE"),
        Step::Ack(Body::Nothing),
    ];
    in_a_call([renew(), again.clone(), again])
}

fn refresh_update() -> Vec<Step> {
    let update = |body| vec![Step::Update(body), Step::status(200, "UPDATE")];
    in_a_call([renew(), update(Body::Nothing), update(Body::Unchanged)])
}

fn odd_requests() -> Vec<Step> {
    in_a_call([vec![
        Step::Options,
        Step::status(200, "OPTIONS"),
        Step::Notify("weather"),
        Step::status(489, "NOTIFY"),
    ]])
}

fn unknown_method() -> Vec<Step> {
    in_a_call([vec![Step::Other("DANCE"), Step::status(405, "DANCE")]])
}

fn user_data() -> Vec<Step> {
    let body = Body::Other("application/x-www-form-urlencoded", "Segment=Gold&Case=4711".into());
    in_a_call([vec![Step::Info(body), Step::status(200, "INFO")]])
}
