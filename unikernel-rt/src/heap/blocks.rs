//! The heap's bookkeeping: which bytes are blocks. It never touches them, so all of it runs in tests on addresses that
//! are just numbers.
//!
//! Memory comes in regions of [`CHUNK_LEN`]; each has a table of descriptors, which no block's overflow reaches. Small
//! blocks are slots of slabs, others are runs of chunks.

use super::{
    ClassStats, HeapStats, SIZES,
    chunks::{Chunk, Chunks, FREE, INNER, Id, LARGE},
    runs::Runs,
    sizes::{self, CHUNK_LEN, CLASSES, class_of, slot_at, slot_len},
    slabs::Slabs,
};
use core::{alloc::Layout, fmt};

pub(crate) use super::slabs::Freed;

/// The room behind a block that grows, in its lengths.
const GROWTH: usize = 3;

/// The state.
pub(crate) struct Blocks<'a> {
    chunks: Chunks<'a>,
    runs: Runs,
    slabs: Slabs,
    large_blocks: usize,
    large_chunks: usize,
    pub(crate) stats: HeapStats,
}

/// Why a block cannot be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misuse {
    DoubleFree { len: usize },
    NoBlock,
    WrongSize { len: usize, freed_as: usize },
    Overflow { len: usize },
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::DoubleFree { len } => write!(f, "heap: double free of a block of {len} bytes"),
            Misuse::NoBlock => write!(f, "heap: free of a pointer that is no block"),
            Misuse::WrongSize { len, freed_as } => {
                write!(f, "heap: a block of {len} bytes was freed as one of {freed_as}")
            }
            Misuse::Overflow { len } => write!(f, "heap: a block of {len} bytes was written past its end"),
        }
    }
}

