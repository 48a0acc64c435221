//! TCP packets in frames, as far as a network card knows them: over IPv4 (RFC 791) and IPv6 without extension headers
//! (RFC 8200).

use crate::device::Frame;

/// Offsets in a TCP header (RFC 9293, 3.1), and flags.
pub(super) const FLAGS: usize = 13;
const SEQUENCE: usize = 4;
const ACKNOWLEDGEMENT: usize = 8;
const DATA_OFFSET: usize = 12;
const SUM: usize = 16;
const URGENT: usize = 18;
const HEADER_LEN_MIN: usize = 20;
const FIN: u8 = 1;
pub(super) const PSH: u8 = 8;
const ACK: u8 = 16;
const CWR: u8 = 128;

const ETHERNET_LEN: usize = 14;
const TAG_LEN: usize = 4;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// Where the parts of a TCP packet are in its frame.
pub(super) struct Tcp {
    ip: usize,
    is_v6: bool,
    pub(super) tcp: usize,
    pub(super) payload_start: usize,
    /// Where the packet ends; short frames are padded.
    pub(super) end: usize,
}

/// An IP packet that is not a fragment: where its header and its payload begin, where it ends, and its protocol.
struct Ip {
    ip: usize,
    is_v6: bool,
    payload: usize,
    end: usize,
    protocol: u8,
}

impl Ip {
    fn parse(frame: &[u8]) -> Option<Ip> {
        let kind = word(frame, 12)?;
        let (kind, ip) = if kind == 0x8100 { (word(frame, 16)?, ETHERNET_LEN + TAG_LEN) } else { (kind, ETHERNET_LEN) };
        let header = frame.get(ip..ip + 20)?;
        let (is_v6, payload, end, protocol) = match kind {
            0x0800 if word(header, 6)? & 0x3fff == 0 => {
                (false, ip + usize::from(header[0] & 15) * 4, ip + usize::from(word(header, 2)?), header[9])
            }
            0x86dd => (true, ip + 40, ip + 40 + usize::from(word(header, 4)?), header[6]),
            _ => return None,
        };
        (payload <= end && end <= frame.len()).then_some(Ip { ip, is_v6, payload, end, protocol })
    }

    /// The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1) and the payload.
    fn sum(&self, frame: &[u8]) -> u16 {
        let addresses = if self.is_v6 { self.ip + 8..self.ip + 40 } else { self.ip + 12..self.ip + 20 };
        let len = (self.end - self.payload) as u32;
        let pseudo = [&frame[addresses], &len.to_be_bytes(), &[0, 0, 0, self.protocol]].concat();
        sum_words(sum_words(0, &pseudo).into(), &frame[self.payload..self.end])
    }
}

/// Whether it is a TCP or UDP packet with right sums, that of an IPv4 header included.
pub(super) fn is_intact(frame: &[u8]) -> bool {
    let packet = Ip::parse(frame).filter(|packet| packet.is_v6 || sum(&frame[packet.ip..packet.payload]) == 0xffff);
    packet.is_some_and(|packet| match packet.protocol {
        PROTOCOL_TCP => packet.sum(frame) == 0xffff,
        PROTOCOL_UDP => word(frame, packet.payload + 6).is_some_and(|sum| sum != 0) && packet.sum(frame) == 0xffff,
        _ => false,
    })
}

/// The sum of RFC 1071, not complemented.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    sum_words(0, bytes)
}

