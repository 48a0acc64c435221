//! The loader for a BIOS: a boot sector, and what it loads. `real_mode` begins; `start` reads the kernel and its boot arguments
//! from the EFI system partition, tells the kernel what the machine has, and enters it.
//!
//! Linked as one flat file (`bios.ld`): the first 512 bytes are the boot sector, in which whoever makes a disk notes where the
//! rest lies. On a workstation it is an empty program, so that the whole workspace can be built there.
#![cfg_attr(target_os = "none", no_main, no_std)]

#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod firmware;
#[cfg(target_os = "none")]
mod real_mode;
#[cfg(target_os = "none")]
mod start;

#[cfg(not(target_os = "none"))]
fn main() {}
