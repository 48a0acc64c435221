//! What a task waits for, as its futures tell. Reports show it; nothing depends on it.

use crate::platform::with_core;
use core::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Says what the running task waits for: to be called by a future that is about to return `Pending`, such as one written
/// by hand. Of several, the last counts. It is a few instructions.
#[inline]
pub fn wait_for(what: &'static str) {
    with_core(|core| core.executor.waits_for.set(what));
}

/// Runs `future`, and says that a task which waits in it waits for `what`, whatever the futures inside say.
pub async fn waiting_for<F: Future>(what: &'static str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let poll = future.as_mut().poll(cx);
        if poll.is_pending() {
            wait_for(what);
        }
        poll
    })
    .await
}

/// Polls what the task does not really wait for, such as a time limit: what was said before stays said. When it is ready,
/// the task waits for nothing of that any more.
pub fn aside<T>(poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
    let waits_for = with_core(|core| core.executor.waits_for.get());
    let poll = poll();
    if poll.is_ready() {
        wait_for("");
    } else if !waits_for.is_empty() {
        wait_for(waits_for);
    }
    poll
}
