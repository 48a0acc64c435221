//! Log lines on request, and what they cost.

use alloc::{format, string::String};
use unikernel_http::{Path, State};
use unikernel_rt::{
    log::{info, warn},
    task::tasks,
    time::{Duration, Instant, sleep},
};

use crate::Shared;

/// Logs faster than any console takes.
pub async fn many(Path(count): Path<u32>) {
    (0..count).for_each(|number| warn!("line {} of many", number));
}

/// One line that is hard to write, and one of a crate that knows nothing of this machine.
pub async fn odd() {
    warn!("two\nlines, a \"quote\", a \\, an \u{1b}[31mescape and an \u{fc}");
    log::info!(target: "third party", "a record of the log crate");
}

/// What the sink did: lines sent, lost, and failures.
pub async fn sink(State(site): State<Shared>) -> String {
    let stats = site.sink.stats();
    format!("{} {} {}", stats.sent, stats.lost, stats.failures)
}

/// Nanoseconds of a log call, and of the sink's tasks for a line. Where QEMU counts instructions as time, these are
/// instructions.
pub async fn cost() -> String {
    const LINES: u64 = 200;
    // What this request itself woke is over, and the log is empty.
    sleep(Duration::from_millis(500)).await;
    let (busy, start) = (sink_time(), Instant::now());
    for number in 0..LINES {
        info!("request {} of {} took {} ms", number, "a client", 7);
    }
    let call = start.elapsed();
    sleep(Duration::from_millis(500)).await;
    let nanos = |time: Duration| time.as_nanos() as u64 / LINES;
    format!("{} {}", nanos(call), nanos(sink_time() - busy))
}

fn sink_time() -> Duration {
    tasks().iter().filter(|task| task.name.name.starts_with("syslog")).map(|task| task.run_time).sum()
}
