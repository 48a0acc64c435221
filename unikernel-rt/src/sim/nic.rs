//! What a network card does in the stack's place, as cards do it: sums, cutting TCP packets into segments, and merging
//! segments into large packets that come in several buffers.

use super::tcp::{self, Tcp};
use crate::device::{Checksum, Frame, Offloads, Segmentation};
use std::{vec, vec::Vec};

/// The abilities of a simulated network card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// It completes sums of frames to send and checks those of received ones.
    pub checksums: bool,
    /// It cuts TCP packets over IPv4 and IPv6. Needs `checksums`.
    pub segmentation: bool,
    /// It merges TCP segments that arrived together and in order, in buffers of this many bytes, header of the card
    /// included: the first buffer holds as many less as [`MERGE_HEADER_LEN`] says. Needs `checksums`.
    pub merging: Option<usize>,
}

/// What the first of several buffers holds less than the others: the header of virtio-net.
pub const MERGE_HEADER_LEN: usize = 12;

/// Merged packets are no longer: the longest IP packet.
const IP_LEN_MAX: usize = 65_535;

impl Nic {
    /// It does nothing but send and receive.
    pub const PLAIN: Nic = Nic { checksums: false, segmentation: false, merging: None };

    /// Like our driver of virtio-net on a host that offers everything.
    pub const VIRTIO: Nic = Nic { checksums: true, segmentation: true, merging: Some(1532) };

    pub(super) fn offloads(self) -> Offloads {
        Offloads {
            tx_checksum: self.checksums,
            rx_checksum: self.checksums,
            segmentation_v4: self.segmentation,
            segmentation_v6: self.segmentation,
        }
    }

    /// The frames that go on the wire for one of the stack.
    ///
    /// # Panics
    ///
    /// The stack asks for what the card did not offer, or for what makes no sense.
    pub(super) fn send(self, mut frame: Frame) -> Vec<Frame> {
        assert!(frame.rest().is_empty(), "a frame to send has one part");
        if let Some(Segmentation { size }) = frame.segmentation.take() {
            assert!(self.segmentation, "the port does not offer to cut frames into segments");
            return cut(&frame, usize::from(size));
        }
        if let Checksum::Partial { start, offset } = frame.checksum {
            assert!(self.checksums, "the port does not offer to complete checksums");
            complete(&mut frame, usize::from(start), usize::from(offset));
        }
        frame.checksum = Checksum::Plain;
        vec![frame]
    }

    /// What the stack gets for a frame from the wire; `next` tells of the one after it, and takes it.
    pub(super) fn receive(
        self,
        mut frame: Frame,
        mut next: impl FnMut(&dyn Fn(&Frame) -> bool) -> Option<Frame>,
    ) -> Frame {
        if !self.checksums || !tcp::is_intact(&frame) {
            return frame;
        }
        frame.checksum = Checksum::Valid;
        let Some(buffer_len) = self.merging else { return frame };
        let Some(first) = Tcp::parse(&frame).filter(|first| first.may_be_merged(&frame)) else { return frame };
        let size = first.payload(&frame).len();
        let mut whole = frame[..first.end].to_vec();
        let mut count = 1;
        while let Some(segment) = next(&|segment| first.continues(&whole, segment, count, size)) {
            let its = Tcp::parse(&segment).expect("it was looked at");
            whole[first.tcp + tcp::FLAGS] |= segment[its.tcp + tcp::FLAGS];
            whole.extend_from_slice(its.payload(&segment));
            count += 1;
            let is_last = its.payload(&segment).len() < size || segment[its.tcp + tcp::FLAGS] & tcp::PSH != 0;
            if is_last || whole.len() + size > IP_LEN_MAX {
                break;
            }
        }
        if count == 1 {
            return frame;
        }
        first.set_len(&mut whole);
        first.leave_sum_to_others(&mut whole);
        let mut merged = in_parts(&whole, buffer_len);
        merged.checksum = Checksum::Valid;
        merged.segmentation = Some(Segmentation { size: size as u16 });
        merged
    }
}

/// The sum of virtio 1.2, 5.1.6.2.
fn complete(frame: &mut Frame, start: usize, offset: usize) {
    let sum = !tcp::sum(&frame[start..]);
    frame[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The segments of a packet. What the stack wrote in the place of the sum goes into every sum, so that a wrong one shows.
fn cut(frame: &Frame, size: usize) -> Vec<Frame> {
    let Checksum::Partial { start, offset } = frame.checksum else {
        panic!("a frame to be cut into segments needs Checksum::Partial")
    };
    let packet = Tcp::parse(frame).expect("a frame to be cut into segments is a TCP packet with right lengths");
    assert!(
        size > 0 && packet.tcp == usize::from(start),
        "a segment has at least one byte, and a sum starts at its header"
    );
    assert_eq!(packet.end, frame.len(), "a frame to be cut ends with its packet");
    let payload = packet.payload(frame);
    let last = payload.len().saturating_sub(1) / size;
    let segment = |(index, piece): (usize, &[u8])| {
        let mut bytes = [&frame[..packet.payload_start], piece].concat();
        packet.set_len(&mut bytes);
        packet.advance(&mut bytes, index, size, index == last);
        packet.shorten_sum(&mut bytes, payload.len() - piece.len());
        let mut segment = Frame::from_bytes(&bytes);
        complete(&mut segment, usize::from(start), usize::from(offset));
        segment
    };
    // A packet without payload is one segment.
    let pieces = if payload.is_empty() { vec![payload] } else { payload.chunks(size).collect() };
    pieces.into_iter().enumerate().map(segment).collect()
}

fn in_parts(whole: &[u8], buffer_len: usize) -> Frame {
    let (head, rest) = whole.split_at(whole.len().min(buffer_len - MERGE_HEADER_LEN));
    let mut frame = Frame::from_bytes(head);
    rest.chunks(buffer_len).for_each(|part| frame.append(Frame::from_bytes(part)));
    frame
}
