//! The index of a logical cluster, in its three forms.

use super::{
    super::{
        bytes::{u16_at, u32_at},
        image::{Image, beyond},
    },
    Packed,
};
use crate::error::Cause;
use bytes::Bytes;

/// Bit of a distance that says that it is none, but the number of blocks of the physical cluster.
const IS_BLOCK_COUNT: u32 = 1 << 11;
/// So much of the indexes is looked at at once: what the disk keeps anyway.
const WINDOW_LEN: u64 = 4096;

const DAMAGED: Cause = Cause::damaged("the indexes of a compressed file of the EROFS contradict themselves");

/// What an index tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    /// An extent begins in this cluster at `from`, whose bytes are at `block`.
    Head { is_plain: bool, from: u64, block: u64 },
    /// None does. The head is `back` clusters before; the first after a head may tell how many `blocks` it has.
    Rest { back: u64, blocks: Option<u64> },
}

/// How indexes are stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// 8 bytes each.
    Full { start: u64 },
    /// In packs of 2 to 4 bytes per index, then 2, then 4 again. 2-byte packs are aligned to their length.
    Compact { start: u64, first_long: u64, short: u64 },
}

/// Indexes that are stored together.
struct Pack {
    start: u64,
    count: u32,
    len: u64,
}

const LONG: (u32, u64) = (2, 8);
const SHORT: (u32, u64) = (16, 32);

impl Form {
    /// Compact indexes after `start`, for a file of `len` bytes.
    pub(super) fn compact(start: u64, cluster_bits: u32, len: u64, has_short: bool) -> Result<Form, Cause> {
        if cluster_bits > 14 || has_short && cluster_bits > 12 {
            return Err(Cause::unsupported("a file of its EROFS has compact indexes with blocks of this length"));
        }
        let clusters = len.div_ceil(1 << cluster_bits);
        let first_long = (start.next_multiple_of(SHORT.1) - start) / 4;
        let short = match has_short && first_long < clusters {
            true => (clusters - first_long) / u64::from(SHORT.0) * u64::from(SHORT.0),
            false => 0,
        };
        Ok(Form::Compact { start, first_long, short })
    }

    /// The pack that has the index of `cluster`, and the number of the index in it.
    fn pack(&self, cluster: u64) -> Result<(Pack, u32), Cause> {
        let of = |start: u64, number: u64, (count, len): (u32, u64)| {
            let pack = (number / u64::from(count)).checked_mul(len).and_then(|at| at.checked_add(start));
            let start = pack.ok_or(DAMAGED)?;
            Ok((Pack { start, count, len }, (number % u64::from(count)) as u32))
        };
        match *self {
            Form::Full { start } => of(start, cluster, (1, 8)),
            Form::Compact { start, first_long, .. } if cluster < first_long => of(start, cluster, LONG),
            Form::Compact { start, first_long, short } => {
                let (start, cluster) = (start + first_long * 4, cluster - first_long);
                // Fewer than 2^54 clusters of at least 512 bytes: no overflow.
                match cluster < short {
                    true => of(start, cluster, SHORT),
                    false => of(start + short * 2, cluster - short, LONG),
                }
            }
        }
    }

    /// Where the indexes end, of which that of `last` is the last.
    pub(super) fn end(&self, last: u64) -> Result<u64, Cause> {
        let (pack, _) = self.pack(last)?;
        pack.start.checked_add(pack.len).ok_or(DAMAGED)
    }
}

/// Reads indexes one after the other; neighbours are mostly in the window it has.
pub(super) struct Indexes<'a> {
    image: &'a Image,
    packed: &'a Packed,
    window: Bytes,
    window_start: u64,
}

