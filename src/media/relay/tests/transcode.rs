//! Sound through the relay, from every codec to every other, under virtual time.

use super::*;
use crate::media::codec::{Decoder, Encoder, samples};

const HZ: f32 = 440.0;
/// Of a sine with a peak of 8000.
const LEVEL: f32 = -15.3;
const SEND: Flow = BOTH;

fn number(codec: Codec) -> u8 {
    codec.offered_payload()
}

fn one(codec: Codec) -> PayloadMap {
    map(&[(codec, number(codec))], Some(101))
}

/// Number, timestamp and payload.
type Sent = (u16, u32, Vec<u8>);

/// What one side says.
struct Source {
    codec: Codec,
    encoder: Encoder,
    frame: u64,
    speaker: Speaker,
    sample: fn(u64) -> f32,
}

fn sine(n: u64) -> f32 {
    8000.0 * (2.0 * std::f32::consts::PI * HZ / 8000.0 * n as f32).sin()
}

/// A buzz in syllables: the redundancy of Opus is for speech, and a steady tone is noise to it.
fn voice(n: u64) -> f32 {
    let turn = 2.0 * std::f32::consts::PI * n as f32 / 8000.0;
    let buzz: f32 = (1..=10).map(|h| (turn * 150.0 * h as f32).sin() / h as f32).sum();
    4000.0 * buzz * (0.6 + 0.4 * (turn * 4.0).sin())
}

impl Source {
    fn new(codec: Codec) -> Self {
        let speaker = Speaker { payload_type: number(codec), ..Speaker::new(5, 65_530, 77) };
        Source { codec, encoder: Encoder::new(codec, 8000), frame: 0, speaker, sample: sine }
    }

    /// The same source goes on in another codec.
    fn switch(&mut self, codec: Codec) {
        self.encoder = Encoder::new(codec, 8000);
        self.codec = codec;
    }

    /// The next 20 ms, with its place.
    fn next(&mut self) -> Sent {
        let first = self.frame * 160;
        let pcm: Vec<i16> = (first..first + 160).map(|n| (self.sample)(n) as i16).collect();
        let mut payload = [0; 1500];
        let len = self.encoder.encode(&pcm, &mut payload);
        self.frame += 1;
        self.speaker.sequence = self.speaker.sequence.wrapping_add(1);
        let step = samples(self.codec, &payload[..len]);
        self.speaker.timestamp = self.speaker.timestamp.wrapping_add(step);
        (self.speaker.sequence, self.speaker.timestamp, payload[..len].to_vec())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    ToSip,
    ToBrowser,
}

/// A relay between two codecs, and what comes out of it.
struct Line {
    now: Instant,
    relay: Relay,
    way: Way,
    out: Vec<(Instant, Out)>,
}

impl Line {
    fn new(way: Way, from: PayloadMap, to: PayloadMap) -> Self {
        let bench = match way {
            Way::ToSip => Bench::with(from, to),
            Way::ToBrowser => Bench::with(to, from),
        };
        Line { now: bench.now, relay: bench.relay, way, out: Vec::new() }
    }

    /// Lets time pass, and takes what comes out of the far side; silence of ours is not of interest.
    fn until(&mut self, until: Instant) {
        let mut buffer = [0; PACKET];
        loop {
            self.now = self.relay.poll_timeout().map_or(until, |at| at.clamp(self.now, until));
            while let Some(data) = self.relay.poll_sip(self.now, &mut buffer) {
                if self.way == Way::ToSip {
                    self.out.push((self.now, out(data)));
                }
            }
            while let Some(data) = self.relay.poll_browser(self.now, &mut buffer) {
                if self.way == Way::ToBrowser {
                    self.out.push((self.now, out(data)));
                }
            }
            if self.now == until {
                return;
            }
        }
    }

    fn insert(&mut self, payload_type: u8, (sequence, timestamp, payload): &Sent) {
        let packet = Packet {
            payload_type,
            marker: false,
            sequence: *sequence,
            timestamp: *timestamp,
            ssrc: 5,
            payload,
        };
        let mut buffer = [0; PACKET];
        let passed = match self.way {
            Way::ToSip => self.relay.forward_to_sip(self.now, &packet, &mut buffer),
            Way::ToBrowser => {
                self.relay.make_way();
                self.relay.forward_to_browser(self.now, &packet, &mut buffer)
            }
        };
        if let Some(data) = passed {
            self.out.push((self.now, out(data)));
        }
    }

