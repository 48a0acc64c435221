//! What somebody registered for later, for as long as whoever it is about lives.

use alloc::{boxed::Box, rc::Rc, vec::Vec};

/// Fewer entries are not looked through.
const PRUNE_LEN_MIN: usize = 8;

/// A list whose entries go when their owners have gone: at the latest when it has twice as many as there were owners.
pub(crate) struct Registry<T> {
    entries: Vec<Entry<T>>,
    /// With so many entries it is looked for owners that have gone.
    prune_len: usize,
}

struct Entry<T> {
    what: T,
    /// Without one it stays.
    is_gone: Option<Box<dyn Fn() -> bool>>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Registry { entries: Vec::new(), prune_len: PRUNE_LEN_MIN }
    }
}

impl<T> Registry<T> {
    /// Appends what stays.
    pub(crate) fn push(&mut self, what: T) {
        self.add(Entry { what, is_gone: None });
    }

    /// Appends what goes with `owner`.
    pub(crate) fn push_for<O: ?Sized + 'static>(&mut self, owner: &Rc<O>, what: T) {
        let owner = Rc::downgrade(owner);
        self.add(Entry { what, is_gone: Some(Box::new(move || owner.strong_count() == 0)) });
    }

    fn add(&mut self, entry: Entry<T>) {
        if self.entries.len() >= self.prune_len {
            self.entries.retain(|entry| entry.is_gone.as_ref().is_none_or(|is_gone| !is_gone()));
            self.prune_len = (self.entries.len() * 2).max(PRUNE_LEN_MIN);
        }
        self.entries.push(entry);
    }

    /// Takes the entry that came last.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.entries.pop().map(|entry| entry.what)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_grow_with_owners_that_are_gone() {
        let (mut registry, keeps) = (Registry::default(), Rc::new(()));
        registry.push("stays");
        for _ in 0..1000 {
            registry.push_for(&Rc::new(()), "goes");
            assert!(registry.entries.len() <= 2 * PRUNE_LEN_MIN);
        }
        (0..100).for_each(|_| registry.push_for(&keeps, "kept"));
        let count = |registry: &Registry<&str>, name| registry.iter().filter(|what| **what == name).count();
        assert_eq!((count(&registry, "stays"), count(&registry, "kept")), (1, 100));
        assert_eq!(registry.pop(), Some("kept"));
        drop(keeps);
        (0..200).for_each(|_| registry.push_for(&Rc::new(()), "goes"));
        assert_eq!((count(&registry, "stays"), count(&registry, "kept")), (1, 0));
    }
}
