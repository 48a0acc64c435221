//! Real time: the clocks and the random numbers of the process, and a wait that is not skipped.

use crate::time::Instant;
use core::{cell::Cell, future::Future, time::Duration};
use std::{fs::File, io::Read, thread_local, time};

thread_local! {
    /// When this thread's machine started, if its time is real.
    static START: Cell<Option<time::Instant>> = const { Cell::new(None) };
}

/// Its time is real until this is dropped.
struct RealTime;

impl RealTime {
    fn begin() -> RealTime {
        START.set(Some(time::Instant::now()));
        RealTime
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        START.set(None);
    }
}

/// How long the machine of this thread has run; `None` in virtual time, like the two below.
fn uptime() -> Option<Duration> {
    START.try_with(Cell::get).ok().flatten().map(|start| start.elapsed())
}

pub(super) fn now_micros() -> Option<u64> {
    uptime().map(|uptime| uptime.as_micros().try_into().unwrap_or(u64::MAX))
}

pub(super) fn boot_unix_time() -> Option<Duration> {
    let uptime = uptime()?;
    let now = time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default();
    Some(now.saturating_sub(uptime))
}

pub(super) fn seed() -> Option<[u8; 32]> {
    uptime()?;
    let mut seed = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut seed));
    read.unwrap_or_else(|error| panic!("no random numbers from /dev/urandom: {error}"));
    Some(seed)
}

/// Runs `future` and the tasks it spawns, with `args` as the command line, until `future` is done. When every task waits, `wait` is
/// called: with the time until the next timer, if there is one.
///
/// # Panics
///
/// There is no `/dev/urandom`.
pub(crate) fn block_on<F>(args: &str, mut wait: impl FnMut(Option<Duration>), future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let _real = RealTime::begin();
    super::start(args, future, &mut |next| {
        let now = Instant::now();
        let left = next.map(|next| next.as_micros().saturating_sub(now.as_micros()));
        wait(left.map(Duration::from_micros));
    })
}
