//! The heap: [`Blocks`] decides, this module gives it memory and touches the blocks.
//!
//! Each range of RAM becomes a region:
//!
//! ```text
//! descriptors of the chunks | a page that is not mapped | chunks | a page that is not mapped
//! ```
//!
//! Writing past the end of a block reaches other blocks, but never a descriptor. A word behind each block, which only
//! this boot knows, shows such a write when the block is freed. What is found wrong ends the machine.

mod canary;
mod sampling;

use super::{
    memory, recover, seed,
    unprotected::{Protection, is_off},
};
use crate::heap::{
    ClassStats, HeapStats, SIZES,
    blocks::{Blocks, Freed, Misuse},
    chunks::{Chunk, REGION_CHUNKS_MAX, REGIONS_MAX},
    sites::Sampler,
    sizes::{CHUNK_LEN, class_of, has_canary},
};
use canary::Canary;
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr::{NonNull, null_mut, with_exposed_provenance_mut},
    slice,
};
pub(crate) use sampling::{heap_sites, watch_heap_sites};

const PAGE_LEN: usize = 4096;

/// A smaller range would not be worth its guard pages.
const REGION_LEN_MIN: usize = 8 * PAGE_LEN;

/// Descriptors are made when they are needed, so that a machine touches no memory for what it does not use. This many
/// at once: for 1 MiB of blocks.
const CHUNKS_STEP: usize = 512;

struct Heap(UnsafeCell<State>);

// SAFETY: one core, interrupt handlers do not allocate, and nothing that `with` runs calls the heap again.
unsafe impl Sync for Heap {}

struct State {
    blocks: Blocks<'static>,
    canary: Canary,
    sampler: Sampler,
    regions: [Region; REGIONS_MAX],
}

/// Memory, of which `ready` chunks have descriptors.
#[derive(Clone, Copy)]
struct Region {
    table: *mut Chunk,
    start: usize,
    chunks: usize,
    ready: usize,
}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(State {
    blocks: Blocks::new(),
    canary: Canary::new(0),
    sampler: Sampler::new(),
    regions: [Region { table: null_mut(), start: 0, chunks: 0, ready: 0 }; REGIONS_MAX],
}));

/// Gives a range of memory to the heap, for ever. A range that is too small, or one too many, is left alone.
///
/// # Safety
///
/// The range is mapped writable and nobody else uses it.
pub(super) unsafe fn add(start: *mut u8, len: usize) {
    let Some((region, guards)) = Region::lay_out(start, len) else { return };
    HEAP.with(|state| state.add(region));
    for guard in guards {
        // SAFETY: the page is of the caller's range, and `lay_out` left it out of table and chunks. Where memory for
        // a page table is short it stays mapped, and unused.
        unsafe { memory::unmap(guard as u64) };
    }
}

/// A block for ever. `None` when memory is short, or before there is a heap.
pub(super) fn pages(layout: Layout) -> Option<NonNull<u8>> {
    HEAP.allocate(layout, class_of(layout))
}

/// For reports, which may come at any time.
pub(super) fn stats_for_report() -> HeapStats {
    // SAFETY: three words that are always there, read past the reference that the heap's own code may hold where it was
    // interrupted. They are only shown, so they may be of two moments.
    unsafe { (&raw const (*HEAP.0.get()).blocks.stats).read_volatile() }
}

pub(crate) fn heap_stats() -> HeapStats {
    HEAP.with(|state| state.blocks.stats())
}

pub(crate) fn heap_classes() -> [ClassStats; SIZES] {
    HEAP.with(|state| state.blocks.classes())
}

pub(crate) fn heap_free() -> usize {
    let pools = super::with_core(|core| core.frames.borrow().len() + core.buffers.borrow().len());
    heap_stats().free() + pools + super::fiber::waiting_len()
}

impl Region {
    /// Cuts a range into table, chunks and the guards after both.
    fn lay_out(start: *mut u8, len: usize) -> Option<(Region, [usize; 2])> {
        let skipped = start.addr().next_multiple_of(PAGE_LEN) - start.addr();
        let len = len.saturating_sub(skipped) / PAGE_LEN * PAGE_LEN;
        if len < REGION_LEN_MIN {
            return None;
        }
        let start = start.wrapping_add(skipped);
        let chunks = ((len - 2 * PAGE_LEN) / (CHUNK_LEN + size_of::<Chunk>())).min(REGION_CHUNKS_MAX);
        let table_len = (chunks * size_of::<Chunk>()).next_multiple_of(PAGE_LEN);
        let chunks = ((len - 2 * PAGE_LEN - table_len) / CHUNK_LEN).min(chunks);
        let guard = start.expose_provenance() + table_len;
        let first = guard + PAGE_LEN;
        let region = Region { table: start.cast(), start: first, chunks, ready: 0 };
        Some((region, [guard, start.addr() + len - PAGE_LEN]))
    }
}

