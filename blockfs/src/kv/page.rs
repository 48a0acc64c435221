//! Pages: a header with checksum, place and owner; nodes of the tree inside.

use super::{
    layout::{BODY_LEN, HEADER_LEN, PAGE_LEN, Pointer, u32_at, u64_at},
    value::Stored,
};
use crate::error::Cause;
use bytes::Bytes;
use unikernel_rt::checksum::crc32c;
use unikernel_rt::device::Buffer;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Node = 1,
    Extents = 2,
    Bitmap = 3,
    Summary = 4,
}

/// What a page says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub page: u32,
    pub store_id: u64,
    /// The checkpoint that it was written for.
    pub generation: u64,
    pub kind: Kind,
    /// Of a node: 0 for leaves.
    pub level: u8,
    /// Entries in it.
    pub count: u16,
}

impl Header {
    /// Fills in the header of a page whose body is complete. Returns the checksum.
    pub(super) fn seal(&self, bytes: &mut [u8]) -> u32 {
        bytes[4..8].copy_from_slice(&self.page.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.store_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24] = self.kind as u8;
        bytes[25] = self.level;
        bytes[26..28].copy_from_slice(&self.count.to_le_bytes());
        bytes[28..HEADER_LEN].fill(0);
        let sum = crc32c(0, &bytes[4..PAGE_LEN]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        sum
    }
}

/// Checks a page that must be `kind` with checksum `sum`.
pub(super) fn verify(bytes: &[u8], at: Pointer, store_id: u64, kind: Kind) -> Result<(), Cause> {
    let is_whole = bytes.len() == PAGE_LEN && u32_at(bytes, 0) == at.sum && crc32c(0, &bytes[4..]) == at.sum;
    let is_ours = is_whole && u32_at(bytes, 4) == at.page && u64_at(bytes, 8) == store_id && bytes[24] == kind as u8;
    if is_ours { Ok(()) } else { Err(DAMAGED_PAGE) }
}

pub(super) const DAMAGED_PAGE: Cause = Cause::damaged("a page of the key-value store has not what was written to it");
pub(super) const DAMAGED_NODE: Cause = Cause::damaged("a page of the key-value store contradicts itself");

/// A node of the tree, verified.
#[derive(Clone)]
pub(super) struct Node {
    bytes: Bytes,
    count: usize,
}

/// An entry of a node.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub key: Bytes,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Value(Stored),
    /// The keys of this child are `key` or more; the first child of a node also has those before.
    Child(Pointer),
}

impl Item {
    /// Bytes it takes in a node.
    pub(super) fn len(&self) -> usize {
        SLOT_LEN
            + self.key.len()
            + match &self.body {
                Body::Value(value) => 4 + value.bytes.len(),
                Body::Child(_) => 10,
            }
    }
}

/// The place of an entry, in the table at the start of the body.
const SLOT_LEN: usize = 2;
/// In the length of a value: it is a [`Blob`](super::value::Blob).
const BLOB_BIT: u16 = 1 << 15;

impl Node {
    /// The node in a page that was [verified](verify).
    pub(super) fn new(bytes: Bytes, level: u32) -> Result<Node, Cause> {
        let count = usize::from(u16_at(&bytes, 26).ok_or(DAMAGED_NODE)?);
        let is_possible = u32::from(bytes[25]) == level && count > 0 && count * SLOT_LEN <= BODY_LEN;
        if is_possible { Ok(Node { bytes, count }) } else { Err(DAMAGED_NODE) }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.bytes[25] == 0
    }

    fn entry(&self, number: usize) -> Result<usize, Cause> {
        u16_at(&self.bytes, HEADER_LEN + number * SLOT_LEN).map(usize::from).ok_or(DAMAGED_NODE)
    }

    /// Where the key of an entry is.
    fn key_range(&self, number: usize) -> Result<core::ops::Range<usize>, Cause> {
        let entry = self.entry(number)?;
        let len = usize::from(u16_at(&self.bytes, entry).ok_or(DAMAGED_NODE)?);
        let start = entry + if self.is_leaf() { 4 } else { 10 };
        if start + len <= PAGE_LEN { Ok(start..start + len) } else { Err(DAMAGED_NODE) }
    }

    pub(super) fn key(&self, number: usize) -> Result<&[u8], Cause> {
        Ok(&self.bytes[self.key_range(number)?])
    }

    pub(super) fn child(&self, number: usize) -> Result<Pointer, Cause> {
        let range = self.key_range(number)?;
        Ok(Pointer { page: u32_at(&self.bytes, range.start - 8), sum: u32_at(&self.bytes, range.start - 4) })
    }

    pub(super) fn value(&self, number: usize) -> Result<Stored, Cause> {
        let key = self.key_range(number)?;
        let len = u16_at(&self.bytes, key.start - 2).ok_or(DAMAGED_NODE)?;
        let end = key.end + usize::from(len & !BLOB_BIT);
        if end > PAGE_LEN {
            return Err(DAMAGED_NODE);
        }
        Ok(Stored { bytes: self.bytes.slice(key.end..end), is_blob: len & BLOB_BIT != 0 })
    }

    pub(super) fn item(&self, number: usize) -> Result<Item, Cause> {
        let key = self.bytes.slice(self.key_range(number)?);
        let body = if self.is_leaf() { Body::Value(self.value(number)?) } else { Body::Child(self.child(number)?) };
        Ok(Item { key, body })
    }

    /// The number of the entry with this key, or of the first after it.
    pub(super) fn search(&self, key: &[u8]) -> Result<Result<usize, usize>, Cause> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle)?.cmp(key) {
                core::cmp::Ordering::Equal => return Ok(Ok(middle)),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// The child that may have this key.
    pub(super) fn child_for(&self, key: &[u8]) -> Result<usize, Cause> {
        Ok(self.search(key)?.unwrap_or_else(|after| after.saturating_sub(1)))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes items, which fit, as the body of a node.
pub(super) fn write_items(buffer: &mut Buffer, items: &[Item]) {
    let mut at = HEADER_LEN + items.len() * SLOT_LEN;
    let mut put = |at: &mut usize, bytes: &[u8]| {
        buffer[*at..*at + bytes.len()].copy_from_slice(bytes);
        *at += bytes.len();
    };
    for (number, item) in items.iter().enumerate() {
        put(&mut (HEADER_LEN + number * SLOT_LEN), &(at as u16).to_le_bytes());
        put(&mut at, &(item.key.len() as u16).to_le_bytes());
        match &item.body {
            Body::Value(value) => {
                let flag = if value.is_blob { BLOB_BIT } else { 0 };
                put(&mut at, &(value.bytes.len() as u16 | flag).to_le_bytes());
                put(&mut at, &item.key);
                put(&mut at, &value.bytes);
            }
            Body::Child(child) => {
                put(&mut at, &child.page.to_le_bytes());
                put(&mut at, &child.sum.to_le_bytes());
                put(&mut at, &item.key);
            }
        }
    }
    buffer[at..].fill(0);
}
