//! The disk as littlefs on its fiber sees it: pages that were read, and writes that wait.
//!
//! **Order.** littlefs needs writes to be on the medium in order: what a folder's entry refers to, before the entry. A
//! disk may take writes in any order between two flushes. littlefs calls `sync` where that matters: before a file's
//! entry is written, when its data have been (`lfs_file_sync`), and after every change of a folder
//! (`lfs_dir_commitcrc`). Between two syncs there are either data that nothing refers to yet, or one change of one
//! folder, which counts only if all of its sectors are there, as its checksum says. So the rule is: a
//! `sync` writes all that waits, and flushes the disk, before it returns. It is a flush for each change, and nothing
//! else; what waits may be gathered and written in any order.

use super::bridge::{Failed, Input, Output, Request};
use alloc::{rc::Rc, vec, vec::Vec};
use unikernel_littlefs::{Fault, Storage};
use unikernel_rt::fiber::Suspend;

/// Pages of folders that are kept: to find a name reads the same few again and again.
const PAGES: usize = 16;
const PAGE_LEN: u64 = 4096;
/// Longer reads pass the pages by: they are of files.
const READ_LEN_MAX: usize = PAGE_LEN as usize;
/// Writes that wait for a sync are written when there are more bytes of them.
const WAITING_LEN_MAX: usize = 256 * 1024;
/// One write to the disk.
const WRITE_LEN_MAX: usize = 128 * 1024;
/// Accesses without waiting for the disk, after which others may run.
const ACCESSES_AT_ONCE: u32 = 1000;
/// Accesses of one operation, for each block of the volume and in all volumes: more are a walk in circles on a hostile one.
/// An operation that is in order needs a few for each block, but to mount a volume after a loss of power may need some
/// for each pair of blocks.
const ACCESSES_PER_BLOCK: u64 = 64;
const ACCESSES_MIN: u64 = 64 * 1024;

pub(super) struct FiberStorage {
    fiber: Rc<Suspend<Input, Output>>,
    block_len: u64,
    block_count: u64,
    pages: Vec<Page>,
    /// Counts uses of pages.
    tick: u64,
    /// In the order in which they were written; later ones win.
    waiting: Vec<Extent>,
    waiting_len: usize,
    /// What is written stays in memory: the disk is read-only, and something was interrupted that mounting ends.
    is_overlay: bool,
    /// Something was written since the last flush.
    is_dirty: bool,
    /// A write failed. What is on the disk is not known any more, so nothing is written on top of it.
    is_broken: bool,
    accesses_left: u64,
    accesses_at_once: u32,
}

struct Page {
    start: u64,
    bytes: Vec<u8>,
    used: u64,
}

struct Extent {
    offset: u64,
    bytes: Vec<u8>,
}

impl Extent {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn overlaps(&self, offset: u64, len: usize) -> bool {
        self.offset < offset + len as u64 && offset < self.end()
    }

    fn contains(&self, offset: u64, len: usize) -> bool {
        self.offset <= offset && offset + len as u64 <= self.end()
    }
}

impl FiberStorage {
    pub(super) fn new(
        fiber: Rc<Suspend<Input, Output>>,
        block_len: u32,
        disk_len: u64,
        is_overlay: bool,
    ) -> FiberStorage {
        let mut storage = FiberStorage {
            fiber,
            block_len: block_len.into(),
            block_count: disk_len / u64::from(block_len),
            pages: Vec::new(),
            tick: 0,
            waiting: Vec::new(),
            waiting_len: 0,
            is_overlay,
            is_dirty: false,
            is_broken: false,
            accesses_left: 0,
            accesses_at_once: 0,
        };
        storage.accesses_left = ACCESSES_MIN + storage.block_count * storage.block_count;
        storage
    }

    /// An operation begins.
    pub(super) fn begin(&mut self) {
        self.accesses_left = ACCESSES_MIN + self.block_count * ACCESSES_PER_BLOCK;
    }

