//! [`Batch`]: changes that are made together, as they are in the log.

use super::value::{Blob, KEY_LEN_MAX, SHORT_LEN_MAX, Stored, VALUE_LEN_MAX};
use crate::error::{Cause, Error, Result};
use alloc::vec::Vec;
use bytes::Bytes;

/// Changes that a store makes all or not at all. Later ones win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Operations with everything in them.
    bytes: Vec<u8>,
    /// Values that need pages of their own, and before which byte of `bytes` their operations belong.
    long: Vec<Long>,
}

#[derive(Clone, Debug)]
pub(super) struct Long {
    at: usize,
    key: Bytes,
    pub value: Bytes,
}

const DELETE: u8 = 0;
const PUT: u8 = 1;
const PUT_BLOB: u8 = 2;
/// Before the key of an operation: what it is, and the lengths of key and value.
const OP_HEADER_LEN: usize = 5;

impl Batch {
    /// No changes.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Whether there are no changes in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.long.is_empty()
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    ///
    /// The key has more than 1 KiB, or the value more than 1 MiB.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result {
        self.put_owned(key, value.len(), || Bytes::copy_from_slice(value), Some(value))
    }

    /// The same with a value that need not be copied when it is long.
    pub(super) fn put_bytes(&mut self, key: &[u8], value: &Bytes) -> Result {
        self.put_owned(key, value.len(), || value.clone(), Some(value))
    }

    fn put_owned(&mut self, key: &[u8], len: usize, owned: impl FnOnce() -> Bytes, value: Option<&[u8]>) -> Result {
        check_key(key).map_err(|cause| Error::new("put", "", cause))?;
        if len > VALUE_LEN_MAX {
            return Err(Error::new("put", "", Cause::Limit("a value has at most 1 MiB; put larger things into parts")));
        }
        match value.filter(|_| len <= SHORT_LEN_MAX) {
            Some(value) => push_op(&mut self.bytes, PUT, key, value),
            None => self.long.push(Long { at: self.bytes.len(), key: Bytes::copy_from_slice(key), value: owned() }),
        }
        Ok(())
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    ///
    /// The key has more than 1 KiB.
    pub fn delete(&mut self, key: &[u8]) -> Result {
        check_key(key).map_err(|cause| Error::new("delete", "", cause))?;
        push_op(&mut self.bytes, DELETE, key, &[]);
        Ok(())
    }

    pub(super) fn long(&self) -> &[Long] {
        &self.long
    }

    /// The keys that it changes.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let short = ops_of(&self.bytes).flatten().map(|(_, key, _)| key);
        short.chain(self.long.iter().map(|long| &long.key[..]))
    }

    /// Bytes it takes in the log, at most.
    pub(super) fn len_max(&self) -> usize {
        let long = |long: &Long| OP_HEADER_LEN + long.key.len() + BLOB_LEN_MAX;
        self.bytes.len() + self.long.iter().map(long).sum::<usize>()
    }

    /// Whether it only removes.
    pub(super) fn only_removes(&self) -> bool {
        self.long.is_empty() && ops_of(&self.bytes).all(|op| op.is_ok_and(|(kind, _, _)| kind == DELETE))
    }

    /// What it puts into the tree.
    pub(super) fn load(&self) -> super::memtable::Load {
        let mut load = super::memtable::Load::default();
        for (_, key, value) in ops_of(&self.bytes).flatten().filter(|(kind, _, _)| *kind != DELETE) {
            load.puts += 1;
            load.len += (key.len() + value.len() + 8) as u64;
        }
        for long in &self.long {
            load.puts += 1;
            load.len += (long.key.len() + BLOB_LEN_MAX + 8) as u64;
        }
        load
    }

    /// The operations as they are in the log. `blobs` say where the long values are.
    pub(super) fn encode(self, blobs: &[Blob]) -> Bytes {
        if self.long.is_empty() {
            return self.bytes.into();
        }
        let mut bytes = Vec::with_capacity(self.len_max());
        let mut done = 0;
        for (long, blob) in self.long.iter().zip(blobs) {
            bytes.extend_from_slice(&self.bytes[done..long.at]);
            push_op(&mut bytes, PUT_BLOB, &long.key, &blob.encode());
            done = long.at;
        }
        bytes.extend_from_slice(&self.bytes[done..]);
        bytes.into()
    }
}

/// The longest encoded [`Blob`].
const BLOB_LEN_MAX: usize = 9 + super::value::EXTENTS_SHORT_MAX * super::value::EXTENT_LEN;

pub(super) fn check_key(key: &[u8]) -> Result<(), Cause> {
    if key.len() <= KEY_LEN_MAX { Ok(()) } else { Err(Cause::Limit("a key has at most 1 KiB; use a hash of it")) }
}

fn push_op(bytes: &mut Vec<u8>, kind: u8, key: &[u8], value: &[u8]) {
    bytes.reserve(OP_HEADER_LEN + key.len() + value.len());
    bytes.push(kind);
    bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
}

/// Operations in bytes: kind, key and value.
fn ops_of(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8], &[u8]), Cause>> {
    core::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let op = split_op(bytes);
        bytes = op.as_ref().map_or(&[][..], |(_, _, _, rest)| rest);
        Some(op.map(|(kind, key, value, _)| (kind, key, value)).ok_or(DAMAGED_RECORD))
    })
}

#[expect(clippy::type_complexity, reason = "kind, key, value and the rest, used once")]
fn split_op(bytes: &[u8]) -> Option<(u8, &[u8], &[u8], &[u8])> {
    let ([kind, a, b, c, d], rest) = bytes.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u16::from_le_bytes([*a, *b]).into())?;
    let (value, rest) = rest.split_at_checked(u16::from_le_bytes([*c, *d]).into())?;
    (*kind <= PUT_BLOB && key.len() <= KEY_LEN_MAX && value.len() <= SHORT_LEN_MAX).then_some((*kind, key, value, rest))
}

const DAMAGED_RECORD: Cause = Cause::damaged("a record in the log of the key-value store contradicts itself");

/// The changes in a part of the log. Keys and values share its memory.
pub(super) fn changes(bytes: &Bytes) -> impl Iterator<Item = Result<(Bytes, Option<Stored>), Cause>> + '_ {
    ops_of(bytes).map(|op| {
        let (kind, key, value) = op?;
        let stored = (kind != DELETE).then(|| Stored { bytes: bytes.slice_ref(value), is_blob: kind == PUT_BLOB });
        Ok((bytes.slice_ref(key), stored))
    })
}
