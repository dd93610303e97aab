//! The far end of a call: one of the embedded SIP server's telephones, message by message.

use std::collections::VecDeque;
use std::panic::Location;
use std::time::{Duration, Instant};

use wrtc_gateway::lab::{CallOut, Control, Leg, LegEvent, Phone, PhoneConfig, Sound};
use wrtc_gateway::sdp::Codec;
use wrtc_gateway::sip::{End, NotifyEvent};

use super::browser::{LIMIT, SILENCE};

pub struct Far {
    pub leg: Leg,
    ahead: VecDeque<LegEvent>,
}

/// A call from this number, G.711 only: what is heard is measured.
pub fn call_from(number: &str) -> CallOut {
    let mut call = CallOut::new(number);
    call.phone = telephone();
    call
}

pub fn telephone() -> PhoneConfig {
    PhoneConfig { codecs: vec![Codec::Pcmu, Codec::Pcma], ..PhoneConfig::default() }
}

pub fn tone(hz: f64) -> Sound {
    Sound::Tone { hz, dbfs: -12.0 }
}

/// See [`Far::hears_no`].
#[track_caller]
pub fn hears_no(phone: &Phone, hz: f64) -> impl Future<Output = ()> + '_ {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + LIMIT;
        loop {
            phone.listen_afresh();
            tokio::time::sleep(SILENCE).await;
            let heard = phone.heard_afresh();
            if heard.tone_near(hz, 30.0).seconds == 0.0 {
                return;
            }
            assert!(Instant::now() < end, "{caller}: {heard}");
        }
    }
}

impl Far {
    pub fn new(leg: Leg) -> Self {
        Self { leg, ahead: VecDeque::new() }
    }

    /// Calls a DN.
    pub async fn call(control: &Control, dn: &str, call: CallOut) -> Self {
        Self::new(control.call(dn, call).await.expect("the lab calls"))
    }

    /// The next event that `wanted` takes; what came before it stays for later.
    #[track_caller]
    pub fn expect<'a, R: 'a>(
        &'a mut self,
        what: &'a str,
        mut wanted: impl FnMut(&LegEvent) -> Option<R> + 'a,
    ) -> impl Future<Output = R> + 'a {
        let caller = Location::caller();
        async move {
            for i in 0..self.ahead.len() {
                if let Some(found) = wanted(&self.ahead[i]) {
                    self.ahead.remove(i);
                    return found;
                }
            }
            let end = Instant::now() + 2 * LIMIT;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                match tokio::time::timeout(left, self.leg.next()).await {
                    Ok(Some(event)) => match wanted(&event) {
                        Some(found) => return found,
                        None => self.ahead.push_back(event),
                    },
                    Ok(None) => panic!("{caller}: no {what}, the leg is over: {:?}", self.ahead),
                    Err(_) => panic!("{caller}: no {what}, only {:?}", self.ahead),
                }
            }
        }
    }

    pub async fn rings(&mut self) {
        self.expect("180", |event| match event {
            LegEvent::Progressed { code: 180, .. } => Some(()),
            _ => None,
        })
        .await;
    }

    /// The SDP of the 2xx.
    pub async fn answered(&mut self) -> Option<String> {
        self.expect("200 to the INVITE", |event| match event {
            LegEvent::Answered { sdp } => Some(sdp.clone()),
            _ => None,
        })
        .await
    }

    /// The SDP of a re-INVITE of the gateway's.
    pub async fn reinvited(&mut self) -> Option<String> {
        self.expect("re-INVITE", |event| match event {
            LegEvent::Reinvited { sdp } => Some(sdp.clone()),
            _ => None,
        })
        .await
    }

    /// The SDP of the gateway's 200 to our re-INVITE.
    pub async fn reinvite_answered(&mut self) -> Option<String> {
        self.expect("200 to the re-INVITE", |event| match event {
            LegEvent::ReinviteAnswered { sdp } => Some(Some(sdp.clone())),
            LegEvent::ReinviteRefused { .. } => Some(None),
            _ => None,
        })
        .await
        .expect("the re-INVITE was refused")
    }

    pub async fn informed(&mut self) -> (String, String) {
        self.expect("INFO", |event| match event {
            LegEvent::Informed { content_type, body } => {
                Some((content_type.clone(), String::from_utf8_lossy(body).into_owned()))
            }
            _ => None,
        })
        .await
    }

    pub async fn ended(&mut self) -> End {
        self.expect("the end", |event| match event {
            LegEvent::Ended(end) => Some(end.clone()),
            _ => None,
        })
        .await
    }

    /// An event within `limit`, if one came.
    pub async fn within(&mut self, limit: Duration) -> Option<LegEvent> {
        if let Some(event) = self.ahead.pop_front() {
            return Some(event);
        }
        tokio::time::timeout(limit, self.leg.next()).await.ok().flatten()
    }

    pub fn play(&self, sound: Sound) {
        self.leg.phone().play(sound);
    }

    pub async fn talk(&self) {
        self.leg.notify(NotifyEvent::Talk).await.expect("NOTIFY talk");
    }

    pub async fn hold(&self) {
        self.leg.notify(NotifyEvent::Hold).await.expect("NOTIFY hold");
    }

    pub async fn hang_up(&self) {
        self.leg.hang_up(200, "Bye").await.expect("hang up");
    }

    /// Waits until so many seconds of a tone were heard from now on, and says how much was lost.
    #[track_caller]
    pub fn hears(
        &self,
        hz: f64,
        seconds: f64,
    ) -> impl Future<Output = wrtc_gateway::lab::Heard> + '_ {
        let caller = Location::caller();
        let phone = self.leg.phone();
        phone.listen_afresh();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                let heard = phone.heard_afresh();
                if heard.tone_near(hz, 30.0).seconds >= seconds {
                    assert!(heard.received.loss < 0.01, "{caller}: {heard}");
                    return heard;
                }
                assert!(Instant::now() < end, "{caller}: no {seconds} s of {hz} Hz: {heard}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until this tone is away for a while: what was on its way may still come.
    #[track_caller]
    pub fn hears_no(&self, hz: f64) -> impl Future<Output = ()> + '_ {
        hears_no(self.leg.phone(), hz)
    }

    /// Waits until these digits were heard since the telephone was opened.
    #[track_caller]
    pub fn hears_digits<'a>(&'a self, digits: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                let heard = self.leg.phone().heard();
                if heard.digits == digits {
                    return;
                }
                assert!(Instant::now() < end, "{caller}: digits {:?}", heard.digits);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
