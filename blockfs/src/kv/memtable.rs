//! The entries of the log that are not in the tree yet, in memory, with the versions that snapshots still see.

use super::{merge::Change, value::Stored};
use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;
use core::{
    borrow::Borrow,
    cell::{Cell, RefCell},
    cmp::Ordering,
    ops::Bound,
};

/// What a key became, with the record of the log that said so. Of a key, the newest comes first.
struct Version {
    key: Bytes,
    sequence: u64,
}

/// A version that need not own its key.
trait Place {
    fn key(&self) -> &[u8];
    fn sequence(&self) -> u64;
}

impl Place for Version {
    fn key(&self) -> &[u8] {
        &self.key
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Place for (&[u8], u64) {
    fn key(&self) -> &[u8] {
        self.0
    }

    fn sequence(&self) -> u64 {
        self.1
    }
}

impl<'a> Borrow<dyn Place + 'a> for Version {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key()).then(other.sequence().cmp(&self.sequence()))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        <dyn Place as Ord>::cmp(self, other)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Sequence numbers begin at 1, so these are before and after every version of a key.
const NEWEST: u64 = u64::MAX;
const OLDEST: u64 = 0;

#[derive(Default)]
pub(super) struct Memtable {
    versions: RefCell<BTreeMap<Version, Option<Stored>>>,
    /// Values that were replaced before they came into the tree.
    dead: RefCell<Vec<Stored>>,
    /// Values that were put, and their bytes with their keys.
    load: Cell<Load>,
}

/// What waits to come into the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub puts: u64,
    pub len: u64,
}

impl Load {
    pub(super) fn add(&mut self, key: &[u8], value: Option<&Stored>) {
        if let Some(value) = value {
            self.puts += 1;
            self.len += (key.len() + value.bytes.len() + 8) as u64;
        }
    }

    pub(super) fn plus(self, other: Load) -> Load {
        Load { puts: self.puts + other.puts, len: self.len + other.len }
    }
}

/// What a key is at some moment.
pub(super) type Found = (Bytes, Option<Stored>);

impl Memtable {
    pub(super) fn is_empty(&self) -> bool {
        self.versions.borrow().is_empty()
    }

    pub(super) fn load(&self) -> Load {
        self.load.get()
    }

    /// Sets `key`. The version before stays if it is not newer than `snapshot`, the newest one that somebody sees.
    pub(super) fn insert(&self, key: Bytes, sequence: u64, value: Option<Stored>, snapshot: Option<u64>) {
        let mut load = self.load.get();
        load.add(&key, value.as_ref());
        self.load.set(load);
        let mut versions = self.versions.borrow_mut();
        let start: &dyn Place = &(&key[..], NEWEST);
        let before = versions.range::<dyn Place, _>((Bound::Included(start), Bound::Unbounded)).next();
        if let Some((version, value)) = before.filter(|(version, _)| version.key == key) {
            if let Some(value) = value.as_ref().filter(|value| value.is_blob) {
                self.dead.borrow_mut().push(value.clone());
            }
            let old = version.sequence;
            if old == sequence || snapshot.is_none_or(|snapshot| snapshot < old) {
                let place: &dyn Place = &(&key[..], old);
                versions.remove(place);
            }
        }
        versions.insert(Version { key, sequence }, value);
    }

    /// What `key` was at `sequence`: unknown here, removed, or a value.
    pub(super) fn get(&self, key: &[u8], sequence: u64) -> Option<Option<Stored>> {
        let versions = self.versions.borrow();
        let start: &dyn Place = &(key, sequence);
        let (version, value) = versions.range::<dyn Place, _>((Bound::Included(start), Bound::Unbounded)).next()?;
        (version.key == key).then(|| value.clone())
    }

    /// The first key within bounds, as it was at `sequence`.
    pub(super) fn first(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), sequence: u64) -> Option<Found> {
        self.visit(bounds, |mut range| {
            let (version, value) = range.find(|(version, _)| version.sequence <= sequence)?;
            Some((version.key.clone(), value.clone()))
        })
    }

