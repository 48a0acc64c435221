//! A time limit for any future.

use super::{Duration, sleep};
use crate::task::aside;
use core::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Runs `future` for at most `limit`. On [`Elapsed`] the future has been dropped: what that cancels, its own
/// documentation says.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::time::{Duration, sleep, timeout};
///
/// let slow = async { sleep(Duration::from_secs(10)).await };
/// assert!(timeout(Duration::from_secs(1), slow).await.is_err());
/// assert_eq!(timeout(Duration::from_secs(1), async { 5 }).await, Ok(5));
/// # });
/// ```
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut limit = pin!(sleep(limit));
    poll_fn(|cx| {
        // The future goes first: a result that is there in time counts, however late it is looked at.
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        aside(|| limit.as_mut().poll(cx)).map(|()| Err(Elapsed))
    })
    .await
}

/// The time limit passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit passed")
    }
}

impl core::error::Error for Elapsed {}
