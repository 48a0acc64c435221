//! Small blocks: slabs of up to 64 slots.
//!
//! Each class takes slots from its current slab: a random part of the free ones is on offer, and a slot that is freed
//! waits for the next offer. So the order of blocks cannot be foretold, and a block just freed is not the next one.

use super::{
    chunks::{CURRENT, Chunk, Chunks, FREE, Id, Region, Slab},
    runs::Runs,
    sizes::{CHUNK_LEN, CHUNK_SHIFT, CLASSES, SHAPES, slot_at, slot_len},
};

/// Chunks in slabs without blocks that are kept for the next ones.
const IDLE_CHUNKS_MAX: usize = 64;

/// All slots of a slab, and the bits behind its last one.
const ALL: u64 = u64::MAX;

/// From here on only a part of the free slots is offered. Of fewer, too many offers would be spent on one slot.
const PART_SLOTS_MIN: u32 = 8;

/// What a class hands out next.
#[derive(Clone, Copy)]
struct Offer {
    slots: u64,
    /// The current slab.
    start: usize,
    slab: Id,
    /// Blocks in use, of all slabs of the class.
    blocks: usize,
}

/// The slabs of all classes.
pub(super) struct Slabs {
    offers: [Offer; CLASSES],
    /// Slabs with free slots, in a ring: the one that waits longest comes first and has the most.
    listed: [Id; CLASSES],
    /// All slabs of the class.
    slabs: [usize; CLASSES],
    idle_chunks: usize,
    random: u64,
}

/// What became of a slot that was to be freed.
pub(crate) enum Freed {
    Done,
    /// The slab has its first free slot, or only free ones: [`Blocks::tidy`](super::blocks::Blocks::tidy) has work.
    Untidy(Id),
    /// It is no block of this class in this region, or was written past its end. Nothing has changed.
    No,
}

impl Slabs {
    pub(super) const fn new() -> Slabs {
        let offer = Offer { slots: 0, start: 0, slab: Id::NONE, blocks: 0 };
        Slabs { offers: [offer; CLASSES], listed: [Id::NONE; CLASSES], slabs: [0; CLASSES], idle_chunks: 0, random: 1 }
    }

    /// Decides in which order slots come from now on.
    pub(super) fn seed(&mut self, seed: u64) {
        // A xorshift generator never leaves zero.
        self.random = seed | 1;
    }

    /// A slot that is on offer.
    #[inline(always)]
    pub(super) fn take(&mut self, class: usize) -> Option<usize> {
        let offer = &mut self.offers[class];
        if offer.slots == 0 {
            return None;
        }
        let slot = offer.slots.trailing_zeros() as usize;
        offer.slots &= offer.slots.wrapping_sub(1);
        offer.blocks = offer.blocks.wrapping_add(1);
        Some(offer.start.wrapping_add(slot.wrapping_mul(slot_len(class))))
    }

    /// Frees a slot in one region, if `is_intact` then.
    #[inline(always)]
    pub(super) fn free(
        &mut self,
        region: &mut Region<'_>,
        number: usize,
        address: usize,
        class: usize,
        is_intact: impl FnOnce() -> bool,
    ) -> Freed {
        let offer = &mut self.offers[class];
        let offset = address.wrapping_sub(region.start);
        let Some(chunk) = region.table.get(offset >> CHUNK_SHIFT) else { return Freed::No };
        let head = (offset >> CHUNK_SHIFT).wrapping_sub(chunk.back.into());
        let Some(slab) = region.table.get_mut(head) else { return Freed::No };
        let Some(slot) = slot_at(offset.wrapping_sub(head << CHUNK_SHIFT), class) else { return Freed::No };
        let bit = 1_u64.wrapping_shl(slot);
        // All bits or none.
        let if_current = i64::from(slab.len as i32) as u64;
        if usize::from(slab.kind) != class || (slab.free | offer.slots & if_current) & bit != 0 || !is_intact() {
            return Freed::No;
        }
        slab.free |= bit;
        offer.blocks = offer.blocks.wrapping_sub(1);
        if slab.slab == Slab::Full || slab.free == ALL { Freed::Untidy(Id::new(number, head)) } else { Freed::Done }
    }

    /// Whether a slot is neither in a block nor beyond the last one.
    pub(super) fn is_free(&self, chunks: &Chunks<'_>, slab: Id, slot: u32) -> bool {
        let chunk = &chunks[slab];
        let offer = &self.offers[usize::from(chunk.kind)];
        let offered = if offer.slab == slab { offer.slots } else { 0 };
        (chunk.free | offered) >> slot & 1 == 1
    }

    /// Blocks in use, and bytes of all slabs of a class.
    pub(super) fn usage(&self, class: usize) -> (usize, usize) {
        (self.offers[class].blocks, self.slabs[class] * usize::from(SHAPES[class].chunks) * CHUNK_LEN)
    }

