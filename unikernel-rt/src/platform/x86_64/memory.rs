//! Physical memory: what of it is ours, how it is mapped, and the boot heap.
//!
//! Everything is mapped one to one. After [`init`] no page is both writable and executable, the first 64 KiB and
//! the page below the stack are not mapped, and read-only data is sealed.

mod guard;

pub(super) use guard::{map_again, unmap};

use super::start_info::{MODULES_MAX, StartInfo};
use core::{alloc::Layout, ops::Range, ptr::NonNull};
use linked_list_allocator::Heap;
use spin::mutex::SpinMutex;
use x86_64::{
    PhysAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::{PageTable, PageTableFlags as Flags, PhysFrame, page_table::PageTableEntry},
};

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
const HUGE_PAGE: u64 = 1 << 30;

/// Never used, so never mapped: null pointers, and fields of null structures, fault.
pub(super) const LOW_END: u64 = 64 * 1024;

/// The boot heap of the smallest machine: page tables, two virtqueues, a random number device.
const BOOT_HEAP_MIN: u64 = 96 * 1024;
/// What each further GiB of RAM adds to it: one page table.
const BOOT_HEAP_PER_GIB: u64 = PAGE;

/// What each boot module adds: tables of 4 KiB pages at both ends, and of 2 MiB pages where those are new.
const BOOT_HEAP_PER_MODULE: u64 = 4 * PAGE;

/// A heap smaller than this cannot hold the receive buffers and one connection.
const HEAP_MIN: u64 = 192 * 1024;

/// Serves what lives for ever and wants whole pages: page tables, virtqueues. Few blocks, no header per block,
/// and it works before the heap does. Requests are rare, so its linear search costs nothing.
static BOOT_HEAP: SpinMutex<Heap> = SpinMutex::new(Heap::empty());

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __relro_end: u8;
    static __stack_guard: u8;
    static __image_end: u8;
}

fn address(symbol: *const u8) -> u64 {
    symbol as u64
}

/// Where the image lies.
pub(super) fn image() -> Range<u64> {
    address(&raw const __image_start)..address(&raw const __image_end)
}

/// Where its instructions lie.
pub(super) fn text() -> Range<u64> {
    address(&raw const __image_start)..address(&raw const __text_end)
}

/// The page that ends the stack.
pub(super) fn stack_guard() -> Range<u64> {
    let guard = address(&raw const __stack_guard);
    guard..guard + PAGE
}

/// Maps all RAM and gives what is free to the heap.
///
/// # Errors
///
/// There is too little memory; the text says how much is needed.
///
/// # Safety
///
/// Called once, before the first allocation, with a start info whose memory is no longer needed.
pub(super) unsafe fn init(info: &StartInfo) -> Result<(), TooLittle> {
    let boot_heap = boot_heap(info)?;
    // SAFETY: the range is RAM after the image, is mapped by the boot tables, and nobody else uses it: `free`
    // below leaves it out.
    unsafe { BOOT_HEAP.lock().init(boot_heap.start as *mut u8, (boot_heap.end - boot_heap.start) as usize) };

    let mut tables = Tables::new();
    for module in module_pages(info) {
        tables.map(module, Flags::NO_EXECUTE);
    }
    for ram in info.ram() {
        let start = ram.start.max(LOW_END).next_multiple_of(PAGE);
        map_ram(&mut tables, start..ram.end / PAGE * PAGE);
    }
    // SAFETY: the new tables map the image, the stack and all RAM at the addresses they have now.
    unsafe { tables.activate() };

    for free in free(info, boot_heap) {
        // SAFETY: RAM that is mapped now and that neither image nor boot heap nor the null pages lie in.
        unsafe { super::heap::add(free.start as *mut u8, (free.end - free.start) as usize) };
    }
    Ok(())
}

/// The machine has too little memory for the image.
pub(super) struct TooLittle {
    /// The size that would do, in MiB.
    pub(super) needed_mib: u64,
}

/// The pages that boot modules lie in.
fn module_pages(info: &StartInfo) -> impl Iterator<Item = Range<u64>> + '_ {
    info.modules().map(|(module, _)| module.start / PAGE * PAGE..module.end.next_multiple_of(PAGE))
}

/// The bytes of a boot module.
pub(super) fn module(range: Range<u64>) -> &'static [u8] {
    // SAFETY: `init` mapped it read-only and left it out of the heap; it stays.
    unsafe { core::slice::from_raw_parts(range.start as *const u8, (range.end - range.start) as usize) }
}