    /// A source speaks for so many frames, some lost, some late.
    fn hear(
        &mut self,
        source: &mut Source,
        frames: u64,
        lost: impl Fn(u64) -> bool,
        late: impl Fn(u64) -> Duration,
    ) {
        let start = self.now;
        let mut packets: Vec<(Instant, Sent)> = Vec::new();
        for n in 0..frames {
            let packet = source.next();
            if !lost(n) {
                packets.push((start + FRAME * n as u32 + late(n), packet));
            }
        }
        packets.sort_by_key(|(at, _)| *at);
        for (at, packet) in packets {
            self.until(at);
            self.insert(number(source.codec), &packet);
        }
        let end = self.now.max(start + FRAME * frames as u32);
        self.until(end);
    }

    /// What is heard at the far end, in frames of 20 ms: the tone's level in dB.
    fn levels(&self, codec: Codec) -> Vec<f32> {
        self.heard(codec).chunks_exact(160).map(tone).collect()
    }

    /// Timestamps say what follows what; a hole in them is silence.
    fn heard(&self, codec: Codec) -> Vec<i16> {
        let mut decoder = Decoder::new(codec, 8000);
        let (mut pcm, mut next) = (Vec::new(), None);
        for (_, packet) in &self.out {
            if packet.payload_type != number(codec) {
                continue;
            }
            let gap = next.map_or(0, |next| packet.timestamp.wrapping_sub(next));
            assert!(gap < 48_000, "time ran away");
            pcm.resize(pcm.len() + (gap * 8000 / codec.clock_rate()) as usize, 0);
            let mut out = [0; 5760];
            let len = decoder.decode(&packet.payload, &mut out);
            pcm.extend_from_slice(&out[..len]);
            next = Some(packet.timestamp.wrapping_add(samples(codec, &packet.payload)));
        }
        pcm
    }
}

/// The level of the tone in a frame, whatever its phase; dB of full scale.
fn tone(pcm: &[i16]) -> f32 {
    let turn = 2.0 * std::f32::consts::PI * HZ / 8000.0;
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        re += f32::from(*sample) / 32_768.0 * (turn * n as f32).cos();
        im += f32::from(*sample) / 32_768.0 * (turn * n as f32).sin();
    }
    10.0 * (2.0 * (re * re + im * im) / (pcm.len() as f32).powi(2) + 1e-9).log10()
}

/// How loud a frame is in all, in dB of full scale.
fn loudness(pcm: &[i16]) -> f32 {
    let sum: f32 = pcm.iter().map(|s| (f32::from(*s) / 32_768.0).powi(2)).sum();
    10.0 * (sum / pcm.len() as f32 + 1e-9).log10()
}

fn on_time(_: u64) -> Duration {
    Duration::ZERO
}

fn pairs() -> impl Iterator<Item = (Codec, Codec, Way)> {
    let two = Codec::ALL.into_iter().flat_map(|a| Codec::ALL.map(|b| (a, b)));
    two.flat_map(|(a, b)| [(a, b, Way::ToSip), (a, b, Way::ToBrowser)])
}

fn one_stream(out: &[(Instant, Out)]) {
    for pair in out.windows(2) {
        assert_eq!(pair[0].1.ssrc, pair[1].1.ssrc);
        assert_eq!(pair[1].1.sequence.wrapping_sub(pair[0].1.sequence), 1);
    }
}

#[test]
fn a_tone_goes_through_every_pair_both_ways() {
    for (from, to, way) in pairs() {
        let mut line = Line::new(way, one(from), one(to));
        line.hear(&mut Source::new(from), 100, |_| false, on_time);
        one_stream(&line.out);
        let levels = line.levels(to);
        // Two frames are held back, and never more than that.
        assert!(levels.len() >= 97, "{from} to {to}, {way:?}: {} frames", levels.len());
        for (n, level) in levels.iter().enumerate().skip(8) {
            let what = format!("{from} to {to}, {way:?}, frame {n}: {level}");
            assert!((level - LEVEL).abs() < 1.5, "{what}");
        }
    }
}

