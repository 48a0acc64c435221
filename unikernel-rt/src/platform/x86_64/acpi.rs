//! The few facts we need from the firmware's tables (ACPI 6.5, chapter 5): where the I/O APIC is, how to power off, what
//! tells of the power button, and which virtio devices the DSDT names. No AML is interpreted: the DSDT is searched for device ids and the
//! resource descriptors that follow them.

use super::{memory, start_info::StartInfo};
use alloc::vec::Vec;
use core::{ops::Range, slice};

/// What the tables said. All of it may be missing.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) io_apics: Vec<IoApic>,
    /// Where the hypervisor's id of this life of the machine is.
    pub(super) vm_generation: Option<u64>,
    /// Inputs of the I/O APIC that are not where the old interrupt number says.
    overrides: Vec<Override>,
    /// The power management events of machines that have them.
    pub(super) events: Option<PowerEvents>,
    /// The DSDT, where virtio-mmio devices are described.
    dsdt: &'static [u8],
}

const HEADER_LEN: usize = 36;
/// The search area of the root pointer on PC firmware.
const BIOS_AREA: Range<u64> = 0xe_0000..0x10_0000;
/// Tables longer than this are not believed.
const TABLE_LEN_MAX: u64 = 1 << 20;

/// More are not believed: hypervisors have one or two, and 24 to 32 virtio-mmio devices.
const IO_APICS_MAX: usize = 16;
const MMIO_DEVICES_MAX: usize = 128;

/// Reads the tables.
pub(super) fn read(info: &StartInfo) -> Facts {
    let mut facts = Facts::default();
    let Some(root) = info.rsdp.or_else(find_root) else { return facts };
    for table in root_entries(root) {
        let Some(table) = load(table) else { continue };
        match &table[..4] {
            b"APIC" => {
                facts.io_apics = io_apics(table);
                facts.overrides = overrides(table);
            }
            b"SSDT" => facts.vm_generation = facts.vm_generation.or_else(|| vm_generation(table)),
            b"FACP" => {
                super::power::learn(table);
                facts.events = power_events(table);
                // The 64-bit field counts where it is set (ACPI 6.5, 5.2.9).
                let wide = number(table, 140, 8).filter(|address| *address != 0);
                facts.dsdt = wide.or_else(|| number(table, 40, 4)).and_then(load).unwrap_or_default();
                facts.vm_generation = facts.vm_generation.or_else(|| vm_generation(facts.dsdt));
            }
            _ => {}
        }
    }
    facts
}

/// A little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + len)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Bytes of the firmware's; none where no memory is.
fn map(start: u64, len: u64) -> &'static [u8] {
    let Some(bytes) = start.checked_add(len).and_then(|end| memory::map_firmware(start..end)) else { return &[] };
    // SAFETY: mapped just now; firmware tables lie in memory that nobody writes.
    unsafe { slice::from_raw_parts(bytes, len as usize) }
}

fn find_root() -> Option<u64> {
    let area = map(BIOS_AREA.start, BIOS_AREA.end - BIOS_AREA.start);
    let found = area.chunks_exact(16).position(|chunk| chunk.starts_with(b"RSD PTR "))?;
    Some(BIOS_AREA.start + found as u64 * 16)
}

/// Addresses in the XSDT, or in the RSDT where there is no XSDT.
pub(super) fn root_entries(root: u64) -> Vec<u64> {
    let root = map(root, 36);
    let revision = root.get(15).copied().unwrap_or(0);
    let xsdt = number(root, 24, 8).filter(|address| revision >= 2 && *address != 0);
    let (table, width) = match xsdt {
        Some(address) => (load(address), 8),
        None => (number(root, 16, 4).and_then(load), 4),
    };
    let Some(table) = table else { return Vec::new() };
    table[HEADER_LEN..].chunks_exact(width).filter_map(|entry| number(entry, 0, width)).collect()
}

/// The whole table at `address`, if its checksum is right.
pub(super) fn load(address: u64) -> Option<&'static [u8]> {
    // What an address of zero stands for: there is none.
    if address == 0 {
        return None;
    }
    let len = number(map(address, HEADER_LEN as u64), 4, 4)?;
    if !(HEADER_LEN as u64..=TABLE_LEN_MAX).contains(&len) {
        return None;
    }
    let table = map(address, len);
    let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    (sum == 0 && !table.is_empty()).then_some(table)
}

