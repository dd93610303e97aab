//! The thread of the store: when what is done.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::writer::Writer;
use crate::journal::FinishedCall;
use crate::panics::{Pauses, spared};

/// How long the first of a batch waits for more, and how many there may be.
const GATHER: Duration = Duration::from_millis(100);
const BATCH: usize = 500;

/// Between two tries while it fails.
const RETRY: Duration = Duration::from_secs(2);

/// Between two looks at what is too old, and between two steps where there is some.
const LOOK: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(20);

pub(super) enum Message {
    Call(Arc<FinishedCall>),
    Close,
    /// As a fault of the program would.
    #[cfg(test)]
    Stumble,
}

pub(super) fn start(writer: Writer, receiver: Receiver<Message>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("call-store".to_owned()).spawn(move || run(writer, &receiver))
}

/// When what is due.
struct Due {
    look: Instant,
    /// While it fails: not before.
    retry: Instant,
    word: Instant,
    /// Nothing comes any more.
    closing: bool,
}

fn run(mut writer: Writer, receiver: &Receiver<Message>) {
    let now = Instant::now();
    let mut due = Due { look: now, retry: now, word: now + LOOK, closing: false };
    let mut pauses = Pauses::new(now);
    while !due.closing {
        if spared(|| turn(&mut writer, receiver, &mut due)).is_err() {
            let now = Instant::now();
            let pause = pauses.after(now);
            tracing::error!(?pause, "the store of finished calls panicked and begins anew");
            // Meanwhile it takes calls, as it does while the disk is full.
            writer = writer.stumbled();
            (due.retry, due.look) = (now + pause, now + pause);
        }
    }
}

fn turn(writer: &mut Writer, receiver: &Receiver<Message>, due: &mut Due) {
    let mut until = due.look.min(due.word);
    if writer.is_failing() {
        until = until.min(due.retry);
    }
    due.closing = !gather(writer, receiver, until);
    if due.closing || !writer.is_failing() || Instant::now() >= due.retry {
        let written = writer.is_failing() || !writer.is_empty();
        writer.flush();
        if written {
            due.retry = Instant::now() + RETRY;
            // What has to go would make room.
            if writer.is_large() || writer.is_failing() {
                due.look = due.look.min(Instant::now());
            }
        }
    }
    if due.closing {
        return;
    }
    if Instant::now() >= due.look {
        let date = writer.date(Instant::now(), unix_ms());
        let more = date.is_some_and(|date| writer.maintain(date));
        due.look = Instant::now() + if more { STEP } else { LOOK };
        if more {
            due.retry = due.retry.min(Instant::now());
        }
    }
    if Instant::now() >= due.word {
        writer.tell();
        due.word = Instant::now() + LOOK;
    }
}

/// Takes what comes until then, or a batch. Whether there will be more.
fn gather(writer: &mut Writer, receiver: &Receiver<Message>, until: Instant) -> bool {
    let mut until = until;
    for taken in 0..BATCH {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Call(call)) => {
                writer.take(&call);
                if taken == 0 {
                    until = until.min(Instant::now() + GATHER);
                }
            }
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return false,
            #[cfg(test)]
            Ok(Message::Stumble) => panic!("as the test has told it to"),
        }
    }
    true
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
