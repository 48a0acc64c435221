//! Guard pages in memory that is mapped already: one page of the heap taken out of the map, and put back.

use super::{Flags, HUGE_PAGE, LARGE_PAGE, PAGE, PageTable, PageTableEntry, PhysAddr, Tables, boot_pages};
use core::sync::atomic::{Ordering, compiler_fence};
use x86_64::{VirtAddr, instructions::tlb};

/// Takes a page of RAM out of the map, so that touching it faults. False when there is no memory for a page table; those
/// stay, at most one for each 2 MiB of RAM and each GiB.
///
/// # Safety
///
/// Nobody reads or writes the page before [`map_again`].
pub(in super::super) unsafe fn unmap(page: u64) -> bool {
    let mut tables = Tables::current();
    let Some(entry) = tables.entry(page) else { return false };
    // An entry that is not present, but not empty either, stays as it is when others map what is around it.
    entry.set_flags(entry.flags() - Flags::PRESENT);
    tlb::flush(VirtAddr::new(page));
    true
}

/// Puts a page back that [`unmap`] took, with the permissions it had.
pub(in super::super) fn map_again(page: u64) {
    let mut tables = Tables::current();
    let entry = tables.entry(page).expect("`unmap` made all page tables");
    // The CPU keeps no translations of pages that are not present, so there is nothing to flush.
    entry.set_flags(entry.flags() | Flags::PRESENT);
}

impl Tables {
    /// The entry of one page of 4 KiB, split from a larger one if need be. `None` when there is no memory for that.
    fn entry(&mut self, page: u64) -> Option<&mut PageTableEntry> {
        let index = |size: u64| (page / size) as usize % 512;
        let mut table = self.root;
        for size in [512 * HUGE_PAGE, HUGE_PAGE, LARGE_PAGE] {
            // SAFETY: `table` is the root or came from an entry: page tables live for ever, are mapped one to one and
            // are touched under `memory` only.
            let entry = unsafe { &mut (&mut *table)[index(size)] };
            if entry.flags().contains(Flags::HUGE_PAGE) {
                split(entry, size)?;
            }
            table = entry.addr().as_u64() as *mut PageTable;
        }
        // SAFETY: as above.
        Some(unsafe { &mut (&mut *table)[index(PAGE)] })
    }
}

/// Replaces a large page by a table that maps the same.
fn split(entry: &mut PageTableEntry, size: u64) -> Option<()> {
    let table: *mut PageTable = boot_pages(1)?.as_ptr().cast();
    let part = size / 512;
    // In the entry of a page of 4 KiB this bit means something else.
    let flags = if part == PAGE { entry.flags() - Flags::HUGE_PAGE } else { entry.flags() };
    // SAFETY: a page that was just allocated, and cleared: 512 unused entries.
    for (small, number) in unsafe { &mut *table }.iter_mut().zip(0..) {
        small.set_addr(entry.addr() + number * part, flags);
    }
    // The CPU walks the table from the next line on: this code may lie in the page.
    compiler_fence(Ordering::SeqCst);
    entry.set_addr(PhysAddr::new(table as u64), Flags::PRESENT | Flags::WRITABLE);
    Some(())
}
