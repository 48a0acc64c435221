//! The stage of the end-to-end tests: [`image`] builds what is tested, [`vm`] runs it, [`client`] uses it.
//!
//! Whatever waits here waits for an event, within [`PATIENCE`].
#![forbid(unsafe_code)]

pub mod boot_disk;
pub mod browser;
pub mod client;
pub mod dnsmasq;
pub mod image;
pub mod liar;
pub mod namespace;
pub mod nginx;
pub mod noise;
pub mod output;
pub mod qemu;
pub mod qmp;
pub mod server;
pub mod transcript;
pub mod vm;
pub mod wire;

use std::time::Duration;

/// Beyond this, what a test waits for will not happen. Generous: an emulated machine on a busy computer is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);