impl State {
    /// Keeps a range for the time when its chunks are needed. The largest is the first that is looked into.
    fn add(&mut self, region: Region) {
        let Some(place) = self.regions.iter().position(|known| known.chunks == 0) else {
            let kib = region.chunks * CHUNK_LEN / 1024;
            return crate::log::warn!("{} KiB of memory are not used: it is cut into more than 32 pieces", kib);
        };
        if place == 0 {
            // There is no generator yet. Without a source in the CPU these are the clock's jitter, which may be guessed.
            let [canary, order, ..] = seed::words();
            self.canary = Canary::new(canary);
            self.blocks.seed(order);
        }
        self.regions[place] = region;
        if self.regions[0].ready == 0 && self.regions[0].chunks < region.chunks {
            self.regions.swap(0, place);
        }
        self.blocks.add_to_total(region.chunks * CHUNK_LEN);
    }

    /// Where what is in use of the memory does not suffice.
    #[cold]
    fn allocate_more(&mut self, layout: Layout, class: Option<usize>) -> Option<usize> {
        if layout.size() > self.blocks.stats().total {
            return None;
        }
        while self.extend(layout) {
            if let Some(block) = self.blocks.allocate(layout, class) {
                return Some(block);
            }
        }
        if self.blocks.give_back_idle() { self.blocks.allocate(layout, class) } else { None }
    }

    /// Makes descriptors for more chunks. False when all have one.
    fn extend(&mut self, layout: Layout) -> bool {
        let mut regions = self.regions.iter_mut().enumerate();
        let Some((number, region)) = regions.find(|(_, region)| region.ready < region.chunks) else { return false };
        // Room to grow, too: see `Blocks::allocate_to_grow`.
        let needed = ((layout.size() + layout.align()).div_ceil(CHUNK_LEN) * 4).max(CHUNKS_STEP);
        let ready = region.chunks.min(region.ready + needed);
        for index in region.ready..ready {
            // SAFETY: `lay_out` left room for `chunks` descriptors in the memory that `add` was given.
            unsafe { region.table.add(index).write(Chunk::UNUSED) };
        }
        region.ready = ready;
        // SAFETY: so many descriptors have been written; `blocks` gives up its shorter slice for this one.
        self.blocks.extend(number, region.start, |_| unsafe { slice::from_raw_parts_mut(region.table, ready) });
        true
    }
}

impl Heap {
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // SAFETY: no other reference exists, for the reasons at `Sync`: calls come one at a time and do not nest.
        f(unsafe { &mut *self.0.get() })
    }

    /// A small block, or null. The ways that are seldom gone are calls at the end, so this saves no registers.
    #[inline(never)]
    fn allocate_small(&self, len: usize, class: usize) -> *mut u8 {
        let block = self.with(|state| {
            if state.sampler.count(len) {
                return None;
            }
            let address = state.blocks.take(class)?;
            // SAFETY: the block is new, of this class, and has room for the word.
            Some(unsafe { state.finish(address, len) })
        });
        match block {
            Some(block) => block,
            None => self.allocate_slowly(len, class),
        }
    }

    #[cold]
    #[inline(never)]
    fn allocate_slowly(&self, len: usize, class: usize) -> *mut u8 {
        // SAFETY: one is a power of two, and blocks of a class are short.
        let layout = unsafe { Layout::from_size_align_unchecked(len, 1) };
        let block = or_relieved(|| self.allocate(layout, Some(class)));
        self.sample(block, len, Some(class));
        block
    }

    /// A large block, or null.
    #[inline(never)]
    fn allocate_large(&self, layout: Layout) -> *mut u8 {
        let block = or_relieved(|| self.allocate(layout, None));
        self.with(|state| state.sampler.count(layout.size()));
        self.sample(block, layout.size(), None);
        block
    }

    /// A block, if there is memory for it.
    #[inline(never)]
    fn allocate(&self, layout: Layout, class: Option<usize>) -> Option<NonNull<u8>> {
        self.with(|state| {
            let address = state.blocks.allocate(layout, class).or_else(|| state.allocate_more(layout, class))?;
            // SAFETY: the block is new, and of this layout.
            unsafe { state.finish_any(address, layout.size(), class) }
        })
    }

    /// A block that takes the place of an older one.
    fn allocate_after(&self, old: Layout, layout: Layout) -> Option<NonNull<u8>> {
        let class = class_of(layout);
        let roomy = self.with(|state| {
            let grows = class.is_none() && layout.size() > old.size();
            let address = grows.then(|| state.blocks.allocate_to_grow(layout))??;
            // SAFETY: the block is new, and of this layout.
            unsafe { state.finish_any(address, layout.size(), class) }
        });
        roomy.or_else(|| self.allocate(layout, class))
    }

    /// # Safety
    ///
    /// Nobody uses the block any more. That it is one is checked.
    #[inline(never)]
    unsafe fn free_small(&self, block: *mut u8, len: usize, class: usize) {
        let freed = self.with(|state| {
            // SAFETY: when this is asked it is a block of the class, which has room for the word.
            let is_intact = || unsafe { state.canary.is_intact(block.add(len)) };
            state.blocks.free_first(block.addr(), class, is_intact)
        });
        match freed {
            Freed::Done => {}
            Freed::Untidy(slab) => self.with(|state| state.blocks.tidy(slab, class)),
            // SAFETY: the caller's promise.
            Freed::No => unsafe { self.free(block, len, Some(class)) },
        }
    }

    /// # Safety
    ///
    /// As for `free_small`.
    #[inline(never)]
    unsafe fn free(&self, block: *mut u8, len: usize, class: Option<usize>) {
        self.forget_sample(block);
        let freed = self.with(|state| {
            // SAFETY: when this is asked it is a block of this length, and the word is behind each that has room for it.
            let is_intact = || !has_canary(len, class) || unsafe { state.canary.is_intact(block.add(len)) };
            state.blocks.free(block.addr(), len, class, is_intact)
        });
        if let Err(misuse) = freed {
            wrong(misuse);
        }
    }

    /// # Safety
    ///
    /// As for [`GlobalAlloc::realloc`].
    unsafe fn reallocate(&self, old: *mut u8, layout: Layout, new_layout: Layout) -> Option<NonNull<u8>> {
        let (len, new_len) = (layout.size(), new_layout.size());
        let (class, new_class) = (class_of(layout), class_of(new_layout));
        let resized = self.with(|state| {
            let resized = state.blocks.resize(old.addr(), layout, new_layout)?;
            // SAFETY: it was a block of this length, and the word is behind each that has room for it.
            if has_canary(len, class) && !unsafe { state.canary.is_intact(old.add(len)) } {
                return Err(Misuse::Overflow { len });
            }
            if resized && has_canary(new_len, new_class) {
                // SAFETY: the block has the new length now, and room for the word.
                unsafe { state.canary.put(old.add(new_len)) };
            }
            Ok(resized)
        });
        match resized {
            Ok(true) => return NonNull::new(old),
            Ok(false) => {}
            Err(misuse) => wrong(misuse),
        }
        let new = self.allocate_after(layout, new_layout)?;
        // SAFETY: two blocks that do not overlap, both at least this long.
        unsafe { new.as_ptr().copy_from_nonoverlapping(old, len.min(new_len)) };
        // SAFETY: the caller will use the new one.
        unsafe { self.free(old, len, class) };
        Some(new)
    }
}