    /// Puts free slots on offer: of the current slab, of the next on the list, of a new one. `None` when memory is short.
    pub(super) fn refill(&mut self, chunks: &mut Chunks<'_>, runs: &mut Runs, class: usize) -> Option<()> {
        let current = self.offers[class].slab;
        let slots = SHAPES[class].slots;
        if !current.is_some() || chunks[current].free & slots == 0 {
            if current.is_some() {
                chunks[current].slab = Slab::Full;
                chunks[current].len = 0;
                self.offers[class].slab = Id::NONE;
            }
            let next = match self.listed[class] {
                Id::NONE => self.make(chunks, runs, class)?,
                listed => self.unlist(chunks, listed, class),
            };
            chunks[next].slab = Slab::HasFree;
            chunks[next].len = CURRENT;
            self.offers[class].slab = next;
            self.offers[class].start = chunks.address(next);
        }
        let slab = &mut chunks[self.offers[class].slab];
        let offered = self.part_of(slab.free & slots);
        slab.free &= !offered;
        self.offers[class].slots = offered;
        Some(())
    }

    /// About half of the free slots, any of them.
    fn part_of(&mut self, free: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = free & self.random;
        if part == 0 || free.count_ones() < PART_SLOTS_MIN { free } else { part }
    }

    fn make(&mut self, chunks: &mut Chunks<'_>, runs: &mut Runs, class: usize) -> Option<Id> {
        let shape = SHAPES[class];
        let slab = runs.take(chunks, shape.chunks.into(), 1, 0)?;
        for back in 0..shape.chunks {
            chunks[slab.up(back.into())] = Chunk { kind: class as u8, free: ALL, back, ..Chunk::UNUSED };
        }
        self.slabs[class] += 1;
        Some(slab)
    }

    /// Lists a slab that has its first free slot. One that has only free ones goes back, unless it is to be kept.
    pub(super) fn tidy(&mut self, chunks: &mut Chunks<'_>, runs: &mut Runs, slab: Id, class: usize) {
        if chunks[slab].slab == Slab::Full {
            self.list(chunks, slab, class);
        }
        if chunks[slab].free != ALL || chunks[slab].len == CURRENT {
            return;
        }
        self.idle_chunks += usize::from(SHAPES[class].chunks);
        if self.idle_chunks > IDLE_CHUNKS_MAX {
            self.unlist(chunks, slab, class);
            self.give_back(chunks, runs, slab, class);
        }
    }

    /// Returns all slabs without blocks. True when there was one.
    pub(super) fn give_back_idle(&mut self, chunks: &mut Chunks<'_>, runs: &mut Runs) -> bool {
        let mut any = false;
        for class in 0..CLASSES {
            let Offer { slots, slab: current, .. } = self.offers[class];
            if current.is_some() && chunks[current].free | slots == ALL {
                self.offers[class].slots = 0;
                self.offers[class].slab = Id::NONE;
                self.give_back(chunks, runs, current, class);
                any = true;
            }
            while self.idle_chunks > 0
                && let Some(idle) = self.find_idle(chunks, class)
            {
                self.unlist(chunks, idle, class);
                self.give_back(chunks, runs, idle, class);
                any = true;
            }
        }
        any
    }

    fn find_idle(&self, chunks: &Chunks<'_>, class: usize) -> Option<Id> {
        let first = self.listed[class];
        let mut slab = first;
        while slab.is_some() {
            if chunks[slab].free == ALL {
                return Some(slab);
            }
            slab = chunks[slab].next;
            if slab == first {
                return None;
            }
        }
        None
    }

    fn give_back(&mut self, chunks: &mut Chunks<'_>, runs: &mut Runs, slab: Id, class: usize) {
        let len = usize::from(SHAPES[class].chunks);
        for number in 0..len {
            chunks[slab.up(number)].kind = FREE;
        }
        self.slabs[class] -= 1;
        runs.give(chunks, slab, len);
    }

    /// Puts a slab at the end of its class' ring.
    fn list(&mut self, chunks: &mut Chunks<'_>, slab: Id, class: usize) {
        let first = self.listed[class];
        if first.is_some() {
            let last = chunks[first].previous;
            chunks[last].next = slab;
            chunks[first].previous = slab;
            (chunks[slab].previous, chunks[slab].next) = (last, first);
        } else {
            (chunks[slab].previous, chunks[slab].next) = (slab, slab);
            self.listed[class] = slab;
        }
        chunks[slab].slab = Slab::HasFree;
    }

    /// Takes a slab out of its class' ring.
    fn unlist(&mut self, chunks: &mut Chunks<'_>, slab: Id, class: usize) -> Id {
        let Chunk { previous, next, free, .. } = chunks[slab];
        chunks[previous].next = next;
        chunks[next].previous = previous;
        if self.listed[class] == slab {
            self.listed[class] = if next == slab { Id::NONE } else { next };
        }
        if free == ALL {
            self.idle_chunks -= usize::from(SHAPES[class].chunks);
        }
        slab
    }
}
