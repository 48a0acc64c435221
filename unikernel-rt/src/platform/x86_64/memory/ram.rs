//! What of the RAM is for what: image, what outlives a reset, page tables and boot heap, boot modules, heap.

use super::{LARGE_PAGE, LOW_END, PAGE, image_physical};
use crate::platform::x86_64::start_info::{MODULES_MAX, StartInfo};
use core::ops::Range;

/// The boot heap of the smallest machine: page tables.
const BOOT_HEAP_MIN: u64 = 120 * 1024;
/// What each further GiB of RAM adds to it: one page table.
const BOOT_HEAP_PER_GIB: u64 = PAGE;
/// What each boot module adds: tables of 4 KiB pages at both ends, and of 2 MiB pages where those are new.
const BOOT_HEAP_PER_MODULE: u64 = 4 * PAGE;

/// A heap smaller than this cannot hold two virtqueues, the receive buffers and one connection.
const HEAP_MIN: u64 = 224 * 1024;

/// What outlives a reset: the report of a crash.
pub(in super::super) const KEPT_LEN: u64 = 16 * 1024;

/// The machine has too little memory for the image.
#[derive(Debug)]
pub(in super::super) struct TooLittle {
    /// The size that would do, in MiB.
    pub(in super::super) needed_mib: u64,
}

/// The pages that boot modules lie in.
pub(super) fn module_pages(info: &StartInfo) -> impl Iterator<Item = Range<u64>> + '_ {
    info.modules().map(|(module, _)| module_range(module))
}

/// The pages that a boot module lies in.
pub(super) fn module_range(module: Range<u64>) -> Range<u64> {
    module.start / PAGE * PAGE..module.end.next_multiple_of(PAGE)
}

/// The piece of RAM after the image and what outlives a reset: page tables first, then the boot heap.
pub(super) fn boot_region(info: &StartInfo) -> Result<Range<u64>, TooLittle> {
    let image = image_physical();
    let end = info.ram().map(|ram| ram.end).max().unwrap_or(0);
    let tables = (image.end - image.start).div_ceil(LARGE_PAGE) * PAGE;
    let modules = module_pages(info).count() as u64 * BOOT_HEAP_PER_MODULE;
    let len = BOOT_HEAP_MIN + (end >> 30) * BOOT_HEAP_PER_GIB + tables + modules + super::plan::BELOW_STACKS_LEN;
    let start = after_modules(info, image.end + KEPT_LEN, len);
    let modules_len: u64 = module_pages(info).map(|module| module.end - module.start).sum();
    let end = start + len + HEAP_MIN + modules_len;
    let needed_mib = end.div_ceil(1 << 20) + 1;
    let ram = info.ram().find(|ram| ram.contains(&image.start)).ok_or(TooLittle { needed_mib })?;
    if end > ram.end {
        return Err(TooLittle { needed_mib });
    }
    Ok(start..start + len)
}

/// The first place from `start` on where `len` bytes lie in no boot module.
fn after_modules(info: &StartInfo, mut start: u64, len: u64) -> u64 {
    let in_the_way = |start: u64| module_pages(info).find(|module| module.start < start + len && start < module.end);
    while let Some(module) = in_the_way(start) {
        start = module.end;
    }
    start
}

/// The RAM that we use, in whole pages.
pub(super) fn usable(info: &StartInfo) -> impl Iterator<Item = Range<u64>> + '_ {
    let pages = info.ram().map(|ram| ram.start.max(LOW_END).next_multiple_of(PAGE)..ram.end / PAGE * PAGE);
    pages.filter(|range| range.start < range.end)
}

/// RAM that nobody uses.
pub(super) fn free(info: &StartInfo) -> impl Iterator<Item = Range<u64>> + '_ {
    let (image, boot) = (image_physical(), boot_region(info).unwrap_or(0..0));
    let mut used = [(u64::MAX, u64::MAX); MODULES_MAX + 2];
    used[0] = (image.start, image.end + KEPT_LEN);
    used[1] = (boot.start, boot.end);
    for (used, module) in used[2..].iter_mut().zip(module_pages(info)) {
        *used = (module.start, module.end);
    }
    used.sort_unstable();
    usable(info)
        .flat_map(move |ram| {
            let mut from = ram.start;
            used.map(move |(start, end)| {
                let gap = from..start.min(ram.end);
                from = from.max(end);
                gap
            })
        })
        .filter(|range| range.start < range.end)
}
