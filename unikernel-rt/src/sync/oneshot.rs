//! One value, once.

use crate::task::wait_for;
use alloc::rc::{Rc, Weak};
use core::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// A pair that passes one value.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{spawn, sync::oneshot};
///
/// let (answer, question) = oneshot();
/// spawn(async move { answer.send(42) });
/// assert_eq!(question.await, Some(42));
///
/// let (answer, question) = oneshot::<u32>();
/// drop(answer);
/// assert_eq!(question.await, None);
/// # });
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, waker: None, sender_gone: false }));
    (OneshotSender(Rc::downgrade(&slot)), OneshotReceiver(slot))
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_gone: bool,
}

/// The sending end. Dropping it without sending tells the receiver.
pub struct OneshotSender<T>(Weak<RefCell<Slot<T>>>);

impl<T> OneshotSender<T> {
    /// Passes the value, or hands it back when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let Some(slot) = self.0.upgrade() else { return Err(value) };
        slot.borrow_mut().value = Some(value);
        Ok(())
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let Some(slot) = self.0.upgrade() else { return };
        let mut slot = slot.borrow_mut();
        slot.sender_gone = true;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

/// The receiving end: a future of the value, or of `None` when the sender was dropped without sending.
pub struct OneshotReceiver<T>(Rc<RefCell<Slot<T>>>);

impl<T> Future for OneshotReceiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.borrow_mut();
        if slot.value.is_some() || slot.sender_gone {
            return Poll::Ready(slot.value.take());
        }
        slot.waker = Some(cx.waker().clone());
        wait_for("a value of another task");
        Poll::Pending
    }
}
