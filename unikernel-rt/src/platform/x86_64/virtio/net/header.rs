//! The device's header, before every frame (virtio 1.2, 5.1.6). It lies in the frame's headroom.

use crate::device::{Checksum, Frame, HEADROOM, Segmentation};

/// Flags, kind and four fields of two bytes; then the number of buffers.
pub(super) const LEN: usize = 12;
/// Legacy devices leave out the number of buffers, unless they merge them.
pub(super) const LEN_SHORT: usize = 10;

const FLAG_NEEDS_CSUM: u8 = 1;
const FLAG_DATA_VALID: u8 = 2;
const KIND_TCP4: u8 = 1;
const KIND_TCP6: u8 = 4;
/// A bit beside the kind: the packet carries congestion marks.
const KIND_ECN: u8 = 0x80;

/// Where EtherType is, and where it is after a VLAN tag (IEEE 802.1Q).
const ETHERTYPE: usize = 12;
const ETHERTYPE_TAGGED: usize = 16;
const TAG: [u8; 2] = [0x81, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// Where a TCP header tells its length, in its upper four bits: words of four bytes (RFC 9293, 3.1).
const TCP_DATA_OFFSET: usize = 12;

/// Fills the header of a frame to send.
#[inline]
pub(super) fn write(frame: &mut Frame, header_len: usize) {
    // Flags, kind, header length, segment size and where to sum, as they lie in memory.
    let mut words = 0_u64;
    let mut offset = 0;
    if let Checksum::Partial { start, offset: at } = frame.checksum {
        words = u64::from(FLAG_NEEDS_CSUM) | u64::from(start) << 48;
        offset = at;
    }
    if let Some(segmentation) = frame.segmentation {
        words |= cut(frame, segmentation);
    }
    // The header ends where the frame starts. Bytes of the headroom before it are nobody's.
    let whole = (u128::from(words) | u128::from(offset) << 64) << (8 * (HEADROOM - header_len));
    *frame.headroom_mut() = whole.to_le_bytes();
}

/// Kind, header length and segment size of a packet that the device shall cut.
#[inline(never)]
fn cut(frame: &Frame, Segmentation { size }: Segmentation) -> u64 {
    let Checksum::Partial { start, .. } = frame.checksum else {
        panic!("a frame to be cut into segments needs Checksum::Partial")
    };
    let tagged = frame[ETHERTYPE..ETHERTYPE + 2] == TAG;
    let at = if tagged { ETHERTYPE_TAGGED } else { ETHERTYPE };
    let kind = if frame[at..at + 2] == IPV6 { KIND_TCP6 } else { KIND_TCP4 };
    let tcp_len = u16::from(frame[usize::from(start) + TCP_DATA_OFFSET] >> 4) * 4;
    u64::from(kind) << 8 | u64::from(start + tcp_len) << 16 | u64::from(size) << 32
}

/// What the header of a received frame says about its checksum and segmentation.
#[inline]
pub(super) fn read(buffer: &[u8], header_len: usize) -> (Checksum, Option<Segmentation>) {
    let words = u64::from_le_bytes(field(buffer, HEADROOM - header_len));
    let (flags, kind, size) = (words as u8, (words >> 8) as u8 & !KIND_ECN, (words >> 32) as u16);
    let checked = flags & (FLAG_NEEDS_CSUM | FLAG_DATA_VALID) != 0;
    let merged = kind != 0 && matches!(kind, KIND_TCP4 | KIND_TCP6) && size > 0;
    let checksum = if checked { Checksum::Valid } else { Checksum::Plain };
    (checksum, merged.then_some(Segmentation { size }))
}

/// Over how many buffers a received packet goes.
#[inline]
pub(super) fn buffers(buffer: &[u8]) -> u16 {
    u16::from_le_bytes(field(buffer, HEADROOM - 2))
}

#[inline]
fn field<const LEN: usize>(buffer: &[u8], at: usize) -> [u8; LEN] {
    buffer[at..at + LEN].try_into().expect("as long as the range")
}
