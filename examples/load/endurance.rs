//! A working day in small: agents who come and go, calls of all lengths, and whether the gateway needs
//! more for it in the end than at the beginning.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Fault;
use crate::calls::{Agent, Way, World};
use crate::process::{Descriptors, Process};
use crate::report::times_json;
use crate::stage::{Plan, wait_idle};
use crate::times::Times;

/// Agents; most of them have a call at any time.
const AGENTS: usize = 40;
/// Finished calls stay in memory up to a limit: the least there is, so that it is reached in some ten minutes
/// and not in the second half.
pub const SETTINGS: [&str; 1] = ["journal.max_megabytes=10"];
/// Seconds that a registration holds, for many of them to be renewed.
const REGISTERED: u32 = 90;
/// Until connections that nobody needs are closed at both ends, an RTP port has rested (5 s), and what is
/// kept for late messages is gone (32 s, 64 T1).
const REST: Duration = Duration::from_secs(45);
/// Between two looks, and how many there are at least.
const LOOK: Duration = Duration::from_secs(30);
const LEAST_LOOKS: u32 = 20;
/// With less than this in the second half, the allocator's moods are larger than any leak.
const JUDGED: Duration = Duration::from_secs(20 * 60);
/// Growth of resident memory in the second half, by least squares: KiB an hour. With some 12 000 calls an
/// hour it is a third of a KiB a call; a call that stays in memory takes more than forty (see `KB a call`).
const MAX_GROWTH: f64 = 4096.0;
/// Calls of a thousand that may fail: on a machine that does something else too, some run out of patience.
const MAX_FAILED: f64 = 2.0;
/// Faults of calls that are told in words.
const TOLD: usize = 20;

/// What the gateway has at a moment.
#[derive(Clone, Copy, Default, serde::Serialize)]
struct Look {
    seconds: f64,
    rss_kib: f64,
    descriptors: Descriptors,
    threads: f64,
    free_ports: f64,
    registered: f64,
    calls: f64,
    /// Ended so far.
    finished: usize,
}

#[derive(Default)]
struct Done {
    calls: usize,
    holds: usize,
    digits: usize,
    wrong_numbers: usize,
    sign_ins: usize,
    reloads: usize,
    media: Times,
    failed: Vec<String>,
}

pub struct Endurance {
    length: Duration,
    done: Done,
    /// KiB an hour; `None`: too short to say.
    growth: Option<f64>,
    /// All signed in and nobody talking: before the first call, and after the last.
    idle: [Look; 2],
    looks: Vec<Look>,
    cpu: f64,
}

/// Numbers that are the same on every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }

    /// Six of ten calls are short, one is long: 11 s on average.
    fn length(&mut self) -> Duration {
        match self.next() % 10 {
            0..6 => self.between(500, 4500),
            6..9 => self.between(5000, 20_000),
            _ => self.between(30_000, 90_000),
        }
    }
}

pub async fn run(plan: &Plan, minutes: u64) -> Result<Endurance, Fault> {
    let length = Duration::from_secs(60 * minutes.max(1));
    let (process, world, agents, _) = plan.populate_for(AGENTS, REGISTERED).await?;
    tokio::time::sleep(REST).await;
    let (begun, cpu) = (Instant::now(), process.cpu()?);
    let finished = Arc::new(AtomicUsize::new(0));
    let look = async || look(&process, &world, begun, &finished).await;
    let before = look().await?;
    eprintln!("{}", before.line());

    let mut tasks = JoinSet::new();
    for agent in agents {
        let (world, finished) = (world.clone(), finished.clone());
        tasks.spawn(async move {
            let mut done = Done::default();
            let dice = Dice(agent.number as u64);
            let until = begun + length;
            let agent = work(&world, agent, dice, until, &finished, &mut done).await;
            (agent, done)
        });
    }
    let mut looks = Vec::new();
    let mut ticks = tokio::time::interval(LOOK.min(length / LEAST_LOOKS));
    ticks.tick().await;
    while begun.elapsed() < length {
        ticks.tick().await;
        let look = look().await?;
        eprintln!("{}", look.line());
        looks.push(look);
    }
    let (mut done, mut agents) = (Done::default(), Vec::new());
    while let Some(joined) = tasks.join_next().await {
        let (agent, one) = joined?;
        agents.push(agent?);
        done.add(one);
    }
    wait_idle(&world).await?;
    let cpu = process.cpu()?.since(&cpu, "") / begun.elapsed().as_secs_f64();
    tokio::time::sleep(REST).await;
    let after = look().await?;
    eprintln!("{}", after.line());
    let half = looks.split_off(looks.len() / 2);
    let growth = growth(length, &half);
    looks.extend(half);
    Ok(Endurance { length, done, growth, idle: [before, after], looks, cpu })
}

