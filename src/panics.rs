//! What becomes of a panic. None is meant to happen; one that does is told in the log, counted
//! (`wrtc_panics`), and costs no more than what it happened in. What nothing of it can be done without and
//! cannot be begun anew makes the process a sick one: `/livez` says so.

use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Characters of a panic's words: more is somebody's data.
const MAX_WORDS: usize = 300;

/// What the library of Rust puts before a text that could not be sliced; the text may be a message with a
/// password in it.
const BEFORE_A_TEXT: [&str; 2] = [" of `", "slicing `"];

/// Before a loop that has panicked begins anew: one that does so each time is not to take a core.
pub const PAUSE: Duration = Duration::from_millis(100);

static COUNT: AtomicU64 = AtomicU64::new(0);

static LOST: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The longest of [`Pauses`]: of the log no more than a line a minute.
const LONGEST: Duration = Duration::from_secs(60);

/// What has gone well for so long has its panics forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);

/// Pauses before something that only looks on begins anew, each twice as long as the one before. It is never given
/// up: a part that is gone for good ends calls, by way of `/livez`, and no trace of a call is worth one.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    begun: Instant,
}

impl Pauses {
    pub fn new(now: Instant) -> Self {
        Self { next: PAUSE, begun: now }
    }

    /// It has panicked now: how long to wait.
    pub fn after(&mut self, now: Instant) -> Duration {
        if now.saturating_duration_since(self.begun) >= FORGIVEN {
            self.next = PAUSE;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        self.begun = now + pause;
        pause
    }
}

/// Whatever ran here has panicked. The hook has told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Panics since the start of the process, those that cost no more than one call among them.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// From now on panics are counted and go to the log, as soon as there is one; until then to standard error as
/// before. Once a process.
pub fn install(there_is_a_log: fn() -> bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            COUNT.fetch_add(1, Ordering::Relaxed);
            if !there_is_a_log() {
                return before(panic);
            }
            tell(panic);
        }));
    });
}

fn tell(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let payload = panic.payload();
    let words = payload.downcast_ref::<&str>().copied();
    let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let words = Words(words.unwrap_or("no words"));
    // Only with RUST_BACKTRACE, as ever.
    let trace = std::backtrace::Backtrace::capture();
    let trace = (trace.status() == std::backtrace::BacktraceStatus::Captured)
        .then(|| tracing::field::display(trace));
    tracing::error!(thread, at, %words, trace, "panicked");
}

/// Without what may be somebody's data.
struct Words<'a>(&'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = BEFORE_A_TEXT
            .iter()
            .filter_map(|before| Some(self.0.find(before)? + before.len() - 1))
            .chain(self.0.char_indices().nth(MAX_WORDS).map(|(at, _)| at))
            .min();
        match end.and_then(|end| self.0.get(..end)) {
            Some(words) => write!(f, "{words}..."),
            None => f.write_str(self.0),
        }
    }
}

/// Runs it to its end or its panic. What it has borrowed may be half changed then.
///
/// # Errors
/// It has panicked.
pub async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// The same for what does not wait.
///
/// # Errors
/// It has panicked.
pub fn spared<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| Panicked)
}

/// A loop that is begun anew when it panics, until it ends by itself.
pub async fn keep_running<F: Future<Output = ()>>(what: &'static str, begin: impl Fn() -> F) {
    while caught(pin!(begin())).await.is_err() {
        tracing::error!(what, "it panicked and begins anew");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same of what has a state of its own and only looks on: see [`Pauses`].
pub async fn keep_looking_on<S>(what: &'static str, state: &mut S, run: impl AsyncFn(&mut S)) {
    let mut pauses = Pauses::new(Instant::now());
    while caught(pin!(run(state))).await.is_err() {
        let pause = pauses.after(Instant::now());
        tracing::error!(what, ?pause, "it panicked and begins anew");
        tokio::time::sleep(pause).await;
    }
}

/// What cannot be begun anew.
pub async fn vital<F: Future<Output = ()>>(what: &'static str, task: F) {
    if caught(pin!(task)).await.is_err() {
        lose(what);
    }
}

/// It is gone until the process is started again.
pub fn lose(what: &'static str) {
    tracing::error!(what, "it is gone for good: the process should be started again");
    LOST.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

/// What the process does without since it was lost; nothing, as a rule.
pub fn lost() -> Vec<&'static str> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_the_texts_in_them() {
        for (words, told) in [
            ("index out of bounds: the len is 3 but the index is 4", ""),
            (
                "start byte index 9 is out of bounds of `5001:secret`",
                "start byte index 9 is out of bounds of ...",
            ),
            (
                "begin > end (4 <= 1) when slicing `5001:secret`",
                "begin > end (4 <= 1) when slicing ...",
            ),
        ] {
            let wanted = if told.is_empty() { words } else { told };
            assert_eq!(Words(words).to_string(), wanted);
        }
        assert_eq!(Words(&"ä".repeat(400)).to_string().chars().count(), MAX_WORDS + 3);
    }

    /// The words that the library really chooses.
    #[test]
    fn of_a_text_that_is_cut_in_the_middle_of_a_character() {
        let text = std::hint::black_box("pässword");
        let Err(panic) = catch_unwind(|| text[..2].len()) else { panic!("it was sliced") };
        let words = panic.downcast::<String>().unwrap();
        assert!(words.contains(text), "{words}: nothing to be left out any more?");
        assert!(!Words(&words).to_string().contains("ssword"), "{}", Words(&words));
    }

    #[tokio::test]
    async fn what_panics_is_caught_wherever_it_has_come_to() {
        let calm = async { 1 };
        assert_eq!(caught(std::pin::pin!(calm)).await, Ok(1));
        let wild = async {
            tokio::task::yield_now().await;
            panic!("as it was told to");
        };
        assert_eq!(caught(std::pin::pin!(wild)).await.map(|()| 0), Err(Panicked));
        assert_eq!(spared(|| 1), Ok(1));
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_are_forgiven() {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(now);
        let mut all = Vec::new();
        for _ in 0..12 {
            let pause = pauses.after(now);
            now += pause;
            all.push(pause);
        }
        assert_eq!(all[..3], [PAUSE, 2 * PAUSE, 4 * PAUSE]);
        assert_eq!(all[10..], [LONGEST; 2]);
        assert_eq!(pauses.after(now + FORGIVEN / 2), LONGEST);
        assert_eq!(pauses.after(now + 2 * FORGIVEN), PAUSE);
    }

    #[tokio::test]
    async fn who_looks_on_begins_anew_with_what_it_has() {
        let mut left = vec![1, 2, 3];
        keep_looking_on("somebody", &mut left, async |left: &mut Vec<i32>| {
            tokio::task::yield_now().await;
            assert!(left.pop().is_none(), "as it was told to");
        })
        .await;
        assert!(left.is_empty());
        assert!(!lost().contains(&"somebody"));
    }

    #[tokio::test]
    async fn a_loop_begins_anew() {
        let begun = AtomicU64::new(0);
        keep_running("a loop", || async {
            assert!(begun.fetch_add(1, Ordering::Relaxed) == 2, "as it was told to");
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        vital("nothing", async {}).await;
        assert!(!lost().contains(&"nothing"));
        vital("the heart of a test", async { panic!("as it was told to") }).await;
        assert!(lost().contains(&"the heart of a test"));
    }
}
