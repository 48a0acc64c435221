//! Disks for unikernels: [`Disk`], a block device that tasks share; [`Volume`], the files on it.
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
pub use config::{CONFIG_PARTITION, ConfigPartition};
pub use disk::{CacheStats, Disk, seal::Sealer};
pub use error::{Cause, Error, Result};
pub use file::File;
pub use metadata::{Entry, Format, Kind, Metadata, Space, VolumeInfo};
pub use volume::Volume;