/// As Chromium does when its page allows Opus alone and the offer begins with PCMU.
#[test]
fn a_browser_is_understood_whose_answer_named_another_codec() {
    for to in Codec::ALL {
        let mut line = Line::new(Way::ToSip, one(Codec::Opus), one(to));
        line.hear(&mut Source::new(Codec::Pcmu), 50, |_| false, on_time);
        assert_eq!(line.relay.unknown_payload(), 0, "{to}");
        let levels = line.levels(to);
        assert!(levels.len() >= 47, "{to}: {} frames", levels.len());
        assert!(levels.iter().skip(8).all(|level| (level - LEVEL).abs() < 1.5), "{to}: {levels:?}");
    }
}

#[test]
fn what_both_have_is_passed_on_untouched() {
    for codec in Codec::ALL {
        let all: Vec<(Codec, u8)> = Codec::ALL.iter().map(|c| (*c, number(*c))).collect();
        let mut line = Line::new(Way::ToSip, map(&all, None), map(&all, None));
        let mut source = Source::new(codec);
        let packet = source.next();
        line.insert(number(codec), &packet);
        assert_eq!(line.out[0].1.payload, packet.2);
        assert!(!line.relay.coder_to_sip.is_at_work() && !line.relay.coder_to_browser.is_at_work());
    }
}

#[test]
fn a_packet_in_twenty_lost_is_not_missed() {
    for (from, to, way) in pairs().filter(|(a, b, _)| a != b) {
        let [whole, lossy] = [false, true].map(|lossy| {
            let mut line = Line::new(way, one(from), one(to));
            let mut source = Source { sample: voice, ..Source::new(from) };
            line.hear(&mut source, 400, |n| lossy && n > 20 && n % 20 == 7, on_time);
            line
        });
        if !lossy.relay.coder_to_sip.is_at_work() && !lossy.relay.coder_to_browser.is_at_work() {
            // From one law to the other: concealment is the destination's.
            continue;
        }
        one_stream(&lossy.out);
        assert_eq!(whole.out.len(), lossy.out.len(), "{from} to {to}, {way:?}");
        let [whole, lossy] = [whole, lossy]
            .map(|line| line.heard(to).chunks_exact(160).map(loudness).collect::<Vec<_>>());
        for (n, (expected, level)) in whole.iter().zip(&lossy).enumerate().skip(8) {
            // Between syllables there is nothing to lose.
            let what = format!("{from} to {to}, {way:?}, frame {n}: {level}, not {expected}");
            assert!(*expected < -30.0 || expected - level < 10.0, "{what}");
        }
        let mean = |levels: &[f32]| levels.iter().sum::<f32>() / levels.len() as f32;
        assert!((mean(&whole) - mean(&lossy)).abs() < 1.0, "{from} to {to}, {way:?}");
    }
}

/// A hold lets go of the coders, and not of what they counted.
#[test]
fn what_was_made_up_before_a_hold_is_counted_after_it() {
    let mut line = Line::new(Way::ToSip, one(Codec::Opus), one(Codec::Pcmu));
    let mut source = Source::new(Codec::Opus);
    line.hear(&mut source, 100, |n| n > 20 && n % 20 == 7, on_time);
    let before = line.relay.concealed_of_browser();
    assert!(before > 0);
    line.relay.set_flow(line.now, HELD);
    assert!(!line.relay.coder_to_sip.is_at_work());
    assert_eq!(line.relay.concealed_of_browser(), before);
    line.relay.set_flow(line.now, BOTH);
    line.hear(&mut source, 100, |n| n > 20 && n % 20 == 7, on_time);
    assert!(line.relay.concealed_of_browser() > before);
}

