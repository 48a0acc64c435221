//! Inodes: what is known about a file, and where its content is.

use super::{
    bytes::{u16_at, u32_at, u64_at},
    image::Image,
    packed::Packed,
};
use crate::{error::Cause, metadata::Kind};

/// Inodes are numbered in units of this length.
const SLOT_LEN: u64 = 32;
const COMPACT_LEN: u64 = 32;
const EXTENDED_LEN: u64 = 64;

/// The last byte of a file has a place that fits 63 bits, as in Linux.
const FILE_LEN_MAX: u64 = i64::MAX as u64;

/// The bits of a mode that tell the kind of a file (POSIX, `sys/stat.h`).
pub(super) const MODE_KIND: u16 = 0o170_000;
pub(super) const MODE_FILE: u16 = 0o100_000;
pub(super) const MODE_FOLDER: u16 = 0o040_000;
pub(super) const MODE_LINK: u16 = 0o120_000;

/// A file, folder, link or something else, with all that reading it takes.
#[derive(Debug)]
pub(super) struct Inode {
    /// Its number.
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) len: u64,
    pub(super) modified: u64,
    pub(super) content: Content,
}

/// Where the content is.
#[derive(Debug)]
pub(super) enum Content {
    /// Bytes before `tail_from` are at `start`, those after it at `tail`.
    Flat { start: u64, tail_from: u64, tail: u64 },
    /// Chunks of one length, each where its index says.
    Chunks(Chunks),
    /// Compressed.
    Packed(Packed),
    /// There is none.
    Nothing,
}

/// The indexes of a file in chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Where they begin.
    pub(super) indexes: u64,
    pub(super) chunk_bits: u32,
    /// Each has 8 bytes and a device, or 4 bytes.
    pub(super) is_long: bool,
}

/// The fields that both forms of an inode have.
struct Head {
    layout: u16,
    mode: u16,
    len: u64,
    modified: u64,
    /// A block number, or the form of the chunks.
    place: u32,
    /// Where the inode and its attributes end.
    end: u64,
}

impl Inode {
    /// Reads inode `number`. All its numbers make sense then: flat content is within the disk.
    pub(super) async fn load(image: &Image, number: u64) -> Result<Inode, Cause> {
        let head = Head::load(image, number).await?;
        let kind = match head.mode & MODE_KIND {
            MODE_FILE => Kind::File,
            MODE_FOLDER => Kind::Folder,
            MODE_LINK => Kind::Link,
            _ => Kind::Other,
        };
        let content = match (kind, head.layout) {
            (Kind::Other, _) => Content::Nothing,
            (_, 0) => flat(image, &head, false)?,
            (_, 2) => flat(image, &head, true)?,
            (Kind::File, 4) => Content::Chunks(chunks(image, &head)?),
            (Kind::File, 1 | 3) if head.len == 0 => Content::Nothing,
            (Kind::File, 1) => Content::Packed(Packed::load(image, head.end, head.len, false).await?),
            (Kind::File, 3) => Content::Packed(Packed::load(image, head.end, head.len, true).await?),
            _ => return Err(Cause::damaged("a file of the EROFS has a layout that does not exist")),
        };
        Ok(Inode { number, kind, len: head.len, modified: head.modified, content })
    }
}

impl Head {
    async fn load(image: &Image, number: u64) -> Result<Head, Cause> {
        const BEYOND: Cause = Cause::damaged("a folder of the EROFS names a file beyond the end of the disk");
        let start = number.checked_mul(SLOT_LEN).and_then(|offset| offset.checked_add(image.superblock.inodes));
        let start = start.filter(|start| *start < image.disk.len()).ok_or(BEYOND)?;
        let bytes = image.disk.read(start, EXTENDED_LEN.min(image.disk.len() - start) as usize).await?;
        let is_extended = bytes.first().is_some_and(|byte| byte & 1 == 1);
        let len = if is_extended { EXTENDED_LEN } else { COMPACT_LEN };
        if (bytes.len() as u64) < len {
            return Err(BEYOND);
        }
        let format = u16_at(&bytes, 0);
        if format >= 1 << 4 {
            return Err(Cause::unsupported("a file of its EROFS has a form of a later time"));
        }
        // Linux, `erofs_xattr_ibody_size`: a header of 12 bytes, the first of which is counted.
        let attributes_len = match u64::from(u16_at(&bytes, 2)) {
            0 => 0,
            count => 12 + 4 * (count - 1),
        };
        let file_len = if is_extended { u64_at(&bytes, 8) } else { u32_at(&bytes, 8).into() };
        if file_len > FILE_LEN_MAX {
            return Err(Cause::damaged("a file of the EROFS is longer than files can be"));
        }
        Ok(Head {
            layout: format >> 1,
            mode: u16_at(&bytes, 4),
            len: file_len,
            modified: if is_extended { u64_at(&bytes, 32) } else { image.superblock.build_time },
            place: u32_at(&bytes, 16),
            end: start + len + attributes_len,
        })
    }
}

/// Content in one piece; with `has_tail` the last block's bytes stand after the inode.
fn flat(image: &Image, head: &Head, has_tail: bool) -> Result<Content, Cause> {
    let block_len = image.superblock.block_len();
    let tail_from = match has_tail {
        true => head.len.saturating_sub(1) / block_len * block_len,
        false => head.len,
    };
    let start = u64::from(head.place) << image.superblock.block_bits;
    let tail_len = head.len - tail_from;
    if tail_len > block_len - head.end % block_len && tail_len > 0 {
        return Err(Cause::damaged("the last bytes of a file of the EROFS leave their block"));
    }
    let end = if tail_from == 0 { Some(0) } else { start.checked_add(tail_from) };
    if end.is_none_or(|end| end > image.disk.len()) || (tail_len > 0 && head.end + tail_len > image.disk.len()) {
        return Err(Cause::damaged("a file of the EROFS reaches beyond the end of the disk"));
    }
    Ok(Content::Flat { start, tail_from, tail: head.end })
}

fn chunks(image: &Image, head: &Head) -> Result<Chunks, Cause> {
    /// The bits of the chunk length beyond a block's, and the one for long indexes.
    const BITS: u32 = 0x1f;
    const IS_LONG: u32 = 0x20;
    let format = head.place & 0xffff;
    if format & !(BITS | IS_LONG) != 0 {
        return Err(Cause::unsupported("a file of its EROFS has chunks of a later form"));
    }
    let is_long = format & IS_LONG != 0;
    let indexes = head.end.next_multiple_of(if is_long { 8 } else { 4 });
    Ok(Chunks { indexes, chunk_bits: image.superblock.block_bits + (format & BITS), is_long })
}
