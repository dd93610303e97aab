//! "A file as hold music where the gateway holds."

use std::f64::consts::TAU;
use std::path::PathBuf;

use crate::support::far::{call_from, tone};
use crate::support::gateway::Demo;

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
