//! The floor: a process that carries the same packets and does nothing else, with the gateway's system
//! calls (batches of 32, a tick of 1.5 ms when it is busy). No keys, no RTP, nothing looked at.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, Write as _};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::Fault;
use crate::net::{self, BATCH, Inbox, Outbox, Poll};
use crate::process::Process;

/// Which sockets it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sockets {
    /// As the gateway: one for all browsers, one for each telephone.
    Shared,
    /// Two for each call, as relays usually have.
    Pairs,
}

/// From this many packets a second on it ticks.
const TICKING: u64 = 2000;
const TICK: Duration = Duration::from_micros(1500);
const JUDGED: Duration = Duration::from_millis(100);

/// A running relay, and the ports that browsers and telephones send to.
pub struct Relay {
    pub process: Process,
    pub browsers: Vec<u16>,
    pub phones: Vec<u16>,
}

impl Relay {
    /// Between these ports, a browser's and a telephone's for each call.
    pub fn start(
        sockets: Sockets,
        ends: &[(u16, u16)],
        core: Option<usize>,
    ) -> Result<Self, Fault> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--relay", if sockets == Sockets::Shared { "shared" } else { "pairs" }]);
        let mut process = Process::start(&mut command, core)?;
        let mut text = String::new();
        for (browser, phone) in ends {
            let _ = writeln!(text, "{browser} {phone}");
        }
        text.push('\n');
        process.child.stdin.as_mut().ok_or("no input")?.write_all(text.as_bytes())?;
        let (browsers, phones) = (ports(&process.line()?)?, ports(&process.line()?)?);
        Ok(Self { process, browsers, phones })
    }
}

fn ports(line: &str) -> Result<Vec<u16>, Fault> {
    Ok(line.split(' ').map(str::parse).collect::<Result<_, _>>()?)
}

/// The process itself: reads the ends from standard input, says its ports, relays until input ends.
pub fn run(sockets: Sockets) -> Result<(), Fault> {
    net::raise_descriptor_limit()?;
    let mut ends = Vec::new();
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Some((browser, phone)) = line.trim().split_once(' ') else { break };
        ends.push((browser.parse::<u16>()?, phone.parse::<u16>()?));
    }
    drop(input);
    std::thread::spawn(|| {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        std::process::exit(0);
    });
    let mut phones = Vec::new();
    let mut browsers = Vec::new();
    for (browser, phone) in &ends {
        let socket = net::socket()?;
        net::connect(&socket, *phone)?;
        phones.push(socket);
        if sockets == Sockets::Pairs {
            let socket = net::socket()?;
            net::connect(&socket, *browser)?;
            browsers.push(socket);
        }
    }
    if sockets == Sockets::Shared {
        let socket = net::socket()?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        socket2::SockRef::from(&socket).set_send_buffer_size(4 << 20)?;
        browsers.push(socket);
    }
    for sockets in [&browsers, &phones] {
        let ports: Vec<String> = sockets
            .iter()
            .map(|s| net::port(s).map(|p| p.to_string()))
            .collect::<Result<_, _>>()?;
        println!("{}", ports.join(" "));
    }
    let mut relaying = Relaying {
        shared: sockets == Sockets::Shared,
        calls: ends.iter().enumerate().map(|(call, (browser, _))| (*browser, call)).collect(),
        ends,
        browsers,
        phones,
        inbox: Inbox::new(),
        outbox: Outbox::new(),
        packets: 0,
    };
    relaying.run()
}

struct Relaying {
    shared: bool,
    ends: Vec<(u16, u16)>,
    /// By the browser's port.
    calls: HashMap<u16, usize>,
    browsers: Vec<UdpSocket>,
    phones: Vec<UdpSocket>,
    inbox: Inbox,
    outbox: Outbox,
    packets: u64,
}

impl Relaying {
    fn run(&mut self) -> Result<(), Fault> {
        net::sleep_precisely();
        let mut poll = Poll::new()?;
        for (n, socket) in self.browsers.iter().enumerate() {
            poll.add(socket, 2 * n)?;
        }
        for (n, socket) in self.phones.iter().enumerate() {
            poll.add(socket, 2 * n + 1)?;
        }
        let mut ready = Vec::new();
        let (mut judged, mut before, mut ticking) = (Instant::now(), 0, false);
        loop {
            if ticking {
                net::sleep(TICK);
            }
            let mut wait = if ticking { Duration::ZERO } else { JUDGED };
            loop {
                let more = poll.ready(wait, &mut ready);
                for token in &ready {
                    self.carry(token / 2, token % 2 == 0);
                }
                if !more {
                    break;
                }
                wait = Duration::ZERO;
            }
            if self.shared {
                self.outbox.flush(&self.browsers[0]);
            }
            let span = judged.elapsed();
            if span >= JUDGED {
                ticking = (self.packets - before) * 1000 > TICKING * span.as_millis() as u64;
                (judged, before) = (Instant::now(), self.packets);
            }
        }
    }

    fn carry(&mut self, n: usize, from_browser: bool) {
        let socket = if from_browser { &self.browsers[n] } else { &self.phones[n] };
        loop {
            let count = self.inbox.receive(socket, BATCH);
            self.packets += count as u64;
            for index in 0..count {
                let arrived = self.inbox.get(index);
                if !from_browser {
                    match self.shared {
                        true => self.outbox.push(self.ends[n].0, arrived.data),
                        false => drop(self.browsers[n].send(arrived.data)),
                    }
                    continue;
                }
                let call = if self.shared { self.calls.get(&arrived.from) } else { Some(&n) };
                if let Some(call) = call {
                    let _ = self.phones[*call].send(arrived.data);
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}
