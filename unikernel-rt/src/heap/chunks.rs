//! Descriptors of chunks, in one table for each region of memory. No descriptor lies among the blocks.

use super::sizes::{CHUNK_LEN, CHUNK_SHIFT};
use core::ops::{Index, IndexMut};

/// Ranges of memory: the pieces of RAM, cut by the image and by boot modules.
pub(crate) const REGIONS_MAX: usize = 32;

/// Chunks of one region: 256 GiB. The last number of the last region would be [`Id::NONE`].
pub(crate) const REGION_CHUNKS_MAX: usize = (1 << NUMBER_BITS) - 1;
const NUMBER_BITS: u32 = 27;

/// What a chunk is; lower values are classes, for every chunk of a slab.
pub(super) const FREE: u8 = 0xff;
/// The first chunk of a large block.
pub(super) const LARGE: u8 = 0xfe;
/// A later chunk of a large block.
pub(super) const INNER: u8 = 0xfd;

/// Whether a slab has free slots, as it says in its first chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Slab {
    /// None, and it is on no list.
    Full,
    /// It is on the list of its class, or current: the one that its class takes slots from.
    HasFree,
}

/// One chunk.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// The slots of a slab that are free and not on offer; bits beyond the last slot are set.
    pub(super) free: u64,
    pub(super) previous: Id,
    pub(super) next: Id,
    /// Chunks of a free run, in its first and last; of a large block, in its first. Of a current slab all bits, of others none.
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) slab: Slab,
    /// How many chunks further down a slab begins.
    pub(super) back: u8,
}

/// The `len` of a slab that is current.
pub(super) const CURRENT: u32 = u32::MAX;

impl Chunk {
    /// Nobody has it.
    pub(crate) const UNUSED: Chunk =
        Chunk { free: 0, previous: Id::NONE, next: Id::NONE, len: 0, kind: FREE, slab: Slab::Full, back: 0 };
}

/// A chunk's place: its region, its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u32);

impl Id {
    pub(super) const NONE: Id = Id(u32::MAX);

    pub(super) fn new(region: usize, number: usize) -> Id {
        Id((region as u32) << NUMBER_BITS | number as u32)
    }

    pub(super) fn region(self) -> usize {
        (self.0 >> NUMBER_BITS) as usize
    }

    pub(super) fn number(self) -> usize {
        (self.0 & ((1 << NUMBER_BITS) - 1)) as usize
    }

    pub(super) fn is_some(self) -> bool {
        self != Id::NONE
    }

    /// Further up in the same region.
    pub(super) fn up(self, chunks: usize) -> Id {
        Id(self.0 + chunks as u32)
    }
}

/// A range of memory in use as heap.
pub(super) struct Region<'a> {
    pub(super) start: usize,
    pub(super) table: &'a mut [Chunk],
}

impl<'a> Region<'a> {
    const fn empty() -> Region<'a> {
        Region { start: 0, table: &mut [] }
    }
}

/// All chunks.
pub(super) struct Chunks<'a> {
    pub(super) regions: [Region<'a>; REGIONS_MAX],
}

impl<'a> Chunks<'a> {
    pub(super) const fn new() -> Chunks<'a> {
        Chunks { regions: [const { Region::empty() }; REGIONS_MAX] }
    }

    pub(super) fn address(&self, id: Id) -> usize {
        self.regions[id.region()].start + id.number() * CHUNK_LEN
    }

    /// The chunk that an address lies in, and how far.
    pub(super) fn locate(&self, address: usize) -> Option<(Id, usize)> {
        self.regions.iter().enumerate().find_map(|(region, memory)| {
            let offset = address.wrapping_sub(memory.start);
            let number = offset >> CHUNK_SHIFT;
            (number < memory.table.len()).then(|| (Id::new(region, number), offset % CHUNK_LEN))
        })
    }

    /// What follows a run, if it is of the same region.
    pub(super) fn above(&self, id: Id, len: usize) -> Option<Id> {
        (id.number() + len < self.regions[id.region()].table.len()).then(|| id.up(len))
    }

    /// What is before a chunk, if it is of the same region.
    pub(super) fn below(&self, id: Id) -> Option<Id> {
        Some(Id::new(id.region(), id.number().checked_sub(1)?))
    }
}

impl Index<Id> for Chunks<'_> {
    type Output = Chunk;

    fn index(&self, id: Id) -> &Chunk {
        &self.regions[id.region()].table[id.number()]
    }
}

impl IndexMut<Id> for Chunks<'_> {
    fn index_mut(&mut self, id: Id) -> &mut Chunk {
        &mut self.regions[id.region()].table[id.number()]
    }
}
