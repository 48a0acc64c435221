//! Which code the blocks in use were allocated by, by samples: one of the blocks in which each [`INTERVAL`] bytes end. A
//! block that is sampled stands for all bytes since the one before.

use super::{Site, Sites};
use alloc::vec::Vec;

/// Bytes between two samples, about: half of it to one and a half, so that no loop escapes by its rhythm.
pub(crate) const INTERVAL: usize = 64 << 10;

/// Return addresses that are kept of each.
pub(crate) const FRAMES_MAX: usize = 16;

/// Places in the code that are told apart.
const SITES_MAX: usize = 256;

/// Samples lie in buckets by their address, so that finding one is a bounded amount of work.
const BUCKETS: usize = 256;
const BUCKET_LEN: usize = 8;

/// Where a block was allocated: return addresses, the innermost first, then zeros.
pub(crate) type Frames = [u64; FRAMES_MAX];

/// The samples. Closed at first, which costs a subtraction for each block.
pub(crate) struct Sampler {
    /// Bytes to the next sample.
    left: isize,
    /// What `left` was after the last one.
    interval: usize,
    random: u64,
    book: Option<Book>,
}

/// Fixed in size: it is made while blocks are counted already.
pub(crate) struct Book {
    samples: Vec<Sample>,
    sites: Vec<Entry>,
    /// Bytes of samples for which there was no room.
    missed: usize,
}

#[derive(Clone, Copy, Default)]
struct Sample {
    /// 0 where there is none.
    address: usize,
    len: usize,
    /// The bytes that it stands for.
    weight: usize,
    site: usize,
}

/// What is known of a place in the code.
#[derive(Clone, Copy, Default)]
pub(crate) struct Entry {
    frames: Frames,
    samples: usize,
    bytes: usize,
}

impl Book {
    pub(crate) fn new() -> Book {
        Book {
            samples: alloc::vec![Sample::default(); BUCKETS * BUCKET_LEN],
            sites: Vec::with_capacity(SITES_MAX),
            missed: 0,
        }
    }
}

impl Sampler {
    pub(crate) const fn new() -> Sampler {
        Sampler { left: isize::MAX, interval: 0, random: 0, book: None }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.book.is_some()
    }

    /// Begins anew; returns what was used before.
    pub(crate) fn open(&mut self, book: Book, seed: u64) -> Option<Book> {
        self.random = seed | 1;
        let before = self.book.replace(book);
        self.begin_interval();
        before
    }

    /// Counts a block of `len` bytes. True when it is to be [recorded](Self::record).
    #[inline(always)]
    pub(crate) fn count(&mut self, len: usize) -> bool {
        self.left = self.left.wrapping_sub_unsigned(len);
        self.left < 0
    }

    /// Whether the block that was counted last is to be recorded.
    pub(crate) fn is_due(&self) -> bool {
        self.left < 0
    }

    /// Notes a block that was counted. False when there was no room for it.
    pub(crate) fn record(&mut self, address: usize, len: usize, frames: &Frames) -> bool {
        let weight = self.interval.saturating_add_signed(self.left.wrapping_neg());
        self.begin_interval();
        let Some(book) = &mut self.book else { return false };
        let is_noted = book.record(Sample { address, len, weight, site: 0 }, frames).is_some();
        if !is_noted {
            book.missed = book.missed.saturating_add(weight);
        }
        is_noted
    }

    /// Takes back the note about a block, whose length this is; `None` where there is none.
    pub(crate) fn forget(&mut self, address: usize) -> Option<usize> {
        self.book.as_mut()?.forget(address)
    }

    /// Bytes whose sample found no room; `None` when closed.
    pub(crate) fn missed(&self) -> Option<usize> {
        Some(self.book.as_ref()?.missed)
    }

    /// A place in the code, by a number that grows from 0; `None` after the last.
    pub(crate) fn entry(&self, number: usize) -> Option<Entry> {
        self.book.as_ref()?.sites.get(number).copied()
    }

    fn begin_interval(&mut self) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.interval = INTERVAL / 2 + self.random as usize % INTERVAL;
        // Closed, nothing is ever due.
        self.left = if self.is_open() { self.interval as isize } else { isize::MAX };
    }
}

impl Book {
    fn record(&mut self, sample: Sample, frames: &Frames) -> Option<()> {
        let place = bucket(sample.address).find(|place| self.samples[*place].address == 0)?;
        let site = self.site(frames)?;
        self.samples[place] = Sample { site, ..sample };
        self.sites[site].samples += 1;
        self.sites[site].bytes += sample.weight;
        Some(())
    }

    fn forget(&mut self, address: usize) -> Option<usize> {
        let place = bucket(address).find(|place| self.samples[*place].address == address)?;
        let Sample { len, weight, site, .. } = core::mem::take(&mut self.samples[place]);
        self.sites[site].samples -= 1;
        self.sites[site].bytes -= weight;
        Some(len)
    }

