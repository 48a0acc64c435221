//! Checksums behind the content of a disk, which formats for reading lack: so that damage is an error, not another page.
//!
//! A sealed disk holds, in pages of 4096 bytes: the content; the CRC32C of each of its pages, 1024 to a page; the CRC32C of
//! each of those pages, and so on until one page is left; and a last page, the seal itself. Numbers are little-endian.
//!
//! | at | bytes | in the last page |
//! |---|---|---|
//! | 0 | 8 | `UKSEAL01` |
//! | 8 | 8 | length of the content in bytes, whole pages |
//! | 16 | 4 | CRC32C of the topmost page of checksums |
//! | 20 | 4 | CRC32C of the 20 bytes before |
//!
//! It is for damage: who can change the content can make a new seal. Tools that know only the format inside do not see
//! what lies behind it.

use super::{Disk, PAGE_LEN, Shared};
use crate::error::Cause;
use alloc::{collections::BTreeMap, format, vec::Vec};
use core::{cell::RefCell, ops::Range};
use unikernel_rt::{checksum::crc32c, device::Buffer};

const MAGIC: &[u8; 8] = b"UKSEAL01";
/// Checksums in a page.
const FAN_OUT: u64 = PAGE_LEN / 4;
/// Pages of checksums that are kept: they check 256 MiB of content.
const KEPT_MAX: usize = 64;

/// What a disk is checked against.
pub(crate) struct Seal {
    /// Where the content is on the device, in pages.
    content: Range<u64>,
    /// Where each level of checksums begins on the device, in pages, from the lowest on.
    levels: Vec<u64>,
    top: u32,
    /// Pages of checksums that were checked themselves, by where they are.
    kept: RefCell<BTreeMap<u64, Buffer>>,
}

impl Disk {
    /// The content of a sealed disk, checked whenever it is read from now on; a disk without a seal as it is.
    ///
    /// # Errors
    ///
    /// The seal is damaged; the device failed.
    pub(crate) async fn unsealed(self) -> Result<Disk, Cause> {
        let whole = self.len() / PAGE_LEN * PAGE_LEN;
        let start = self.range.start;
        if whole < 3 * PAGE_LEN || !start.is_multiple_of(PAGE_LEN) || self.seal.is_some() {
            return Ok(self);
        }
        // Past the cache, which must hold nothing that was not checked.
        let last = self.read_uncached(whole - PAGE_LEN, PAGE_LEN as usize).await?;
        if !last.starts_with(MAGIC) {
            return Ok(self);
        }
        let seal = Seal::parse(&last, start / PAGE_LEN, whole / PAGE_LEN)?;
        let range = seal.content.start * PAGE_LEN..seal.content.end * PAGE_LEN;
        self.shared.cache.borrow_mut().forget_all();
        Ok(Disk { seal: Some(alloc::rc::Rc::new(seal)), range, ..self })
    }
}

