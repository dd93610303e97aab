//! Many short calls one after another: what they leave behind.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Fault;
use crate::calls::Way;
use crate::process::Descriptors;
use crate::report::times_json;
use crate::stage::{Plan, wait_idle};
use crate::times::Times;

/// Agents whose calls they are. Each has one at a time.
const AGENTS: usize = 32;
/// How long each call talks.
const TALK: Duration = Duration::from_millis(60);
/// An RTP port rests for 5 s after a call, and what is kept for late messages goes after 32 s (64 T1).
const REST: Duration = Duration::from_secs(35);
/// Looks at the gateway's memory, over all calls.
const LOOKS: usize = 10;

pub struct Soak {
    pub calls: usize,
    pub failed: Vec<String>,
    seconds: f64,
    cpu: f64,
    media: Times,
    /// KiB: before, after each tenth of the calls, and after a rest.
    memory: Vec<f64>,
    descriptors: [Descriptors; 2],
}

pub async fn run(plan: &Plan, calls: usize) -> Result<Soak, Fault> {
    let (process, world, agents, _) = plan.populate(AGENTS.min(calls.max(1))).await?;
    let mut soak = Soak {
        calls,
        failed: Vec::new(),
        seconds: 0.0,
        cpu: 0.0,
        media: Times::default(),
        memory: vec![process.memory()?],
        descriptors: [process.descriptors()?, Descriptors::default()],
    };
    let (begun, cpu) = (Instant::now(), process.cpu()?);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for mut agent in agents {
        let next = next.clone();
        tasks.spawn(async move {
            let (mut media, mut failed) = (Times::default(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return (agent, media, failed);
                }
                // Both ways with every agent, whatever the number of agents.
                let way = if (number / AGENTS).is_multiple_of(2) { Way::Out } else { Way::In };
                match agent.call(way).await {
                    Ok(took) => media.add(took.media.as_nanos() as u64),
                    Err(why) => failed.push(format!("{way:?}: {why}")),
                }
                tokio::time::sleep(TALK).await;
                if let Err(why) = agent.hang_up().await {
                    failed.push(format!("{way:?}, hanging up: {why}"));
                }
            }
        });
    }
    while soak.memory.len() < LOOKS {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if next.load(Ordering::Relaxed) >= calls * soak.memory.len() / LOOKS {
            soak.memory.push(process.memory()?);
        }
    }
    let mut agents = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (agent, media, failed) = done?;
        soak.media.merge(&media);
        soak.failed.extend(failed);
        agents.push(agent);
    }
    wait_idle(&world).await?;
    soak.memory.push(process.memory()?);
    soak.seconds = begun.elapsed().as_secs_f64();
    soak.cpu = process.cpu()?.since(&cpu, "") * 1000.0 / calls.max(1) as f64;
    tokio::time::sleep(REST).await;
    soak.memory.push(process.memory()?);
    soak.descriptors[1] = process.descriptors()?;
    Ok(soak)
}

impl Soak {
    pub fn table(&self, out: &mut String) {
        let mb = |at: usize| self.memory.get(at).map_or(f64::NAN, |kib| kib / 1024.0);
        let ms = |share| self.media.percentile(share).unwrap_or(f64::NAN);
        let _ = write!(
            out,
            "\n{} calls of {} ms by {AGENTS} agents, one after another: memory in MB before, after a tenth, a \
             half and all of them, and {} s later.\n\n\
             | calls a second | CPU a call, ms | until both hear each other, p50 / p99 ms | failed | before | \
             a tenth | half | all | rested | UDP sockets before, rested |\n\
             |--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n\
             | {:.0} | {:.2} | {:.1} / {:.1} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {}, {} |\n",
            self.calls,
            TALK.as_millis(),
            REST.as_secs(),
            self.calls as f64 / self.seconds,
            self.cpu,
            ms(0.5),
            ms(0.99),
            self.failed.len(),
            mb(0),
            mb(1),
            mb(LOOKS / 2),
            mb(LOOKS),
            mb(LOOKS + 1),
            self.descriptors[0].udp,
            self.descriptors[1].udp,
        );
    }

    pub fn json(&self) -> Value {
        json!({
            "calls": self.calls,
            "seconds": self.seconds,
            "cpu_ms_a_call": self.cpu,
            "sound_ms": times_json(&self.media),
            "failed": self.failed,
            "rss_kib": self.memory,
            "descriptors": self.descriptors,
        })
    }
}
