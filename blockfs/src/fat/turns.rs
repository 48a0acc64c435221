//! Who may look at the folders, and who may change them.

use core::cell::Cell;
use unikernel_rt::sync::Notify;

/// Many look, or one changes. Who wants to change comes before those who want to look later.
#[derive(Default)]
pub(super) struct Turns {
    looking: Cell<usize>,
    is_changing: Cell<bool>,
    /// Who wants to change.
    waiting: Cell<usize>,
    over: Notify,
}

impl Turns {
    /// Waits until nobody changes anything, and keeps it so.
    pub(super) async fn look(&self) -> Look<'_> {
        while self.is_changing.get() || self.waiting.get() > 0 {
            self.over.notified().await;
        }
        self.looking.set(self.looking.get() + 1);
        Look(self)
    }

    /// Waits until nobody looks or changes anything, and keeps it so.
    pub(super) async fn change(&self) -> Change<'_> {
        let _waiting = Waiting::new(self);
        while self.is_changing.get() || self.looking.get() > 0 {
            self.over.notified().await;
        }
        self.is_changing.set(true);
        Change(self)
    }
}

struct Waiting<'a>(&'a Turns);

impl Waiting<'_> {
    fn new(turns: &Turns) -> Waiting<'_> {
        turns.waiting.set(turns.waiting.get() + 1);
        Waiting(turns)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        self.0.over.notify_all();
    }
}

/// The right to look.
pub(super) struct Look<'a>(&'a Turns);

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.0.looking.set(self.0.looking.get() - 1);
        self.0.over.notify_all();
    }
}

/// The right to change.
pub(super) struct Change<'a>(&'a Turns);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.is_changing.set(false);
        self.0.over.notify_all();
    }
}