    /// The last key within bounds, as it was at `sequence`.
    pub(super) fn last(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), sequence: u64) -> Option<Found> {
        let key = self.visit(bounds, |mut range| {
            let (version, _) = range.rfind(|(version, _)| version.sequence <= sequence)?;
            Some(version.key.clone())
        })?;
        let value = self.get(&key, sequence)?;
        Some((key, value))
    }

    /// Whether something within bounds changed after `sequence`.
    pub(super) fn has_changed(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), sequence: u64) -> bool {
        let newer = |range: Versions<'_>| range.into_iter().any(|(version, _)| version.sequence > sequence);
        self.visit(bounds, |range| newer(range).then_some(())).is_some()
    }

    fn visit<T>(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), f: impl FnOnce(Versions<'_>) -> Option<T>) -> Option<T> {
        if is_empty(&bounds) {
            return None;
        }
        let start = with_sequence(bounds.0, NEWEST, OLDEST);
        let end = with_sequence(bounds.1, OLDEST, NEWEST);
        f(self.versions.borrow().range::<dyn Place, _>((as_place(&start), as_place(&end))))
    }

    /// The newest state of up to `most` keys after `key`, in order.
    pub(super) fn changes_after(&self, key: Option<&[u8]>, most: usize) -> Vec<Change> {
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        let mut changes: Vec<Change> = Vec::new();
        self.visit((start, Bound::Unbounded), |range| {
            for (version, value) in range {
                if changes.last().is_some_and(|last| last.key == version.key) {
                    continue;
                }
                if changes.len() == most {
                    break;
                }
                changes.push(Change { key: version.key.clone(), value: value.clone() });
            }
            Some(())
        });
        changes
    }

    /// Values that never came into a tree.
    pub(super) fn take_dead(&self) -> Vec<Stored> {
        self.dead.take()
    }
}

type Versions<'a> = alloc::collections::btree_map::Range<'a, Version, Option<Stored>>;

/// Whether no key can be within.
pub(super) fn is_empty(bounds: &(Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
    }
}

fn with_sequence(bound: Bound<&[u8]>, included: u64, excluded: u64) -> Bound<(&[u8], u64)> {
    match bound {
        Bound::Included(key) => Bound::Included((key, included)),
        Bound::Excluded(key) => Bound::Excluded((key, excluded)),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn as_place<'a>(bound: &'a Bound<(&'a [u8], u64)>) -> Bound<&'a (dyn Place + 'a)> {
    bound.as_ref().map(|place| place as &dyn Place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Option<Stored> {
        Some(Stored { bytes: Bytes::from_static(text.as_bytes()), is_blob: false })
    }

    #[test]
    fn versions_stay_for_snapshots() {
        let table = Memtable::default();
        let key = Bytes::from_static(b"k");
        table.insert(key.clone(), 1, value("one"), None);
        table.insert(key.clone(), 2, value("two"), Some(1));
        table.insert(key.clone(), 3, None, Some(1));
        let at = |sequence| table.get(b"k", sequence);
        assert_eq!((at(0), at(1), at(2), at(3)), (None, Some(value("one")), Some(value("one")), Some(None)));
        assert_eq!(table.first((Bound::Unbounded, Bound::Unbounded), 1), Some((key.clone(), value("one"))));
        assert_eq!(table.last((Bound::Unbounded, Bound::Unbounded), 9), Some((key.clone(), None)));
        assert_eq!(table.changes_after(None, 9).len(), 1);
        assert!(table.has_changed((Bound::Included(b"k"), Bound::Included(b"k")), 2));
        assert!(!table.has_changed((Bound::Included(b"k"), Bound::Included(b"k")), 3));
        assert!(!table.has_changed((Bound::Excluded(b"k"), Bound::Unbounded), 0));
    }
}
