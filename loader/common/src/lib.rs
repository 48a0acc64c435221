//! What the two loaders of a disk image share. `loader/uefi` and `loader/bios` start where the firmware calls them, read
//! two files from the EFI system partition, and end in [`handover`].
//!
//! | question | module |
//! |---|---|
//! | where are the files, if the firmware knows no file system? | [`gpt`], [`fat`] |
//! | what is in the kernel's file, and where is it entered? | [`kernel`] |
//! | which arguments does it get? | [`arguments`] |
//! | where is there room for it? | [`memory`] |
//! | what is it told, and how is it entered? | [`start_info`], [`handover`] |
#![no_std]
#![deny(unsafe_code)]

pub mod arguments;
pub mod fat;
pub mod gpt;
#[expect(unsafe_code, reason = "it leaves 64-bit mode and enters another program")]
pub mod handover;
pub mod kernel;
pub mod memory;
pub mod start_info;

#[cfg(test)]
extern crate std;

/// The kernel's path on the EFI system partition.
pub const KERNEL_PATH: [&str; 2] = ["unikernel", "kernel.elf"];
/// The path of its boot arguments.
pub const ARGUMENTS_PATH: [&str; 2] = ["unikernel", "boot-arguments.txt"];

/// Bytes that can be read by their place; the end of a read must be within them.
pub trait ReadAt {
    /// Fills `bytes` with what is at `place`.
    ///
    /// # Errors
    ///
    /// It cannot be read; the error says what to do.
    fn read_at(&mut self, place: u64, bytes: &mut [u8]) -> Result<(), &'static str>;
}

impl ReadAt for &[u8] {
    fn read_at(&mut self, place: u64, bytes: &mut [u8]) -> Result<(), &'static str> {
        let from = usize::try_from(place).ok().and_then(|place| self.get(place..)?.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or("something lies beyond its end; create the image again")?);
        Ok(())
    }
}

/// A little-endian number of up to eight bytes at `at`, which the caller has checked to be there.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