/// The piece of RAM after the image that becomes the boot heap.
fn boot_heap(info: &StartInfo) -> Result<Range<u64>, TooLittle> {
    let total: u64 = info.ram().map(|ram| ram.end - ram.start).sum();
    let tables = (image().end - image().start).div_ceil(LARGE_PAGE) * PAGE;
    let modules = module_pages(info).count() as u64 * BOOT_HEAP_PER_MODULE;
    let len = BOOT_HEAP_MIN + total / HUGE_PAGE * BOOT_HEAP_PER_GIB + tables + modules;
    let start = after_modules(info, image().end, len);
    let modules_len: u64 = module_pages(info).map(|module| module.end - module.start).sum();
    let end = start + len + HEAP_MIN + modules_len;
    let needed_mib = end.div_ceil(1 << 20) + 1;
    let ram = info.ram().find(|ram| ram.contains(&image().start)).ok_or(TooLittle { needed_mib })?;
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

/// RAM that nobody uses.
fn free(info: &StartInfo, boot_heap: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut used = [(u64::MAX, u64::MAX); MODULES_MAX + 2];
    used[0] = (image().start, boot_heap.start.min(image().end));
    used[1] = (boot_heap.start, boot_heap.end);
    for (used, module) in used[2..].iter_mut().zip(module_pages(info)) {
        *used = (module.start, module.end);
    }
    used.sort_unstable();
    info.ram()
        .flat_map(move |ram| {
            let ram = ram.start.max(LOW_END).next_multiple_of(PAGE)..ram.end / PAGE * PAGE;
            let mut from = ram.start;
            used.map(move |(start, end)| {
                let gap = from..start.min(ram.end);
                from = from.max(end);
                gap
            })
        })
        .filter(|range| range.start < range.end)
}

/// Maps a range of RAM with the permissions of what lies in it.
fn map_ram(tables: &mut Tables, ram: Range<u64>) {
    let data = Flags::WRITABLE | Flags::NO_EXECUTE;
    let rodata_end = address(&raw const __rodata_end);
    let relro_end = address(&raw const __relro_end);
    let parts = [
        (0..image().start, data),
        (text(), Flags::empty()),
        (text().end..rodata_end, Flags::NO_EXECUTE),
        (rodata_end..relro_end, Flags::NO_EXECUTE),
        (relro_end..stack_guard().start, data),
        (stack_guard().end..u64::MAX, data),
    ];
    for (part, flags) in parts {
        tables.map(ram.start.max(part.start)..ram.end.min(part.end), flags);
    }
}

/// Pages that are cleared and never given back. `None` when memory is short. The boot heap serves a machine with one
/// network port; more ports take from the heap.
pub(super) fn boot_pages(count: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(count * PAGE as usize, PAGE as usize).ok()?;
    let pages = BOOT_HEAP.lock().allocate_first_fit(layout).ok();
    let pages = pages.or_else(|| super::heap::pages(layout))?;
    // SAFETY: just allocated, of this size.
    unsafe { pages.write_bytes(0, layout.size()) };
    Some(pages)
}

/// Maps device registers, uncached, and returns where. Mapping the same registers again does no harm.
pub(super) fn map_device(registers: Range<u64>) -> *mut u8 {
    let flags = Flags::WRITABLE | Flags::NO_EXECUTE | Flags::NO_CACHE;
    Tables::current().map(registers.start / PAGE * PAGE..registers.end.next_multiple_of(PAGE), flags);
    registers.start as *mut u8
}

/// Maps tables of the firmware, to be read.
pub(super) fn map_firmware(tables: Range<u64>) -> *const u8 {
    // Where the range is RAM of ours it stays as it is: `map` leaves what is mapped alone.
    Tables::current().map(tables.start / PAGE * PAGE..tables.end.next_multiple_of(PAGE), Flags::NO_EXECUTE);
    tables.start as *const u8
}

/// The page tables, reached through the one to one map.
struct Tables {
    root: *mut PageTable,
}

impl Tables {
    fn new() -> Tables {
        Tables { root: new_table() }
    }

    fn current() -> Tables {
        Tables { root: Cr3::read().0.start_address().as_u64() as *mut PageTable }
    }

    /// # Safety
    ///
    /// The tables map everything in use at the address it has now.
    unsafe fn activate(&self) {
        let frame = PhysFrame::containing_address(PhysAddr::new(self.root as u64));
        // SAFETY: the caller's promise.
        unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    }

    /// Maps whole pages one to one, in the largest pages that fit. What is mapped already stays as it is.
    fn map(&mut self, range: Range<u64>, flags: Flags) {
        let mut at = range.start;
        while at < range.end {
            at += self.map_one(at, range.end - at, flags);
        }
    }

    /// Maps one page at `at` and returns its size.
    fn map_one(&mut self, at: u64, len: u64, flags: Flags) -> u64 {
        let mut table = self.root;
        for (level, size) in [(3, 512 * HUGE_PAGE), (2, HUGE_PAGE), (1, LARGE_PAGE), (0, PAGE)] {
            let index = (at >> (12 + 9 * level)) as usize & 511;
            // SAFETY: `table` is the root or came from an entry: page tables live for ever, are mapped one to one
            // and are touched here only.
            let entry = unsafe { &mut (&mut *table)[index] };
            let leaf = level == 0 || entry.flags().contains(Flags::HUGE_PAGE);
            if !entry.is_unused() && leaf {
                return size - at % size;
            }
            let fits = at.is_multiple_of(size) && len >= size;
            if entry.is_unused() && fits && (level < 2 || (level == 2 && has_huge_pages())) {
                set_leaf(entry, at, flags, level > 0);
                return size;
            }
            if entry.is_unused() {
                entry.set_addr(PhysAddr::new(new_table() as u64), Flags::PRESENT | Flags::WRITABLE);
            }
            table = entry.addr().as_u64() as *mut PageTable;
        }
        unreachable!("a page of 4 KiB always fits")
    }
}

fn set_leaf(entry: &mut PageTableEntry, at: u64, flags: Flags, large: bool) {
    let size = if large { Flags::HUGE_PAGE } else { Flags::empty() };
    entry.set_addr(PhysAddr::new(at), Flags::PRESENT | flags | size);
}

fn new_table() -> *mut PageTable {
    boot_pages(1).expect("the boot heap was sized for all page tables").as_ptr().cast()
}

/// CPUID 0x80000001, EDX bit 26: pages of 1 GiB.
fn has_huge_pages() -> bool {
    core::arch::x86_64::__cpuid(0x8000_0001).edx & (1 << 26) != 0
}
