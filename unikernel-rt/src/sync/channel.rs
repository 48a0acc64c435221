//! A bounded queue from many tasks to one.

use super::wait_list::WaitList;
use crate::task::wait_for;
use alloc::{collections::VecDeque, rc::Rc};
use core::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    task::{Poll, Waker},
};

/// A queue of at most `capacity` values (at least one).
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{spawn, sync::channel};
///
/// let (sender, mut receiver) = channel(8);
/// let worker = spawn(async move {
///     let mut sum = 0;
///     // Ends when the last sender is gone.
///     while let Some(number) = receiver.receive().await {
///         sum += number;
///     }
///     sum
/// });
/// for number in 1..=4 {
///     // Waits while eight are in it.
///     sender.send(number).await.expect("the worker listens");
/// }
/// drop(sender);
/// assert_eq!(worker.await, Some(10));
/// # });
/// ```
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(RefCell::new(Shared {
        queue: VecDeque::new(),
        capacity: capacity.max(1),
        senders: 1,
        receiver_gone: false,
        receiver: None,
        waiting: WaitList::new(),
    }));
    (Sender(shared.clone()), Receiver(shared))
}

struct Shared<T> {
    queue: VecDeque<T>,
    capacity: usize,
    senders: usize,
    receiver_gone: bool,
    receiver: Option<Waker>,
    waiting: WaitList,
}

impl<T> Shared<T> {
    fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
    }
}

/// The receiver is gone; the value that could not be sent comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T>(pub T);

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(..)")
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver of this channel is gone")
    }
}

impl<T> core::error::Error for Closed<T> {}

/// The sending end; clone it for more senders.
pub struct Sender<T>(Rc<RefCell<Shared<T>>>);

impl<T> Sender<T> {
    /// Waits for room and queues `value`. Dropped while waiting, it has sent nothing and the value is gone.
    pub async fn send(&self, value: T) -> Result<(), Closed<T>> {
        let mut value = Some(value);
        let mut place = Place { shared: &self.0, ticket: None };
        poll_fn(|cx| {
            let mut shared = place.shared.borrow_mut();
            if shared.receiver_gone {
                return Poll::Ready(Err(Closed(value.take().expect("sent once"))));
            }
            let called = place.ticket.is_some_and(|ticket| shared.waiting.was_called(ticket));
            // Whoever waits already goes first.
            if shared.queue.len() < shared.capacity && (called || shared.waiting.is_empty()) {
                place.ticket = None;
                shared.queue.push_back(value.take().expect("sent once"));
                shared.wake_receiver();
                return Poll::Ready(Ok(()));
            }
            shared.waiting.wait(&mut place.ticket, cx);
            wait_for("room in a channel");
            Poll::Pending
        })
        .await
    }

    /// Queues `value` if there is room; otherwise hands it back.
    pub fn try_send(&self, value: T) -> Result<(), T> {
        let mut shared = self.0.borrow_mut();
        if shared.receiver_gone || shared.queue.len() >= shared.capacity || !shared.waiting.is_empty() {
            return Err(value);
        }
        shared.queue.push_back(value);
        shared.wake_receiver();
        Ok(())
    }
}

/// A sender's place in the queue of those waiting for room.
struct Place<'a, T> {
    shared: &'a RefCell<Shared<T>>,
    ticket: Option<u64>,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut shared = self.shared.borrow_mut();
        if !shared.waiting.leave(ticket) {
            // Its turn had come: the next one gets it.
            shared.waiting.wake_one();
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.borrow_mut().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.senders -= 1;
        if shared.senders == 0 {
            shared.wake_receiver();
        }
    }
}

/// The receiving end.
pub struct Receiver<T>(Rc<RefCell<Shared<T>>>);

impl<T> Receiver<T> {
    /// The next value; `None` once every sender is gone and the queue is empty. Cancel safe.
    pub async fn receive(&mut self) -> Option<T> {
        poll_fn(|cx| {
            let mut shared = self.0.borrow_mut();
            if let Some(value) = shared.queue.pop_front() {
                shared.waiting.wake_one();
                return Poll::Ready(Some(value));
            }
            if shared.senders == 0 {
                return Poll::Ready(None);
            }
            shared.receiver = Some(cx.waker().clone());
            wait_for("a channel");
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut shared = self.0.borrow_mut();
        shared.receiver_gone = true;
        shared.waiting.wake_all();
        let queue = core::mem::take(&mut shared.queue);
        drop(shared);
        // Outside the borrow: a value's destructor may hold a sender of this channel.
        drop(queue);
    }
}
