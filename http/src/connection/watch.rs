//! The one timer of a connection. Setting a time limit is storing a number; the timer itself is touched when
//! something is late or the limit moves forward, so an ordinary request costs no work in the timer queue.

use crate::server::Registration;
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use unikernel_rt::{
    task::aside,
    time::{Duration, Instant, Sleep, sleep_until},
};

/// Watches over the waiting of a connection.
pub(crate) struct Watch {
    limit: Duration,
    /// Counts from the first time the connection really waits: what is there at once needs no clock.
    deadline: Option<Instant>,
    is_idle: bool,
    sleep: Sleep,
    /// When the timer fires, and whom it wakes then.
    armed: Option<(Instant, Waker)>,
    registration: Registration,
}

/// The limit passed; for an idle connection of a server that stops, an earlier one.
pub(crate) struct Expired;

impl Watch {
    pub(crate) fn new(registration: Registration) -> Watch {
        let sleep = sleep_until(Instant::FOREVER);
        Watch { limit: Duration::MAX, deadline: None, is_idle: false, sleep, armed: None, registration }
    }

    /// A limit for what is awaited next, until the next call.
    pub(crate) fn start(&mut self, limit: Duration) {
        (self.limit, self.deadline, self.is_idle) = (limit, None, false);
    }

    /// [`start`](Self::start) for waiting that a stop of the server ends.
    pub(crate) fn start_idle(&mut self, limit: Duration) {
        self.start(limit);
        self.is_idle = true;
    }

    /// Waits for `future`, but not beyond the limit.
    #[inline(always)]
    pub(crate) fn until<'a, F: Future>(&'a mut self, future: Pin<&'a mut F>) -> Until<'a, F> {
        Until { watch: self, future }
    }

    #[inline]
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        let now = Instant::now();
        let mut deadline = *self.deadline.get_or_insert_with(|| now + self.limit);
        if self.is_idle {
            deadline = deadline.min(self.registration.idle_end());
        }
        if now >= deadline {
            return Poll::Ready(Expired);
        }
        match &self.armed {
            // It fires in time, and then the deadline is looked at again.
            Some((at, waker)) if now < *at && *at <= deadline && waker.will_wake(cx.waker()) => Poll::Pending,
            _ => self.arm(deadline, cx),
        }
    }

    /// So many bytes of responses were sent.
    #[inline(always)]
    pub(crate) fn sent(&self, len: usize) {
        self.registration.stats().sent(len);
    }

    #[cold]
    fn arm(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<Expired> {
        self.registration.set_waker(cx.waker());
        self.armed = Some((deadline, cx.waker().clone()));
        self.sleep.reset(deadline);
        aside(|| Pin::new(&mut self.sleep).poll(cx)).map(|()| Expired)
    }
}

/// The future of [`Watch::until`]; by hand, because an async function would be one more state to walk through.
pub(crate) struct Until<'a, F> {
    watch: &'a mut Watch,
    future: Pin<&'a mut F>,
}

impl<F: Future> Future for Until<'_, F> {
    type Output = Result<F::Output, Expired>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => self.watch.poll_expired(cx).map(Err),
        }
    }
}
