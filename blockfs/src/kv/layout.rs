//! What is where on the disk, and the superblock that says so. `FORMAT.md` has it byte by byte.

use crate::error::Cause;
use alloc::vec::Vec;
use unikernel_rt::checksum::crc32c;

/// The unit of everything but the log.
pub(super) const PAGE_LEN: usize = 4096;
/// At the start of every page but those of superblocks and log.
pub(super) const HEADER_LEN: usize = 32;
/// What a page has beside its header.
pub(super) const BODY_LEN: usize = PAGE_LEN - HEADER_LEN;
/// Pages that one page of the bitmap speaks for.
pub(super) const GROUP_PAGES: u32 = BODY_LEN as u32 * 8;
/// Groups that one page of the summary speaks for.
pub(super) const SUMMARY_GROUPS: u32 = (BODY_LEN / 8) as u32;

/// Superblocks are in the first two pages, and the [mark](super::mark) in the one after.
pub(super) const MARK_PAGE: u32 = 2;
const LOG_PAGE: u32 = 3;

/// Fewer pages are not worth a store.
const PAGES_MIN: u64 = 64;
/// Page numbers have 32 bits: of a larger disk the first 16 TiB are used.
const PAGES_MAX: u64 = u32::MAX as u64;
/// A sixteenth of the disk is log, ...
const LOG_PART: u32 = 16;
/// ... but at least 64 KiB, so that a commit may have 16 KiB, ...
const LOG_PAGES_MIN: u32 = 16;
/// ... and at most 16 MiB: as much is read when the store is opened, and about as much memory holds what is in it.
const LOG_PAGES_MAX: u32 = 4096;
/// Most bytes of one write to the log: so far the search for what follows a damaged record goes.
const FRAME_LEN_MAX: u64 = 1 << 20;

pub(super) const SUPER_LEN: usize = 512;
pub(super) const MAGIC: &[u8; 8] = b"UNIKV\r\n\x1a";
const VERSION: u32 = 1;
/// Levels of the tree. Pages have at least two entries, so 32 levels hold more than there are pages.
const HEIGHT_MAX: u32 = 32;

/// Where things are, in pages; follows from these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Pages of the whole store.
    pub pages: u32,
    pub log_pages: u32,
    /// Records of the log begin at multiples of this, in bytes.
    pub log_unit: u32,
    pub groups: u32,
}

impl Layout {
    /// The layout of a new store.
    pub(super) fn new(disk_len: u64, log_unit: usize) -> Result<Layout, Cause> {
        let pages = disk_len / PAGE_LEN as u64;
        if pages < PAGES_MIN {
            return Err(Cause::unsupported("a key-value store needs at least 256 KiB; make the disk larger"));
        }
        let pages = pages.min(PAGES_MAX) as u32;
        let log_pages = (pages / LOG_PART).clamp(LOG_PAGES_MIN, LOG_PAGES_MAX);
        let log_unit = log_unit.clamp(SUPER_LEN, PAGE_LEN) as u32;
        Ok(Layout { pages, log_pages, log_unit, groups: groups_for(pages, log_pages) })
    }

    fn is_possible(&self) -> bool {
        let pages_are = u64::from(self.pages) >= PAGES_MIN;
        let log_is = (LOG_PAGES_MIN..=LOG_PAGES_MAX).contains(&self.log_pages) && self.log_pages <= self.pages / 4;
        let unit_is = self.log_unit.is_power_of_two() && (SUPER_LEN..=PAGE_LEN).contains(&(self.log_unit as usize));
        pages_are && log_is && unit_is && self.groups == groups_for(self.pages, self.log_pages)
    }

    /// Where the log is, in bytes.
    pub(super) fn log_start(&self) -> u64 {
        u64::from(LOG_PAGE) * PAGE_LEN as u64
    }

    pub(super) fn log_len(&self) -> u64 {
        u64::from(self.log_pages) * PAGE_LEN as u64
    }

    /// Most bytes of a record with its header: four fit the log.
    pub(super) fn frame_len_max(&self) -> u64 {
        (self.log_len() / 4).min(FRAME_LEN_MAX)
    }

    pub(super) fn summary_pages(&self) -> u32 {
        self.groups.div_ceil(SUMMARY_GROUPS)
    }

    /// A page of one of the two copies of the summary.
    pub(super) fn summary_page(&self, copy: u32, number: u32) -> u32 {
        LOG_PAGE + self.log_pages + copy * self.summary_pages() + number
    }

    /// One of the two places of the bitmap of a group.
    pub(super) fn bitmap_page(&self, group: u32, place: u32) -> u32 {
        LOG_PAGE + self.log_pages + 2 * self.summary_pages() + 2 * group + place
    }

    /// The first page for tree and values.
    pub(super) fn data_start(&self) -> u32 {
        self.bitmap_page(self.groups, 0)
    }

    pub(super) fn data_pages(&self) -> u32 {
        self.pages - self.data_start()
    }

    /// Which group a page for data is in, and which of its bits.
    pub(super) fn place_of(&self, page: u32) -> (u32, u32) {
        let number = page - self.data_start();
        (number / GROUP_PAGES, number % GROUP_PAGES)
    }

    /// The first page of a group.
    pub(super) fn group_start(&self, group: u32) -> u32 {
        self.data_start() + group * GROUP_PAGES
    }