/// What an agent does until the end; ends signed in and without a call.
async fn work(
    world: &Arc<World>,
    agent: Agent,
    mut dice: Dice,
    until: Instant,
    finished: &AtomicUsize,
    done: &mut Done,
) -> Result<Agent, Fault> {
    let number = agent.number;
    let mut agent = Some(agent);
    loop {
        tokio::time::sleep(dice.between(200, 2000)).await;
        let mut own = match agent.take() {
            Some(own) => own,
            None => {
                done.sign_ins += 1;
                Agent::sign_in(world.clone(), number).await?
            }
        };
        if Instant::now() >= until {
            return Ok(own);
        }
        let outcome = one_call(&mut own, &mut dice, until, done).await;
        done.calls += 1;
        finished.fetch_add(1, Ordering::Relaxed);
        let is_lost = outcome.is_err();
        if let Err(why) = outcome {
            eprintln!("agent {number}: {why}");
            done.failed.push(why.to_string());
            let _ = own.hang_up().await;
        }
        if is_lost || dice.one_in(12) {
            own.sign_out().await?;
        } else if dice.one_in(30) {
            // A page that is loaded again: nobody has signed out.
            done.reloads += 1;
        } else {
            agent = Some(own);
        }
    }
}

async fn one_call(
    agent: &mut Agent,
    dice: &mut Dice,
    until: Instant,
    done: &mut Done,
) -> Result<(), Fault> {
    agent.forget_messages();
    if dice.one_in(15) {
        done.wrong_numbers += 1;
        return agent.wrong_number().await;
    }
    let way = if dice.one_in(2) { Way::Out } else { Way::In };
    let failed = |why: Fault| format!("{way:?}: {why}");
    let took = agent.call(way).await.map_err(failed)?;
    done.media.add(took.media.as_nanos() as u64);
    let length = dice.length().min(until.saturating_duration_since(Instant::now()));
    let (holds, dials) = (dice.one_in(4), dice.one_in(4));
    tokio::time::sleep(length / 2).await;
    if holds {
        done.holds += 1;
        agent.command("HOLD").await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
        agent.command("RESUME").await?;
    }
    if dials {
        done.digits += 1;
        agent.command("DTMF 12#").await?;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    tokio::time::sleep(length / 2).await;
    let outcome = match dice.one_in(2) {
        true => agent.hang_up_by(Way::Out).await,
        false => agent.hang_up_by(Way::In).await,
    };
    outcome.map_err(|why| format!("{way:?}, hanging up: {why}").into())
}

async fn look(
    process: &Process,
    world: &World,
    begun: Instant,
    finished: &AtomicUsize,
) -> Result<Look, Fault> {
    let text = world.http.get(format!("{}/metrics", world.base)).send().await?.text().await?;
    let gauge = |name: &str| -> Result<f64, Fault> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.ok_or_else(|| format!("no {name} among the metrics"))?.parse()?)
    };
    Ok(Look {
        seconds: begun.elapsed().as_secs_f64(),
        rss_kib: process.memory()?,
        descriptors: process.descriptors()?,
        threads: gauge("process_threads")?,
        free_ports: gauge("wrtc_rtp_ports_free")?,
        registered: gauge("wrtc_agents_registered")?,
        calls: gauge("wrtc_calls_active")?,
        finished: finished.load(Ordering::Relaxed),
    })
}

/// KiB an hour in the second half of so long a run, where that is long enough to be judged.
fn growth(length: Duration, half: &[Look]) -> Option<f64> {
    (length / 2 >= JUDGED).then(|| slope(half) * 3600.0)
}