impl State {
    /// Puts the word behind a new block that may have no room for it.
    ///
    /// # Safety
    ///
    /// It is a block of this length and class.
    unsafe fn finish_any(&self, address: usize, len: usize, class: Option<usize>) -> Option<NonNull<u8>> {
        NonNull::new(match has_canary(len, class) {
            // SAFETY: it has room for the word.
            true => unsafe { self.finish(address, len) },
            false => with_exposed_provenance_mut(address),
        })
    }

    /// Puts the word behind a new block.
    ///
    /// # Safety
    ///
    /// The block at the address has room for it behind its length.
    #[inline(always)]
    unsafe fn finish(&self, address: usize, len: usize) -> *mut u8 {
        let block = with_exposed_provenance_mut::<u8>(address);
        // SAFETY: the caller's promise.
        unsafe { self.canary.put(block.add(len)) };
        block
    }
}

/// Ends the machine: whoever wrote past a block or freed it twice may have done more. Where the check is turned off, which
/// is for tests, the block stays as it is.
#[cold]
#[inline(never)]
fn wrong(misuse: Misuse) {
    if !is_off(Protection::Heap) {
        recover::forget();
        panic!("{misuse}");
    }
}

/// Once more when memory is short, after what lies in pools has gone back to the heap. Waits for nothing.
fn or_relieved(mut allocate: impl FnMut() -> Option<NonNull<u8>>) -> *mut u8 {
    let block = allocate().or_else(|| {
        super::give_back_pools();
        super::fiber::give_back_stacks();
        allocate()
    });
    block.map_or(null_mut(), NonNull::as_ptr)
}

// SAFETY: `Blocks` returns blocks of the layout asked for that do not overlap, and calls come one at a time.
unsafe impl GlobalAlloc for Heap {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            Some(class) => self.allocate_small(layout.size(), class),
            None => self.allocate_large(layout),
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            // SAFETY: the caller returns a block of `alloc` with its layout.
            Some(class) => unsafe { self.free_small(block, layout.size(), class) },
            // SAFETY: as above.
            None => unsafe { self.free(block, layout.size(), None) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        let was_sample = self.forget_sample(block);
        // SAFETY: the caller's promise. A block that could not be made larger is as it was, so it may be tried again.
        let new = or_relieved(|| unsafe { self.reallocate(block, layout, new_layout) });
        let grown = new_size.saturating_sub(layout.size());
        self.with(|state| state.sampler.count(if was_sample { new_size } else { grown }));
        self.sample(new, new_size, class_of(new_layout));
        new
    }
}
