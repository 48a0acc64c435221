//! Values: short ones are kept with their keys, long ones have pages of their own.

use super::{
    layout::{BODY_LEN, HEADER_LEN, Layout, PAGE_LEN, Pointer, u32_at},
    page::{DAMAGED_NODE, DAMAGED_PAGE},
};
use crate::error::Cause;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use unikernel_rt::checksum::crc32c;

/// The longest key: with the longest short value, two entries fit a page.
pub const KEY_LEN_MAX: usize = 1024;
/// The longest value that is kept with its key; longer ones are written once, not to the log and to the tree.
pub(super) const SHORT_LEN_MAX: usize = 1000;
/// The longest value: it is read and written in one piece of memory.
pub const VALUE_LEN_MAX: usize = 1 << 20;

/// Extents that are kept with the key; more have a page of their own, which holds all that the longest value may need.
pub(super) const EXTENTS_SHORT_MAX: usize = 16;
pub(super) const EXTENT_LEN: usize = 6;
const _: () = assert!(VALUE_LEN_MAX / PAGE_LEN * EXTENT_LEN <= BODY_LEN);

/// Pages in a row.
pub(super) type Extent = Range<u32>;

/// A value as it is in the log and in the tree: itself, or an encoded [`Blob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub bytes: Bytes,
    pub is_blob: bool,
}

/// A value in pages of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub len: u32,
    /// The checksum of the value.
    pub sum: u32,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Extents(Vec<Extent>),
    /// A page has them.
    Listed(Pointer),
}

impl Blob {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + EXTENTS_SHORT_MAX * EXTENT_LEN);
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        match &self.place {
            Place::Extents(extents) => {
                bytes.push(extents.len() as u8);
                extents.iter().for_each(|extent| bytes.extend_from_slice(&encode_extent(extent)));
            }
            Place::Listed(list) => {
                bytes.push(0);
                bytes.extend_from_slice(&list.page.to_le_bytes());
                bytes.extend_from_slice(&list.sum.to_le_bytes());
            }
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8], layout: &Layout) -> Result<Blob, Cause> {
        let (head, rest) = bytes.split_at_checked(9).ok_or(DAMAGED_NODE)?;
        let (len, sum) = (u32_at(head, 0), u32_at(head, 4));
        let place = match (usize::from(head[8]), rest.len()) {
            (0, 8) if layout.is_data(u32_at(rest, 0), 1) => {
                Place::Listed(Pointer { page: u32_at(rest, 0), sum: u32_at(rest, 4) })
            }
            (count, len) if count > 0 && len == count * EXTENT_LEN => Place::Extents(decode_extents(rest, layout)?),
            _ => return Err(DAMAGED_NODE),
        };
        let blob = Blob { len, sum, place };
        let is_possible = match &blob.place {
            Place::Extents(extents) => blob.is_covered_by(extents),
            Place::Listed(_) => len as usize <= VALUE_LEN_MAX,
        };
        if is_possible { Ok(blob) } else { Err(DAMAGED_NODE) }
    }

    pub(super) fn is_covered_by(&self, extents: &[Extent]) -> bool {
        let pages: usize = extents.iter().map(|extent| extent.len()).sum();
        self.len as usize <= VALUE_LEN_MAX && pages == (self.len as usize).div_ceil(PAGE_LEN)
    }

    pub(super) fn check(&self, value: &[u8]) -> Result<(), Cause> {
        if crc32c(0, value) == self.sum { Ok(()) } else { Err(DAMAGED_PAGE) }
    }
}

pub(super) fn encode_extent(extent: &Extent) -> [u8; EXTENT_LEN] {
    let [a, b, c, d] = extent.start.to_le_bytes();
    let [e, f] = (extent.len() as u16).to_le_bytes();
    [a, b, c, d, e, f]
}

/// Reads extents, which must lie among the pages for data.
fn decode_extents(bytes: &[u8], layout: &Layout) -> Result<Vec<Extent>, Cause> {
    let extents = bytes.chunks_exact(EXTENT_LEN).map(|bytes| {
        let (page, count) = (u32_at(bytes, 0), u32::from(u16::from_le_bytes([bytes[4], bytes[5]])));
        if count > 0 && layout.is_data(page, count) { Ok(page..page + count) } else { Err(DAMAGED_NODE) }
    });
    extents.collect()
}

/// The extents of a page of them.
pub(super) fn extents_of_page(page: &[u8], layout: &Layout) -> Result<Vec<Extent>, Cause> {
    let count = usize::from(u16::from_le_bytes([page[26], page[27]]));
    let bytes = page.get(HEADER_LEN..HEADER_LEN + count * EXTENT_LEN).ok_or(DAMAGED_NODE)?;
    decode_extents(bytes, layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Extents of these lengths, with a page between them.
    fn place(start: u32, lens: &[u32]) -> Place {
        let mut at = start;
        let extents = lens.iter().map(|len| {
            let extent = at..at + len;
            at += len + 1;
            extent
        });
        Place::Extents(extents.collect())
    }

    #[test]
    fn blobs_are_read_as_written() {
        let layout = Layout::new(1 << 24, 512).unwrap();
        let start = layout.data_start();
        for place in [place(start, &[3]), place(start, &[1, 1, 1]), Place::Listed(Pointer { page: start, sum: 9 })] {
            let blob = Blob { len: 3 * 4096 - 1, sum: 5, place };
            assert_eq!(Blob::decode(&blob.encode(), &layout), Ok(blob));
        }
    }

    #[test]
    fn impossible_blobs() {
        let layout = Layout::new(1 << 24, 512).unwrap();
        let start = layout.data_start();
        for (len, place) in [(4097, place(start, &[1])), (4096, place(start - 1, &[1])), (4096, place(4096, &[1]))] {
            let blob = Blob { len, sum: 0, place };
            assert_eq!(Blob::decode(&blob.encode(), &layout), Err(DAMAGED_NODE), "{blob:?}");
        }
        assert!((0..20).all(|len| Blob::decode(&vec![1; len], &layout).is_err()));
    }
}
