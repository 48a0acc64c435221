//! The guest whose disk is measured: the kernel, its modules for disks and file systems, and the program that works.

use std::path::Path;

use super::Linux;
use super::cpio::Archive;
use super::packages::Unpacked;
use crate::vm::Guest;
use crate::{Result, error};

/// In the order in which they depend on each other. ext4 is built into Debian's kernel.
const MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
    "lib/libcrc32c.ko",
    "fs/erofs/erofs.ko",
];

/// The kernel hands `work` and `count` from its command line on to us. Requests are not sorted: there is no head to
/// move.
const INIT: &str = "#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for m in MODULES; do [ -e /lib/modules/$m ] && $B insmod /lib/modules/$m; done
echo none > /sys/block/vda/queue/scheduler
/bin/disk-linux $work $count
exec $B poweroff -f
";

impl Linux {
    /// The guest that does this work to its disk.
    pub fn disk_guest(&self, work: &str, count: u64, disk: &Path) -> Guest {
        let guest = self.with(&self.disk);
        let arguments = format!("{} work={work} count={count}", guest.arguments);
        Guest { arguments, disk: Some(disk.to_owned()), ..guest }
    }
}

/// The initial file system, with the program that works.
pub fn initial_files(unpacked: &Unpacked, program: &[u8]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "mnt", "lib", "lib/modules"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", &unpacked.read("bin/busybox")?);
    archive.link("bin/sh", "busybox");
    archive.file("bin/disk-linux", program);
    let mut names = Vec::new();
    for path in MODULES {
        // A module that is not there is built into the kernel.
        let Ok(module) = unpacked.read(path) else { continue };
        let name = path.rsplit('/').next().unwrap_or(path);
        archive.file(&format!("lib/modules/{name}"), &module);
        names.push(name);
    }
    if !names.contains(&"virtio_blk.ko") {
        return Err(error("the kernel package has no virtio_blk; leave Linux out with --no-linux"));
    }
    archive.file("init", INIT.replace("MODULES", &names.join(" ")).as_bytes());
    Ok(archive.finish())
}