impl<'a> Blocks<'a> {
    pub(crate) const fn new() -> Blocks<'a> {
        Blocks {
            chunks: Chunks::new(),
            runs: Runs::new(),
            slabs: Slabs::new(),
            large_blocks: 0,
            large_chunks: 0,
            stats: HeapStats { in_use: 0, peak: 0, total: 0 },
        }
    }

    /// Decides in which order small blocks come from now on.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.slabs.seed(seed);
    }

    /// Counts memory that [`extend`](Self::extend) will bring.
    pub(crate) fn add_to_total(&mut self, len: usize) {
        self.stats.total += len;
    }

    /// Replaces the table of a region by one that begins with what that holds, and takes the chunks which it has more:
    /// unused ones.
    pub(crate) fn extend(
        &mut self,
        region: usize,
        start: usize,
        table: impl FnOnce(&'a mut [Chunk]) -> &'a mut [Chunk],
    ) {
        let memory = &mut self.chunks.regions[region];
        memory.start = start;
        let old = core::mem::take(&mut memory.table);
        let old_len = old.len();
        memory.table = table(old);
        let more = memory.table.len() - old_len;
        if more > 0 {
            self.runs.give(&mut self.chunks, Id::new(region, old_len), more);
        }
    }

    /// The address of a small block, if one is on offer: if not, [`allocate`](Self::allocate) may have more.
    #[inline(always)]
    pub(crate) fn take(&mut self, class: usize) -> Option<usize> {
        let address = self.slabs.take(class)?;
        self.count(slot_len(class));
        Some(address)
    }

    /// The address of a block. `None` when memory is short.
    pub(crate) fn allocate(&mut self, layout: Layout, class: Option<usize>) -> Option<usize> {
        let Some(class) = class else { return self.allocate_large(layout, 0) };
        self.take(class).or_else(|| {
            self.slabs.refill(&mut self.chunks, &mut self.runs, class)?;
            self.take(class)
        })
    }

    /// The address of a large block for one that had no room to grow: what grows once does so again, so this one can, to four
    /// times its length. `None` where no memory has so much in one piece.
    pub(crate) fn allocate_to_grow(&mut self, layout: Layout) -> Option<usize> {
        self.allocate_large(layout, sizes::chunks_of(layout.size()).checked_mul(GROWTH)?)
    }

    /// Frees a small block of the first region, if `is_intact` then. It is the largest region, so this is nearly always
    /// all there is to do; if not, [`free`](Self::free) knows more.
    #[inline(always)]
    pub(crate) fn free_first(&mut self, address: usize, class: usize, is_intact: impl FnOnce() -> bool) -> Freed {
        let freed = self.slabs.free(&mut self.chunks.regions[0], 0, address, class, is_intact);
        if !matches!(freed, Freed::No) {
            self.stats.in_use = self.stats.in_use.wrapping_sub(slot_len(class));
        }
        freed
    }

    /// To be called for [`Freed::Untidy`].
    #[inline(never)]
    pub(crate) fn tidy(&mut self, slab: Id, class: usize) {
        self.slabs.tidy(&mut self.chunks, &mut self.runs, slab, class);
    }

    /// Frees a block of `len` bytes, if `is_intact` then.
    ///
    /// # Errors
    ///
    /// It is none; nothing has changed.
    pub(crate) fn free(
        &mut self,
        address: usize,
        len: usize,
        class: Option<usize>,
        is_intact: impl FnOnce() -> bool,
    ) -> Result<(), Misuse> {
        let first = self.find(address, len, class)?;
        if !is_intact() {
            return Err(Misuse::Overflow { len });
        }
        let Some(class) = class else {
            self.free_large(first, sizes::chunks_of(len));
            return Ok(());
        };
        let region = first.region();
        let freed = self.slabs.free(&mut self.chunks.regions[region], region, address, class, || true);
        self.stats.in_use -= slot_len(class);
        match freed {
            Freed::Done => {}
            Freed::Untidy(slab) => self.tidy(slab, class),
            Freed::No => unreachable!("`find` has found it"),
        }
        Ok(())
    }

    /// Makes a block longer or shorter where it is. False when it cannot.
    ///
    /// # Errors
    ///
    /// It is none with the old layout.
    pub(crate) fn resize(&mut self, address: usize, old: Layout, new: Layout) -> Result<bool, Misuse> {
        let found = self.find(address, old.size(), class_of(old))?;
        match (class_of(old), class_of(new)) {
            (None, None) => Ok(self.resize_large(found, sizes::chunks_of(old.size()), sizes::chunks_of(new.size()))),
            (class, new_class) => Ok(class == new_class),
        }
    }

    /// Returns memory that is kept for small blocks. True when there was some.
    pub(crate) fn give_back_idle(&mut self) -> bool {
        self.slabs.give_back_idle(&mut self.chunks, &mut self.runs)
    }

    pub(crate) fn stats(&self) -> HeapStats {
        self.stats
    }

    /// Small blocks by class, then all others.
    pub(crate) fn classes(&self) -> [ClassStats; SIZES] {
        core::array::from_fn(|class| {
            if class == CLASSES {
                let held = self.large_chunks * CHUNK_LEN;
                return ClassStats { block_len_max: None, blocks: self.large_blocks, held };
            }
            let (blocks, held) = self.slabs.usage(class);
            ClassStats { block_len_max: Some(sizes::block_len_max(class)), blocks, held }
        })
    }

    #[inline(always)]
    fn count(&mut self, len: usize) {
        self.stats.in_use = self.stats.in_use.wrapping_add(len);
        self.stats.peak = self.stats.peak.max(self.stats.in_use);
    }

    fn allocate_large(&mut self, layout: Layout, room: usize) -> Option<usize> {
        let len = sizes::chunks_of(layout.size());
        let start = self.runs.take(&mut self.chunks, len, layout.align(), room)?;
        self.mark_large(start, len);
        self.large_blocks += 1;
        self.large_chunks += len;
        self.count(len * CHUNK_LEN);
        Some(self.chunks.address(start))
    }

    /// The chunks between the first and the last may say anything.
    fn mark_large(&mut self, start: Id, len: usize) {
        self.chunks[start.up(len - 1)] = Chunk { kind: INNER, ..Chunk::UNUSED };
        self.chunks[start] = Chunk { kind: LARGE, len: len as u32, ..Chunk::UNUSED };
    }

    fn free_large(&mut self, start: Id, len: usize) {
        self.large_blocks -= 1;
        self.large_chunks -= len;
        self.stats.in_use -= len * CHUNK_LEN;
        self.runs.give(&mut self.chunks, start, len);
    }

    fn resize_large(&mut self, start: Id, old: usize, new: usize) -> bool {
        if new > old {
            let Some(above) = self.chunks.above(start, old) else { return false };
            if !self.runs.take_at(&mut self.chunks, above, new - old) {
                return false;
            }
        }
        self.mark_large(start, new);
        if new < old {
            self.runs.give(&mut self.chunks, start.up(new), old - new);
        }
        self.large_chunks = self.large_chunks - old + new;
        self.stats.in_use = self.stats.in_use - old * CHUNK_LEN + new * CHUNK_LEN;
        self.stats.peak = self.stats.peak.max(self.stats.in_use);
        true
    }

    /// The first chunk of a block, or of its slab.
    fn find(&self, address: usize, len: usize, class: Option<usize>) -> Result<Id, Misuse> {
        let (id, offset) = self.chunks.locate(address).ok_or(Misuse::NoBlock)?;
        let chunk = self.chunks[id];
        let is_large = class.is_none() && sizes::chunks_of(len) == chunk.len as usize;
        match chunk.kind {
            LARGE if offset == 0 && is_large => Ok(id),
            FREE | LARGE | INNER => Err(self.misuse_of_chunks(id, offset, len)),
            kind => self.find_slot(id, offset, usize::from(kind), len, class),
        }
    }

    /// Chunks in the middle of something may say anything, so this begins at the first of the region. Time does not matter
    /// any more.
    fn misuse_of_chunks(&self, id: Id, offset: usize, freed_as: usize) -> Misuse {
        let mut first = Id::new(id.region(), 0);
        let (kind, len) = loop {
            let Chunk { kind, len, .. } = self.chunks[first];
            let len = if kind == FREE || kind == LARGE { len as usize } else { slab_len(kind.into()) / CHUNK_LEN };
            if first.number() + len > id.number() {
                break (kind, len);
            }
            first = first.up(len);
        };
        match kind {
            FREE => Misuse::DoubleFree { len: freed_as },
            LARGE if first == id && offset == 0 => Misuse::WrongSize { len: len * CHUNK_LEN, freed_as },
            _ => Misuse::NoBlock,
        }
    }

    fn find_slot(
        &self,
        id: Id,
        offset: usize,
        class: usize,
        freed_as: usize,
        as_class: Option<usize>,
    ) -> Result<Id, Misuse> {
        let back = usize::from(self.chunks[id].back);
        let slab = Id::new(id.region(), id.number() - back);
        let within = back * CHUNK_LEN + offset;
        let slot = slot_at(within, class).ok_or(Misuse::NoBlock)?;
        if within + slot_len(class) > slab_len(class) {
            Err(Misuse::NoBlock)
        } else if self.slabs.is_free(&self.chunks, slab, slot) {
            Err(Misuse::DoubleFree { len: freed_as })
        } else if as_class != Some(class) {
            Err(Misuse::WrongSize { len: sizes::block_len_max(class), freed_as })
        } else {
            Ok(slab)
        }
    }
}

fn slab_len(class: usize) -> usize {
    usize::from(sizes::SHAPES[class].chunks) * CHUNK_LEN
}
