//! Disks for unikernels: [`Disk`], a block device that tasks share; [`Volume`], the files on it.
//!
//! ```
//! # use unikernel_rt::sim::SimDisk;
//! # unikernel_rt::sim::run("", async {
//! use unikernel_blockfs::{Disk, Format, Volume};
//!
//! # let device = SimDisk::new(4 << 20).device();
//! let volume = Volume::mount_or_format(Disk::new(device), Format::Littlefs).await?;
//! volume.write("greeting.txt", b"hello").await?;
//! assert_eq!(&volume.read("greeting.txt", 4096).await?[..], b"hello");
//! # Ok::<_, unikernel_blockfs::Error>(())
//! # }).unwrap();
//! ```
//!
//! An app does not open its device: `main` asks for a `Volume`, a `Disk` or a [`KvStore`](kv::KvStore), and gets what the machine has.
//!
//! | for | look at |
//! |---|---|
//! | files, of any format | [`Volume`], [`File`]; [`Format`] says which there are, and which can be written to |
//! | keys and values, durable and in transactions | [`kv`] |
//! | a disk as it is, and the partitions on it | [`Disk`], [`partition`] |
//! | making an image on the workstation | `erofs::Builder` |
//! | settings on a partition of their own | [`ConfigPartition`] |
//! | a disk that is checked against tampering and decay | [`Sealer`]; [`Volume::check`] |
//! | tests, and what a loss of power does | [`unikernel_rt::sim::SimDisk`] |
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod check;
mod config;
mod disk;
mod draft;
#[cfg(feature = "erofs")]
pub mod erofs;
mod error;
#[cfg(feature = "ext4")]
mod ext4;
#[cfg(feature = "fat")]
mod fat;
mod file;
mod fs;
pub mod kv;
#[cfg(feature = "littlefs")]
mod littlefs;
mod metadata;
mod mount;
pub mod partition;
mod path;
#[cfg(feature = "tar")]
mod tar;
mod volume;

pub use check::Report;
pub use config::{CONFIG_MARK, CONFIG_PARTITION, ConfigPartition};
pub use disk::{CacheStats, Disk, seal::Sealer};
pub use error::{Cause, Error, Result};
pub use file::File;
pub use metadata::{Entry, Format, Kind, Metadata, Space, VolumeInfo};
pub use volume::Volume;
