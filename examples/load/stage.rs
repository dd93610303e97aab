//! One number of calls, through the gateway and through the relay.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::browser::{Identity, Profile};
use crate::calls::{Agent, Took, Way, World};
use crate::media::{self, End, Figures, Generator, Guard, Leg};
use crate::process::{Cpu, Descriptors, Process, machine_cpu};
use crate::relay::{Relay, Sockets};
use crate::sdp::Codec;
use crate::sip::Server;
use crate::times::Times;
use crate::{Fault, net};

/// Calls set up a second, in the middle of the media of those that are up.
pub const SET_UP_RATE: f64 = 50.0;
/// And ended a second.
const HANG_UP_RATE: f64 = 200.0;
/// Seconds that a registration holds.
const HOUR: u32 = 3600;
/// A connection that nobody needs is closed after this long.
const UNUSED: Duration = Duration::from_secs(20);
const SIGN_INS_AT_A_TIME: usize = 16;
/// Until what was begun by setting up has settled.
const SETTLE: Duration = Duration::from_secs(2);
/// Until the gateway has had three reports of each end, which come every five seconds: Opus is made by them.
const CODED_SETTLE: Duration = Duration::from_secs(22);

/// What all stages have in common.
pub struct Plan {
    pub gateway: PathBuf,
    pub seconds: u64,
    pub codec: Codec,
    pub profile: Profile,
    /// Cores of the process measured and of this one.
    pub cores: Option<(usize, usize)>,
    pub settings: Vec<String>,
}

/// Media through a process, for some seconds.
pub struct Window {
    pub figures: Figures,
    /// Milliseconds of CPU a call-second: the whole process, and its media threads.
    pub cpu: f64,
    pub media_cpu: f64,
    /// Shares of a core: our own media thread, all that is neither us nor the process measured,
    /// and what the hypervisor took.
    pub generator: f64,
    pub others: f64,
    pub stolen: f64,
}

/// What the gateway did with so many calls.
pub struct Row {
    pub calls: usize,
    pub window: Window,
    pub shared: Window,
    pub pairs: Window,
    pub keyed: Times,
    pub media: Times,
    pub failed: Vec<String>,
    /// Resident KiB: empty, everybody signed in, everybody talking, all calls over.
    pub memory: [f64; 4],
    /// Everybody signed in, talking, all calls over.
    pub descriptors: [Descriptors; 3],
}

impl Plan {
    /// Starts the gateway; the process and where its API is.
    pub fn gateway(&self, server: &Server) -> Result<(Process, String), Fault> {
        let mut command = Command::new(&self.gateway);
        command.arg("serve");
        let settings = [
            format!("sip.servers=sip:{}", server.address()),
            "sip.domain=load.invalid".to_owned(),
            "sip.listen=127.0.0.1:0".to_owned(),
            "sip.register_rate=1000".to_owned(),
            "http.listen=127.0.0.1:0".to_owned(),
            "media.listen=127.0.0.1:0".to_owned(),
            "media.rtp_address=127.0.0.1".to_owned(),
            "media.workers=1".to_owned(),
            "log.level=warn".to_owned(),
        ];
        for setting in settings.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let mut process = Process::start(&mut command, self.cores.map(|(core, _)| core))?;
        let line = process.line()?;
        let base = line.split_whitespace().last().ok_or("no address")?;
        Ok((process, base.trim_end_matches('/').to_owned()))
    }

    /// A gateway with these agents signed in.
    pub async fn populate(
        &self,
        agents: usize,
    ) -> Result<(Process, Arc<World>, Vec<Agent>, f64), Fault> {
        self.populate_for(agents, HOUR).await
    }

    /// The same; a registration holds for so many seconds.
    pub async fn populate_for(
        &self,
        agents: usize,
        registered: u32,
    ) -> Result<(Process, Arc<World>, Vec<Agent>, f64), Fault> {
        let server = Server::start(registered).await?;
        let (process, base) = self.gateway(&server)?;
        let world = Arc::new(World {
            base,
            http: reqwest::Client::builder().no_proxy().pool_idle_timeout(UNUSED).build()?,
            server,
            generator: Generator::start(self.codec.sounds()?)?,
            identity: Arc::new(Identity::generate(self.profile)?),
            codec: self.codec,
        });
        wait_ready(&world).await?;
        let empty = process.memory()?;
        let (mut tasks, mut signed_in) = (JoinSet::new(), Vec::new());
        for number in 0..agents {
            if tasks.len() >= SIGN_INS_AT_A_TIME
                && let Some(done) = tasks.join_next().await
            {
                signed_in.push(done??);
            }
            tasks.spawn(Agent::sign_in(world.clone(), number));
        }
        while let Some(done) = tasks.join_next().await {
            signed_in.push(done??);
        }
        Ok((process, world, signed_in, empty))
    }