    /// How many pages a group has; the last may have fewer, or none.
    pub(super) fn group_len(&self, group: u32) -> u32 {
        self.data_pages().saturating_sub(group * GROUP_PAGES).min(GROUP_PAGES)
    }

    /// Whether `count` pages from `page` on are pages for data.
    pub(super) fn is_data(&self, page: u32, count: u32) -> bool {
        page >= self.data_start() && page.checked_add(count).is_some_and(|end| end <= self.pages)
    }
}

fn groups_for(pages: u32, log_pages: u32) -> u32 {
    (pages - LOG_PAGE - log_pages).div_ceil(GROUP_PAGES)
}

/// A page and the checksum it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub page: u32,
    pub sum: u32,
}

/// The state of a store at a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    pub layout: Layout,
    /// Random; in every page and record, so that those of an earlier store on this disk are told apart.
    pub store_id: u64,
    /// Counts checkpoints.
    pub generation: u64,
    pub root: Option<Pointer>,
    /// Levels of the tree; 0 when it is empty.
    pub height: u32,
    /// Where the first record that is not in the tree begins, in the log, ...
    pub log_offset: u64,
    /// ... and its number.
    pub log_sequence: u64,
    /// Entries of the tree.
    pub entries: u64,
}

/// What a superblock's place holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Valid(Superblock),
    /// Something else, or damaged.
    Invalid,
    /// A store of a later version of this format.
    Newer,
}

impl Superblock {
    pub(super) fn encode(&self) -> Vec<u8> {
        let root = self.root.unwrap_or(Pointer { page: 0, sum: 0 });
        let mut bytes = Vec::with_capacity(SUPER_LEN);
        bytes.extend_from_slice(MAGIC);
        let layout = &self.layout;
        let words = [VERSION, layout.log_unit, layout.pages, layout.log_pages, layout.groups, self.height];
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        let long = [self.store_id, self.generation, self.log_offset, self.log_sequence, self.entries];
        long.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        [root.page, root.sum].iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        bytes.resize(SUPER_LEN - 4, 0);
        bytes.extend_from_slice(&crc32c(0, &bytes).to_le_bytes());
        bytes
    }

    /// Reads the first [`SUPER_LEN`] bytes.
    pub(super) fn decode(bytes: &[u8]) -> Slot {
        let Some(bytes) = bytes.get(..SUPER_LEN).filter(|bytes| bytes.starts_with(MAGIC)) else { return Slot::Invalid };
        let (body, sum) = bytes.split_at(SUPER_LEN - 4);
        if crc32c(0, body).to_le_bytes() != sum {
            return Slot::Invalid;
        }
        if u32_at(body, 8) != VERSION {
            return Slot::Newer;
        }
        let layout = Layout {
            log_unit: u32_at(body, 12),
            pages: u32_at(body, 16),
            log_pages: u32_at(body, 20),
            groups: u32_at(body, 24),
        };
        let root = Pointer { page: u32_at(body, 72), sum: u32_at(body, 76) };
        let superblock = Superblock {
            layout,
            height: u32_at(body, 28),
            store_id: u64_at(body, 32),
            generation: u64_at(body, 40),
            log_offset: u64_at(body, 48),
            log_sequence: u64_at(body, 56),
            entries: u64_at(body, 64),
            root: (root.page != 0).then_some(root),
        };
        if superblock.is_possible() { Slot::Valid(superblock) } else { Slot::Invalid }
    }

    fn is_possible(&self) -> bool {
        let log_is = self.log_offset < self.layout.log_len()
            && self.log_offset.is_multiple_of(self.layout.log_unit.into())
            && self.log_sequence < u64::MAX / 2;
        let tree_is = self.height <= HEIGHT_MAX
            && self.root.is_some() == (self.height > 0)
            && self.root.is_none_or(|root| self.layout.is_data(root.page, 1));
        self.layout.is_possible() && log_is && tree_is && self.generation < u64::MAX / 2
    }
}

/// A number in bytes that are known to be there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(disk_len: u64) -> Superblock {
        let layout = Layout::new(disk_len, 512).unwrap();
        let root = Some(Pointer { page: layout.data_start(), sum: 7 });
        let (log_offset, log_sequence) = (512, 9);
        Superblock { layout, store_id: 1, generation: 2, root, height: 3, log_offset, log_sequence, entries: 4 }
    }

    #[test]
    fn what_was_written_is_read() {
        for len in [256 << 10, 1 << 20, 100 << 20, 1 << 30, 1 << 40, 1 << 50] {
            let superblock = superblock(len);
            let bytes = superblock.encode();
            assert_eq!(Superblock::decode(&bytes), Slot::Valid(superblock), "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = superblock(1 << 20).encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Superblock::decode(&bytes), Slot::Invalid, "bit {bit}");
        }
    }

    #[test]
    fn groups_cover_all_pages() {
        for len in [256 << 10, 1 << 20, 127 << 20, 128 << 20, 1 << 30, 1 << 40, 1 << 50] {
            let layout = Layout::new(len, 512).unwrap();
            let pages: u64 = (0..layout.groups).map(|group| u64::from(layout.group_len(group))).sum();
            assert_eq!(pages, u64::from(layout.data_pages()), "{len}");
            assert!(
                u64::from(layout.data_pages()) * 4096 * 10 > len.min(16 << 40) * 6,
                "{len}: little is left for data"
            );
        }
        assert!(Layout::new(255 << 10, 512).is_err());
    }
}