impl<'a> Indexes<'a> {
    pub(super) fn new(image: &'a Image, packed: &'a Packed) -> Indexes<'a> {
        Indexes { image, packed, window: Bytes::new(), window_start: 0 }
    }

    pub(super) async fn get(&mut self, cluster: u64) -> Result<Index, Cause> {
        let (pack, number) = self.packed.indexes.pack(cluster)?;
        let end = pack.start.checked_add(pack.len).filter(|end| *end <= self.image.disk.len()).ok_or(DAMAGED)?;
        if pack.start < self.window_start || end > self.window_start + self.window.len() as u64 {
            self.window_start = pack.start / WINDOW_LEN * WINDOW_LEN;
            let len = WINDOW_LEN.min(self.image.disk.len() - self.window_start);
            self.window = self.image.disk.read(self.window_start, len as usize).await.map_err(beyond)?;
        }
        let at = (pack.start - self.window_start) as usize;
        // Packs are aligned to their length, so none leaves the window.
        let bytes = self.window.get(at..at + pack.len as usize).ok_or(DAMAGED)?;
        let index = match self.packed.indexes {
            Form::Full { .. } => full(bytes),
            Form::Compact { .. } => Fields { bytes, count: pack.count, bits: self.packed.cluster_bits.max(12) }
                .index(number, self.packed.is_big),
        }?;
        match index {
            Index::Head { from, .. } if from >> self.packed.cluster_bits != 0 => Err(DAMAGED),
            Index::Rest { blocks: Some(_), .. } if !self.packed.is_big => Err(DAMAGED),
            index => Ok(index),
        }
    }
}

/// The types of clusters.
const PLAIN: u32 = 0;
const REST: u32 = 2;

fn full(bytes: &[u8]) -> Result<Index, Cause> {
    let advice = u32::from(u16_at(bytes, 0));
    if advice & 3 == REST {
        return Ok(rest(u16_at(bytes, 4).into()));
    }
    Ok(Index::Head { is_plain: advice & 3 == PLAIN, from: u16_at(bytes, 2).into(), block: u32_at(bytes, 4).into() })
}

fn rest(distance: u32) -> Index {
    match distance & IS_BLOCK_COUNT != 0 {
        true => Index::Rest { back: 1, blocks: Some(u64::from(distance & !IS_BLOCK_COUNT)) },
        false => Index::Rest { back: distance.into(), blocks: None },
    }
}

/// A compact pack: fields of a type and a number for each cluster, then the block number that heads are counted from.
struct Fields<'a> {
    bytes: &'a [u8],
    count: u32,
    /// Of the numbers.
    bits: u32,
}

