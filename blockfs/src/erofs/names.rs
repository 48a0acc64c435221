//! Paths that were looked up, with what they lead to.

use super::open::Found;
use alloc::{boxed::Box, rc::Rc};
use core::hash::{BuildHasherDefault, Hasher};
use hashbrown::HashMap;

/// Twice so many paths are remembered at most: those of a site's pages, in less than a megabyte.
const GENERATION_LEN: usize = 512;
/// Longer paths are looked up every time.
const PATH_LEN_MAX: usize = 512;

type Map = HashMap<Box<str>, Rc<Found>, BuildHasherDefault<PathHasher>>;

/// Two generations: what was not asked for while the young one filled is forgotten with the old one.
#[derive(Default)]
pub(super) struct Names {
    young: Map,
    old: Map,
}

impl Names {
    pub(super) fn get(&mut self, path: &str) -> Option<Rc<Found>> {
        if let Some(found) = self.young.get(path) {
            return Some(found.clone());
        }
        let (path, found) = self.old.remove_entry(path)?;
        self.keep(path, found.clone());
        Some(found)
    }

    pub(super) fn insert(&mut self, path: &str, found: Rc<Found>) {
        if path.len() <= PATH_LEN_MAX {
            self.keep(path.into(), found);
        }
    }

    fn keep(&mut self, path: Box<str>, found: Rc<Found>) {
        if self.young.len() >= GENERATION_LEN {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(path, found);
    }
}

/// Eight bytes per multiplication. Only paths that exist are kept, so a stranger has no choice of them.
#[derive(Default)]
struct PathHasher(u64);

impl PathHasher {
    fn add(&mut self, word: u64) {
        // The multiplier of Knuth's Fibonacci hashing (TAOCP 6.4).
        let mixed = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.add(super::bytes::u64_at(word, 0));
        }
        let rest = words.remainder().iter().fold(bytes.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        self.add(rest);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
