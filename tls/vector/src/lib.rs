//! AES-GCM (NIST SP 800-38D) with the CPU's own instructions, in assembly.
//!
//! This crate is the one place outside the platform layer with `unsafe` code, for this reason: images are compiled for
//! a target without vector registers (`x86_64-unknown-none` is soft-float), on which rustc offers no intrinsics for AES
//! and carry-less multiplication, and software takes more than ten times as long. Assembly may use the registers, as
//!
//! - compiled code for that target never touches them, and on the workstation the System V ABI lets every function
//!   destroy all of them;
//! - interrupt handlers of the runtime are compiled for the same target, so they neither use nor need to save them;
//! - a call is made and returns within one poll of one task on one core, so nobody else's values are ever in them.
//!
//! The functions take pointers and integers only. [`Key::new`] returns `None` where the CPU, or what set it up, does
//! not offer the instructions; then the caller uses software.
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(target_arch = "x86_64")]
mod aes_gcm;
#[cfg(target_arch = "x86_64")]
mod cpu;
#[cfg(not(target_arch = "x86_64"))]
mod missing;

#[cfg(target_arch = "x86_64")]
pub use aes_gcm::Key;
#[cfg(not(target_arch = "x86_64"))]
pub use missing::Key;

/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;

/// The tag did not fit the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;
