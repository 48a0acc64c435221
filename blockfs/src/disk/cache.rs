//! Pages that were read, in the pieces in which they were read.
//!
//! A piece never changes: readers hold parts of it without copying. A write takes its pages out of the index, and a
//! piece without pages is dropped.

use super::{PAGE_LEN, read::pages_of, write::is_of_pages};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::Bytes;
use core::{
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
    task::Waker,
};
use hashbrown::HashMap;
use slab::Slab;

/// What the cache did and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads that found all they needed.
    pub hits: u64,
    /// Reads that waited for the device.
    pub misses: u64,
    /// Pieces that had to make room.
    pub evictions: u64,
    /// Bytes it holds.
    pub len: usize,
    /// Bytes it may hold.
    pub len_max: usize,
}

pub(super) struct Cache {
    /// Which piece has a page.
    pages: HashMap<u64, usize, BuildHasherDefault<PageHasher>>,
    pieces: Slab<Piece>,
    /// Pieces in the order in which they are looked at for eviction.
    clock: VecDeque<usize>,
    /// Reads under way.
    flights: Slab<Flight>,
    /// Writes under way, by page.
    writes: Vec<Range<u64>>,
    stats: CacheStats,
}

struct Piece {
    first_page: u64,
    bytes: Bytes,
    /// Pages in the index.
    live: usize,
    /// Pages that were written since: who reads on from an earlier one ends before them.
    holes: Vec<u64>,
    /// Read since the clock's hand passed.
    was_used: bool,
}

/// A read of whole pages that is under way.
struct Flight {
    pages: Range<u64>,
    /// A write touched it: what it brings must not be kept.
    is_stale: bool,
    /// The device is done with it.
    waiters: Vec<Waker>,
}

/// What the cache knows about a page.
pub(super) enum Page {
    /// From the page's start to the end of the piece.
    There(Bytes),
    /// Being read; who waits is woken.
    Flying,
    /// Not there, and neither are those after it up to this one.
    Missing { end: u64 },
}