/// Where a table of a device `VM_Gen_Counter` says that the id is: in `ADDR`, a package of its low and its high half
/// (Microsoft, Virtual Machine Generation ID). QEMU computes that in a method, from the address of a structure, `VGIA`, in
/// which the id is at offset 40 (docs/specs/vmgenid).
pub(super) fn vm_generation(table: &[u8]) -> Option<u64> {
    const QEMU_OFFSET: u64 = 40;
    const NAME: u8 = 0x08;
    const PACKAGE: u8 = 0x12;
    find(table, b"VM_Gen_Counter")?;
    if let Some(at) = find(table, b"VGIA").filter(|at| *at > 0 && table[at - 1] == NAME) {
        let (address, _) = integer(table.get(at + 4..)?)?;
        return address.checked_add(QEMU_OFFSET).filter(|_| address != 0);
    }
    let at = find(table, b"ADDR")?;
    let [PACKAGE, _, 2, halves @ ..] = table.get(at + 4..)? else { return None };
    let (low, len) = integer(halves)?;
    let (high, _) = integer(halves.get(len..)?)?;
    Some(high << 32 | low).filter(|address| *address != 0)
}

/// A constant of AML, and how many bytes it takes (ACPI 6.5, 20.2.3).
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let len = match bytes.first()? {
        0 => return Some((0, 1)),
        1 => return Some((1, 1)),
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    Some((number(bytes, 1, len)?, len + 1))
}

/// An I/O APIC and the global number of its first input.
#[derive(Clone, Copy)]
pub(super) struct IoApic {
    pub(super) registers: u64,
    pub(super) first_line: u32,
}

/// The I/O APICs of the MADT (ACPI 6.5, 5.2.12.3).
pub(super) fn io_apics(table: &[u8]) -> Vec<IoApic> {
    const IO_APIC: u8 = 1;
    let apics = madt_entries(table, IO_APIC)
        .filter_map(|e| Some(IoApic { registers: number(e, 4, 4)?, first_line: number(e, 8, 4)? as u32 }));
    apics.take(IO_APICS_MAX).collect()
}

/// The entries of this kind, each from its first byte to the end of the table.
fn madt_entries(table: &[u8], kind: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = table.get(HEADER_LEN + 8..).unwrap_or_default();
    let all = core::iter::from_fn(move || {
        let entry = rest;
        let len = usize::from(*entry.get(1)?);
        rest = entry.get(len.max(2)..).unwrap_or_default();
        Some(entry)
    });
    all.filter(move |entry| entry[0] == kind)
}

/// Where an old interrupt number leads (ACPI 6.5, 5.2.12.5).
pub(super) struct Override {
    number: u8,
    input: Input,
}

/// An input of the I/O APICs.
#[derive(Clone, Copy)]
pub(super) struct Input {
    pub(super) line: u32,
    pub(super) active_low: bool,
}

pub(super) fn overrides(table: &[u8]) -> Vec<Override> {
    const OVERRIDE: u8 = 2;
    const ACTIVE_LOW: u64 = 3;
    let read = |e: &[u8]| {
        let active_low = number(e, 8, 2)? & 3 == ACTIVE_LOW;
        Some(Override { number: *e.get(3)?, input: Input { line: number(e, 4, 4)? as u32, active_low } })
    };
    madt_entries(table, OVERRIDE).filter_map(read).collect()
}

/// Ports and interrupt of the power management events (ACPI 6.5, 4.8.4.1 and 5.2.9).
pub(super) struct PowerEvents {
    /// The status register; the other half of the block is the register that enables.
    pub(super) status_port: u16,
    pub(super) enable_port: u16,
    pub(super) control_port: u16,
    /// Where to write what to turn ACPI on; port 0 where it is on.
    pub(super) command_port: u16,
    pub(super) command_enable: u8,
    /// The old number of the interrupt.
    pub(super) interrupt: u8,
}

pub(super) fn power_events(fadt: &[u8]) -> Option<PowerEvents> {
    /// The power button is a device of its own, not an event of the block.
    const CONTROL_METHOD_BUTTON: u64 = 1 << 4;
    let port = |at| number(fadt, at, 4).map(|port| port as u16);
    let (block, len) = (port(56)?, number(fadt, 88, 1)? as u16);
    if block == 0 || len < 4 || number(fadt, 112, 4)? & CONTROL_METHOD_BUTTON != 0 {
        return None;
    }
    Some(PowerEvents {
        status_port: block,
        enable_port: block.checked_add(len / 2)?,
        control_port: port(64)?,
        command_port: port(48)?,
        command_enable: number(fadt, 52, 1)? as u8,
        interrupt: number(fadt, 46, 2)? as u8,
    })
}

