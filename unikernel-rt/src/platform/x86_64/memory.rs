//! Memory: where everything lies, what may be done there, and the boot heap.
//!
//! Each boot draws four virtual addresses: of the image, of the stacks, of the *direct map*, through which all RAM is
//! reached, and of the devices' registers. Nothing else is mapped, so null pointers and what lies beyond a stack fault. No
//! page is both writable and executable, and no page has two addresses; the pages of the image are left out of the direct map.
//!
//! [`plan`] makes the page tables while physical addresses still count; [`init`] runs at the addresses of this boot.

mod guard;
mod inspect;
mod layout;
mod plan;
mod ram;
mod tables;

pub(super) use guard::{map_again, unmap};
pub(super) use inspect::pages;
pub(super) use layout::{STACK_TOP_OFFSET, STACKS_LEN, Stack, stack, stack_guarded_by};
pub(super) use plan::{Handover, plan};
pub(super) use ram::TooLittle;

/// Bytes that outlive a reset.
pub(super) const KEPT_LEN: usize = ram::KEPT_LEN as usize;

use super::{
    start_info::StartInfo,
    unprotected::{Protection, is_off},
};
use core::{
    alloc::Layout,
    arch::x86_64::__cpuid,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use layout::LAYOUT;
use linked_list_allocator::Heap;
use spin::mutex::SpinMutex;
use tables::{Tables, flags};
use x86_64::structures::paging::PageTableFlags as Flags;

pub(super) const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;

/// Where the image is linked: its addresses in the ELF file count from here.
pub(super) const LINK_START: u64 = 0x10_0000;

/// What of the memory below 64 KiB is RAM is left alone: firmware keeps its notes there.
pub(super) const LOW_END: u64 = 64 * 1024;

/// Serves what lives for ever and wants whole pages: page tables. Few blocks, no header per block, and it works before
/// the heap does. Requests are rare, so its linear search costs nothing.
static BOOT_HEAP: SpinMutex<Heap> = SpinMutex::new(Heap::empty());

/// Where the next device's registers are mapped.
static DEVICES_NEXT: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __relro_end: u8;
    static __bss_start: u8;
    static __sealed_end: u8;
    static __stacks_start: u8;
    static __stacks_end: u8;
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

/// Where a byte of the image was linked; other addresses as they are. It tells nothing about this boot, and is what the ELF
/// file's symbols have.
pub(super) fn link_address(address: u64) -> u64 {
    if image().contains(&address) { address - image().start + LINK_START } else { address }
}

/// Where the image lies in physical memory.
pub(super) fn image_physical() -> Range<u64> {
    let image = image();
    physical_of_image(image.start)..physical_of_image(image.end)
}

/// Whether physical memory has the image in it, or what outlives a reset.
pub(super) fn overlaps_ours(range: &Range<u64>) -> bool {
    let ours = image_physical();
    range.start < ours.end + ram::KEPT_LEN && range.end > ours.start
}

/// The physical address of a byte of the image, outside of its stacks. Before the image is at its address of this boot
/// that is the address itself.
pub(super) fn physical_of_image(address: u64) -> u64 {
    address
        .wrapping_sub(LAYOUT.image.load(Ordering::Relaxed))
        .wrapping_add(LAYOUT.image_physical.load(Ordering::Relaxed))
}

/// The physical address of a byte of RAM that the direct map shows: everything from the heap or the boot heap.
#[inline(always)]
pub(super) fn physical<T>(pointer: *const T) -> u64 {
    let offset = (pointer as u64).wrapping_sub(LAYOUT.direct_map.load(Ordering::Relaxed));
    debug_assert!(offset < LAYOUT.direct_map_len.load(Ordering::Relaxed), "the address is not of the direct map");
    offset
}

/// Where the direct map shows the byte at a physical address.
fn direct(physical: u64) -> u64 {
    LAYOUT.direct_map.load(Ordering::Relaxed) + physical
}

/// Where the heap begins.
pub(super) fn heap_start(info: &StartInfo) -> u64 {
    ram::free(info).next().map_or(0, |range| direct(range.start))
}

/// RAM that no reset changes, for what the next start is to know. Its contents may be anything.
pub(super) fn kept() -> NonNull<[u8]> {
    let start = direct(image_physical().end) as *mut u8;
    let bytes = NonNull::new(start).expect("the direct map is not at 0");
    NonNull::slice_from_raw_parts(bytes, KEPT_LEN)
}

/// Drops the map of the boot code and gives what RAM is free to the boot heap and to the heap.
///
/// # Safety
///
/// Called once, before the first allocation, after the tables of [`plan`] were switched to. Nothing uses an address of the
/// boot code's map any more.
pub(super) unsafe fn init(info: &StartInfo) {
    tables().forget_boot_map();
    let boot_heap = plan::tables_end()..ram::boot_region(info).expect("`plan` has checked it").end;
    let len = (boot_heap.end - boot_heap.start) as usize;
    // SAFETY: the range is RAM behind the image and the page tables; nobody else uses it: `free` below leaves it out.
    unsafe { BOOT_HEAP.lock().init(direct(boot_heap.start) as *mut u8, len) };
    if is_off(Protection::NullPage) {
        tables().map(0, 0..LOW_END, flags(Flags::WRITABLE | Flags::NO_EXECUTE));
    }
    for free in ram::free(info) {
        // SAFETY: RAM that the direct map shows, and that neither image nor boot heap lie in.
        unsafe { super::heap::add(direct(free.start) as *mut u8, (free.end - free.start) as usize) };
    }
}

/// Makes what was written at boot read-only: interrupt tables, and where everything lies.
pub(super) fn seal() {
    if is_off(Protection::ReadOnly) {
        return;
    }
    let sealed = address(&raw const __bss_start)..address(&raw const __sealed_end);
    for page in sealed.step_by(PAGE as usize) {
        tables().protect(page, Flags::NO_EXECUTE);
    }
}

/// The bytes of a boot module.
pub(super) fn module(range: Range<u64>) -> &'static [u8] {
    let len = (range.end - range.start) as usize;
    // SAFETY: `plan` mapped it read-only and left it out of the heap; it stays.
    unsafe { core::slice::from_raw_parts(direct(range.start) as *const u8, len) }
}