    /// Where on the disk it is.
    fn place(&mut self, block: u32, offset: u32, len: usize) -> Result<u64, Fault> {
        let (block, offset) = (u64::from(block), u64::from(offset));
        self.accesses_left = self.accesses_left.checked_sub(1).ok_or(Fault::OutOfRange)?;
        self.accesses_at_once += 1;
        if self.accesses_at_once > ACCESSES_AT_ONCE {
            self.ask(Request::Pause)?;
        }
        match block < self.block_count && offset + len as u64 <= self.block_len {
            true => Ok(block * self.block_len + offset),
            false => Err(Fault::OutOfRange),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Vec<u8>, Fault> {
        self.accesses_at_once = 0;
        match self.fiber.suspend(Output::Wants(request)) {
            Ok(Input::Done(Ok(bytes))) => Ok(bytes),
            Ok(Input::Done(Err(Failed))) | Err(_) => Err(Fault::Io),
            Ok(_) => unreachable!("the bridge answers a request"),
        }
    }

    /// Bytes from the disk, with what waits on top.
    fn fetch(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = self.ask(Request::Read(offset, vec![0; len]))?;
        for extent in self.waiting.iter().filter(|extent| extent.overlaps(offset, len)) {
            copy_common(extent.offset, &extent.bytes, offset, &mut bytes);
        }
        Ok(bytes)
    }

    /// The page that starts there.
    fn page(&mut self, start: u64) -> Result<&Page, Fault> {
        self.tick += 1;
        let found = self.pages.iter().position(|page| page.start == start);
        let number = match found {
            Some(number) => number,
            None => {
                let len = PAGE_LEN.min(self.block_count * self.block_len - start);
                let page = Page { start, bytes: self.fetch(start, len as usize)?, used: 0 };
                self.keep(page)
            }
        };
        self.pages[number].used = self.tick;
        Ok(&self.pages[number])
    }

    /// Keeps a page, in place of the one that has not been used for longest. Returns its number.
    fn keep(&mut self, page: Page) -> usize {
        if self.pages.len() < PAGES {
            self.pages.push(page);
            return self.pages.len() - 1;
        }
        let oldest = (0..PAGES).min_by_key(|number| self.pages[*number].used).unwrap_or(0);
        self.pages[oldest] = page;
        oldest
    }

    /// Writes all that waits.
    fn write_out(&mut self) -> Result<(), Fault> {
        if self.is_overlay {
            return Ok(());
        }
        self.waiting_len = 0;
        for extent in core::mem::take(&mut self.waiting) {
            self.is_dirty = true;
            let written = self.ask(Request::Write(extent.offset, extent.bytes));
            written.map_err(|fault| self.break_down(fault))?;
        }
        Ok(())
    }

    /// From now on what is read is what the disk has, and nothing is written.
    fn break_down(&mut self, fault: Fault) -> Fault {
        self.is_broken = true;
        self.waiting.clear();
        self.pages.clear();
        fault
    }
}

impl Storage for FiberStorage {
    fn block_count(&self) -> u32 {
        u32::try_from(self.block_count).unwrap_or(u32::MAX)
    }

    fn read(&mut self, block: u32, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut at = self.place(block, offset, bytes.len())?;
        let latest = self.waiting.iter().rev().find(|extent| extent.overlaps(at, bytes.len()));
        if let Some(extent) = latest.filter(|extent| extent.contains(at, bytes.len())) {
            copy_common(extent.offset, &extent.bytes, at, bytes);
            return Ok(());
        }
        if bytes.len() > READ_LEN_MAX {
            bytes.copy_from_slice(&self.fetch(at, bytes.len())?);
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = at - at % PAGE_LEN;
            let part = rest.len().min((start + PAGE_LEN - at) as usize);
            let (now, later) = rest.split_at_mut(part);
            let page = self.page(start)?;
            now.copy_from_slice(&page.bytes[(at - start) as usize..][..part]);
            rest = later;
            at += part as u64;
        }
        Ok(())
    }

    fn write(&mut self, block: u32, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        let at = self.place(block, offset, bytes.len())?;
        if self.is_broken {
            return Err(Fault::Io);
        }
        for page in &mut self.pages {
            copy_common(at, bytes, page.start, &mut page.bytes);
        }
        self.waiting_len += bytes.len();
        match self.waiting.last_mut() {
            Some(last) if last.end() == at && last.bytes.len() + bytes.len() <= WRITE_LEN_MAX => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.waiting.push(Extent { offset: at, bytes: bytes.to_vec() }),
        }
        if self.waiting_len > WAITING_LEN_MAX { self.write_out() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), Fault> {
        if self.is_broken {
            return Err(Fault::Io);
        }
        self.write_out()?;
        if core::mem::take(&mut self.is_dirty) {
            self.ask(Request::Flush).map_err(|fault| self.break_down(fault))?;
        }
        Ok(())
    }
}

/// Copies what two ranges of the disk have in common.
fn copy_common(from_at: u64, from: &[u8], to_at: u64, to: &mut [u8]) {
    let start = from_at.max(to_at);
    let end = (from_at + from.len() as u64).min(to_at + to.len() as u64);
    if start < end {
        let len = (end - start) as usize;
        to[(start - to_at) as usize..][..len].copy_from_slice(&from[(start - from_at) as usize..][..len]);
    }
}
