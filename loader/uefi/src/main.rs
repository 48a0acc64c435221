//! The loader for UEFI: reads the kernel and its boot arguments from the partition it was started from, tells the kernel what
//! the machine has, and enters it.
//!
//! On a workstation it is an empty program, so that the whole workspace can be built there.
#![cfg_attr(target_os = "uefi", no_main, no_std)]

#[cfg(target_os = "uefi")]
mod files;
#[cfg(target_os = "uefi")]
mod start;

#[cfg(not(target_os = "uefi"))]
fn main() {}
