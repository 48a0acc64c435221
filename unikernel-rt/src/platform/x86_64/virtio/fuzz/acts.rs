//! What the device does on a doorbell and whenever it likes: answers, and its lie.

use super::{
    device::{Device, Kind},
    lies::Lie,
    ring::{Chain, Ring, fill, load, store},
};
use alloc::vec::Vec;

const RECEIVE: usize = 0;
pub(super) const MRG_RXBUF: u32 = 15;
const HEADER_LEN: u32 = 12;
const HEADER_LEN_SHORT: u32 = 10;
/// A packet with its headers is no longer.
const PACKET_LEN_MAX: u32 = 65_593;

/// What a disk's sector holds everywhere.
pub(super) fn byte_of(sector: u64) -> u8 {
    sector as u8 ^ 0x5a
}

impl Device {
    /// Looks at its queues, answers some of what it has, and may lie.
    pub(super) fn turn(&mut self) {
        for number in 0..self.rings.len() {
            let Some(mut ring) = self.rings[number].take() else { continue };
            ring.take();
            self.act(number, &mut ring);
            // Polled while it is set up, it would not be rung.
            ring.set_silent(self.is_set_up() && self.answered > 0 && self.kind != Kind::Rng && self.random.once_in(4));
            self.rings[number] = Some(ring);
        }
    }

    fn act(&mut self, number: usize, ring: &mut Ring) {
        if self.tells(Lie::Silent) {
            return;
        }
        // A random number is asked for, and then waited for.
        let is_awaited = self.kind == Kind::Rng || self.answered == 0;
        let lies_now = self.kind == Kind::Rng || (self.answered > 4 && self.random.once_in(3));
        if lies_now && self.lie.is_some_and(|lie| self.tell(lie, number, ring)) {
            self.count();
            return;
        }
        let most = ring.held.len();
        let count = if is_awaited || self.random.once_in(2) { most } else { self.random.below(most + 1) };
        for _ in 0..count {
            if ring.held.is_empty() {
                break;
            }
            self.answer(number, ring);
        }
        ring.publish();
    }

    /// Answers one of what it has, as it should.
    fn answer(&mut self, number: usize, ring: &mut Ring) {
        let chain = ring.held[self.random.below(ring.held.len())].clone();
        self.answered += 1;
        match (self.kind, number) {
            (Kind::Net, RECEIVE) => self.packet(ring),
            (Kind::Net, _) => ring.give(chain.id.into(), 0),
            (Kind::Block, _) => {
                let status = self.random.pick(&[0, 0, 0, 0, 1, 2]);
                let len = self.serve(&chain, status);
                ring.give(chain.id.into(), len);
            }
            (Kind::Rng, _) => {
                let len = 1 + self.random.below(chain.writable_len() as usize) as u32;
                self.scribble(&chain);
                ring.give(chain.id.into(), len);
            }
        }
    }

    pub(super) fn header_len(&self) -> u32 {
        if self.has(MRG_RXBUF) || self.has(32) { HEADER_LEN } else { HEADER_LEN_SHORT }
    }

    /// A received packet, in one buffer or in several.
    fn packet(&mut self, ring: &mut Ring) {
        let can_merge = self.has(MRG_RXBUF);
        let count = if can_merge && self.random.once_in(2) { 1 + self.random.below(ring.held.len().min(6)) } else { 1 };
        let mut left = PACKET_LEN_MAX + self.header_len();
        let chains: Vec<Chain> = ring.held[..count].to_vec();
        for (index, chain) in chains.iter().enumerate() {
            self.scribble(chain);
            if index == 0 {
                self.header(chain, count as u16);
            }
            let least = if index == 0 { self.header_len() } else { 0 };
            let room = chain.writable_len().min(left).saturating_sub(least) as usize;
            let len = least + self.random.below(room + 1) as u32;
            left -= len;
            ring.give(chain.id.into(), len);
        }
        self.packets += 1;
    }