#[test]
fn sixty_milliseconds_of_jitter_are_smoothed_out() {
    let late =
        |n: u64| Duration::from_millis([0, 35, 10, 60, 5, 48, 20, 0, 55, 15][n as usize % 10]);
    for (from, to) in
        [(Codec::Opus, Codec::Pcmu), (Codec::Pcma, Codec::Opus), (Codec::G722, Codec::Pcmu)]
    {
        let mut line = Line::new(Way::ToSip, one(from), one(to));
        line.hear(&mut Source::new(from), 400, |_| false, late);
        one_stream(&line.out);
        // At an even pace.
        for pair in line.out.windows(2).skip(50) {
            assert_eq!(pair[1].0 - pair[0].0, FRAME, "{from} to {to}");
        }
        let levels = line.levels(to);
        let bad = levels.iter().skip(50).filter(|level| (**level - LEVEL).abs() > 3.0).count();
        assert!(bad <= 2, "{from} to {to}: {bad} frames");
        // What has grown is not more than the jitter and two frames.
        let depth = line.now - line.out.last().unwrap().0;
        assert!(depth <= FRAME, "{depth:?}");
    }
}

#[test]
fn the_browser_sees_one_stream_over_changes_of_the_codec() {
    let wide = PayloadMap { telephone_event_48k: Some(110), ..one(Codec::Pcmu) };
    let mut line = Line::new(Way::ToBrowser, one(Codec::Pcmu), wide);
    let mut source = Source::new(Codec::Pcmu);
    for codec in [Codec::Pcmu, Codec::Opus, Codec::G722, Codec::Pcmu] {
        source.switch(codec);
        let now = line.now;
        line.relay.set_sip(now, one(codec));
        line.hear(&mut source, 100, |_| false, on_time);
    }
    one_stream(&line.out);
    assert!(line.out.iter().all(|(_, packet)| packet.payload_type == 0));
    // Time goes on with the clock.
    let (first, last) = (&line.out[0], &line.out[line.out.len() - 1]);
    let passed = units(last.0 - first.0, 8000);
    let counted = last.1.timestamp.wrapping_sub(first.1.timestamp);
    assert!(counted.abs_diff(passed) <= 320, "{counted} for {passed}");
    let levels = line.levels(Codec::Pcmu);
    let silent = levels.iter().skip(8).filter(|level| **level < LEVEL - 6.0).count();
    // Each change to a transcoded codec holds the first packets back for 40 ms.
    assert!(silent <= 9, "{silent} frames without the tone");
    assert!(!line.relay.coder_to_browser.is_at_work(), "PCMU needs no coder");
}

/// The browser takes Opus, and the SIP side changes: here it is the browser's own codec that passes.
#[test]
fn the_clock_changes_within_one_ssrc() {
    let all: Vec<(Codec, u8)> = Codec::ALL.iter().map(|c| (*c, number(*c))).collect();
    let mut line = Line::new(Way::ToBrowser, map(&all, None), map(&all, None));
    let mut source = Source::new(Codec::Pcmu);
    for codec in [Codec::Pcmu, Codec::Opus, Codec::G722] {
        source.switch(codec);
        line.hear(&mut source, 50, |_| false, on_time);
    }
    one_stream(&line.out);
    for pair in line.out.windows(2) {
        // The step over a change is by the clock of before (RFC 7160 4.2).
        let step = pair[1].1.timestamp.wrapping_sub(pair[0].1.timestamp);
        let expected = if pair[0].1.payload_type == 111 { 960 } else { 160 };
        assert_eq!(step, expected, "{pair:?}");
    }
    let report = line.relay.to_browser().timestamp_at(line.now).unwrap();
    let since = units(line.now - line.out[149].0, 8000);
    assert_eq!(report.wrapping_sub(line.out[149].1.timestamp), since);
}

#[test]
fn a_source_that_stops_ends_in_silence_and_comes_back() {
    let mut line = Line::new(Way::ToBrowser, one(Codec::Opus), one(Codec::Pcmu));
    let mut source = Source::new(Codec::Opus);
    line.hear(&mut source, 50, |_| false, on_time);
    let before = line.out.len();
    let now = line.now;
    line.until(now + Duration::from_secs(5));
    let after = &line.out[before..];
    let made_up = after.iter().filter(|(_, p)| p.payload.iter().any(|b| *b < 0xF8)).count();
    assert!(made_up <= 10, "{made_up} frames of a source that is gone");
    assert_eq!(line.relay.coder_timeout(), None, "nothing to wake up for");
    line.hear(&mut source, 50, |_| false, on_time);
    one_stream(&line.out);
    let (last, first) = (&line.out[before - 1], &line.out[line.out.len() - 1]);
    let step = first.1.timestamp.wrapping_sub(last.1.timestamp);
    assert!(step.abs_diff(units(first.0 - last.0, 8000)) <= 320, "{step}");
}