/// Pages that are cleared and never given back. `None` when memory is short. What the boot heap has not, the heap gives.
pub(super) fn boot_pages(count: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(count * PAGE as usize, PAGE as usize).ok()?;
    let pages = BOOT_HEAP.lock().allocate_first_fit(layout).ok();
    let pages = pages.or_else(|| super::heap::pages(layout))?;
    // SAFETY: just allocated, of this size.
    unsafe { pages.write_bytes(0, layout.size()) };
    Some(pages)
}

/// So many bytes of physical addresses. `None` where the CPU has no such addresses: devices and firmware may say anything.
pub(super) fn physical_range(start: u64, len: u64) -> Option<Range<u64>> {
    const SIZES: u32 = 0x8000_0008;
    // What a CPU has that does not say (SDM volume 3, 4.1.4), and the most there is.
    const BITS_USUAL: u32 = 36;
    const BITS_MAX: u32 = 52;
    let bits = if __cpuid(0x8000_0000).eax >= SIZES { __cpuid(SIZES).eax & 0xff } else { BITS_USUAL };
    let end = start.checked_add(len).filter(|end| *end <= 1 << bits.min(BITS_MAX))?;
    Some(start..end)
}

/// Maps device registers, uncached, and returns where. The same registers may be mapped again, elsewhere.
pub(super) fn map_device(registers: Range<u64>) -> *mut u8 {
    let pages = registers.start / PAGE * PAGE..registers.end.next_multiple_of(PAGE);
    // The page between two devices stays unmapped.
    let at = DEVICES_NEXT.fetch_add(pages.end - pages.start + PAGE, Ordering::Relaxed);
    tables().map(at, pages.clone(), flags(Flags::WRITABLE | Flags::NO_EXECUTE | Flags::NO_CACHE));
    (at + (registers.start - pages.start)) as *mut u8
}

/// Maps tables of the firmware, to be read. `None` where they lie beyond all RAM, or in a guard page.
pub(super) fn map_firmware(range: Range<u64>) -> Option<*const u8> {
    if range.end > LAYOUT.direct_map_len.load(Ordering::Relaxed) {
        return None;
    }
    let pages = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE);
    // Where the range is RAM of ours it stays as it is: `map` leaves what is mapped alone.
    tables().map(direct(pages.start), pages.clone(), flags(Flags::NO_EXECUTE));
    // A guard page stays one, too: what leads there is no table.
    let is_mapped = pages.step_by(PAGE as usize).all(|page| tables().is_mapped(direct(page)));
    is_mapped.then_some(direct(range.start) as *const u8)
}

/// Where a device finds a byte.
#[cfg(feature = "selftest")]
pub(super) fn reach(physical: u64, len: u64) -> *mut u8 {
    let end = physical.checked_add(len);
    assert!(end.is_some_and(|end| end <= LAYOUT.direct_map_len.load(Ordering::Relaxed)), "no memory is there");
    direct(physical) as *mut u8
}

/// Where the direct map would show a byte of the image, if it did.
#[cfg(feature = "selftest")]
pub(super) fn direct_alias(address: u64) -> u64 {
    direct(physical_of_image(address))
}

/// A page that user code could use, with this byte in it.
#[cfg(feature = "selftest")]
pub(super) fn user_page(byte: u8) -> *const u8 {
    let page = boot_pages(1).expect("memory for one page");
    // SAFETY: a page of ours, which is mapped.
    unsafe { page.write(byte) };
    tables().give_to_users(page.as_ptr() as u64);
    page.as_ptr()
}

fn tables() -> Tables<impl FnMut() -> Option<u64>> {
    Tables::current(LAYOUT.direct_map.load(Ordering::Relaxed), || Some(physical(boot_pages(1)?.as_ptr())))
}
