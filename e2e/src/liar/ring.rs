//! The machine's memory, and the rings in it (virtio 1.2, 2.7), seen from the device.

use std::{fs::File, os::unix::fs::FileExt, rc::Rc};

const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const FLAG_INDIRECT: u16 = 4;
const DESCRIPTOR_LEN: u64 = 16;

/// A range of the machine's memory that lies in a file.
pub struct Region {
    pub guest: u64,
    /// Where QEMU has it mapped; addresses of rings are told in these.
    pub user: u64,
    pub len: u64,
    pub offset: u64,
    pub file: File,
}

/// All ranges.
#[derive(Default)]
pub struct Memory(pub Vec<Region>);

impl Memory {
    /// The machine's address of one of QEMU's.
    pub fn guest_of(&self, user: u64) -> u64 {
        let region = self.0.iter().find(|region| (region.user..region.user + region.len).contains(&user));
        let region = region.expect("QEMU names addresses that it has told of");
        user - region.user + region.guest
    }

    fn place(&self, guest: u64) -> (&File, u64) {
        let region = self.0.iter().find(|region| (region.guest..region.guest + region.len).contains(&guest));
        let region = region.unwrap_or_else(|| panic!("the driver names {guest:#x}, which is no memory"));
        (&region.file, guest - region.guest + region.offset)
    }

    fn read<const LEN: usize>(&self, guest: u64) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let (file, at) = self.place(guest);
        file.read_exact_at(&mut bytes, at).expect("it is memory");
        bytes
    }

    fn write(&self, guest: u64, bytes: &[u8]) {
        let (file, at) = self.place(guest);
        file.write_all_at(bytes, at).expect("it is memory");
    }

    fn read_u16(&self, guest: u64) -> u16 {
        u16::from_le_bytes(self.read(guest))
    }
}

/// Addresses and indices of the one queue.
#[derive(Default)]
pub struct Queue {
    pub memory: Rc<Memory>,
    pub len: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    pub next_available: u16,
    next_used: u16,
}

impl Queue {
    /// The chains that the driver has made available since the last call.
    pub fn take(&mut self) -> Vec<Chain> {
        let mut chains = Vec::new();
        while self.next_available != self.memory.read_u16(self.available + 2) {
            let slot = u64::from(self.next_available % self.len);
            let head = self.memory.read_u16(self.available + 4 + 2 * slot);
            chains.push(Chain::of(&self.memory, self.descriptors, head));
            self.next_available = self.next_available.wrapping_add(1);
        }
        chains
    }

    /// Writes entries of the used ring, and shows them.
    pub fn put(&mut self, entries: &[(u32, u32)]) {
        for (id, len) in entries {
            let slot = u64::from(self.next_used % self.len);
            let entry = (u64::from(*len) << 32 | u64::from(*id)).to_le_bytes();
            self.memory.write(self.used + 4 + 8 * slot, &entry);
            self.next_used = self.next_used.wrapping_add(1);
        }
        self.memory.write(self.used + 2, &self.next_used.to_le_bytes());
    }

    /// Whether the driver wants to be interrupted.
    pub fn wants_interrupts(&self) -> bool {
        self.memory.read_u16(self.available) & 1 == 0
    }
}

/// A request: its first descriptor, and the ranges of memory it is made of.
pub struct Chain {
    memory: Rc<Memory>,
    pub head: u16,
    parts: Vec<(u64, u32, bool)>,
}

impl Chain {
    fn of(memory: &Rc<Memory>, table: u64, head: u16) -> Chain {
        let mut parts = Vec::new();
        let (mut table, mut number) = (table, head);
        loop {
            let [address, words] =
                [0, 8].map(|at| u64::from_le_bytes(memory.read(table + DESCRIPTOR_LEN * u64::from(number) + at)));
            let (len, flags, next) = (words as u32, (words >> 32) as u16, (words >> 48) as u16);
            if flags & FLAG_INDIRECT != 0 {
                (table, number) = (address, 0);
                continue;
            }
            parts.push((address, len, flags & FLAG_WRITE != 0));
            assert!(parts.len() <= 256, "a chain without an end");
            if flags & FLAG_NEXT == 0 {
                return Chain { memory: Rc::clone(memory), head, parts };
            }
            number = next;
        }
    }

    /// `VIRTIO_BLK_T_…`
    pub fn kind(&self) -> u32 {
        u32::from_le_bytes(self.memory.read(self.parts[0].0))
    }

    fn data(&self) -> impl Iterator<Item = &(u64, u32, bool)> {
        self.parts[..self.parts.len() - 1].iter().filter(|(_, _, writes)| *writes)
    }

    /// How much is to be read.
    pub fn data_len(&self) -> usize {
        self.data().map(|(_, len, _)| *len as usize).sum()
    }

    fn status_place(&self) -> u64 {
        let (address, len, writes) = *self.parts.last().expect("no chain is empty");
        assert!(len == 1 && writes, "a chain without a status");
        address
    }

    /// Writes what was read, and the status. How many bytes that is.
    pub fn write(&self, mut data: &[u8], status: u8) -> u32 {
        let mut written = 1;
        for (address, len, _) in self.data() {
            let part = data.split_off(..data.len().min(*len as usize)).expect("not longer than it is");
            self.memory.write(*address, part);
            written += part.len() as u32;
        }
        self.memory.write(self.status_place(), &[status]);
        written
    }

    /// Puts back what no device writes.
    pub fn unwrite_status(&self) {
        self.memory.write(self.status_place(), &[0xff]);
    }
}
