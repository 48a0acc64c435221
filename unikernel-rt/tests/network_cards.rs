//! Simulated network cards beside what the standards say about segments.
#![cfg(not(target_os = "none"))]

use std::vec::Vec;
use unikernel_rt::{
    device::{Checksum, Frame, NetDevice, Segmentation},
    sim::{Faults, Nic, SimPort, cable, hub},
};

const FIN: u8 = 1;
const SYN: u8 = 2;
const PSH: u8 = 8;
const ACK: u8 = 16;
const SEQUENCE: u32 = u32::MAX - 1000;

#[derive(Clone, Copy)]
struct Shape {
    v6: bool,
    len: usize,
    flags: u8,
    sequence: u32,
}

const SHAPE: Shape = Shape { v6: false, len: 0, flags: ACK, sequence: SEQUENCE };

impl Shape {
    fn tcp_start(self) -> usize {
        if self.v6 { 54 } else { 34 }
    }

    /// A packet with a timestamp option, whose sum only covers the pseudo header.
    fn frame(self) -> Frame {
        let tcp_len = 32 + self.len;
        let mut bytes = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01".to_vec();
        let pseudo = if self.v6 {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((tcp_len as u16).to_be_bytes());
            bytes.extend([6, 64]);
            bytes.extend([0xfe; 32]);
            vec![0xfe; 32]
        } else {
            bytes.extend([8, 0, 0x45, 0]);
            bytes.extend((20 + tcp_len as u16).to_be_bytes());
            bytes.extend([0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            let sum = !sum(&bytes[14..34]);
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
            vec![10, 0, 0, 1, 10, 0, 0, 2]
        };
        let sum = sum(&[&pseudo[..], &[0, 6], &(tcp_len as u16).to_be_bytes()].concat());
        bytes.extend([0, 80, 0, 90]);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 9, 8 << 4, self.flags, 1, 0]);
        bytes.extend(sum.to_be_bytes());
        bytes.extend([0, 0, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend((0..self.len).map(|index| (self.sequence as usize).wrapping_add(index * 7) as u8));
        let mut frame = Frame::from_bytes(&bytes);
        frame.checksum = Checksum::Partial { start: self.tcp_start() as u16, offset: 16 };
        frame
    }

    fn cut(self, size: u16) -> Frame {
        let mut frame = self.frame();
        frame.segmentation = Some(Segmentation { size });
        frame
    }

    fn payload(self) -> Vec<u8> {
        self.frame()[self.tcp_start() + 32..].to_vec()
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn is_intact(frame: &[u8], v6: bool) -> bool {
    let (addresses, tcp) = if v6 { (22..54, 54) } else { (26..34, 34) };
    let len = (frame.len() - tcp) as u16;
    let ip = v6 || sum(&frame[14..34]) == 0xffff;
    ip && sum(&[&frame[addresses], &[0, 6], &len.to_be_bytes(), &frame[tcp..]].concat()) == 0xffff
}

fn number(frame: &[u8], at: usize, len: usize) -> u32 {
    frame[at..at + len].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn all(port: &mut SimPort) -> Vec<Frame> {
    std::iter::from_fn(|| port.receive()).collect()
}

/// What a port without abilities gets.
fn on_the_wire(frame: Frame) -> Vec<Frame> {
    let (left, mut right) = cable(Faults::NONE);
    left.with_nic(Nic::VIRTIO).transmit(frame).unwrap();
    all(&mut right)
}

#[test]
fn a_packet_is_cut() {
    for (v6, len, size) in [
        (false, 5000, 1448),
        (true, 5000, 1428),
        (false, 2896, 1448),
        (true, 1, 1),
        (false, 1400, 1448),
        (false, 65_000, 1448),
    ] {
        let shape = Shape { v6, len, flags: ACK | PSH | FIN, ..SHAPE };
        let (segments, tcp) = (on_the_wire(shape.cut(size)), shape.tcp_start());
        assert_eq!(segments.len(), len.div_ceil(size.into()), "{len}");
        let mut payload = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let is_last = index + 1 == segments.len();
            assert!(is_intact(segment, v6), "{len}: {index}");
            assert_eq!(number(segment, tcp + 4, 4), SEQUENCE.wrapping_add(payload.len() as u32));
            assert_eq!(segment[tcp + 13], if is_last { ACK | PSH | FIN } else { ACK });
            let (ip_len, expected) = (segment.len() - 14, if v6 { segment.len() - 54 } else { segment.len() - 14 });
            assert_eq!(number(segment, if v6 { 18 } else { 16 }, 2) as usize, expected, "{ip_len}");
            assert!(v6 || number(segment, 18, 2) == (0xffff + index as u32) & 0xffff);
            payload.extend_from_slice(&segment[tcp + 32..]);
        }
        assert!(payload == shape.payload());
    }
}

#[test]
fn a_sum_is_completed() {
    for v6 in [false, true] {
        let sent = on_the_wire(Shape { v6, len: 101, ..SHAPE }.frame());
        assert!(sent.len() == 1 && is_intact(&sent[0], v6));
    }
}

#[test]
fn a_wrong_pseudo_header_shows() {
    let shape = Shape { len: 3000, ..SHAPE };
    let mut frame = shape.cut(1448);
    frame[shape.tcp_start() + 17] ^= 1;
    assert!(on_the_wire(frame).iter().all(|segment| !is_intact(segment, false)));
}

/// Payload, number of parts and segment size of each packet that the receiver gets.
fn check_merging(shapes: &[Shape], nic: Nic, expected: &[(usize, usize, Option<u16>)]) {
    let (left, right) = cable(Faults::NONE);
    let (mut left, mut right) = (left.with_nic(Nic::VIRTIO), right.with_nic(nic));
    shapes.iter().for_each(|shape| left.transmit(shape.frame()).unwrap());
    let frames = all(&mut right);
    let found = frames.iter().map(|frame| {
        let size = frame.segmentation.map(|segmentation| segmentation.size);
        (frame.total_len() - shapes[0].tcp_start() - 32, 1 + frame.rest().len(), size)
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let tcp = shapes[0].tcp_start() + 32;
    let sent: Vec<u8> = shapes.iter().flat_map(|shape| shape.payload()).collect();
    let received: Vec<u8> = frames.into_iter().flat_map(|frame| frame.into_one_part()[tcp..].to_vec()).collect();
    assert!(sent == received);
}

/// `count` segments of `len` bytes that follow each other.
fn row(v6: bool, count: u32, len: usize) -> Vec<Shape> {
    (0..count).map(|index| Shape { v6, len, sequence: SEQUENCE.wrapping_add(index * len as u32), ..SHAPE }).collect()
}

#[test]
fn segments_are_merged() {
    check_merging(&row(false, 3, 1448), Nic::VIRTIO, &[(4344, 3, Some(1448))]);
    check_merging(&row(true, 2, 1000), Nic::VIRTIO, &[(2000, 2, Some(1000))]);
    check_merging(&row(false, 3, 100), Nic::VIRTIO, &[(300, 1, Some(100))]);
    check_merging(&row(false, 1, 100), Nic::VIRTIO, &[(100, 1, None)]);
    // 45 of 1,448 bytes are the most that fit an IP packet.
    check_merging(&row(false, 50, 1448), Nic::VIRTIO, &[(45 * 1448, 43, Some(1448)), (5 * 1448, 5, Some(1448))]);
    check_merging(&row(false, 2, 1448), Nic { merging: None, ..Nic::VIRTIO }, &[(1448, 1, None), (1448, 1, None)]);
    check_merging(&row(false, 2, 1448), Nic::PLAIN, &[(1448, 1, None), (1448, 1, None)]);
}

#[test]
fn what_does_not_fit_is_not_merged() {
    let [first, second, third] = row(false, 3, 1000)[..] else { unreachable!("three") };
    let alone = (1000, 1, None);
    check_merging(&[first, third], Nic::VIRTIO, &[alone, alone]);
    check_merging(&[second, first], Nic::VIRTIO, &[alone, alone]);
    check_merging(&[first, Shape { flags: ACK | FIN, ..second }], Nic::VIRTIO, &[alone, alone]);
    check_merging(&[Shape { flags: SYN, ..first }, second], Nic::VIRTIO, &[alone, alone]);
    check_merging(&[first, Shape { len: 1001, ..second }], Nic::VIRTIO, &[alone, (1001, 1, None)]);
    // PSH and a shorter one end it.
    check_merging(&[first, Shape { flags: ACK | PSH, ..second }, third], Nic::VIRTIO, &[(2000, 2, Some(1000)), alone]);
    check_merging(&[first, Shape { len: 500, ..second }, third], Nic::VIRTIO, &[(1500, 2, Some(1000)), alone]);
}

#[test]
fn a_damaged_frame_is_not_vouched_for() {
    let (left, right) = cable(Faults { corrupt: 1000, ..Faults::NONE });
    let (mut left, mut right) = (left.with_nic(Nic::VIRTIO), right.with_nic(Nic::VIRTIO));
    // The Ethernet header has no sum that a card could check, so a bit may flip there unseen.
    for _ in 0..100 {
        left.transmit(Shape { len: 1000, ..SHAPE }.frame()).unwrap();
        let frame = right.receive().unwrap();
        assert_eq!(frame.checksum == Checksum::Valid, is_intact(&frame, false), "{frame:?}");
    }
}

#[test]
fn all_others_hear_what_one_says() {
    let mut ports = hub(3, Faults::NONE);
    ports[1].transmit(Frame::from_bytes(b"to whom it may concern")).unwrap();
    let heard = ports.iter_mut().map(|port| all(port).len()).collect::<Vec<_>>();
    assert_eq!(heard, [1, 0, 1]);
    assert_eq!([ports[0].mac(), ports[1].mac(), ports[2].mac()].map(|mac| mac[5]), [1, 2, 3]);
}
