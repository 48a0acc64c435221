//! A process as the machine, in real time: for programs that use these crates on an operating system.
//!
//! Tasks, timers, network and web server are the same as in a virtual machine; what the process talks through is a
//! [`NetDevice`](crate::device::NetDevice) or [`BlockDevice`](crate::device::BlockDevice) of its own, over a tap interface or a file. The
//! runtime opens none and waits for none: [`run`] is told how. For tests there is [`sim`](mod@crate::sim), where time is virtual.
//!
//! ```
//! use std::{thread, time::Duration};
//! use unikernel_rt::time::{Instant, sleep};
//!
//! // Nothing outside can wake a task here, so there is always a timer to wait for.
//! let wait = |left: Option<Duration>| thread::sleep(left.expect("a timer runs"));
//! let slept = unikernel_rt::hosted::run("", wait, async {
//!     let start = Instant::now();
//!     sleep(Duration::from_millis(20)).await;
//!     start.elapsed()
//! });
//! assert!(slept >= Duration::from_millis(20));
//! ```

use core::{future::Future, time::Duration};

/// Runs `future` as the only program of this thread, with `args` as its command line, until it is done. Random numbers come from the operating
/// system, the date from its clock. Tasks that are left then are dropped.
///
/// Whenever every task waits, `wait` is called with the time until the next timer; `None`: no timer runs. It returns when that
/// time is over or something happened outside, and wakes the tasks whom that concerns by the wakers that their devices were given;
/// returning early costs one round of the executor and changes nothing.
///
/// # Panics
///
/// There is no `/dev/urandom`.
pub fn run<F>(args: &str, wait: impl FnMut(Option<Duration>), future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    crate::platform::block_on_in_real_time(args, wait, future)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entropy,
        sync::oneshot,
        time::{Instant, unix_time},
    };
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn what_happens_outside_wakes_a_task() {
        let (sender, receiver) = oneshot();
        let mut sender = Some(sender);
        let wait = move |left| {
            assert_eq!(left, None, "no timer runs");
            sender.take().expect("one wait is enough").send(7).unwrap();
        };
        assert_eq!(run("", wait, receiver), Some(7));
    }

    #[test]
    fn random_numbers_and_the_date_are_the_systems() {
        let draw = || run("", |_| panic!("nothing waits"), async { (entropy::u64(), unix_time()) });
        let (first, second) = (draw(), draw());
        assert_ne!(first.0, second.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(second.1 <= now && now - second.1 < Duration::from_secs(60), "{:?} at {now:?}", second.1);
    }

    #[test]
    fn the_next_machine_of_the_thread_is_in_virtual_time_again() {
        run("", |_| panic!("nothing waits"), async {});
        assert_eq!(crate::sim::run("", async { Instant::now() }), Instant::from_millis(0));
    }
}
