//! A split virtqueue from the device's side (virtio 1.2, 2.7), which also looks whether the driver keeps the rules.

use super::super::super::memory;
use alloc::vec::Vec;
use core::ops::Range;

const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const FLAG_INDIRECT: u16 = 4;
const DESCRIPTOR_LEN: u64 = 16;
const ENTRIES: u64 = 4;

/// A buffer of a chain.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Physical addresses.
    pub(super) range: Range<u64>,
    pub(super) is_writable: bool,
}

/// What the driver gave at once.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) id: u16,
    pub(super) parts: Vec<Part>,
}

impl Chain {
    pub(super) fn writable(&self) -> impl DoubleEndedIterator<Item = &Part> {
        self.parts.iter().filter(|part| part.is_writable)
    }

    pub(super) fn writable_len(&self) -> u32 {
        self.writable().map(|part| (part.range.end - part.range.start) as u32).sum()
    }
}

pub(super) struct Ring {
    pub(super) len: u16,
    descriptors: u64,
    available: u64,
    used: u64,
    seen: u16,
    index: u16,
    /// What the device has.
    pub(super) held: Vec<Chain>,
    /// Descriptors that it was done with before it had them.
    early: Vec<u16>,
    /// It jumped with its index, or was done with more than it had: whatever the ring of used ones holds may be read.
    is_wild: bool,
}

impl Ring {
    pub(super) fn new(len: u32, descriptors: u64, available: u64, used: u64) -> Ring {
        assert!(len.is_power_of_two() && len <= 1 << 15, "the driver set up a queue of {len}");
        let (held, early) = (Vec::new(), Vec::new());
        Ring { len: len as u16, descriptors, available, used, seen: 0, index: 0, held, early, is_wild: false }
    }

    /// The memory that both share.
    pub(super) fn memory(&self) -> [Range<u64>; 3] {
        let len = u64::from(self.len);
        [
            self.descriptors..self.descriptors + len * DESCRIPTOR_LEN,
            self.available..self.available + ENTRIES + len * 2,
            self.used..self.used + ENTRIES + len * 8,
        ]
    }

    /// Takes what the driver has shown since.
    pub(super) fn take(&mut self) {
        let index: u16 = load(self.available + 2);
        assert!(
            self.is_wild || index.wrapping_sub(self.seen) <= self.len,
            "the driver showed more than the ring holds"
        );
        while self.seen != index {
            let id: u16 = load(self.available + ENTRIES + u64::from(self.seen % self.len) * 2);
            self.seen = self.seen.wrapping_add(1);
            if let Some(at) = self.early.iter().position(|early| *early == id) {
                self.early.swap_remove(at);
                continue;
            }
            let is_held = self.held.iter().any(|chain| chain.id == id);
            assert!(self.is_wild || !is_held, "the driver gave descriptor {id} twice");
            if !is_held {
                self.held.push(Chain { id, parts: self.chain(id) });
            }
        }
        self.forget_wild();
    }

    fn chain(&self, id: u16) -> Vec<Part> {
        let mut parts = Vec::new();
        let (mut table, mut len, mut id) = (self.descriptors, self.len, id);
        loop {
            assert!(id < len && parts.len() <= usize::from(self.len), "the driver gave a chain without an end");
            let at = table + u64::from(id) * DESCRIPTOR_LEN;
            let (start, size, flags): (u64, u32, u16) = (load(at), load(at + 8), load(at + 12));
            if flags & FLAG_INDIRECT != 0 {
                assert!(table == self.descriptors && flags == FLAG_INDIRECT, "the driver gave a table in a table");
                (table, len, id) = (start, (u64::from(size) / DESCRIPTOR_LEN) as u16, 0);
                continue;
            }
            let is_writable = flags & FLAG_WRITE != 0;
            let is_in_order = is_writable || parts.last().is_none_or(|last: &Part| !last.is_writable);
            assert!(size > 0 && is_in_order, "the driver gave a buffer to read behind one to write, or an empty one");
            memory::reach(start, size.into());
            parts.push(Part { range: start..start + u64::from(size), is_writable });
            if flags & FLAG_NEXT == 0 {
                return parts;
            }
            id = load(at + 14);
        }
    }

    /// Is done with a descriptor, whether it has it or not; the driver sees it after [`publish`](Self::publish).
    pub(super) fn give(&mut self, id: u32, len: u32) {
        let place = self.used + ENTRIES + u64::from(self.index % self.len) * 8;
        store(place, id);
        store(place + 4, len);
        self.index = self.index.wrapping_add(1);
        match self.held.iter().position(|chain| u32::from(chain.id) == id) {
            Some(at) => drop(self.held.swap_remove(at)),
            None if id < u32::from(self.len) => {
                self.early.push(id as u16);
                self.is_wild = true;
            }
            None => {}
        }
    }

    pub(super) fn publish(&mut self) {
        store(self.used + 2, self.index);
        self.forget_wild();
    }

    /// When it is wild the driver may take back whatever the ring of used ones names.
    fn forget_wild(&mut self) {
        if self.is_wild {
            let entries = (0..u64::from(self.len)).map(|place| load::<u32>(self.used + ENTRIES + place * 8));
            let ids: Vec<u32> = entries.collect();
            self.held.retain(|chain| !ids.contains(&chain.id.into()));
        }
    }

    /// What it was done with last.
    pub(super) fn last_given(&self) -> u32 {
        load(self.used + ENTRIES + u64::from(self.index.wrapping_sub(1) % self.len) * 8)
    }

    /// Jumps with the index.
    pub(super) fn jump(&mut self, by: u16) {
        self.index = self.index.wrapping_add(by);
        self.is_wild = true;
        self.publish();
    }

    /// Wants a doorbell, or not.
    pub(super) fn set_silent(&mut self, silent: bool) {
        store(self.used, u16::from(silent));
    }
}

/// Reads as a device does.
pub(super) fn load<T: Copy>(physical: u64) -> T {
    let place = memory::reach(physical, size_of::<T>() as u64).cast::<T>();
    // SAFETY: RAM that is mapped, as checked; every value of the types asked for is valid; aligned, as queues are.
    unsafe { place.read_volatile() }
}

/// Writes as a device does: only to what the driver gave it to write.
pub(super) fn store<T: Copy>(physical: u64, value: T) {
    let place = memory::reach(physical, size_of::<T>() as u64).cast::<T>();
    // SAFETY: RAM that is mapped, as checked, and that the driver shares; aligned, as queues are.
    unsafe { place.write_volatile(value) }
}

/// Fills a buffer as a device does.
pub(super) fn fill(range: &Range<u64>, byte: u8) {
    let len = range.end - range.start;
    let place = memory::reach(range.start, len);
    // SAFETY: RAM that is mapped, as checked, and that the driver gave to be written.
    unsafe { place.write_bytes(byte, len as usize) };
}
