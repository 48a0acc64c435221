//! Guard pages in memory that is mapped already: one page of the heap taken out of the map, and put back.

use super::{Flags, tables};
use x86_64::{VirtAddr, instructions::tlb};

/// Takes a page of RAM out of the map, so that touching it faults. False when there is no memory for a page table; those
/// stay, at most one for each 2 MiB of RAM.
///
/// # Safety
///
/// Nobody reads or writes the page before [`map_again`].
pub(in super::super) unsafe fn unmap(page: u64) -> bool {
    let mut tables = tables();
    let Some(entry) = tables.entry(page) else { return false };
    // An entry that is not present, but not empty either, stays as it is when others map what is around it.
    entry.set_flags(entry.flags() - Flags::PRESENT);
    tlb::flush(VirtAddr::new(page));
    true
}

/// Puts a page back that [`unmap`] took, with the permissions it had.
pub(in super::super) fn map_again(page: u64) {
    let mut tables = tables();
    let entry = tables.entry(page).expect("`unmap` made all page tables");
    // The CPU keeps no translations of pages that are not present, so there is nothing to flush.
    entry.set_flags(entry.flags() | Flags::PRESENT);
}
