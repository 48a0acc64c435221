//! One task tells another that something happened.

use super::wait_list::WaitList;
use crate::task::wait_for;
use core::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// An event. A notification that nobody waits for is kept, once.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use std::{cell::Cell, rc::Rc};
/// use unikernel_rt::{spawn, sync::Notify};
///
/// let ready = Rc::new((Cell::new(false), Notify::new()));
/// let setting = Rc::clone(&ready);
/// spawn(async move {
///     setting.0.set(true);
///     setting.1.notify_all();
/// });
/// while !ready.0.get() {
///     ready.1.notified().await;
/// }
/// # });
/// ```
pub struct Notify {
    kept: Cell<bool>,
    waiters: RefCell<WaitList>,
    what: &'static str,
}

impl Default for Notify {
    fn default() -> Self {
        Notify::of("a notification")
    }
}

impl Notify {
    /// An event that has not happened.
    pub fn new() -> Notify {
        Notify::default()
    }

    /// The same, where reports say that a task which waits for it waits for `what`.
    pub const fn of(what: &'static str) -> Notify {
        Notify { kept: Cell::new(false), waiters: RefCell::new(WaitList::new()), what }
    }

    /// Wakes the task that has waited longest; with none waiting, the next one to wait does not.
    pub fn notify_one(&self) {
        if !self.waiters.borrow_mut().wake_one() {
            self.kept.set(true);
        }
    }

    /// Wakes every task that waits now.
    pub fn notify_all(&self) {
        self.waiters.borrow_mut().wake_all();
    }

    /// The same; false when none waited.
    #[cfg(target_os = "none")]
    pub(crate) fn notify_waiting(&self) -> bool {
        let any = !self.waiters.borrow().is_empty();
        self.notify_all();
        any
    }

    /// Waits for a notification. A dropped wait passes its notification on.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, ticket: None }
    }
}

/// The future of [`Notify::notified`].
pub struct Notified<'a> {
    notify: &'a Notify,
    ticket: Option<u64>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        let mut waiters = notify.waiters.borrow_mut();
        let called = match self.ticket {
            Some(ticket) => waiters.was_called(ticket),
            None => notify.kept.take(),
        };
        if called {
            self.ticket = None;
            return Poll::Ready(());
        }
        waiters.wait(&mut self.ticket, cx);
        wait_for(notify.what);
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket
            && !self.notify.waiters.borrow_mut().leave(ticket)
        {
            self.notify.notify_one();
        }
    }
}
