//! Opens an image on the workstation and runs asynchronous code on it.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};
use unikernel_blockfs::{Disk, Volume};
use unikernel_rt::sim::{self, FileDisk};

/// An image, or one partition of it.
#[derive(clap::Args, Clone, Debug)]
pub struct Image {
    /// The image of a disk.
    #[arg(id = "image", value_name = "IMAGE")]
    pub path: PathBuf,
    /// Takes this partition of it, counted from 1.
    #[arg(long, value_name = "N")]
    pub partition: Option<u32>,
}

/// What is done with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is changed, while no VM has it.
    Write,
}

/// Runs `work` on the disk.
pub fn on_disk<T: 'static>(
    image: &Image,
    access: Access,
    work: impl AsyncFnOnce(Disk) -> Result<T> + 'static,
) -> Result<T> {
    let path = &image.path;
    // A POSIX lock goes when its process closes any handle of the file, so this is held until the last one is closed.
    let _lock = if access == Access::Write { Some(lock(path)?) } else { None };
    let device = FileDisk::device(path, access == Access::Write).map_err(|error| refused(path, &error))?;
    let partition = image.partition;
    sim::run("", async move {
        let disk = Disk::new(device);
        match partition {
            None => work(disk).await,
            Some(number) => {
                let part = disk.partition(number).await;
                work(part.with_context(|| format!("cannot take partition {number}"))?).await
            }
        }
    })
}

/// Runs `work` on the files of the disk.
pub fn on_volume<T: 'static>(
    image: &Image,
    access: Access,
    work: impl AsyncFnOnce(Volume) -> Result<T> + 'static,
) -> Result<T> {
    let name = image.path.display().to_string();
    on_disk(image, access, async move |disk| work(Volume::mount(disk).await.with_context(|| name)?).await)
}

fn refused(path: &Path, error: &io::Error) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => {
            anyhow!(
                "there is no image {path}; `cargo unikernel image fs create -o {path} FOLDER` makes one of files, \
                 `cargo unikernel run --volume NAME={path},size=64M` one that an app fills"
            )
        }
        ErrorKind::IsADirectory => anyhow!("{path} is a folder; give an image of a disk"),
        _ => anyhow!("cannot open {path}: {error}"),
    }
}

/// Keeps VMs from opening the image, and fails if one has it. QEMU locks single bytes of the file, and this all of them.
fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| refused(path, &error))?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::AGAIN | Errno::ACCESS) => bail!("{} is in use; stop the VM that has it", path.display()),
        // File systems without locks: then QEMU has none either.
        Err(_) => Ok(file),
    }
}
