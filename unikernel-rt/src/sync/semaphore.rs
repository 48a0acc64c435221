//! A bounded number of permits.

use super::notify::Notify;
use alloc::rc::Rc;
use core::cell::Cell;

/// Hands out a fixed number of permits. Cloning shares them.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::sync::Semaphore;
///
/// // Two may use it at a time.
/// let uploads = Semaphore::new(2);
/// let first = uploads.acquire().await;
/// let _second = uploads.acquire().await;
/// assert!(uploads.try_acquire().is_none());
/// drop(first);
/// assert_eq!(uploads.available(), 1);
/// # });
/// ```
#[derive(Clone)]
pub struct Semaphore(Rc<Inner>);

struct Inner {
    free: Cell<usize>,
    returned: Notify,
}

impl Semaphore {
    /// A semaphore with `permits` free permits.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore(Rc::new(Inner { free: Cell::new(permits), returned: Notify::of("a permit") }))
    }

    /// Waits for a free permit. Cancel safe.
    pub async fn acquire(&self) -> Permit {
        loop {
            if let Some(permit) = self.try_acquire() {
                return permit;
            }
            self.0.returned.notified().await;
        }
    }

    /// A permit, if one is free.
    pub fn try_acquire(&self) -> Option<Permit> {
        let left = self.0.free.get().checked_sub(1)?;
        self.0.free.set(left);
        Some(Permit(self.0.clone()))
    }

    /// How many permits are free.
    pub fn available(&self) -> usize {
        self.0.free.get()
    }
}

/// Returned to its [`Semaphore`] when dropped.
pub struct Permit(Rc<Inner>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.returned.notify_one();
    }
}
