//! The format of captures (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-03.html>), which Wireshark reads.

use crate::limits::SNAP_LEN_MAX;
use alloc::vec::Vec;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
/// 2.4, as two numbers.
const VERSION: u32 = 0x0004_0002;
const LINK_ETHERNET: u32 = 1;

/// What stands before the first frame.
pub(crate) fn head() -> Vec<u8> {
    fields([MAGIC_MICROSECONDS, VERSION, 0, 0, SNAP_LEN_MAX as u32, LINK_ETHERNET]).collect()
}

/// Appends a frame of `len` bytes, of which `bytes` were kept, seen so many microseconds after 1970 began.
pub(crate) fn push(into: &mut Vec<u8>, unix_micros: u64, len: usize, bytes: &[u8]) {
    let (seconds, micros) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    into.extend(fields([seconds as u32, micros as u32, bytes.len() as u32, len as u32]));
    into.extend_from_slice(bytes);
}

fn fields<const COUNT: usize>(fields: [u32; COUNT]) -> impl Iterator<Item = u8> {
    fields.into_iter().flat_map(u32::to_le_bytes)
}
