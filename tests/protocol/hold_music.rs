//! "A file as hold music where the gateway holds."

use std::f64::consts::TAU;
use std::path::PathBuf;

use crate::support::far::{Far, call_from, tone};
use crate::support::gateway::Demo;
use crate::support::jsapi::Jsapi;
use wrtc_gateway::lab::CallOut;

/// A second of 700 Hz at 16 kHz, in a file that goes with it.
struct Wav(PathBuf);

impl Wav {
    fn new() -> Wav {
        let name = format!("wrtc-hold-{}-{:016x}.wav", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        for n in 0..16_000 {
            let sample = 8000.0 * (TAU * 700.0 * f64::from(n) / 16_000.0).sin();
            writer.write_sample(sample as i16).unwrap();
        }
        writer.finalize().unwrap();
        Wav(path)
    }
}

impl Drop for Wav {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_hears_the_file_and_then_the_agent() {
    let wav = Wav::new();
    let demo = Demo::with_settings(&[&format!("media.hold_music={}", wav.0.display())]).await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await.expect("sdp");
    phone.browser.connected().await;
    far.hears(440.0, 0.5).await;

    let local = phone.browser.offer_with_direction("inactive").await;
    phone.offer(&local).await;
    phone.answered().await;
    far.hears(700.0, 1.5).await;

    let local = phone.browser.offer_with_direction("sendrecv").await;
    phone.offer(&local).await;
    phone.answered().await;
    far.hears(440.0, 0.5).await;
}

async fn follow(phone: &mut Jsapi, event: &'static str, direction: &'static str) {
    phone.peer = phone.expect(event).await.peer;
    let local = phone.browser.offer_with_direction(direction).await;
    phone.offer(&local).await;
    phone.answered().await;
}

/// A consultation dialled in WWE. Each far end meters what it loses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_held_for_a_consultation_hears_it_all_the_while() {
    let wav = Wav::new();
    let demo = Demo::with_settings(&[&format!("media.hold_music={}", wav.0.display())]).await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut first = demo.calls("5001", call_from("7123")).await;
    first.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    first.answered().await.expect("sdp");
    phone.browser.connected().await;
    first.hears(440.0, 0.5).await;
    first.hold().await;
    follow(&mut phone, "EVENT-HOLD", "inactive").await;
    first.reinvited().await.expect("sdp");
    first.hears(700.0, 0.5).await;

    let consult = CallOut { offer: false, ..call_from("7124") };
    let mut second: Far = demo.calls("5001", consult).await;
    second.play(tone(1200.0));
    second.rings().await;
    second.talk().await;
    second.answered().await.expect("an offer of the gateway's own");
    follow(&mut phone, "EVENT-TALK", "sendrecv").await;
    phone.browser.forget();
    let browser = async {
        phone.browser.hears(1200.0, 0.6).await;
    };
    let _ = tokio::join!(browser, second.hears(440.0, 0.6), first.hears(700.0, 1.0));
    phone.browser.heard().assert_one_unbroken_stream();

    second.hang_up().await;
    second.ended().await;
    first.hears(700.0, 0.5).await;
    first.talk().await;
    first.reinvited().await.expect("sdp");
    phone.expect("EVENT-TALK").await;
    first.hears(440.0, 0.5).await;
    phone.browser.forget();
    phone.browser.hears(1000.0, 0.5).await;
}