/// Half a per cent, a hundred times what crystals do.
#[test]
fn a_source_whose_clock_is_fast_does_not_fall_behind() {
    let mut line = Line::new(Way::ToSip, one(Codec::Opus), one(Codec::Pcmu));
    let mut source = Source::new(Codec::Opus);
    let early = |n: u64| {
        Duration::from_millis(100) - Duration::from_micros(100 * n).min(Duration::from_millis(100))
    };
    for _ in 0..10 {
        line.hear(&mut source, 1000, |_| false, early);
    }
    let depth = line.relay.coder_to_sip.as_mut().unwrap().depth();
    assert!(depth <= Duration::from_millis(220), "{depth:?}");
}

#[test]
fn events_change_their_clock() {
    let browser = PayloadMap { telephone_event_48k: Some(110), ..one(Codec::Opus) };
    let browser = PayloadMap { telephone_event: None, ..browser };
    let mut line = Line::new(Way::ToSip, browser, one(Codec::Pcmu));
    let mut source = Source::new(Codec::Opus);
    line.hear(&mut source, 20, |_| false, on_time);
    let (mut sequence, timestamp) = (source.speaker.sequence, source.speaker.timestamp + 960);
    let audio = line.out.len();
    for n in 1..=7u16 {
        sequence = sequence.wrapping_add(1);
        let event = Event { code: 5, end: n > 4, volume: 10, duration: 960 * n.min(5) };
        let packet = (sequence, timestamp, event.payload().to_vec());
        line.insert(110, &packet);
        // The network says it twice.
        line.insert(110, &packet);
        let now = line.now;
        line.until(now + FRAME);
    }
    source.speaker.sequence = sequence;
    source.speaker.timestamp = timestamp + 7 * 960;
    line.hear(&mut source, 20, |_| false, on_time);
    one_stream(&line.out);
    let events: Vec<&Out> =
        line.out.iter().map(|(_, p)| p).filter(|p| p.payload_type == 101).collect();
    assert_eq!(events.len(), 7, "each once");
    assert!(events.iter().all(|p| p.timestamp == events[0].timestamp));
    assert!(events[0].marker && events[1..].iter().all(|p| !p.marker));
    let heard: Vec<Event> = events.iter().map(|p| Event::parse(&p.payload).unwrap()).collect();
    assert_eq!(
        heard.iter().map(|e| e.duration).collect::<Vec<_>>(),
        [160, 320, 480, 640, 800, 800, 800]
    );
    let step = events[0].timestamp.wrapping_sub(line.out[audio - 1].1.timestamp);
    assert!((160..=480).contains(&step), "{step}");
    // In milliseconds of 8 kHz, whatever the clock was.
    let digit = line.relay.poll_event();
    assert_eq!(
        digit,
        Some(MediaEvent::Digit {
            digit: '5',
            duration: Duration::from_millis(100),
            from_sip: false
        })
    );
    assert_eq!(line.relay.poll_event(), None);
    // And back: 8 kHz becomes 48.
    let mut line = Line::new(
        Way::ToBrowser,
        one(Codec::Pcmu),
        PayloadMap { telephone_event: None, telephone_event_48k: Some(110), ..one(Codec::Opus) },
    );
    let event = Event { code: 11, end: true, volume: 10, duration: 800 };
    line.hear(&mut Source::new(Codec::Pcmu), 5, |_| false, on_time);
    line.insert(101, &(9, 77, event.payload().to_vec()));
    let (_, packet) = line.out.last().unwrap();
    assert_eq!(packet.payload_type, 110);
    assert_eq!(Event::parse(&packet.payload).unwrap().duration, 4800);
}

#[test]
fn silence_in_opus_is_what_an_opus_phone_can_hear() {
    let mut line = Line::new(Way::ToSip, one(Codec::Pcmu), one(Codec::Opus));
    let now = line.now;
    line.until(now + Duration::from_secs(1));
    assert_eq!(line.out.len(), 41, "after 200 ms, every 20 ms");
    one_stream(&line.out);
    for pair in line.out.windows(2) {
        assert_eq!(pair[1].1.timestamp.wrapping_sub(pair[0].1.timestamp), 960);
    }
    assert!(line.levels(Codec::Opus).iter().all(|level| *level < -80.0));
}