    /// The number of a place in the code; one that has no blocks any more gives up its own.
    fn site(&mut self, frames: &Frames) -> Option<usize> {
        if let Some(known) = self.sites.iter().position(|entry| entry.frames == *frames) {
            return Some(known);
        }
        let new = Entry { frames: *frames, ..Entry::default() };
        if self.sites.len() < SITES_MAX {
            self.sites.push(new);
            return Some(self.sites.len() - 1);
        }
        let unused = self.sites.iter().position(|entry| entry.samples == 0)?;
        self.sites[unused] = new;
        Some(unused)
    }
}

/// The places of the samples of an address.
fn bucket(address: usize) -> impl Iterator<Item = usize> {
    // Blocks are 32 bytes apart; the multiplier is 2^64 divided by the golden ratio.
    let hash = (address as u64 >> 5).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    let first = hash as usize % BUCKETS * BUCKET_LEN;
    first..first + BUCKET_LEN
}

/// What is known now, the most bytes first. The heap is free between the calls of `ask`, since the list lies there, too.
pub(crate) fn list(mut ask: impl FnMut(&mut dyn FnMut(&Sampler))) -> Sites {
    let mut look = |number| {
        let (mut missed, mut entry) = (None, None);
        ask(&mut |sampler| (missed, entry) = (sampler.missed(), sampler.entry(number)));
        (missed, entry)
    };
    let (Some(missed), _) = look(0) else { return Sites::default() };
    let entries = (0..).map_while(|number| look(number).1).filter(|entry| entry.samples > 0);
    let mut sites: Vec<Site> = entries.map(Site::from).collect();
    sites.sort_unstable_by_key(|site| core::cmp::Reverse(site.bytes));
    Sites { interval: INTERVAL, missed, sites }
}

impl From<Entry> for Site {
    fn from(Entry { frames, samples, bytes }: Entry) -> Site {
        Site { frames: frames.into_iter().take_while(|address| *address != 0).collect(), samples, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(first: u64) -> Frames {
        let mut frames = [0; FRAMES_MAX];
        frames[..2].copy_from_slice(&[first, 7]);
        frames
    }

    fn open() -> Sampler {
        let mut sampler = Sampler::new();
        assert!(sampler.open(Book::new(), 42).is_none());
        sampler
    }

    fn sites(sampler: &Sampler) -> Sites {
        list(|look| look(sampler))
    }

    /// Allocates blocks of `len` bytes one after the other, from `address` on.
    fn allocate(sampler: &mut Sampler, address: usize, len: usize, count: usize, site: u64) -> Vec<usize> {
        let block = |number| address + number * len;
        let due =
            (0..count).map(block).filter(|block| sampler.count(len) && sampler.record(*block, len, &frames(site)));
        due.collect()
    }

    #[test]
    fn closed_it_notes_nothing() {
        let mut sampler = Sampler::new();
        assert!(!(0..1000).any(|_| sampler.count(usize::MAX >> 20)) && !sampler.is_due());
        assert_eq!(sites(&sampler), Sites::default());
    }

    #[test]
    fn samples_stand_for_all_bytes() {
        let mut sampler = open();
        allocate(&mut sampler, 1 << 30, 96, 60_000, 1);
        let one = allocate(&mut sampler, 2 << 30, 10 << 20, 1, 2);
        let [first, second] = sites(&sampler).sites.try_into().unwrap();
        assert_eq!((&first.frames[..], first.samples), (&[2, 7][..], 1));
        assert!((10 << 20..(10 << 20) + 2 * INTERVAL).contains(&first.bytes), "{first:?}");
        assert!(second.bytes.abs_diff(60_000 * 96) < 2 * INTERVAL, "{second:?}");
        assert_eq!(sampler.forget(one[0]), Some(10 << 20));
        assert_eq!(sampler.forget(one[0]), None);
        assert_eq!(sites(&sampler).sites, [second]);
    }

    #[test]
    fn what_is_freed_is_gone() {
        let mut sampler = open();
        for round in 0..100 {
            let noted = allocate(&mut sampler, 1 << 30, 1000, 5000, round);
            assert!(noted.iter().all(|block| sampler.forget(*block) == Some(1000)));
        }
        assert_eq!(sites(&sampler), Sites { interval: INTERVAL, missed: 0, sites: Vec::new() });
    }

    #[test]
    fn what_finds_no_room_is_said() {
        let mut sampler = open();
        for site in 0..2 * SITES_MAX {
            allocate(&mut sampler, (1 << 30) + (site << 24), 4 * INTERVAL, 1, site as u64 + 1);
        }
        let Sites { missed, sites, .. } = sites(&sampler);
        assert_eq!(sites.len(), SITES_MAX);
        assert!(missed >= SITES_MAX * 4 * INTERVAL);
    }
}
