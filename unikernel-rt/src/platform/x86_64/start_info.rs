//! What the loader tells: memory map, command line, ACPI root (Xen, include/public/arch-x86/hvm/start_info.h).
//!
//! It lies in memory that will become heap, so everything is copied out.

use core::{ffi::CStr, ops::Range};

const MAGIC: u32 = 0x336e_c578;
/// Regions kept; the loaders seen give at most ten.
const REGIONS_MAX: usize = 32;
/// Longer command lines are refused: a silent cut would be a silent default.
const COMMAND_LINE_LEN_MAX: usize = 2048;

#[repr(C)]
struct RawStartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
struct RawRegion {
    start: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

/// A memory map entry of this kind is RAM.
const KIND_RAM: u32 = 1;

/// The loader's word, copied.
pub(super) struct StartInfo {
    ram: [(u64, u64); REGIONS_MAX],
    ram_len: usize,
    command_line: [u8; COMMAND_LINE_LEN_MAX],
    command_line_len: usize,
    /// Physical address of the ACPI root pointer, if the loader knows it.
    pub(super) rsdp: Option<u64>,
}

impl StartInfo {
    /// Copies the start info at `address`.
    ///
    /// # Safety
    ///
    /// `address` is what the loader passed to the PVH entry, and nothing has been written to free memory yet.
    pub(super) unsafe fn read(address: u32) -> Result<StartInfo, &'static str> {
        // SAFETY: the loader's structure, mapped one to one; it is at least four-byte aligned and of version 1,
        // which the magic number shows.
        let raw = unsafe { &*(address as usize as *const RawStartInfo) };
        if raw.magic != MAGIC || raw.version < 1 {
            return Err("the loader did not pass a PVH start info of version 1; boot the image with -kernel");
        }
        let mut info = StartInfo {
            ram: [(0, 0); REGIONS_MAX],
            ram_len: 0,
            command_line: [0; COMMAND_LINE_LEN_MAX],
            command_line_len: 0,
            rsdp: (raw.rsdp != 0).then_some(raw.rsdp),
        };
        for index in 0..raw.memory_map_entries as usize {
            // SAFETY: the loader's table has `memory_map_entries` entries.
            let region = unsafe { &*(raw.memory_map as usize as *const RawRegion).add(index) };
            if region.kind == KIND_RAM && region.len > 0 && info.ram_len < REGIONS_MAX {
                info.ram[info.ram_len] = (region.start, region.start.saturating_add(region.len));
                info.ram_len += 1;
            }
        }
        if raw.command_line != 0 {
            // SAFETY: the loader's command line is a C string.
            let line = unsafe { CStr::from_ptr(raw.command_line as usize as *const _) }.to_bytes();
            let copy = info.command_line.get_mut(..line.len());
            copy.ok_or("the command line is longer than 2048 bytes; shorten it")?.copy_from_slice(line);
            info.command_line_len = line.len();
        }
        Ok(info)
    }

    /// The ranges of physical memory that are RAM, in the loader's order.
    pub(super) fn ram(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ram[..self.ram_len].iter().map(|&(start, end)| start..end)
    }

    /// The command line; an error where it is not text.
    pub(super) fn command_line(&self) -> Result<&str, &'static str> {
        core::str::from_utf8(&self.command_line[..self.command_line_len])
            .map_err(|_| "the command line is not UTF-8; write its arguments in UTF-8")
    }
}
