//! The thread of the store: when what is done.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::writer::Writer;
use crate::journal::FinishedCall;

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
}

pub(super) fn start(writer: Writer, receiver: Receiver<Message>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("call-store".to_owned()).spawn(move || run(writer, &receiver))
}

fn run(mut writer: Writer, receiver: &Receiver<Message>) {
    let mut next_look = Instant::now();
    let mut next_try = Instant::now();
    let mut next_word = Instant::now() + LOOK;
    loop {
        let mut until = next_look.min(next_word);
        if writer.is_failing() {
            until = until.min(next_try);
        }
        let open = gather(&mut writer, receiver, until);
        if !open || !writer.is_failing() || Instant::now() >= next_try {
            let due = writer.is_failing() || !writer.is_empty();
            writer.flush();
            if due {
                next_try = Instant::now() + RETRY;
                if writer.is_large() {
                    next_look = next_look.min(Instant::now());
                }
            }
        }
        if !open {
            return;
        }
        if Instant::now() >= next_look {
            let more = !writer.is_failing()
                && writer.date(Instant::now(), unix_ms()).is_some_and(|date| writer.maintain(date));
            next_look = Instant::now() + if more { STEP } else { LOOK };
        }
        if Instant::now() >= next_word {
            writer.tell();
            next_word = Instant::now() + LOOK;
        }
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
        }
    }
    true
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