impl Fields<'_> {
    /// Type and number of the field at `number`.
    fn field(&self, number: u32) -> (u32, u32) {
        let bit = (self.bytes.len() as u32 - 4) * 8 / self.count * number;
        // A field has at most 16 bits, so those after the last one's are the block number's.
        let word = u32_at(self.bytes, (bit / 8) as usize) >> (bit % 8);
        (word >> self.bits & 3, word & ((1 << self.bits) - 1))
    }

    fn index(&self, number: u32, is_big: bool) -> Result<Index, Cause> {
        let (kind, value) = self.field(number);
        if kind != REST {
            let before = if is_big { self.blocks_before(number)? } else { self.heads_before(number) + 1 };
            let block = u64::from(u32_at(self.bytes, self.bytes.len() - 4)) + before;
            return Ok(Index::Head { is_plain: kind == PLAIN, from: value.into(), block });
        }
        if value & IS_BLOCK_COUNT != 0 || number + 1 < self.count {
            return Ok(rest(value));
        }
        // The last field of a pack has the distance to the next head; that to its own is one more than the one before has.
        Ok(match self.field(number - 1) {
            (REST, value) if value & IS_BLOCK_COUNT != 0 => rest(2),
            (REST, value) => Index::Rest { back: u64::from(value) + 1, blocks: None },
            _ => rest(1),
        })
    }

    /// Heads in the pack before `number`, each with one block.
    fn heads_before(&self, number: u32) -> u64 {
        let (mut at, mut heads) = (number, 0);
        while at > 0 {
            at -= 1;
            if let (REST, value) = self.field(at) {
                let Some(head) = at.checked_sub(value) else { break };
                at = head;
            }
            heads += 1;
        }
        heads
    }

    /// Blocks of the heads in the pack before `number`.
    fn blocks_before(&self, number: u32) -> Result<u64, Cause> {
        let (mut at, mut blocks) = (number, 0);
        while at > 0 {
            at -= 1;
            match self.field(at) {
                (REST, value) if value & IS_BLOCK_COUNT != 0 => {
                    blocks += u64::from(value & !IS_BLOCK_COUNT);
                    // The head is the one before.
                    at = at.saturating_sub(1);
                }
                // Linux, `unpack_compacted_index`: the first after a head has the number of blocks.
                (REST, 0 | 1) => return Err(DAMAGED),
                (REST, value) => match at.checked_sub(value - 2) {
                    Some(after_next) => at = after_next,
                    None => break,
                },
                _ => blocks += 1,
            }
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_indexes_are() {
        let check = |form: Form, cluster: u64, expected: (u64, u64, u32)| {
            let (pack, number) = form.pack(cluster).unwrap();
            assert_eq!((pack.start, pack.len, number), expected, "{form:?} {cluster}");
        };
        check(Form::Full { start: 64 }, 0, (64, 8, 0));
        check(Form::Full { start: 64 }, 9, (136, 8, 0));
        // 50 clusters from 72 on: 6 long indexes up to 96, 32 short ones up to 160, 12 long ones.
        let form = Form::compact(72, 12, 50 * 4096, true).unwrap();
        check(form, 0, (72, 8, 0));
        check(form, 5, (88, 8, 1));
        check(form, 6, (96, 32, 0));
        check(form, 37, (128, 32, 15));
        check(form, 38, (160, 8, 0));
        check(form, 49, (200, 8, 1));
        assert_eq!(form.end(49), Ok(208));
        check(Form::compact(72, 12, 50 * 4096, false).unwrap(), 49, (72 + 48 * 4, 8, 1));
        assert!(Form::compact(72, 15, 1, false).is_err());
        assert!(Form::compact(72, 13, 1, true).is_err());
        assert_eq!(Form::Full { start: 64 }.pack(u64::MAX).err(), Some(DAMAGED));
    }

    /// Packs of two long indexes: a field of 12 bits and 2 of a type, twice, and the block number.
    #[test]
    fn what_indexes_tell() {
        let check = |fields: [u16; 2], number: u32, is_big: bool, expected: Result<Index, Cause>| {
            let bytes = [fields[0].to_le_bytes(), fields[1].to_le_bytes(), [100, 0], [0, 0]].concat();
            let found = Fields { bytes: &bytes, count: 2, bits: 12 }.index(number, is_big);
            assert_eq!(found, expected, "{fields:x?} {number} {is_big}");
        };
        let head = |is_plain, from, block| Ok(Index::Head { is_plain, from, block });
        let rest = |back, blocks| Ok(Index::Rest { back, blocks });
        check([0x1123, 0x0456], 0, false, head(false, 0x123, 101));
        check([0x1123, 0x0456], 1, false, head(true, 0x456, 102));
        check([0x1123, 0x0456], 1, true, head(true, 0x456, 101));
        check([0x2001, 0x1000], 0, false, rest(1, None));
        check([0x2001, 0x1000], 1, false, head(false, 0, 101));
        check([0x1000, 0x2005], 1, false, rest(1, None));
        check([0x2003, 0x2005], 1, false, rest(4, None));
        check([0x2810, 0x2005], 0, true, rest(1, Some(0x10)));
        check([0x2810, 0x2005], 1, true, rest(2, None));
        check([0x2810, 0x1007], 1, true, head(false, 7, 116));
        check([0x2001, 0x1007], 1, true, Err(DAMAGED));
        check([0x2004, 0x1007], 1, true, head(false, 7, 100));
    }
}
