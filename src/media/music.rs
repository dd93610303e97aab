//! Hold music: a file, read once, resampled once, kept as the payload that goes out.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use hound::{SampleFormat, WavReader, WavSpec};

use crate::sdp::Codec;

use super::codec::Encoder;
use super::stream::units;

/// Hz: what a telephone hears.
const RATE: u32 = 8000;

/// Samples of 20 ms.
const FRAME: usize = RATE as usize / 50;

/// Bytes of one, in any codec.
const MAX_PAYLOAD: usize = 400;

/// A piece that is longer is cut nowhere but refused: ten minutes are 4.8 MB in each codec but Opus, and
/// whoever holds longer hears it again.
const MAX_SECONDS: u32 = 600;

/// Less is no music but a buzz.
const MIN_SAMPLES: usize = RATE as usize / 2;

/// Sample rates that files have.
const RATES: std::ops::RangeInclusive<u32> = 8000..=48_000;

/// Zero crossings of the low-pass on each side: 70 dB of stop band with the window below.
const LOBES: usize = 16;

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum MusicError {
    #[error("it cannot be read ({0}); check the path and its permissions")]
    Io(#[from] std::io::Error),
    #[error(
        "it is no WAV file of PCM ({0}); convert it with `sox in.mp3 -b 16 -r 8000 -c 1 out.wav`"
    )]
    NotWav(String),
    #[error(
        "it has {bits} bits, {channels} channels, {rate} Hz; convert it to 16 bits, mono or stereo, \
         8000 to 48000 Hz"
    )]
    Format { bits: u16, channels: u16, rate: u32 },
    #[error("it lasts {seconds} s; ten minutes at most are kept")]
    TooLong { seconds: u32 },
    #[error("it lasts less than half a second")]
    TooShort,
}

/// A piece of music in the codecs it may be wanted in. Who is put on hold hears it from the
/// beginning the first time, and from where it stopped the next; at its end it begins again.
pub struct Music {
    /// A byte a sample, whichever of these codecs.
    streams: Vec<(Codec, Vec<u8>)>,
    /// Of 20 ms each.
    opus: Vec<Vec<u8>>,
    /// Length in samples.
    len: usize,
}

impl fmt::Debug for Music {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Music({} samples)", self.len)
    }
}

impl Music {
    /// Reads a WAV file, for phones that speak one of `codecs`.
    ///
    /// # Errors
    /// What is wrong with the file, and the remedy.
    pub fn read(file: &Path, codecs: &[Codec]) -> Result<Music, MusicError> {
        Music::from_wav(BufReader::new(File::open(file)?), codecs)
    }

    fn from_wav(wav: impl Read, codecs: &[Codec]) -> Result<Music, MusicError> {
        let reader = WavReader::new(wav).map_err(|error| MusicError::NotWav(error.to_string()))?;
        let WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format } =
            reader.spec();
        let usable = sample_format == SampleFormat::Int
            && bits == 16
            && matches!(channels, 1 | 2)
            && RATES.contains(&rate);
        if !usable {
            return Err(MusicError::Format { bits, channels, rate });
        }
        let seconds = reader.duration() / rate;
        if seconds > MAX_SECONDS {
            return Err(MusicError::TooLong { seconds });
        }
        let samples: Vec<i16> = reader
            .into_samples()
            .collect::<Result<_, _>>()
            .map_err(|error| MusicError::NotWav(error.to_string()))?;
        let mono = mixed(&samples, channels);
        let samples = resampled(&mono, rate, RATE);
        if samples.len() < MIN_SAMPLES {
            return Err(MusicError::TooShort);
        }
        Ok(Music::of(&samples, codecs))
    }

    /// In whole frames; what is left at the end is too short to be missed.
    fn of(samples: &[i16], codecs: &[Codec]) -> Music {
        let frames = samples.chunks_exact(FRAME);
        let len = frames.len() * FRAME;
        let mut music = Music { streams: Vec::new(), opus: Vec::new(), len };
        for &codec in codecs {
            let mut encoder = Encoder::new(codec, RATE);
            let encoded = samples.chunks_exact(FRAME).map(|frame| {
                let mut payload = [0; MAX_PAYLOAD];
                let len = encoder.encode(frame, &mut payload);
                payload.get(..len).unwrap_or_default().to_vec()
            });
            match codec {
                Codec::Opus => music.opus = encoded.collect(),
                _ => music.streams.push((codec, encoded.flatten().collect())),
            }
        }
        music
    }

    /// A second of a tone, for tests.
    #[cfg(test)]
    pub fn of_a_tone(hertz: u32) -> Music {
        let sample = |n: u32| {
            let angle = std::f32::consts::TAU * (n * hertz % RATE) as f32 / RATE as f32;
            (8000.0 * angle.sin()) as i16
        };
        Music::of(&(0..RATE).map(sample).collect::<Vec<_>>(), &Codec::ALL)
    }

    /// Writes the next `time` of it into `frame`; `position` moves along. The bytes written: 0 where it
    /// is not kept in that codec, or not in pieces of that length.
    pub fn play(
        &self,
        codec: Codec,
        time: Duration,
        position: &mut usize,
        frame: &mut [u8],
    ) -> usize {
        if *position >= self.len {
            *position = 0;
        }
        let samples = units(time, RATE) as usize;
        if codec == Codec::Opus {
            let payload = self.opus.get(*position / FRAME).filter(|_| samples == FRAME);
            let out = payload.and_then(|payload| frame.get_mut(..payload.len()).zip(Some(payload)));
            let Some((out, payload)) = out else { return 0 };
            out.copy_from_slice(payload);
            *position += FRAME;
            return payload.len();
        }
        let stream = self.streams.iter().find(|(kept, _)| *kept == codec).map(|(_, stream)| stream);
        let (Some(stream), Some(frame)) = (stream, frame.get_mut(..samples)) else { return 0 };
        let mut source = stream.iter().cycle().skip(*position);
        frame.fill_with(|| source.next().copied().unwrap_or_default());
        *position = (*position + samples) % self.len.max(1);
        samples
    }
}

