//! A short list of things that end.

use alloc::vec::Vec;
use unikernel_rt::time::Instant;

/// At most as many things as it was made for, each with its end.
pub(super) struct Timed<T> {
    items: Vec<(T, Instant)>,
    max: usize,
}

impl<T> Timed<T> {
    pub(super) fn new(max: usize) -> Timed<T> {
        Timed { items: Vec::new(), max }
    }

    /// Replaces what is the `same`, or adds the thing if there is room; one that ends now goes. Says whether the
    /// list differs but for an end.
    pub(super) fn set(&mut self, item: T, until: Instant, now: Instant, same: impl Fn(&T) -> bool) -> bool
    where
        T: PartialEq,
    {
        let place = self.items.iter().position(|(known, _)| same(known));
        match place {
            Some(place) if until <= now => {
                self.items.remove(place);
                true
            }
            Some(place) => {
                let old = core::mem::replace(&mut self.items[place], (item, until));
                old.0 != self.items[place].0
            }
            None if until > now && self.items.len() < self.max => {
                self.items.push((item, until));
                true
            }
            None => false,
        }
    }

    /// Lets go what has ended; says whether there was something.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.items.len();
        self.items.retain(|(_, until)| *until > now);
        self.items.len() != before
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Instant {
        self.items.iter().map(|(_, until)| *until).min().unwrap_or(Instant::FOREVER)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|(item, _)| item)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut().map(|(item, _)| item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