impl Seal {
    /// Reads the last page of a disk that begins at the device's page `start` and has `pages` pages.
    fn parse(last: &[u8], start: u64, pages: u64) -> Result<Seal, Cause> {
        let word = |at: usize| last[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let content_len = last[8..16].try_into().map_or(0, u64::from_le_bytes);
        let content_pages = content_len / PAGE_LEN;
        let level_lens = levels(content_pages);
        let is_right = word(20) == crc32c(0, &last[..20])
            && content_len.is_multiple_of(PAGE_LEN)
            && content_pages > 0
            && content_pages < pages
            && content_pages + level_lens.iter().sum::<u64>() + 1 == pages;
        if !is_right {
            return Err(Cause::damaged("its seal is not what was written"));
        }
        let mut at = start + content_pages;
        let begin = |len: &u64| {
            at += len;
            at - len
        };
        let levels = level_lens.iter().map(begin).collect();
        Ok(Seal { content: start..start + content_pages, levels, top: word(16), kept: RefCell::default() })
    }

    pub(crate) fn content(&self) -> u32 {
        self.top
    }

    /// Whether whole pages of the content are what was sealed.
    pub(super) async fn check(&self, shared: &Shared, range: &Range<u64>, bytes: &[u8]) -> Result<(), Cause> {
        let first = range.start / PAGE_LEN;
        if !range.start.is_multiple_of(PAGE_LEN) || !bytes.len().is_multiple_of(PAGE_LEN as usize) {
            return Err(Cause::OutOfRange);
        }
        for (page, bytes) in (first..).zip(bytes.chunks(PAGE_LEN as usize)) {
            let number = page.checked_sub(self.content.start).filter(|_| page < self.content.end);
            let number = number.ok_or(Cause::OutOfRange)?;
            if crc32c(0, bytes) != self.expected(shared, 0, number).await? {
                return Err(damaged(page));
            }
        }
        Ok(())
    }

    /// The checksum of a page: `number` counts the pages of the level below, which for level 0 is the content.
    async fn expected(&self, shared: &Shared, level: usize, number: u64) -> Result<u32, Cause> {
        let (mut level, mut number) = (level, number);
        // From the first level whose page is kept, or the top, down to the one that was asked for.
        let (asked_level, asked_number) = (level, number);
        while !self.is_kept(level, number) && level + 1 < self.levels.len() {
            number /= FAN_OUT;
            level += 1;
        }
        loop {
            self.load(shared, level, number).await?;
            if level == asked_level {
                return self.kept_entry(level, asked_number).ok_or(Cause::OutOfMemory);
            }
            level -= 1;
            number = asked_number / FAN_OUT.pow((level - asked_level) as u32);
        }
    }

    fn page_of(&self, level: usize, number: u64) -> u64 {
        self.levels[level] + number / FAN_OUT
    }

    fn is_kept(&self, level: usize, number: u64) -> bool {
        self.kept.borrow().contains_key(&self.page_of(level, number))
    }

    fn kept_entry(&self, level: usize, number: u64) -> Option<u32> {
        let kept = self.kept.borrow();
        let page = kept.get(&self.page_of(level, number))?;
        let at = (number % FAN_OUT) as usize * 4;
        Some(u32::from_le_bytes(page[at..at + 4].try_into().ok()?))
    }

    /// Reads the page of checksums that has entry `number` of a level, and checks it against the level above.
    async fn load(&self, shared: &Shared, level: usize, number: u64) -> Result<(), Cause> {
        if self.is_kept(level, number) {
            return Ok(());
        }
        let page = self.page_of(level, number);
        let bytes = shared.fetch(page * PAGE_LEN..(page + 1) * PAGE_LEN).await?;
        let expected = match level + 1 == self.levels.len() {
            true => self.top,
            false => self.kept_entry(level + 1, number / FAN_OUT).ok_or(Cause::OutOfMemory)?,
        };
        if crc32c(0, &bytes) != expected {
            return Err(damaged(page));
        }
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= KEPT_MAX {
            // The levels above are few, and asked for again at once.
            kept.retain(|page, _| self.levels.get(1).is_some_and(|above| page >= above));
        }
        kept.insert(page, bytes);
        Ok(())
    }
}

fn damaged(page: u64) -> Cause {
    Cause::Damaged(format!("the 4096 bytes at {} are not what was sealed", page * PAGE_LEN).into())
}

/// How many pages each level of checksums has, from the lowest on.
fn levels(content_pages: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut pages = content_pages;
    while pages > 1 || levels.is_empty() {
        pages = pages.div_ceil(FAN_OUT);
        levels.push(pages);
    }
    levels
}

/// Makes the seal of a content that it is shown page by page.
#[derive(Default)]
pub struct Sealer {
    sums: Vec<u8>,
}

impl Sealer {
    /// The length of a page.
    pub const PAGE_LEN: usize = PAGE_LEN as usize;

    /// A seal of nothing yet.
    pub fn new() -> Sealer {
        Sealer::default()
    }

    /// Adds the next page of the content; the last one filled up with zeros.
    ///
    /// # Panics
    ///
    /// It is not [`PAGE_LEN`](Self::PAGE_LEN) bytes long.
    pub fn add(&mut self, page: &[u8]) {
        assert_eq!(page.len(), Sealer::PAGE_LEN, "content is sealed in whole pages");
        self.sums.extend_from_slice(&crc32c(0, page).to_le_bytes());
    }

    /// What is to be appended to the content.
    ///
    /// # Panics
    ///
    /// There is no content.
    pub fn finish(self) -> Vec<u8> {
        let content_len = self.sums.len() as u64 / 4 * PAGE_LEN;
        assert!(content_len > 0, "there is no seal of nothing");
        let mut seal = Vec::new();
        let mut level = self.sums;
        loop {
            level.resize(level.len().next_multiple_of(Sealer::PAGE_LEN), 0);
            seal.extend_from_slice(&level);
            if level.len() == Sealer::PAGE_LEN {
                break;
            }
            level = level.chunks(Sealer::PAGE_LEN).flat_map(|page| crc32c(0, page).to_le_bytes()).collect();
        }
        let mut last = [MAGIC, &content_len.to_le_bytes()[..], &crc32c(0, &level).to_le_bytes()].concat();
        last.extend_from_slice(&crc32c(0, &last).to_le_bytes());
        last.resize(Sealer::PAGE_LEN, 0);
        seal.extend_from_slice(&last);
        seal
    }
}