fn mixed(samples: &[i16], channels: u16) -> Vec<f32> {
    let channels = usize::from(channels.max(1));
    let mono = |frame: &[i16]| frame.iter().map(|s| f32::from(*s)).sum::<f32>() / channels as f32;
    samples.chunks_exact(channels).map(mono).collect()
}

/// By a windowed sinc (Blackman) whose band ends a little below half of the lower rate.
fn resampled(samples: &[f32], from: u32, to: u32) -> Vec<i16> {
    let clipped = |sample: f32| sample.round().clamp(-32_768.0, 32_767.0) as i16;
    if from == to {
        return samples.iter().map(|sample| clipped(*sample)).collect();
    }
    let (from, to) = (u64::from(from), u64::from(to));
    // The fractions of a sample that output falls on repeat: one set of taps for each.
    let common = gcd(from, to);
    let phases = to / common;
    let band = 0.95 * (to as f32 / from as f32).min(1.0);
    let half = (LOBES as f32 / band).ceil();
    let taps: Vec<Vec<f32>> =
        (0..phases).map(|phase| taps(phase as f32 / phases as f32, band, half)).collect();
    let count = samples.len() as u64 * to / from;
    let output = |n: u64| {
        let at = n * (from / common);
        let first = (at / phases) as i64 - half as i64 + 1;
        let set = taps.get((at % phases) as usize).map_or(&[][..], Vec::as_slice);
        let sum = set.iter().enumerate().map(|(k, tap)| {
            let index = usize::try_from(first + k as i64).unwrap_or(usize::MAX);
            tap * samples.get(index).copied().unwrap_or_default()
        });
        clipped(sum.sum())
    };
    (0..count).map(output).collect()
}

