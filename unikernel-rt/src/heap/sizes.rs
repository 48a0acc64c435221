//! Which blocks serve which sizes: slots of a slab for small ones, runs of chunks for the others.

use core::alloc::Layout;

/// The unit in which memory is given out; each has a descriptor of 24 bytes.
pub(crate) const CHUNK_LEN: usize = 1 << CHUNK_SHIFT;
pub(super) const CHUNK_SHIFT: u32 = 11;

/// Slots are multiples of this, so that the smallest ones of a chunk have a bit each in one word.
pub(super) const STEP: usize = CHUNK_LEN / 64;

/// Sizes of slots: up to 1 KiB.
pub(super) const CLASSES: usize = super::SIZES - 1;

/// What follows each small block, and each large one that does not end with its last chunk.
pub(crate) const CANARY_LEN: usize = 8;

/// A slab has at least this many slots, so that looking for the next one is rare.
const SLOTS_MIN: usize = 8;

/// A slab wastes at most this part of itself behind its last slot.
const WASTE_PART: usize = 16;

/// The slab of one class.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) chunks: u8,
    /// One bit for each slot.
    pub(super) slots: u64,
}

pub(super) const SHAPES: [Shape; CLASSES] = {
    let mut shapes = [Shape { chunks: 0, slots: 0 }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        shapes[class] = shape(class);
        class += 1;
    }
    shapes
};

const fn shape(class: usize) -> Shape {
    let mut chunks = 1;
    loop {
        let (len, slot) = (chunks * CHUNK_LEN, slot_len(class));
        if len / slot >= SLOTS_MIN && (len % slot) * WASTE_PART <= len {
            return Shape { chunks: chunks as u8, slots: u64::MAX >> (64 - len / slot) };
        }
        chunks += 1;
    }
}

/// 2^32 divided by the length of a slot, rounded up.
static RECIPROCALS: [u32; CLASSES] = {
    let mut reciprocals = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        reciprocals[class] = (1_u64 << 32).div_ceil(slot_len(class) as u64) as u32;
        class += 1;
    }
    reciprocals
};

/// Bytes of a slot.
pub(super) const fn slot_len(class: usize) -> usize {
    (class + 1) * STEP
}

/// The longest block that fits a slot.
pub(crate) const fn block_len_max(class: usize) -> usize {
    slot_len(class) - CANARY_LEN
}

/// The slot that begins `within` bytes behind the start of a slab; `None` between two. Division by multiplication: the
/// fraction is below one step just where there is no remainder (Lemire, Kaser and Kurz 2019).
#[inline(always)]
pub(super) fn slot_at(within: usize, class: usize) -> Option<u32> {
    let reciprocal = RECIPROCALS[class];
    let product = (within as u64).wrapping_mul(reciprocal.into());
    ((product as u32) < reciprocal).then_some((product >> 32) as u32)
}

/// The class of small blocks; `None` for a run of chunks. Slots are aligned as far as their size is, since slabs begin with a chunk.
#[inline(always)]
pub(crate) fn class_of(layout: Layout) -> Option<usize> {
    // Cannot overflow: the sum is below `isize::MAX` and a little.
    let mut len = layout.size().wrapping_add(CANARY_LEN);
    if layout.align() > STEP {
        len = len.wrapping_add(layout.align() - 1) & !(layout.align() - 1);
    }
    let class = len.wrapping_sub(1) / STEP;
    (class < CLASSES).then_some(class)
}

/// The chunks of a block that has no class.
pub(super) fn chunks_of(len: usize) -> usize {
    len.div_ceil(CHUNK_LEN)
}

/// Whether a canary follows a block of this length.
pub(crate) fn has_canary(len: usize, class: Option<usize>) -> bool {
    class.is_some() || chunks_of(len) * CHUNK_LEN - len >= CANARY_LEN
}
