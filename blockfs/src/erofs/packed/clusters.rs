//! Extents that were decompressed, so that reading on does not do it again.

use alloc::{collections::BTreeMap, collections::VecDeque};
use bytes::Bytes;
use unikernel_rt::heap;

/// They take at most this part of the memory, ...
const MEMORY_PART: usize = 32;
/// ... and these bounds on a workstation and on large machines; one extent is always kept.
const LEN_DEFAULT: usize = 4 << 20;
const LEN_MAX: usize = 32 << 20;

/// The number of a file's inode, and where in the file an extent begins.
type Place = (u64, u64);

pub(in super::super) struct Clusters {
    kept: BTreeMap<Place, Kept>,
    /// In the order in which they are looked at for eviction.
    clock: VecDeque<Place>,
    len: usize,
    len_max: usize,
}

struct Kept {
    bytes: Bytes,
    /// Read since the clock's hand passed.
    was_used: bool,
}

impl Clusters {
    pub(in super::super) fn new() -> Clusters {
        let memory = heap::stats().total;
        let len_max = if memory == 0 { LEN_DEFAULT } else { (memory / MEMORY_PART).min(LEN_MAX) };
        Clusters { kept: BTreeMap::new(), clock: VecDeque::new(), len: 0, len_max }
    }

    /// Between one and `len` bytes of a file at `offset`, if they are kept.
    pub(in super::super) fn get(&mut self, inode: u64, offset: u64, len: usize) -> Option<Bytes> {
        let (place, kept) = self.kept.range_mut((inode, 0)..=(inode, offset)).next_back()?;
        let start = usize::try_from(offset - place.1).ok().filter(|start| *start < kept.bytes.len())?;
        kept.was_used = true;
        Some(kept.bytes.slice(start..kept.bytes.len().min(start.saturating_add(len))))
    }

    pub(super) fn insert(&mut self, inode: u64, start: u64, bytes: Bytes) {
        let len = bytes.len();
        match self.kept.insert((inode, start), Kept { bytes, was_used: false }) {
            // Two readers wanted it at the same time.
            Some(same) => self.len -= same.bytes.len(),
            None => self.clock.push_back((inode, start)),
        }
        self.len += len;
        self.evict((inode, start));
    }

    /// Second chance: what was used since the last look stays for one more round, and so does the newest.
    fn evict(&mut self, newest: Place) {
        while self.len > self.len_max && self.clock.len() > 1 {
            let Some(place) = self.clock.pop_front() else { return };
            let Some(kept) = self.kept.get_mut(&place) else { continue };
            if core::mem::take(&mut kept.was_used) || place == newest {
                self.clock.push_back(place);
                continue;
            }
            self.len -= kept.bytes.len();
            self.kept.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_bounded_and_what_is_used_stays() {
        let mut clusters = Clusters::new();
        clusters.len_max = 10_000;
        clusters.insert(1, 500, Bytes::from_static(&[1; 100]));
        for file in 2..200 {
            clusters.insert(file, 0, Bytes::from_static(&[2; 1000]));
            assert_eq!(clusters.get(1, 599, 9).as_deref(), Some(&[1][..]), "after {file}");
            assert!(clusters.len <= 10_000 && clusters.kept.len() <= 11);
        }
        assert_eq!(clusters.get(1, 600, 9), None);
        assert_eq!(clusters.get(1, 499, 9), None);
        assert_eq!(clusters.get(2, 0, 9), None);
        assert_eq!(clusters.get(199, 3, 2).as_deref(), Some(&[2, 2][..]));
        clusters.insert(9, 0, Bytes::from_static(&[3; 20_000]));
        assert_eq!(clusters.get(9, 19_999, 9).as_deref(), Some(&[3][..]));
        assert_eq!(clusters.kept.len(), 1);
    }
}
