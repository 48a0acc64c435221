//! The PCI bus: configuration space through ports 0xcf8 and 0xcfc, found functions, capabilities, MSI-X
//! (PCI Local Bus Specification 3.0, chapter 6).
//!
//! Interrupts are MSI-X only: wiring of the old interrupt pins is described in AML, which we do not interpret.

use super::{apic, memory, port};
use alloc::vec::Vec;
use core::{mem, ops::Range};

/// A function of a device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    bus: u8,
    device: u8,
    function: u8,
}

const VENDOR_NONE: u16 = 0xffff;
const CAPABILITY_MSIX: u8 = 0x11;
const COMMAND: u8 = 0x04;
const HEADER_KIND: u8 = 0x0c;
const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
/// Capability lists longer than configuration space are loops.
const CAPABILITIES_MAX: usize = 48;

impl Function {
    pub(super) fn read(self, offset: u8) -> u32 {
        self.select(offset);
        // SAFETY: the data port of configuration space; reading it touches no memory.
        unsafe { port::read(0xcfc) }
    }

    fn write(self, offset: u8, value: u32) {
        self.select(offset);
        // SAFETY: as above; what is written are command bits and the MSI-X enable bit.
        unsafe { port::write(0xcfc, value) }
    }

    fn select(self, offset: u8) {
        let address = 1 << 31
            | u32::from(self.bus) << 16
            | u32::from(self.device) << 11
            | u32::from(self.function) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: the address port of configuration space.
        unsafe { port::write(0xcf8, address) }
    }

    /// Bus, device and function.
    #[cfg(feature = "selftest")]
    pub(super) fn place(self) -> [u8; 3] {
        [self.bus, self.device, self.function]
    }

    pub(super) fn device_id(self) -> u16 {
        (self.read(0) >> 16) as u16
    }

    /// Lets the function answer at its memory ranges and start transfers.
    pub(super) fn enable(self) {
        self.write(COMMAND, self.read(COMMAND) & 0xffff | COMMAND_MEMORY | COMMAND_MASTER);
    }

    /// Turns MSI-X on with every entry masked.
    pub(super) fn msix(self) -> Option<Msix> {
        let (offset, entries, table) = msix_table(&|offset| self.read(offset))?;
        let mut msix = Msix { table: memory::map_device(table).cast(), entries };
        (0..entries).for_each(|entry| msix.mask(entry));
        const ENABLE: u32 = 1 << 31;
        const MASK_ALL: u32 = 1 << 30;
        self.write(offset, self.read(offset) & !MASK_ALL | ENABLE);
        Some(msix)
    }
}

/// Capabilities as (id, offset), of the configuration space that `read` reads, which may say anything.
pub(super) fn capabilities(read: &impl Fn(u8) -> u32) -> impl Iterator<Item = (u8, u8)> {
    const STATUS_LIST: u32 = 1 << 20;
    let first = if read(COMMAND) & STATUS_LIST != 0 { read(0x34) as u8 & 0xfc } else { 0 };
    let mut next = first;
    core::iter::from_fn(move || {
        let offset = (next != 0).then_some(next)?;
        let head = read(offset);
        next = (head >> 8) as u8 & 0xfc;
        Some((head as u8, offset))
    })
    .take(CAPABILITIES_MAX)
}

/// Where `len` bytes at `offset` of memory range `bar` are. `None` when the range is none of memory, was not given an
/// address by the firmware, or got one that the CPU does not have.
pub(super) fn bar_range(read: &impl Fn(u8) -> u32, bar: u8, offset: u32, len: u32) -> Option<Range<u64>> {
    let register = (bar < 6).then(|| 0x10 + 4 * bar)?;
    let low = read(register);
    let wide = low & 0b110 == 0b100;
    let high = if wide && bar < 5 { read(register + 4) } else { 0 };
    let base = u64::from(high) << 32 | u64::from(low & !0xf);
    if low & 1 != 0 || base == 0 {
        return None;
    }
    memory::physical_range(base.checked_add(offset.into())?, len.into())
}

/// The MSI-X capability: its offset, how many entries the table has, and where it is.
pub(super) fn msix_table(read: &impl Fn(u8) -> u32) -> Option<(u8, u16, Range<u64>)> {
    const CAPABILITY_END: u8 = 0xf4;
    let is_msix = |(id, offset): &(u8, u8)| *id == CAPABILITY_MSIX && *offset <= CAPABILITY_END;
    let (_, offset) = capabilities(read).find(is_msix)?;
    let entries = (read(offset) >> 16 & 0x7ff) as u16 + 1;
    let table = read(offset + 4);
    let range = bar_range(read, table as u8 & 7, table & !7, u32::from(entries) * 16)?;
    Some((offset, entries, range))
}

/// The interrupt table of one function.
pub(super) struct Msix {
    table: *mut u32,
    entries: u16,
}

impl Msix {
    /// One without entries.
    #[cfg(feature = "selftest")]
    pub(super) fn empty() -> Msix {
        Msix { table: core::ptr::null_mut(), entries: 0 }
    }

    /// Lets `entry` interrupt this core as `vector`. False when there is no such entry.
    pub(super) fn route(&mut self, entry: u16, vector: u8) -> bool {
        if entry >= self.entries {
            return false;
        }
        self.set(entry, [apic::MESSAGE_ADDRESS, 0, vector.into(), 0]);
        true
    }

    fn mask(&mut self, entry: u16) {
        self.set(entry, [0, 0, 0, 1]);
    }

    fn set(&mut self, entry: u16, words: [u32; 4]) {
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: `entry` is one of the table's, which `Function::msix` mapped in full.
            unsafe { self.table.add(usize::from(entry) * 4 + index).write_volatile(word) };
        }
    }
}

/// Every function of `vendor`, in the order of the bus.
pub(super) fn functions(vendor: u16) -> Vec<Function> {
    scan(vendor, &|function, offset| function.read(offset))
}

/// The same on the buses that `read` reads. Each is looked at once, whatever bridges lead to it.
pub(super) fn scan(vendor: u16, read: &impl Fn(Function, u8) -> u32) -> Vec<Function> {
    const BRIDGE: u32 = 1;
    let mut found = Vec::new();
    let mut is_known = [false; 256];
    // From the last to the first, so that what is behind a bridge comes next.
    let mut waiting = on_bus(0, read);
    while let Some(function) = waiting.pop() {
        let its_vendor = read(function, 0) as u16;
        if its_vendor == vendor {
            found.push(function);
        }
        if its_vendor != VENDOR_NONE && read(function, HEADER_KIND) >> 16 & 0x7f == BRIDGE {
            let secondary = (read(function, 0x18) >> 8) as u8;
            // A bridge upwards, or a second one to the same bus, is one that nobody set up.
            if secondary > function.bus && !mem::replace(&mut is_known[usize::from(secondary)], true) {
                waiting.extend(on_bus(secondary, read));
            }
        }
    }
    found
}

/// Where functions may be on a bus, from the last to the first.
fn on_bus(bus: u8, read: &impl Fn(Function, u8) -> u32) -> Vec<Function> {
    const MULTIFUNCTION: u32 = 0x80 << 16;
    let mut functions = Vec::new();
    for device in (0..32).rev() {
        let first = Function { bus, device, function: 0 };
        if read(first, 0) as u16 == VENDOR_NONE {
            continue;
        }
        let last = if read(first, HEADER_KIND) & MULTIFUNCTION != 0 { 7 } else { 0 };
        functions.extend((0..=last).rev().map(|function| Function { bus, device, function }));
    }
    functions
}
