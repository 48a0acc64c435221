//! Makes the page tables for the addresses of this boot. Runs where the loader put the image, in the boot code's map, where
//! physical addresses are addresses.

use super::{
    __bss_start, __relro_end, __rodata_end, __stacks_end, __stacks_start, __text_end, LINK_START, PAGE, TooLittle,
    address, image,
    layout::Drawn,
    ram,
    tables::{Tables, flags},
};
use crate::platform::x86_64::{
    start_info::StartInfo,
    unprotected::{Protection, is_off},
};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use x86_64::structures::paging::PageTableFlags as Flags;

unsafe extern "C" {
    static __boot_pdpt: u8;
}

/// Where the page tables of [`plan`] end.
static TABLES_END: AtomicU64 = AtomicU64::new(0);

pub(super) fn tables_end() -> u64 {
    TABLES_END.load(Ordering::Relaxed)
}

/// What lies below the stacks where they are not guarded.
pub(super) const BELOW_STACKS_LEN: u64 = if cfg!(feature = "unprotected") { 512 * 1024 } else { 0 };

/// Firmware keeps its tables below this.
const FIRMWARE_END: u64 = 4 << 30;

/// What the boot code needs to know.
#[repr(C)]
pub(in super::super) struct Handover {
    /// How far the image is to be moved from where it was linked.
    slide: u64,
    /// The physical address of the page tables.
    root: u64,
}

/// Draws the addresses of this boot and makes its page tables.
///
/// # Errors
///
/// There is too little memory; the error says how much is needed.
///
/// # Safety
///
/// Called once, in the map of the boot code.
pub(in super::super) unsafe fn plan(info: &StartInfo, random: [u64; 4]) -> Result<Handover, TooLittle> {
    let region = ram::boot_region(info)?;
    let ram_end = ram::usable(info).map(|ram| ram.end).max().unwrap_or(0);
    let direct_map_len = ram_end.max(FIRMWARE_END);
    let random = if is_off(Protection::Layout) { [0; 4] } else { random };
    let drawn = Drawn::new(random, image().end - image().start, direct_map_len);
    let mut next = region.start + BELOW_STACKS_LEN;
    let mut tables = Tables::new(0, || {
        let table = next;
        if table + PAGE > region.end {
            return None;
        }
        next += PAGE;
        // SAFETY: RAM behind the image, which the boot code maps and nobody uses; `plan` is called once.
        unsafe { (table as *mut u8).write_bytes(0, PAGE as usize) };
        Some(table)
    });
    map_image(&mut tables, &drawn);
    map_stacks(&mut tables, &drawn, region.start);
    map_ram(&mut tables, &drawn, info);
    tables.borrow_first(address(&raw const __boot_pdpt));
    let root = tables.root();
    TABLES_END.store(next, Ordering::Relaxed);
    drawn.publish(image().start, direct_map_len);
    Ok(Handover { slide: drawn.image - LINK_START, root })
}

/// The image but its stacks, each part with its permissions.
fn map_image<A: FnMut() -> Option<u64>>(tables: &mut Tables<A>, drawn: &Drawn) {
    let text_end = address(&raw const __text_end);
    let rodata_end = address(&raw const __rodata_end);
    let relro_end = address(&raw const __relro_end);
    let data_end = address(&raw const __stacks_start);
    debug_assert!(relro_end <= address(&raw const __bss_start));
    for (part, permissions) in [
        (image().start..text_end, Flags::empty()),
        (text_end..rodata_end, Flags::NO_EXECUTE),
        (rodata_end..relro_end, Flags::NO_EXECUTE),
        (relro_end..data_end, Flags::WRITABLE | Flags::NO_EXECUTE),
    ] {
        tables.map(drawn.image + (part.start - image().start), part, flags(permissions));
    }
}

fn map_stacks<A: FnMut() -> Option<u64>>(tables: &mut Tables<A>, drawn: &Drawn, below: u64) {
    let physical = address(&raw const __stacks_start);
    let data = flags(Flags::WRITABLE | Flags::NO_EXECUTE);
    if is_off(Protection::StackGuard) {
        // So much that a recursion which would overflow the lowest stack, that of the tasks, comes to its end.
        let lowest = drawn.stacks().map(|(stack, _)| stack.start).min().expect("there are stacks");
        tables.map(lowest - BELOW_STACKS_LEN, below..below + BELOW_STACKS_LEN, data);
    }
    for (stack, offset) in drawn.stacks() {
        let start = physical + offset;
        debug_assert!(start < address(&raw const __stacks_end));
        tables.map(stack.start, start..start + (stack.end - stack.start), data);
    }
}

/// The direct map: all RAM but the image. The pages of boot modules are read-only.
fn map_ram<A: FnMut() -> Option<u64>>(tables: &mut Tables<A>, drawn: &Drawn, info: &StartInfo) {
    for module in ram::module_pages(info) {
        tables.map(drawn.direct_map + module.start, module, flags(Flags::NO_EXECUTE));
    }
    for ram in ram::usable(info) {
        for part in without(ram, image()) {
            let data = flags(Flags::WRITABLE | Flags::NO_EXECUTE);
            tables.map(drawn.direct_map + part.start, part, data);
        }
    }
}

/// What is left of `whole`, below and above `hole`.
fn without(whole: Range<u64>, hole: Range<u64>) -> [Range<u64>; 2] {
    [whole.start..whole.end.min(hole.start), whole.start.max(hole.end)..whole.end]
}