/// KiB a second of resident memory, by least squares.
fn slope(looks: &[Look]) -> f64 {
    let count = looks.len().max(1) as f64;
    let mean = |of: fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|look| look.seconds), mean(|look| look.rss_kib));
    let (mut above, mut below) = (0.0, 0.0);
    for look in looks {
        above += (look.seconds - time) * (look.rss_kib - memory);
        below += (look.seconds - time).powi(2);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

impl Look {
    fn line(&self) -> String {
        format!(
            "{:5.0} s: {:.1} MB, {} descriptors, {} UDP sockets, {} threads, {} RTP ports free, {} agents, \
             {} calls, {} over",
            self.seconds,
            self.rss_kib / 1024.0,
            self.descriptors.all,
            self.descriptors.udp,
            self.threads,
            self.free_ports,
            self.registered,
            self.calls,
            self.finished,
        )
    }
}

impl Done {
    fn add(&mut self, other: Done) {
        self.calls += other.calls;
        self.holds += other.holds;
        self.digits += other.digits;
        self.wrong_numbers += other.wrong_numbers;
        self.sign_ins += other.sign_ins;
        self.reloads += other.reloads;
        self.media.merge(&other.media);
        self.failed.extend(other.failed);
    }
}

impl Endurance {
    /// Why the gateway did not pass.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let [before, after] = &self.idle;
        if let Some(growth) = self.growth.filter(|growth| *growth > MAX_GROWTH) {
            faults.push(format!(
                "resident memory grew by {growth:.0} KiB an hour in the second half, more than {MAX_GROWTH}"
            ));
        }
        let mut same = |what: &str, before: f64, after: f64, worse: bool| {
            if worse {
                faults.push(format!("{what}: {before} before, {after} after all calls and a rest"));
            }
        };
        let all = [before, after].map(|look| look.descriptors.all as f64);
        let udp = [before, after].map(|look| look.descriptors.udp as f64);
        same("descriptors", all[0], all[1], all[1] > all[0]);
        same("UDP sockets", udp[0], udp[1], udp[1] > udp[0]);
        same("threads", before.threads, after.threads, after.threads > before.threads);
        let (had, has) = (before.free_ports, after.free_ports);
        same("free RTP ports", had, has, has < had);
        let (had, has) = (before.registered, after.registered);
        same("agents registered", had, has, (has - had).abs() > 0.0);
        let failed = 1000.0 * self.done.failed.len() as f64 / self.done.calls.max(1) as f64;
        if failed > MAX_FAILED {
            faults.push(format!("{failed:.1} of 1000 calls failed, more than {MAX_FAILED}"));
        }
        if self.looks.iter().all(|look| look.calls == 0.0) {
            faults.push("nobody had a call at any look".to_owned());
        }
        faults
    }

    pub fn markdown(&self) -> String {
        let Done { calls, holds, digits, wrong_numbers, sign_ins, reloads, media, failed } =
            &self.done;
        let talking =
            self.looks.iter().map(|look| look.calls).sum::<f64>() / self.looks.len().max(1) as f64;
        let ms = |share| media.percentile(share).unwrap_or(f64::NAN);
        let mut out = format!(
            "{} minutes, {AGENTS} agents, {talking:.0} calls at a time on average: {calls} calls ({holds} of \
             them held, {digits} with digits, {wrong_numbers} to wrong numbers), {} failed; {sign_ins} more \
             sign-ins, {reloads} of them without a sign-out. Until both hear each other {:.0} / {:.0} ms (p50 / \
             p99). The gateway used {:.2} of a core. {}\n\n\
             | minute | memory, MB | descriptors | UDP sockets | threads | RTP ports free | agents | calls | over |\n\
             |--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
            self.length.as_secs() / 60,
            failed.len(),
            ms(0.5),
            ms(0.99),
            self.cpu,
            match self.growth {
                Some(growth) => format!("Growth in the second half: {growth:.0} KiB an hour."),
                None => "Too short to judge growth.".to_owned(),
            },
        );
        let step = (self.looks.len() / 6).max(1);
        let some = self.looks.iter().skip(step - 1).step_by(step);
        for (name, look) in [("before", &self.idle[0])]
            .into_iter()
            .chain(some.map(|look| ("", look)))
            .chain([("rested", &self.idle[1])])
        {
            let name = match name {
                "" => format!("{:.0}", look.seconds / 60.0),
                name => name.to_owned(),
            };
            let _ = writeln!(
                out,
                "| {name} | {:.1} | {} | {} | {} | {} | {} | {} | {} |",
                look.rss_kib / 1024.0,
                look.descriptors.all,
                look.descriptors.udp,
                look.threads,
                look.free_ports,
                look.registered,
                look.calls,
                look.finished,
            );
        }
        out
    }

    pub fn json(&self) -> Value {
        let Done { calls, holds, digits, wrong_numbers, sign_ins, reloads, media, failed } =
            &self.done;
        json!({
            "minutes": self.length.as_secs() / 60,
            "agents": AGENTS,
            "calls": calls,
            "held": holds,
            "with_digits": digits,
            "wrong_numbers": wrong_numbers,
            "sign_ins": sign_ins,
            "reloads": reloads,
            "sound_ms": times_json(media),
            "failed": failed.len(),
            "failures": &failed[..failed.len().min(TOLD)],
            "cores": self.cpu,
            "growth_kib_an_hour": self.growth,
            "idle": self.idle,
            "looks": self.looks,
            "faults": self.faults(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second half of an hour: `kib` of the seconds since it began, a look every half minute.
    fn half(kib: impl Fn(f64) -> f64) -> Vec<Look> {
        let look = |n: u32| {
            let seconds = 30.0 * f64::from(n);
            Look { seconds: 1800.0 + seconds, rss_kib: 50_000.0 + kib(seconds), ..Look::default() }
        };
        (0..60).map(look).collect()
    }

    fn run(minutes: u64, half: Vec<Look>, rested: Look) -> Endurance {
        let length = Duration::from_secs(60 * minutes);
        let growth = growth(length, &half);
        let looks = half.into_iter().map(|look| Look { calls: 30.0, ..look }).collect();
        let done = Done { calls: 10_000, ..Done::default() };
        Endurance { length, done, growth, idle: [level(), rested], looks, cpu: 0.2 }
    }

    fn level() -> Look {
        let descriptors = Descriptors { all: 59, udp: 3 };
        Look { descriptors, threads: 8.0, free_ports: 5000.0, registered: 40.0, ..Look::default() }
    }

    /// As an allocator has it: to and fro by a megabyte.
    fn mood(seconds: f64) -> f64 {
        1024.0 * (seconds / 137.0).sin()
    }

    #[test]
    fn what_stays_level_passes() {
        assert_eq!(run(60, half(mood), level()).faults(), Vec::<String>::new());
    }

    /// 12 000 calls an hour, and 8 KiB of each of them stay.
    #[test]
    fn eight_kib_a_call_are_too_much() {
        let leak = |seconds: f64| mood(seconds) + 8.0 * 12_000.0 * seconds / 3600.0;
        let ran = run(60, half(leak), level());
        let growth = ran.growth.unwrap();
        assert!((90_000.0..102_000.0).contains(&growth), "{growth} KiB an hour");
        assert!(ran.faults()[0].starts_with("resident memory grew"), "{:?}", ran.faults());
        assert_eq!(run(39, half(leak), level()).growth, None, "too short to say");
    }

    #[test]
    fn half_a_kib_a_call_is_too_much_and_a_quarter_is_not_seen() {
        let leak = |each: f64| half(move |seconds| each * 12_000.0 * seconds / 3600.0);
        assert_eq!(run(60, leak(0.5), level()).faults().len(), 1);
        assert_eq!(run(60, leak(0.25), level()).faults().len(), 0);
    }

    #[test]
    fn one_of_anything_that_stays_is_too_much() {
        let leaky = |change: fn(&mut Look)| {
            let mut rested = level();
            change(&mut rested);
            run(3, half(|_| 0.0), rested).faults()
        };
        for (name, change) in [
            ("descriptors", (|look| look.descriptors.all += 1) as fn(&mut Look)),
            ("UDP sockets", |look| look.descriptors.udp += 1),
            ("threads", |look| look.threads += 1.0),
            ("free RTP ports", |look| look.free_ports -= 1.0),
            ("agents registered", |look| look.registered -= 1.0),
        ] {
            let faults = leaky(change);
            assert!(faults.len() == 1 && faults[0].starts_with(name), "{name}: {faults:?}");
        }
        assert_eq!(leaky(|_| ()), Vec::<String>::new());
    }
}