    /// A header of random flags, kind, lengths and places, and this number of buffers.
    fn header(&mut self, chain: &Chain, buffers: u16) {
        let mut bytes = [0; HEADER_LEN as usize];
        self.random.fill(&mut bytes);
        bytes[10..].copy_from_slice(&buffers.to_le_bytes());
        let start = chain.parts[0].range.start;
        (start..).zip(&bytes[..self.header_len() as usize]).for_each(|(at, byte)| store(at, *byte));
    }

    /// Does what a request asks for. Returns how many bytes it wrote.
    fn serve(&mut self, chain: &Chain, status: u8) -> u32 {
        let sector: u64 = load(chain.parts[0].range.start + 8);
        chain.writable().for_each(|part| fill(&part.range, byte_of(sector)));
        let end = chain.parts.last().expect("a chain has parts").range.end;
        store(end - 1, status);
        chain.writable_len()
    }

    /// Puts anything into a buffer.
    fn scribble(&mut self, chain: &Chain) {
        let byte = self.random.next() as u8;
        chain.writable().for_each(|part| fill(&part.range, byte));
    }

    /// Puts anything into all buffers that it has.
    pub(super) fn scribble_all(&mut self) {
        let byte = self.random.next() as u8;
        let parts = self.rings.iter().flatten().flat_map(|ring| &ring.held).flat_map(Chain::writable);
        parts.for_each(|part| fill(&part.range, byte));
    }

    /// Tells a lie. False where it has nothing to lie about.
    fn tell(&mut self, lie: Lie, number: usize, ring: &mut Ring) -> bool {
        let Some(chain) = ring.held.first().cloned() else { return false };
        let id = u32::from(chain.id);
        let receives = self.kind != Kind::Net || number == RECEIVE;
        // What a legacy disk says that it wrote may be anything.
        let is_believed = receives && (self.kind != Kind::Block || self.has(32));
        match lie {
            Lie::UnknownId => ring.give(self.random.pick(&[ring.len.into(), 65_536 + id, u32::MAX, 1 << 31]), 16),
            Lie::NotGiven => {
                let is_held = |id: &u32| ring.held.iter().any(|chain| u32::from(chain.id) == *id);
                let Some(id) = (0..ring.len.into()).rev().find(|id| !is_held(id)) else { return false };
                ring.give(id, HEADER_LEN);
            }
            Lie::Twice => {
                self.answer(number, ring);
                ring.give(ring.last_given(), 1);
            }
            Lie::TooLong if is_believed => ring.give(id, chain.writable_len() + 1 + self.random.below(4096) as u32),
            Lie::FarTooLong if is_believed => ring.give(id, u32::MAX - self.random.below(16) as u32),
            Lie::TooShort if is_believed => return self.too_short(ring, &chain),
            Lie::Ahead => ring.jump(1 + self.random.below(3 * usize::from(ring.len)) as u16),
            Lie::Back => ring.jump(0_u16.wrapping_sub(1 + self.random.below(3 * usize::from(ring.len)) as u16)),
            Lie::NoBuffers | Lie::MoreBuffers if receives && self.has(MRG_RXBUF) => {
                let more = self.random.pick(&[2, 3, 257, u16::MAX]);
                self.header(&chain, if lie == Lie::NoBuffers { 0 } else { more });
                ring.give(id, self.header_len() + 1);
            }
            Lie::BadStatus => {
                let status = 3 + self.random.below(253) as u8;
                let len = self.serve(&chain, status);
                ring.give(id, len);
            }
            Lie::NeedsReset => self.ask_for_reset(),
            _ => return false,
        }
        ring.publish();
        true
    }

    fn too_short(&mut self, ring: &mut Ring, chain: &Chain) -> bool {
        let len = match self.kind {
            Kind::Net => self.random.below(self.header_len() as usize) as u32,
            Kind::Rng => 0,
            // Only of a read it must say more than the status.
            Kind::Block if chain.writable_len() == 1 => return false,
            Kind::Block => self.serve(chain, 0) - 2,
        };
        ring.give(chain.id.into(), len);
        ring.publish();
        true
    }
}