#[test]
fn what_stands_in_the_buffer_is_not_heard_during_a_hold() {
    let mut line = Line::new(Way::ToBrowser, one(Codec::Pcmu), one(Codec::Opus));
    line.hear(&mut Source::new(Codec::Pcmu), 20, |_| false, on_time);
    let (now, before) = (line.now, line.out.len());
    line.relay.set_flow(now, Flow::NONE);
    line.until(now + FRAME * 50);
    assert_eq!(line.out.len(), before);
}

#[test]
fn nobody_speaks_among_the_packets_of_our_digits() {
    let mut line = Line::new(Way::ToSip, one(Codec::Opus), one(Codec::Pcmu));
    let mut source = Source::new(Codec::Opus);
    line.hear(&mut source, 20, |_| false, on_time);
    let (now, before) = (line.now, line.out.len());
    line.relay.press(now, "5");
    line.hear(&mut source, 30, |_| false, on_time);
    let kinds: Vec<u8> = line.out[before..].iter().map(|(_, p)| p.payload_type).collect();
    let first = kinds.iter().position(|kind| *kind == 101).unwrap();
    assert_eq!(kinds[first..first + 7], [101; 7]);
    assert!(kinds[first + 7..].iter().filter(|kind| **kind == 0).count() > 15, "{kinds:?}");
}

#[test]
fn who_loses_nothing_is_spared_redundancy() {
    // RFC 6716 4.2.3: copies of the packet before, in those of one frame of SILK.
    let redundant = |report: fn(&mut Relay)| {
        let mut line = Line::new(Way::ToBrowser, one(Codec::Pcmu), one(Codec::Opus));
        let mut source = Source::new(Codec::Pcmu);
        line.hear(&mut source, 10, |_| false, on_time);
        (0..3).for_each(|_| report(&mut line.relay));
        let before = line.out.len();
        line.hear(&mut source, 25, |_| false, on_time);
        line.out[before..].iter().filter(|(_, packet)| packet.payload[1] & 0x40 != 0).count()
    };
    assert!(redundant(|_| ()) > 10);
    assert!(redundant(|relay| relay.browser_loses(0)) <= 1, "a frame may be under way");
    assert!(redundant(|relay| relay.browser_loses(9)) > 10);
    assert!(redundant(|relay| relay.sip_loses(0)) > 10, "what it says is of another stream");
}

#[test]
fn nothing_is_transcoded_that_may_not_flow() {
    let mut line = Line::new(Way::ToSip, one(Codec::Opus), one(Codec::Pcmu));
    let mut source = Source::new(Codec::Opus);
    line.hear(&mut source, 20, |_| false, on_time);
    let (now, before) = (line.now, line.out.len());
    assert_eq!(line.relay.flow, SEND);
    line.relay.set_flow(now, HELD);
    assert!(!line.relay.coder_to_sip.is_at_work());
    line.hear(&mut source, 20, |_| false, on_time);
    assert!(!line.relay.coder_to_sip.is_at_work());
    assert!(line.out[before..].iter().all(|(_, p)| p.payload == [0xFF; 160]), "silence only");
}

/// A peer that changes its mind in mid-call gets what it asks for from then on.
#[test]
fn packets_are_as_long_as_the_receiver_asks() {
    let mut line = Line::new(Way::ToSip, one(Codec::Opus), one(Codec::Pcma));
    let mut source = Source::new(Codec::Opus);
    for millis in [20, 30, 10, 60] {
        let mut sip = one(Codec::Pcma);
        sip.wishes.ptime = Duration::from_millis(millis);
        let now = line.now;
        line.relay.set_sip(now, sip);
        line.out.clear();
        for _ in 0..25 {
            let sent = source.next();
            line.insert(number(Codec::Opus), &sent);
            let next = line.now + FRAME;
            line.until(next);
        }
        let long = millis as usize * 8;
        let frames = line.out.iter().filter(|(_, out)| out.payload.len() == long).count();
        assert_eq!(frames, line.out.len(), "all of {millis} ms");
        assert!(frames * long >= 25 * 160 - 2 * long - 640, "{frames} of {millis} ms");
    }
}
