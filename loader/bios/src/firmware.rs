//! What the BIOS knows: the disk, the memory map, and where the ACPI tables are.

use crate::real_mode::{Registers, call, packet_address};
use core::{ops::Range, slice};
use unikernel_loader::{ReadAt, gpt::SECTOR_LEN, memory::Ram};

/// The BIOS reads to here; `real_mode` has the map.
const BUFFER: usize = 0x2_0000;
/// Some read no more at once.
const SECTORS_MAX: u64 = 127;

/// The disk that the machine was started from.
pub(crate) struct Disk {
    drive: u8,
    /// The sectors that the buffer holds.
    held: Range<u64>,
}

impl Disk {
    pub(crate) fn new(drive: u8) -> Disk {
        Disk { drive, held: 0..0 }
    }

    /// Has the buffer hold this sector and those behind it, as many as `count`.
    fn hold(&mut self, sector: u64, count: u64) -> Result<(), &'static str> {
        if self.held.contains(&sector) {
            return Ok(());
        }
        self.held = 0..0;
        let count = count.clamp(1, SECTORS_MAX);
        // At the end of the disk there may be fewer; one is always asked for by somebody.
        let read = [count, 1].into_iter().find(|count| self.read(sector, *count));
        let count = read.ok_or("the disk cannot be read; write the image to it again, or to another one")?;
        self.held = sector..sector + count;
        Ok(())
    }

    fn read(&self, sector: u64, count: u64) -> bool {
        let address = (BUFFER as u64 >> 4) << 48 | count << 16 | 16;
        let registers =
            Registers { eax: 0x4200, edx: self.drive.into(), esi: packet_address().into(), ..Registers::default() };
        // SAFETY: INT 13h, function 42h, writes `count` sectors to the buffer, which is ours and has 64 KiB.
        let (answer, _) = unsafe { call(0x13, registers, [address, sector, 0]) };
        !answer.has_failed()
    }
}

impl ReadAt for Disk {
    fn read_at(&mut self, mut place: u64, mut bytes: &mut [u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let within = place % SECTOR_LEN;
            // The tables of a file system are read by few bytes at a time, and mostly in order.
            self.hold(place / SECTOR_LEN, (within + bytes.len() as u64).div_ceil(SECTOR_LEN).max(16))?;
            let start = place - self.held.start * SECTOR_LEN;
            let len = ((self.held.end - self.held.start) * SECTOR_LEN - start).min(bytes.len() as u64) as usize;
            // SAFETY: the buffer has 64 KiB, which the BIOS filled up to the end of `held`; nobody writes there now.
            let held = unsafe { slice::from_raw_parts((BUFFER + start as usize) as *const u8, len) };
            let (part, rest) = bytes.split_at_mut(len);
            part.copy_from_slice(held);
            place += len as u64;
            bytes = rest;
        }
        Ok(())
    }
}

/// The RAM of the machine (INT 15h, function E820h).
pub(crate) fn ram() -> Result<Ram, &'static str> {
    const SIGNATURE: u32 = u32::from_be_bytes(*b"SMAP");
    /// Maps are not longer; a BIOS that never comes to an end is not waited for.
    const ENTRIES_MAX: usize = 256;
    let mut ram = Ram::default();
    let mut next = 0;
    for _ in 0..ENTRIES_MAX {
        let registers = Registers {
            eax: 0xe820,
            ebx: next,
            ecx: 24,
            edx: SIGNATURE,
            edi: packet_address().into(),
            ..Registers::default()
        };
        // SAFETY: it writes an entry of 24 bytes to the packet. The last field is 1 if it does not.
        let (answer, [start, len, kind]) = unsafe { call(0x15, registers, [0, 0, 1 << 32]) };
        if answer.has_failed() || answer.eax != SIGNATURE {
            break;
        }
        let (is_ram, is_valid) = (kind as u32 == 1, kind >> 32 & 1 != 0);
        if is_ram && is_valid {
            ram.add(start..start.saturating_add(len));
        }
        next = answer.ebx;
        if next == 0 {
            break;
        }
    }
    if ram.end() == 0 { Err("the BIOS does not tell what memory there is; boot by UEFI") } else { Ok(ram) }
}

/// The root of the ACPI tables, on a multiple of sixteen in the first KiB of the extended BIOS data or in the BIOS itself (ACPI 6.5,
/// 5.2.5.1). Zero without.
pub(crate) fn rsdp() -> u64 {
    // SAFETY: the BIOS keeps there, for ever, where its extended data is; the lowest pages are mapped one to one.
    let segment = unsafe { (0x40e as *const u16).read_volatile() };
    let extended = u64::from(segment) << 4;
    let areas = [extended..extended + 1024, 0xe_0000..0x10_0000];
    // Below 0x80000 there is none of the firmware's.
    let areas = areas.into_iter().filter(|area| area.start >= 0x8_0000);
    areas.flat_map(|area| area.step_by(16)).find(|address| is_root(*address)).unwrap_or(0)
}

fn is_root(address: u64) -> bool {
    // SAFETY: twenty bytes below 1 MiB or just above, which is mapped and has no devices' registers in these areas.
    let root = unsafe { slice::from_raw_parts(address as *const u8, 20) };
    root.starts_with(b"RSD PTR ") && root.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}
