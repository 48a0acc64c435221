//! The command as people call it: its QEMU command lines, its error texts, and the life of a VM under it.
#![forbid(unsafe_code)]

mod boot_disks;
#[cfg(feature = "aws")]
mod clouds;
mod deploy;
mod disks;
mod errors;
mod image_files;
mod images;
mod instances;
mod keys;
mod life;
#[cfg(feature = "aws")]
mod moto;
mod networks;
mod new;
mod qemu_line;
mod saved_log;
mod support;