/// A device in memory: its registers and its line at the I/O APIC.
pub(super) struct MmioDevice {
    pub(super) registers: Range<u64>,
    pub(super) line: u32,
}

impl Facts {
    /// The I/O APIC whose input `line` is, and that input's number there.
    pub(super) fn io_apic_of(&self, line: u32) -> (u64, u32) {
        let known = self.io_apics.iter().filter(|apic| apic.first_line <= line).max_by_key(|apic| apic.first_line);
        // Without tables: the usual places, and 24 inputs each, as QEMU's microvm has them.
        let guess = match line {
            ..24 => IoApic { registers: 0xfec0_0000, first_line: 0 },
            24.. => IoApic { registers: 0xfec1_0000, first_line: 24 },
        };
        let apic = known.copied().unwrap_or(guess);
        (apic.registers, line - apic.first_line)
    }

    /// The input that an old interrupt number leads to; `sci`: that of ACPI, which is active low if nothing is said.
    pub(super) fn input_of(&self, number: u8, sci: bool) -> Input {
        let known = self.overrides.iter().find(|known| known.number == number).map(|known| known.input);
        known.unwrap_or(Input { line: number.into(), active_low: sci })
    }

    /// QEMU's device for events of machines without power management registers: `ACPI0013` (ACPI 6.5, 5.6.9). Its
    /// registers have no place in the standard; QEMU names them `EREG`, and a device without that name is another.
    pub(super) fn event_device(&self) -> Option<MmioDevice> {
        const ID: &[u8] = b"ACPI0013\0";
        /// An extended interrupt descriptor with one interrupt: its number follows flags and count.
        const INTERRUPT: &[u8] = &[0x89, 0x06, 0x00];
        /// `OperationRegion (EREG, SystemMemory, ` and the prefix of a number of four bytes.
        const REGISTERS: &[u8] = b"\x5b\x80EREG\x00\x0c";
        const LEN: u64 = 4;
        let device = &self.dsdt[find(self.dsdt, ID)?..];
        let line = number(device, find(device, INTERRUPT)? + 5, 4)? as u32;
        let base = number(device, find(device, REGISTERS)? + REGISTERS.len(), 4)?;
        base.is_multiple_of(LEN).then(|| MmioDevice { registers: base..base + LEN, line })
    }

    /// The devices `LNRO0005` of the DSDT, which is how virtio-mmio appears there.
    pub(super) fn virtio_mmio(&self) -> Vec<MmioDevice> {
        mmio_devices(self.dsdt)
    }
}

/// The devices `LNRO0005` of a table.
pub(super) fn mmio_devices(table: &[u8]) -> Vec<MmioDevice> {
    const ID: &[u8] = b"LNRO0005\0";
    let mut devices = Vec::new();
    let mut rest = table;
    while let Some(at) = find(rest, ID)
        && devices.len() < MMIO_DEVICES_MAX
    {
        rest = &rest[at + ID.len()..];
        let end = find(rest, ID).unwrap_or(rest.len());
        devices.extend(resources(&rest[..end]));
    }
    devices
}

/// Where `pattern` first is. Looks at its first byte first: tables are long and boots should be short.
fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        from += bytes[from..].iter().position(|byte| *byte == pattern[0])?;
        if bytes[from..].starts_with(pattern) {
            return Some(from);
        }
        from += 1;
    }
}

/// The memory range and interrupt of one device (ACPI 6.5, 6.4.3.4 and 6.4.3.6).
fn resources(device: &[u8]) -> Option<MmioDevice> {
    /// Tag, length 9, read-write flag, then base and length.
    const MEMORY32_FIXED: &[u8] = &[0x86, 0x09, 0x00];
    /// Tag; the length depends on the number of interrupts; flags and count follow.
    const EXTENDED_INTERRUPT: u8 = 0x89;
    let at = find(device, MEMORY32_FIXED)?;
    let (base, len) = (number(device, at + 4, 4)?, number(device, at + 8, 4)?);
    let rest = device.get(at + 12..)?;
    let line = match *rest.first()? {
        EXTENDED_INTERRUPT => number(rest, 5, 4)?,
        _ => return None,
    };
    Some(MmioDevice { registers: base..base + len, line: line as u32 })
}