    pub async fn stage(&self, calls: usize) -> Result<Row, Fault> {
        let (process, world, agents, empty) = self.populate(calls).await?;
        tokio::time::sleep(SETTLE).await;
        let idle = process.memory()?;
        let idle_descriptors = process.descriptors()?;

        let mut tasks = JoinSet::new();
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / SET_UP_RATE));
        for (n, mut agent) in agents.into_iter().enumerate() {
            pace.tick().await;
            let way = if n % 2 == 0 { Way::Out } else { Way::In };
            tasks.spawn(async move { (agent.call(way).await, agent) });
        }
        let (mut agents, mut failed) = (Vec::new(), Vec::new());
        let (mut keyed, mut media) = (Times::default(), Times::default());
        while let Some(done) = tasks.join_next().await {
            let (outcome, agent) = done?;
            match outcome {
                Ok(Took { keyed: until_keys, media: until_media }) => {
                    keyed.add(until_keys.as_nanos() as u64);
                    media.add(until_media.as_nanos() as u64);
                }
                Err(why) => failed.push(why.to_string()),
            }
            agents.push(agent);
        }
        tokio::time::sleep(if self.codec.is_coded() { CODED_SETTLE } else { SETTLE }).await;
        let window = self.window(&process, &world.generator, calls - failed.len()).await?;
        let talking = process.memory()?;
        let descriptors = process.descriptors()?;

        let mut tasks = JoinSet::new();
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / HANG_UP_RATE));
        for mut agent in agents {
            pace.tick().await;
            tasks.spawn(async move { (agent.hang_up().await, agent) });
        }
        // They stay signed in until the memory has been looked at.
        let mut agents = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (outcome, agent) = done?;
            if let Err(why) = outcome {
                failed.push(format!("hanging up: {why}"));
            }
            agents.push(agent);
        }
        wait_idle(&world).await?;
        tokio::time::sleep(SETTLE).await;
        let memory = [empty, idle, talking, process.memory()?];
        let descriptors = [idle_descriptors, descriptors, process.descriptors()?];
        drop((agents, process));
        let shared = self.floor(calls, Sockets::Shared).await?;
        let pairs = self.floor(calls, Sockets::Pairs).await?;
        Ok(Row { calls, window, shared, pairs, keyed, media, failed, memory, descriptors })
    }

    /// The same packets through a bare relay.
    async fn floor(&self, calls: usize, sockets: Sockets) -> Result<Window, Fault> {
        let mut ends = Vec::new();
        for _ in 0..calls {
            ends.push((net::socket()?, net::socket()?));
        }
        let ports = ends
            .iter()
            .map(|(browser, phone)| Ok((net::port(browser)?, net::port(phone)?)))
            .collect::<Result<Vec<_>, Fault>>()?;
        let relay = Relay::start(sockets, &ports, self.cores.map(|(core, _)| core))?;
        let generator = Generator::start(self.codec.sounds()?)?;
        for (call, (browser, phone)) in ends.into_iter().enumerate() {
            let to = relay.browsers.get(call).or(relay.browsers.first()).ok_or("no port")?;
            net::connect(&browser, *to)?;
            net::connect(&phone, *relay.phones.get(call).ok_or("no port")?)?;
            for (end, socket, padded) in [(End::Browser, browser, true), (End::Phone, phone, false)]
            {
                let guard = Guard::Plain { padded };
                let leg = Leg { socket, reports: None, guard, check: None, heard: None };
                generator.put(call, end, leg);
            }
        }
        tokio::time::sleep(SETTLE).await;
        self.window(&relay.process, &generator, calls).await
    }

    async fn window(
        &self,
        process: &Process,
        generator: &Generator,
        calls: usize,
    ) -> Result<Window, Fault> {
        let me = std::process::id();
        let (theirs, ours, machine) = (process.cpu()?, Cpu::of(me)?, machine_cpu()?);
        let begun = Instant::now();
        let figures = generator.measure(Duration::from_secs(self.seconds)).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let now = (process.cpu()?, Cpu::of(me)?, machine_cpu()?);
        let (cpu, own) = (now.0.since(&theirs, ""), now.1.since(&ours, ""));
        let per_call = 1000.0 / (calls.max(1) as f64 * seconds);
        Ok(Window {
            figures,
            cpu: cpu * per_call,
            media_cpu: now.0.since(&theirs, "media-") * per_call,
            generator: now.1.since(&ours, media::THREAD) / seconds,
            others: ((now.2.0 - machine.0 - cpu - own) / seconds).max(0.0),
            stolen: (now.2.1 - machine.1) / seconds,
        })
    }
}

async fn health(world: &World) -> Result<serde_json::Value, Fault> {
    Ok(world.http.get(format!("{}/api/health", world.base)).send().await?.json().await?)
}

async fn wait_ready(world: &World) -> Result<(), Fault> {
    for _ in 0..200 {
        if health(world).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err("the gateway does not answer".into())
}

/// Until the gateway has no call.
pub async fn wait_idle(world: &World) -> Result<(), Fault> {
    for _ in 0..400 {
        if health(world).await?["active_calls"] == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("calls of the gateway do not end".into())
}