impl Cache {
    pub(super) fn new(len_max: usize) -> Cache {
        Cache {
            pages: HashMap::default(),
            pieces: Slab::new(),
            clock: VecDeque::new(),
            flights: Slab::new(),
            writes: Vec::new(),
            stats: CacheStats { len_max, ..CacheStats::default() },
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.stats
    }

    pub(super) fn set_len_max(&mut self, len_max: usize) {
        self.stats.len_max = len_max;
        self.evict();
    }

    pub(super) fn count(&mut self, is_hit: bool) {
        if is_hit {
            self.stats.hits += 1;
        } else {
            self.stats.misses += 1;
        }
    }

    /// The bytes from the start of `page` on, if they are there.
    #[inline]
    pub(super) fn get(&mut self, page: u64) -> Option<Bytes> {
        let piece = &mut self.pieces[*self.pages.get(&page)?];
        piece.was_used = true;
        let start = ((page - piece.first_page) * PAGE_LEN) as usize;
        let hole = piece.holes.iter().filter(|hole| **hole > page).min();
        let end = hole.map_or(piece.bytes.len(), |hole| ((hole - piece.first_page) * PAGE_LEN) as usize);
        Some(piece.bytes.slice(start..end))
    }

    /// Looks at `page` for a reader of pages up to `end`.
    pub(super) fn look(&mut self, page: u64, end: u64, waker: &Waker) -> Page {
        if let Some(bytes) = self.get(page) {
            return Page::There(bytes);
        }
        if let Some((_, flight)) = self.flights.iter_mut().find(|(_, flight)| flight.pages.contains(&page)) {
            flight.waiters.push(waker.clone());
            return Page::Flying;
        }
        Page::Missing { end: (page + 1..end).find(|page| self.is_known(*page)).unwrap_or(end) }
    }

    /// Notes that `pages` are being read.
    pub(super) fn take_off(&mut self, pages: Range<u64>) -> usize {
        let is_stale = self.writes.iter().any(|write| overlap(write, &pages));
        self.flights.insert(Flight { pages, is_stale, waiters: Vec::new() })
    }

    /// The read is over; `bytes` are what it brought, if anything.
    pub(super) fn land(&mut self, flight: usize, bytes: Option<&Bytes>) {
        let flight = self.flights.remove(flight);
        if let Some(bytes) = bytes
            && !flight.is_stale
        {
            self.insert(flight.pages, bytes.clone());
        }
        flight.waiters.into_iter().for_each(Waker::wake);
    }

    fn insert(&mut self, pages: Range<u64>, bytes: Bytes) {
        self.forget(&pages);
        self.stats.len += bytes.len();
        let live = (pages.end - pages.start) as usize;
        let piece =
            self.pieces.insert(Piece { first_page: pages.start, bytes, live, holes: Vec::new(), was_used: false });
        for page in pages {
            self.pages.insert(page, piece);
        }
        self.clock.push_back(piece);
        self.evict();
    }

    /// Whether `page` is there or being read.
    pub(super) fn is_known(&self, page: u64) -> bool {
        self.pages.contains_key(&page) || self.flights.iter().any(|(_, flight)| flight.pages.contains(&page))
    }

    /// Keeps what was written over pages that were there before.
    pub(super) fn refresh(&mut self, range: &Range<u64>, bytes: Bytes) {
        let pages = pages_of(range);
        if is_of_pages(range) && !self.writes.iter().any(|write| overlap(write, &pages)) {
            self.insert(pages, bytes);
        }
    }

    /// Takes pages out. True when one was there.
    fn forget(&mut self, pages: &Range<u64>) -> bool {
        let mut any = false;
        for page in pages.clone() {
            let Some(number) = self.pages.remove(&page) else { continue };
            any = true;
            let piece = &mut self.pieces[number];
            piece.live -= 1;
            piece.holes.push(page);
            if piece.live == 0 {
                self.stats.len -= piece.bytes.len();
                piece.bytes = Bytes::new();
            }
        }
        any
    }

    /// Empties the cache; what is being read now is not kept either.
    pub(super) fn forget_all(&mut self) {
        let known: Vec<u64> = self.pages.keys().copied().collect();
        for page in known {
            self.forget(&(page..page + 1));
        }
        self.spoil(&(0..u64::MAX));
    }

    /// A write of `pages` begins. True when some of them were there.
    pub(super) fn begin_write(&mut self, pages: Range<u64>) -> bool {
        let was_there = self.forget(&pages);
        self.spoil(&pages);
        self.writes.push(pages);
        was_there
    }

    /// It is over, or nobody knows.
    pub(super) fn end_write(&mut self, pages: &Range<u64>) {
        // A read that began meanwhile may have seen the time before.
        self.spoil(pages);
        if let Some(place) = self.writes.iter().position(|write| write == pages) {
            self.writes.swap_remove(place);
        }
    }

    fn spoil(&mut self, pages: &Range<u64>) {
        let touched = self.flights.iter_mut().filter(|(_, flight)| overlap(&flight.pages, pages));
        touched.for_each(|(_, flight)| flight.is_stale = true);
    }

    /// Second chance: a piece that was used since the last look stays for one more round.
    fn evict(&mut self) {
        while self.stats.len > self.stats.len_max || self.clock.len() > 2 * self.pages.len() + 64 {
            let Some(number) = self.clock.pop_front() else { return };
            let piece = &mut self.pieces[number];
            if piece.live > 0 && core::mem::take(&mut piece.was_used) {
                self.clock.push_back(number);
                continue;
            }
            let pages = piece.first_page..piece.first_page + (piece.bytes.len() as u64).div_ceil(PAGE_LEN);
            if piece.live > 0 {
                self.stats.evictions += 1;
                for page in pages {
                    if self.pages.get(&page) == Some(&number) {
                        self.pages.remove(&page);
                    }
                }
                self.stats.len -= self.pieces[number].bytes.len();
            }
            self.pieces.remove(number);
        }
    }
}

/// Fibonacci hashing (Knuth, TAOCP 6.4) of a page's number: neighbours end up far apart, and it is one multiplication.
#[derive(Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("pages are numbers")
    }

    #[inline]
    fn write_u64(&mut self, page: u64) {
        let mixed = page.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