/// The filter for output that falls `fraction` after an input sample.
fn taps(fraction: f32, band: f32, half: f32) -> Vec<f32> {
    use std::f32::consts::PI;
    let count = 2 * half as usize;
    let tap = |k: usize| {
        let x = k as f32 - (half - 1.0) - fraction;
        let window = (x / half).clamp(-1.0, 1.0);
        let window = 0.42 + 0.5 * (PI * window).cos() + 0.08 * (2.0 * PI * window).cos();
        let sinc = if x == 0.0 { 1.0 } else { (PI * band * x).sin() / (PI * band * x) };
        band * sinc * window
    };
    let taps: Vec<f32> = (0..count).map(tap).collect();
    // A constant stays what it was, whatever the phase.
    let sum: f32 = taps.iter().sum();
    taps.into_iter().map(|tap| tap / sum).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;
    use std::io::Cursor;

    use super::super::codec::Decoder;
    use super::super::g711::linear_from_ulaw;
    use super::*;

    const MS20: Duration = Duration::from_millis(20);

    /// Two tones, `seconds` long: one of 1 kHz, and one that 8 kHz cannot carry.
    fn wav(rate: u32, channels: u16, seconds: f64, high: f64) -> Vec<u8> {
        let spec = WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for n in 0..(f64::from(rate) * seconds) as u32 {
            let at = TAU * f64::from(n) / f64::from(rate);
            let sample = 8000.0 * (at * 1000.0).sin() + 8000.0 * (at * high).sin();
            for _ in 0..channels {
                writer.write_sample(sample as i16).unwrap();
            }
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    /// Power at a frequency, of a mu-law stream, on the scale of a sine's peak.
    fn peak(ulaw: &[u8], hertz: f64) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, byte) in ulaw.iter().enumerate() {
            let at = TAU * hertz * n as f64 / 8000.0;
            re += f64::from(linear_from_ulaw(*byte)) * at.cos();
            im += f64::from(linear_from_ulaw(*byte)) * at.sin();
        }
        2.0 * (re * re + im * im).sqrt() / ulaw.len() as f64
    }

    #[test]
    fn every_usual_rate_sounds_the_same() {
        for (rate, channels) in [(8000, 1), (16_000, 1), (44_100, 2), (48_000, 2), (11_025, 1)] {
            let high = if rate == 8000 { 2500.0 } else { 5000.0 };
            let music = Music::from_wav(&wav(rate, channels, 1.0, high)[..], &Codec::ALL).unwrap();
            assert!((7840..=8000).contains(&music.len), "{rate}: {}", music.len);
            let ulaw = &music.streams[0].1;
            let tone = peak(ulaw, 1000.0);
            assert!((7700.0..8300.0).contains(&tone), "{rate}: {tone}");
            if rate > 8000 {
                // It would be heard at 3 kHz.
                let alias = peak(ulaw, 3000.0);
                assert!(alias < 40.0, "{rate}: {alias}");
            }
        }
    }

    #[test]
    fn it_begins_again_at_its_end() {
        let music = Music::from_wav(&wav(8000, 1, 0.5, 2000.0)[..], &Codec::ALL).unwrap();
        let (mut position, mut frame) = (0, [0; 400]);
        let mut played = Vec::new();
        for _ in 0..60 {
            assert_eq!(music.play(Codec::Pcmu, MS20, &mut position, &mut frame), 160);
            played.extend(&frame[..160]);
        }
        let ulaw = &music.streams[0].1;
        assert_eq!(
            (ulaw.len(), &played[..4000], &played[4000..8000]),
            (4000, &ulaw[..], &ulaw[..])
        );
        assert_eq!(music.play(Codec::Pcma, MS20, &mut position, &mut frame), 160);
        assert_eq!(frame[..160], music.streams[1].1[1600..1760]);
        assert_eq!(
            music.play(Codec::Opus, Duration::from_millis(30), &mut position, &mut frame),
            0
        );
    }

    #[test]
    fn every_codec_plays_it() {
        let music = Music::of_a_tone(500);
        for codec in Codec::ALL {
            let (mut position, mut frame) = (0, [0; 400]);
            let mut decoder = Decoder::new(codec, 8000);
            let mut power = 0.0;
            for _ in 0..75 {
                let len = music.play(codec, MS20, &mut position, &mut frame);
                assert!(len > 0, "{codec}");
                let mut samples = [0; 160];
                assert_eq!(decoder.decode(&frame[..len], &mut samples), 160, "{codec}");
                power += samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
            }
            let rms = (power / 75.0 / 160.0).sqrt();
            assert!((4500.0..7500.0).contains(&rms), "{codec}: {rms}");
        }
        let narrow = Music::of(&[0; 8000], &[Codec::Pcmu]);
        assert_eq!(narrow.play(Codec::Opus, MS20, &mut 0, &mut [0; 400]), 0);
    }

    #[test]
    fn what_is_no_music_is_refused() {
        assert!(matches!(
            Music::from_wav(&b"RIFF nonsense"[..], &Codec::ALL),
            Err(MusicError::NotWav(_))
        ));
        let cut = &wav(8000, 1, 1.0, 0.0)[..5000];
        assert!(matches!(Music::from_wav(cut, &Codec::ALL), Err(MusicError::NotWav(_))));
        let many = wav(8000, 4, 1.0, 0.0);
        assert!(matches!(
            Music::from_wav(&many[..], &Codec::ALL),
            Err(MusicError::Format { channels: 4, .. })
        ));
        let high = wav(96_000, 1, 1.0, 0.0);
        assert!(matches!(Music::from_wav(&high[..], &Codec::ALL), Err(MusicError::Format { .. })));
        let short = wav(8000, 1, 0.4, 0.0);
        assert!(matches!(Music::from_wav(&short[..], &Codec::ALL), Err(MusicError::TooShort)));
        let mut long = wav(8000, 1, 1.0, 0.0);
        // The header says what comes: it is believed before a byte of it is read.
        let size: u32 = 8000 * 2 * 700;
        long[40..44].copy_from_slice(&size.to_le_bytes());
        assert!(matches!(
            Music::from_wav(&long[..], &Codec::ALL),
            Err(MusicError::TooLong { seconds: 700 })
        ));
        assert!(matches!(Music::read(Path::new("/nonexistent.wav"), &[]), Err(MusicError::Io(_))));
    }
}
