//! What the kernel is told: the start info of PVH, version 1 (Xen, include/public/arch-x86/hvm/start_info.h).

use crate::{
    arguments::{self, Line},
    memory::{PIECES_MAX, Ram},
};
use core::mem::offset_of;

const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
const KIND_RAM: u32 = 1;

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Region {
    start: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

/// The start info and all that it leads to. It lies below 1 GiB, where the kernel can read it, and stays until it did.
#[repr(C)]
pub struct StartInfo {
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
    regions: [Region; PIECES_MAX],
    line: [u8; arguments::LEN_MAX + 1],
}

impl StartInfo {
    /// All of it, to be put at the physical address `at`. An `rsdp` of zero is none.
    pub fn new(at: u64, line: &Line, ram: &Ram, rsdp: u64) -> StartInfo {
        let mut regions = [Region::default(); PIECES_MAX];
        let mut count = 0;
        for (region, piece) in regions.iter_mut().zip(ram.pieces()) {
            *region = Region { start: piece.start, len: piece.end - piece.start, kind: KIND_RAM, reserved: 0 };
            count += 1;
        }
        let mut copy = [0; arguments::LEN_MAX + 1];
        copy[..line.with_nul().len()].copy_from_slice(line.with_nul());
        StartInfo {
            magic: MAGIC,
            version: VERSION,
            flags: 0,
            module_count: 0,
            modules: 0,
            command_line: at + offset_of!(StartInfo, line) as u64,
            rsdp,
            memory_map: at + offset_of!(StartInfo, regions) as u64,
            memory_map_entries: count,
            reserved: 0,
            regions,
            line: copy,
        }
    }
}

const _: () = assert!(size_of::<StartInfo>() <= crate::memory::PAGE as usize, "one page holds it");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_to_its_parts() {
        let mut ram = Ram::default();
        ram.add(0x1000..0x9_f000);
        ram.add(0x10_0000..0x400_0000);
        let info = StartInfo::new(0x5000, &Line::parse(b"a=b c").unwrap(), &ram, 7);
        assert_eq!((info.command_line, info.memory_map), (0x5000 + 56 + 32 * 24, 0x5000 + 56));
        assert_eq!((info.memory_map_entries, info.rsdp), (2, 7));
        assert_eq!((info.regions[1].start, info.regions[1].len, info.regions[1].kind), (0x10_0000, 0x3f0_0000, 1));
        assert!(info.line.starts_with(b"a=b c\0"));
    }
}
