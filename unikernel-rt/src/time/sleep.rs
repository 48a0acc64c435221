//! Waiting for a moment.

use super::{Duration, Instant, queue::TimerId};
use crate::platform::with_core;
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Waits for `duration`. Dropping the future stops the timer.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until `deadline`; at once when it has passed.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None }
}

/// A future that is ready from its deadline on. It starts its timer when it is first polled.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::time::{Duration, Instant, sleep};
///
/// let mut idle = sleep(Duration::from_secs(30));
/// // Somebody has come meanwhile, so the time begins anew.
/// idle.reset(Instant::now() + Duration::from_secs(60));
/// idle.await;
/// assert_eq!(Instant::now(), Instant::from_millis(60_000));
/// # });
/// ```
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    timer: Option<TimerId>,
}

impl Sleep {
    /// When it is ready.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline, in O(1) when it moves later: one `Sleep` per connection that is put off with
    /// every request costs no work in the timer queue.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if let Some(id) = self.timer {
            with_core(|core| core.timers.borrow_mut().reset(id, deadline));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if self.deadline <= now {
            return Poll::Ready(());
        }
        with_core(|core| {
            let mut timers = core.timers.borrow_mut();
            let deadline = self.deadline;
            let id = *self.timer.get_or_insert_with(|| timers.start(deadline));
            match timers.poll(id, now, cx.waker()) {
                true => Poll::Ready(()),
                false => {
                    core.executor.waits_for.set("a timer");
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.timer {
            with_core(|core| core.timers.borrow_mut().stop(id));
        }
    }
}
