//! What the loader tells: memory map, command line, ACPI root, modules (Xen,
//! include/public/arch-x86/hvm/start_info.h).
//!
//! It lies in memory that will become heap, so everything but the modules is copied out.

use super::memory;
use core::{ffi::CStr, ops::Range};

const MAGIC: u32 = 0x336e_c578;
/// Regions kept; the loaders seen give at most ten.
const REGIONS_MAX: usize = 32;
/// Longer command lines are refused: a silent cut would be a silent default.
const COMMAND_LINE_LEN_MAX: usize = 2048;
/// Modules kept; QEMU and Firecracker pass one at most.
pub(super) const MODULES_MAX: usize = 16;
/// The longest name of a module: names are file names.
const NAME_LEN_MAX: usize = 255;

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

#[repr(C)]
struct RawModule {
    start: u64,
    len: u64,
    command_line: u64,
    reserved: u64,
}

#[derive(Clone, Copy)]
struct Module {
    start: u64,
    end: u64,
    name: [u8; NAME_LEN_MAX],
    name_len: usize,
}

/// A memory map entry of this kind is RAM.
const KIND_RAM: u32 = 1;

/// The loader's word, copied.
pub(super) struct StartInfo {
    ram: [(u64, u64); REGIONS_MAX],
    ram_len: usize,
    command_line: [u8; COMMAND_LINE_LEN_MAX],
    command_line_len: usize,
    modules: [Module; MODULES_MAX],
    modules_len: usize,
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
            modules: [Module { start: 0, end: 0, name: [0; NAME_LEN_MAX], name_len: 0 }; MODULES_MAX],
            modules_len: 0,
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
        for index in 0..raw.module_count as usize {
            // SAFETY: the loader's table has `module_count` entries.
            let module = unsafe { &*(raw.modules as usize as *const RawModule).add(index) };
            if module.len > 0 {
                // SAFETY: an entry of the loader's table, whose memory is as it was.
                unsafe { info.add_module(module) }?;
            }
        }
        Ok(info)
    }

    /// # Safety
    ///
    /// The command line of the module, if it has one, is still there.
    unsafe fn add_module(&mut self, raw: &RawModule) -> Result<(), &'static str> {
        let too_many = "the loader passed more than 16 boot modules; put them into one cpio archive";
        let module = self.modules.get_mut(self.modules_len).ok_or(too_many)?;
        let misplaced = "the loader put a boot module where the image is; pass a smaller one, or give the machine more memory with -m";
        (module.start, module.end) = (raw.start, raw.start.checked_add(raw.len).ok_or(misplaced)?);
        if module.start < memory::LOW_END || memory::overlaps_ours(&(module.start..module.end)) {
            return Err(misplaced);
        }
        if raw.command_line != 0 {
            // SAFETY: the loader's command line is a C string.
            let name = unsafe { CStr::from_ptr(raw.command_line as usize as *const _) }.to_bytes();
            let copy = module.name.get_mut(..name.len());
            copy.ok_or("the name of a boot module is longer than 255 bytes; shorten it")?.copy_from_slice(name);
            module.name_len = name.len();
        }
        self.modules_len += 1;
        Ok(())
    }

    /// Where the modules are, and their names: empty where the loader gave none. No page of a module is anything else,
    /// once it was mapped.
    pub(super) fn modules(&self) -> impl Iterator<Item = (Range<u64>, &[u8])> + '_ {
        let modules = &self.modules[..self.modules_len];
        modules.iter().map(|module| (module.start..module.end, &module.name[..module.name_len]))
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
