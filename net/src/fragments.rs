//! Puts packets together that came in fragments (RFC 791, 3.2; RFC 8200, 4.5), within bounds.
//!
//! Fragments that overlap belong to no honest packet: then all of it is dropped (RFC 5722).

use crate::{
    limits::{FRAGMENT_TIME_MAX, FRAGMENTED_MAX, FRAGMENTS_MAX},
    packet::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, IPV6_HEADER_LEN, Ip, be16, be32},
};
use alloc::vec::Vec;
use unikernel_rt::{device::Frame, time::Instant};

const FRAGMENT_HEADER_LEN: usize = 8;
/// What a packet can carry: its length is a number of 16 bits.
const LEN_MAX: usize = 65_535 - IPV4_HEADER_LEN;

/// The packets whose fragments are not all there.
#[derive(Default)]
pub(crate) struct Fragments {
    /// Oldest first.
    packets: Vec<Partial>,
}

struct Partial {
    key: Key,
    deadline: Instant,
    /// Ethernet and IP header of the fragment that came first.
    header: Vec<u8>,
    bytes: Vec<u8>,
    /// What is there, in order: from, to.
    pieces: Vec<(usize, usize)>,
    /// Known from the last fragment on.
    len: Option<usize>,
}

/// Which packet a fragment belongs to: addresses, protocol, identification.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    addresses: [u128; 2],
    protocol: u8,
    id: u32,
}

/// A fragment.
struct Piece<'a> {
    key: Key,
    offset: usize,
    is_last: bool,
    bytes: &'a [u8],
}

impl Fragments {
    /// Adds a fragment. The whole packet, once it is complete.
    pub(crate) fn add(&mut self, frame: &Frame, ip: Ip, now: Instant) -> Option<(Frame, Ip)> {
        self.packets.retain(|packet| packet.deadline > now);
        let piece = piece(frame, ip)?;
        let index = match self.packets.iter().position(|packet| packet.key == piece.key) {
            Some(index) => index,
            None => self.begin(frame, ip, piece.key, now),
        };
        let packet = &mut self.packets[index];
        if packet.add(&piece).is_err() {
            self.packets.remove(index);
            return None;
        }
        if !packet.is_complete() {
            return None;
        }
        let packet = self.packets.remove(index);
        Some(packet.into_frame(ip))
    }

    fn begin(&mut self, frame: &Frame, ip: Ip, key: Key, now: Instant) -> usize {
        if self.packets.len() >= FRAGMENTED_MAX {
            self.packets.remove(0);
        }
        let header_len = ETHERNET_HEADER_LEN + if ip.is_v6 { IPV6_HEADER_LEN } else { IPV4_HEADER_LEN };
        self.packets.push(Partial {
            key,
            deadline: now + FRAGMENT_TIME_MAX,
            header: frame[..header_len].to_vec(),
            bytes: Vec::new(),
            pieces: Vec::new(),
            len: None,
        });
        self.packets.len() - 1
    }

    /// Packets that are not complete.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }
}

fn piece(frame: &Frame, ip: Ip) -> Option<Piece<'_>> {
    let header = &frame[ETHERNET_HEADER_LEN..];
    let (key, field, from) = if ip.is_v6 {
        let fragment = frame.get(ip.payload..ip.payload + FRAGMENT_HEADER_LEN)?;
        let addresses = [address(header, 8), address(header, 24)];
        let key = Key { addresses, protocol: fragment[0], id: be32(fragment, 4) };
        let field = be16(fragment, 2);
        (key, (usize::from(field & 0xfff8), field & 1 == 0), ip.payload + FRAGMENT_HEADER_LEN)
    } else {
        let addresses = [be32(header, 12).into(), be32(header, 16).into()];
        let key = Key { addresses, protocol: ip.protocol, id: be16(header, 4).into() };
        let field = be16(header, 6);
        (key, (usize::from(field & 0x1fff) * 8, field & 0x2000 == 0), ip.payload)
    };
    let (offset, is_last) = field;
    let bytes = frame.get(from..ip.end)?;
    let fits = offset + bytes.len() <= LEN_MAX && !bytes.is_empty() && (is_last || bytes.len() % 8 == 0);
    fits.then_some(Piece { key, offset, is_last, bytes })
}

fn address(header: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(header[at..at + 16].try_into().expect("sixteen bytes"))
}

/// The fragments of a packet contradict each other, or are too many.
struct Contradiction;

impl Partial {
    fn add(&mut self, piece: &Piece<'_>) -> Result<(), Contradiction> {
        let (from, to) = (piece.offset, piece.offset + piece.bytes.len());
        let place = self.pieces.partition_point(|known| known.0 < from);
        if self.pieces.get(place) == Some(&(from, to)) {
            // The network doubled it.
            return Ok(());
        }
        let overlaps = place > 0 && self.pieces[place - 1].1 > from
            || self.pieces.get(place).is_some_and(|next| next.0 < to)
            || self.len.is_some_and(|len| to > len)
            || piece.is_last && self.len.is_some_and(|len| len != to)
            || piece.is_last && self.pieces.last().is_some_and(|last| last.1 > to);
        if overlaps || self.pieces.len() >= FRAGMENTS_MAX {
            return Err(Contradiction);
        }
        self.pieces.insert(place, (from, to));
        if piece.is_last {
            self.len = Some(to);
        }
        if self.bytes.len() < to {
            self.bytes.resize(to, 0);
        }
        self.bytes[from..to].copy_from_slice(piece.bytes);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        // They do not overlap, so their sum says it.
        self.len == Some(self.pieces.iter().map(|(from, to)| to - from).sum())
    }

    /// The packet as if it had come in one piece. Nobody looks at the lengths and sums in its IP header again.
    fn into_frame(self, ip: Ip) -> (Frame, Ip) {
        let payload = self.header.len();
        let mut frame = Frame::with_capacity(payload + self.bytes.len());
        frame.resize(payload + self.bytes.len());
        frame[..payload].copy_from_slice(&self.header);
        frame[payload..].copy_from_slice(&self.bytes);
        let end = frame.len();
        (frame, Ip { protocol: self.key.protocol, payload, end, ..ip })
    }
}