fn sum_words(start: u64, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low)));
    let mut sum = start + words.sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn set_word(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

impl Tcp {
    pub(super) fn parse(frame: &[u8]) -> Option<Tcp> {
        let Ip { ip, is_v6, payload: tcp, end, protocol } = Ip::parse(frame)?;
        if protocol != PROTOCOL_TCP || end < tcp + HEADER_LEN_MIN {
            return None;
        }
        let payload_start = tcp + usize::from(frame[tcp + DATA_OFFSET] >> 4) * 4;
        let fits = (tcp + HEADER_LEN_MIN..=end).contains(&payload_start);
        fits.then_some(Tcp { ip, is_v6, tcp, payload_start, end })
    }

    pub(super) fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        &frame[self.payload_start..self.end]
    }

    /// Data and nothing special.
    pub(super) fn may_be_merged(&self, frame: &[u8]) -> bool {
        !self.payload(frame).is_empty() && frame[self.tcp + FLAGS] == ACK
    }

    /// Whether `segment` goes on where `whole`, `count` segments of `size` bytes, ends, and differs in nothing else. A card
    /// merges only what it could cut again.
    pub(super) fn continues(&self, whole: &[u8], segment: &Frame, count: usize, size: usize) -> bool {
        let Some(its) = Tcp::parse(segment) else { return false };
        let len = its.payload(segment).len();
        let next = self.sequence(whole).wrapping_add((count * size) as u32);
        let same = |from: usize, to: usize| whole[from..to] == segment[from..to];
        let ip_same = match self.is_v6 {
            true => same(self.ip, self.ip + 4) && same(self.ip + 6, self.tcp),
            false => same(self.ip, self.ip + 2) && same(self.ip + 6, self.ip + 10) && same(self.ip + 12, self.tcp),
        };
        (its.ip, its.tcp, its.payload_start) == (self.ip, self.tcp, self.payload_start)
            && same(0, self.ip)
            && ip_same
            && same(self.tcp, self.tcp + SEQUENCE)
            && same(self.tcp + ACKNOWLEDGEMENT, self.tcp + FLAGS)
            && same(self.tcp + FLAGS + 1, self.tcp + SUM)
            && same(self.tcp + URGENT, self.payload_start)
            && its.sequence(segment) == next
            && segment[its.tcp + FLAGS] & !PSH == ACK
            && (1..=size).contains(&len)
            && is_intact(segment)
    }

    fn sequence(&self, frame: &[u8]) -> u32 {
        let at = self.tcp + SEQUENCE;
        u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"))
    }

    /// Writes the length of the frame into the IP header.
    pub(super) fn set_len(&self, frame: &mut [u8]) {
        let len = frame.len() - self.ip;
        match self.is_v6 {
            true => set_word(frame, self.ip + 4, (len - 40) as u16),
            false => set_word(frame, self.ip + 2, len as u16),
        }
        self.set_ip_sum(frame);
    }

    fn set_ip_sum(&self, frame: &mut [u8]) {
        if !self.is_v6 {
            set_word(frame, self.ip + 10, 0);
            let sum = !sum(&frame[self.ip..self.tcp]);
            set_word(frame, self.ip + 10, sum);
        }
    }

    /// Makes a copy of the headers those of segment `index`.
    pub(super) fn advance(&self, frame: &mut [u8], index: usize, size: usize, is_last: bool) {
        let sequence = self.sequence(frame).wrapping_add((index * size) as u32);
        frame[self.tcp + SEQUENCE..self.tcp + SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
        if !is_last {
            frame[self.tcp + FLAGS] &= !(FIN | PSH);
        }
        if index > 0 {
            frame[self.tcp + FLAGS] &= !CWR;
        }
        if !self.is_v6 {
            let id = word(frame, self.ip + 4).expect("within the header").wrapping_add(index as u16);
            set_word(frame, self.ip + 4, id);
            self.set_ip_sum(frame);
        }
    }

    /// Takes `less` bytes from the length in the sum of the pseudo header.
    pub(super) fn shorten_sum(&self, frame: &mut [u8], less: usize) {
        let sum = word(frame, self.tcp + SUM).expect("within the header");
        set_word(frame, self.tcp + SUM, sum_words(u64::from(sum), &(!(less as u16)).to_be_bytes()));
    }

    /// Leaves a sum that is right for no receiver who checks it: a merged packet is valid by the card's word.
    pub(super) fn leave_sum_to_others(&self, frame: &mut [u8]) {
        set_word(frame, self.tcp + SUM, 0);
    }
}
