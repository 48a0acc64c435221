//! Extents: runs of bytes that were compressed together.

use super::{
    super::image::Image,
    Packed,
    index::{Index, Indexes},
    lz4,
};
use crate::error::Cause;
use bytes::Bytes;
use core::ops::Range;
use unikernel_rt::device::Buffer;

/// The longest extent and the longest physical cluster that Linux reads (`Z_EROFS_PCLUSTER_MAX_DSIZE`, `.._MAX_SIZE`).
const EXTENT_LEN_MAX: u64 = 12 << 20;
const SOURCE_LEN_MAX: u64 = 1 << 20;

const DAMAGED: Cause = Cause::damaged("the extents of a compressed file of the EROFS contradict themselves");
const UNREADABLE: Cause = Cause::damaged("compressed content of the EROFS does not make sense");

/// Bytes of a file, and where they come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where the physical cluster is on the disk.
    pub(super) source: Range<u64>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lz4,
    /// As it is.
    Plain,
    /// As it is, rotated: the first byte stands where its place in the file's block is.
    Interlaced,
}

impl Extent {
    /// The extent that has the byte at `offset`.
    pub(super) async fn find(image: &Image, packed: &Packed, offset: u64) -> Result<Extent, Cause> {
        let mut indexes = Indexes::new(image, packed);
        let (head, is_plain, from, block) = find_head(packed, &mut indexes, offset).await?;
        let (end, blocks) = find_end(packed, &mut indexes, head).await?;
        let start = (head << packed.cluster_bits) + from;
        if !(start..end).contains(&offset) || end > packed.len || end - start > EXTENT_LEN_MAX {
            return Err(DAMAGED);
        }
        let source = match packed.tail_len {
            Some(len) if end == packed.len => tail(packed, len)?,
            _ => {
                let start = block << packed.cluster_bits;
                start..start + (blocks << packed.cluster_bits)
            }
        };
        if source.is_empty() || source.end - source.start > SOURCE_LEN_MAX {
            return Err(DAMAGED);
        }
        let form = match (is_plain, packed.is_interlaced) {
            (false, _) => Form::Lz4,
            (true, false) => Form::Plain,
            (true, true) => Form::Interlaced,
        };
        Ok(Extent { start, end, source, form })
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.form == Form::Lz4
    }

    /// The extent's bytes, from those of its physical cluster.
    pub(super) fn decode(&self, source: &Bytes, image: &Image) -> Result<Bytes, Cause> {
        let len = (self.end - self.start) as usize;
        match self.form {
            Form::Plain if len <= source.len() => Ok(source.slice(..len)),
            Form::Interlaced if len <= source.len() => self.rotate(source, image.superblock.block_len() as usize),
            Form::Lz4 => {
                // Bytes that an LZ4 block cannot become are not worth their memory.
                let mut bytes = match len <= lz4::len_max(source.len()) {
                    true => Buffer::try_new(len).ok_or(Cause::OutOfMemory)?,
                    false => return Err(UNREADABLE),
                };
                match lz4::decode(source, image.superblock.is_zero_padded, &mut bytes) {
                    true => Ok(Bytes::from_owner(bytes)),
                    false => Err(UNREADABLE),
                }
            }
            _ => Err(DAMAGED),
        }
    }

    /// The bytes up to the end of the file's block stand last, those after it first.
    fn rotate(&self, source: &Bytes, block_len: usize) -> Result<Bytes, Cause> {
        let len = (self.end - self.start) as usize;
        let begin_len = block_len - (self.start % block_len as u64) as usize;
        let at = source.len().checked_sub(begin_len).ok_or(DAMAGED)?;
        match len <= begin_len {
            true => Ok(source.slice(at..at + len)),
            false => Ok([&source[at..], &source[..len - begin_len]].concat().into()),
        }
    }
}

/// The head's cluster, and what its index says.
async fn find_head(packed: &Packed, indexes: &mut Indexes<'_>, offset: u64) -> Result<(u64, bool, u64, u64), Cause> {
    let mut cluster = offset >> packed.cluster_bits;
    let within = offset & ((1 << packed.cluster_bits) - 1);
    let first = cluster;
    loop {
        let back = match indexes.get(cluster).await? {
            Index::Head { is_plain, from, block } if cluster < first || from <= within => {
                return Ok((cluster, is_plain, from, block));
            }
            // The byte is before where the extent of this cluster begins.
            Index::Head { .. } => 1,
            Index::Rest { back, .. } => back,
        };
        let lowest = first.saturating_sub(EXTENT_LEN_MAX >> packed.cluster_bits);
        cluster = cluster.checked_sub(back).filter(|cluster| back > 0 && *cluster >= lowest).ok_or(DAMAGED)?;
    }
}

/// Where the extent of `head` ends, and how many blocks its physical cluster has.
async fn find_end(packed: &Packed, indexes: &mut Indexes<'_>, head: u64) -> Result<(u64, u64), Cause> {
    let last = (packed.len - 1) >> packed.cluster_bits;
    let longest = EXTENT_LEN_MAX >> packed.cluster_bits;
    let mut blocks = 1;
    for cluster in head + 1..=last.min(head + longest + 1) {
        match indexes.get(cluster).await? {
            Index::Head { from, .. } => return Ok(((cluster << packed.cluster_bits) + from, blocks)),
            Index::Rest { blocks: Some(count), .. } if cluster == head + 1 => blocks = count,
            Index::Rest { .. } => {}
        }
    }
    Ok((packed.len, blocks))
}

/// Where the physical cluster is that stands after the indexes.
fn tail(packed: &Packed, len: u64) -> Result<Range<u64>, Cause> {
    let start = packed.indexes.end((packed.len - 1) >> packed.cluster_bits)?;
    let room = (1 << packed.cluster_bits) - (start & ((1 << packed.cluster_bits) - 1));
    if len > room { Err(DAMAGED) } else { Ok(start..start + len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters of a file as they stand in blocks of 8 bytes.
    #[test]
    fn rotated_content() {
        let check = |range: Range<u64>, block: &'static [u8], expected: Result<&[u8], Cause>| {
            let extent = Extent { start: range.start, end: range.end, source: 0..8, form: Form::Interlaced };
            let found = extent.rotate(&Bytes::from_static(block), 8);
            assert_eq!(found.as_deref(), expected.as_ref().map(|bytes| *bytes), "{range:?} {block:?}");
        };
        check(0..8, b"abcdefgh", Ok(b"abcdefgh"));
        check(8..11, b"abc.....", Ok(b"abc"));
        check(3..8, b"...abcde", Ok(b"abcde"));
        check(3..11, b"fghabcde", Ok(b"abcdefgh"));
        check(15..17, b"b......a", Ok(b"ab"));
        check(8..18, b"ij......abcdefgh", Ok(b"abcdefghij"));
        check(0..4, b"abcd", Err(DAMAGED));
    }
}
