//! The PCI bus: configuration space through ports 0xcf8 and 0xcfc, found functions, capabilities, MSI-X
//! (PCI Local Bus Specification 3.0, chapter 6).
//!
//! Interrupts are MSI-X only: wiring of the old interrupt pins is described in AML, which we do not interpret.

use super::{apic, memory, port};
use alloc::vec::Vec;
use core::ops::Range;

/// A function of a device.
#[derive(Clone, Copy)]
pub(super) struct Function {
    bus: u8,
    device: u8,
    function: u8,
}

const VENDOR_NONE: u16 = 0xffff;
const CAPABILITY_MSIX: u8 = 0x11;
const COMMAND: u8 = 0x04;
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

    pub(super) fn vendor(self) -> u16 {
        self.read(0) as u16
    }

    pub(super) fn device_id(self) -> u16 {
        (self.read(0) >> 16) as u16
    }

    fn header_kind(self) -> u8 {
        (self.read(0x0c) >> 16) as u8
    }

    /// Lets the function answer at its memory ranges and start transfers.
    pub(super) fn enable(self) {
        self.write(COMMAND, self.read(COMMAND) & 0xffff | COMMAND_MEMORY | COMMAND_MASTER);
    }

    /// Capabilities as (id, offset).
    pub(super) fn capabilities(self) -> impl Iterator<Item = (u8, u8)> {
        const STATUS_LIST: u32 = 1 << 20;
        let first = if self.read(COMMAND) & STATUS_LIST != 0 { self.read(0x34) as u8 & 0xfc } else { 0 };
        let mut next = first;
        core::iter::from_fn(move || {
            let offset = (next != 0).then_some(next)?;
            let head = self.read(offset);
            next = (head >> 8) as u8 & 0xfc;
            Some((head as u8, offset))
        })
        .take(CAPABILITIES_MAX)
    }

    /// Maps `len` bytes at `offset` of memory range `bar`. `None` when the range is none of memory, or was not given
    /// an address by the firmware.
    pub(super) fn map_bar(self, bar: u8, offset: u32, len: u32) -> Option<*mut u8> {
        let register = 0x10 + 4 * bar;
        let low = (bar < 6).then(|| self.read(register))?;
        let wide = low & 0b110 == 0b100;
        let high = if wide && bar < 5 { self.read(register + 4) } else { 0 };
        let base = u64::from(high) << 32 | u64::from(low & !0xf);
        if low & 1 != 0 || base == 0 {
            return None;
        }
        let start = base.checked_add(offset.into())?;
        Some(memory::map_device(start..start.checked_add(len.into())?))
    }

    /// Turns MSI-X on with every entry masked.
    pub(super) fn msix(self) -> Option<Msix> {
        let (_, offset) = self.capabilities().find(|(id, _)| *id == CAPABILITY_MSIX)?;
        let control = self.read(offset);
        let entries = (control >> 16 & 0x7ff) as u16 + 1;
        let table = self.read(offset + 4);
        let registers = self.map_bar(table as u8 & 7, table & !7, u32::from(entries) * 16)?;
        let mut msix = Msix { table: registers.cast(), entries };
        (0..entries).for_each(|entry| msix.mask(entry));
        const ENABLE: u32 = 1 << 31;
        const MASK_ALL: u32 = 1 << 30;
        self.write(offset, control & !MASK_ALL | ENABLE);
        Some(msix)
    }
}

/// The interrupt table of one function.
pub(super) struct Msix {
    table: *mut u32,
    entries: u16,
}

impl Msix {
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
    let mut found = Vec::new();
    scan_bus(0, vendor, &mut found);
    found
}

fn scan_bus(bus: u8, vendor: u16, found: &mut Vec<Function>) {
    const MULTIFUNCTION: u8 = 0x80;
    for device in 0..32 {
        let first = Function { bus, device, function: 0 };
        if first.vendor() == VENDOR_NONE {
            continue;
        }
        let functions: Range<u8> = if first.header_kind() & MULTIFUNCTION != 0 { 0..8 } else { 0..1 };
        for function in functions {
            scan_function(Function { bus, device, function }, vendor, found);
        }
    }
}

fn scan_function(function: Function, vendor: u16, found: &mut Vec<Function>) {
    const BRIDGE: u8 = 1;
    let its_vendor = function.vendor();
    if its_vendor == VENDOR_NONE {
        return;
    }
    if its_vendor == vendor {
        found.push(function);
    }
    if function.header_kind() & 0x7f == BRIDGE {
        let secondary = (function.read(0x18) >> 8) as u8;
        // A bridge to itself or upwards would be followed for ever.
        if secondary > function.bus {
            scan_bus(secondary, vendor, found);
        }
    }
}
