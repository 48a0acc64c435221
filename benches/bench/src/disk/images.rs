//! The disks: images that Debian's tools make, in the cache folder, and empty ones.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::DiskCase;
use super::work::{BLOCK_LEN, LARGE_FILE, Offsets, SOME_FILE, Sum};
use crate::linux::{content, page};
use crate::report::Side;
use crate::{Result, error};

/// What is on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Image {
    /// One large file.
    Large,
    /// 10,000 files.
    Many,
    /// The page of 600 bytes.
    Site,
    /// Our store of keys and values, or ext4 with a database: nothing yet.
    Store,
    /// A file system that is written: nothing yet.
    Volume,
}

/// The images, once they are made.
pub struct Images {
    folder: PathBuf,
}

/// Another name for every change of what the images hold.
const FOLDER: &str = "disks-1";
/// 62,500 blocks.
const LARGE_LEN: usize = 256_000_000;
/// 10,000 files of 100,000 bytes, a hundred in each folder.
const FOLDERS: usize = 100;
const FILES: usize = 100;
const FILE_LEN: usize = 100_000;
/// Enough for all that is written, journal included.
const EMPTY_LEN: usize = 128 << 20;

impl Images {
    /// Where the images are, once [`prepare`](Self::prepare) has made them.
    pub fn in_cache(cache: &Path) -> Images {
        Images { folder: cache.join(FOLDER) }
    }

    /// Makes the images that are missing. It takes some seconds and gigabytes.
    pub fn prepare(&self) -> Result {
        fs::create_dir_all(&self.folder)?;
        self.erofs("large", |folder| Ok(fs::write(folder.join(LARGE_FILE), content(LARGE_LEN))?))?;
        self.erofs("many", write_many)?;
        self.erofs("site", |folder| Ok(fs::write(folder.join("index.html"), page())?))
    }

    /// The disk for a case, ready for this side, and in the host's memory as far as it is read.
    pub fn disk(&self, image: Image, side: Side) -> Result<PathBuf> {
        let path = match image {
            Image::Large => self.folder.join("large.erofs"),
            Image::Many => self.folder.join("many.erofs"),
            Image::Site => self.folder.join("site.erofs"),
            Image::Store | Image::Volume => return self.empty(side),
        };
        io::copy(&mut File::open(&path)?, &mut io::sink())?;
        Ok(path)
    }

    /// What a guest must have read; `None` where it checks by itself what it has written.
    pub fn sum(&self, case: &DiskCase, count: u64) -> Result<Option<Sum>> {
        let mut sum = Sum::default();
        match case.id {
            "seq-read" => sum.take(0, &content(LARGE_LEN)),
            "mount" => {
                let (folder, file) = SOME_FILE.split_once('/').ok_or_else(|| error("the file is in a folder"))?;
                let file = file.trim_end_matches(".bin");
                sum.take(0, &file_content(&many_content(), folder.parse()?, file.parse()?));
            }
            "random-read" => {
                let disk = File::open(self.folder.join("large.erofs"))?;
                let mut block = [0; BLOCK_LEN];
                for offset in Offsets::new(disk.metadata()?.len(), count) {
                    disk.read_exact_at(&mut block, offset)?;
                    sum.take(offset, &block);
                }
            }
            _ => return Ok(None),
        }
        Ok(Some(sum))
    }

    /// An image of the files that `write` puts into a folder.
    fn erofs(&self, name: &str, write: impl FnOnce(&Path) -> Result) -> Result {
        let image = self.folder.join(name).with_extension("erofs");
        if image.exists() {
            return Ok(());
        }
        let (files, new) = (self.folder.join(name), image.with_extension("new"));
        // What an interrupted run has left.
        if files.exists() {
            fs::remove_dir_all(&files)?;
        }
        fs::create_dir_all(&files)?;
        write(&files)?;
        run(Command::new("mkfs.erofs").arg("--quiet").arg(&new).arg(&files))?;
        fs::remove_dir_all(&files)?;
        Ok(fs::rename(new, image)?)
    }

    /// A disk of zeros, with an empty ext4 for Linux. The zeros are written, or the host's file system would be measured
    /// as it finds room for each block.
    fn empty(&self, side: Side) -> Result<PathBuf> {
        let path = self.folder.join("empty.img");
        let mut file = File::create(&path)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..EMPTY_LEN / zeros.len() {
            file.write_all(&zeros)?;
        }
        if side == Side::Linux {
            // Nothing is left for the kernel to do later. `nodiscard` leaves the zeros where they are.
            let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
            run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-E", options]).arg(&path))?;
        }
        file.sync_all()?;
        Ok(path)
    }
}

/// The bytes of which every file has its own part.
fn many_content() -> Vec<u8> {
    content(FILE_LEN + 8 * FOLDERS * FILES)
}

fn file_content(all: &[u8], folder: usize, file: usize) -> Vec<u8> {
    all[8 * (folder * FILES + file)..][..FILE_LEN].to_vec()
}

fn write_many(root: &Path) -> Result {
    let all = many_content();
    for folder in 0..FOLDERS {
        let path = root.join(folder.to_string());
        fs::create_dir(&path)?;
        for file in 0..FILES {
            fs::write(path.join(format!("{file}.bin")), file_content(&all, folder, file))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|cause| error(format!("cannot start {name}: {cause}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(error(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_content_of_its_own() {
        let all = many_content();
        let first = file_content(&all, 0, 0);
        let last = file_content(&all, FOLDERS - 1, FILES - 1);
        assert_eq!((first.len(), last.len()), (FILE_LEN, FILE_LEN));
        assert_ne!(first, last);
        assert_ne!(first, file_content(&all, 0, 1));
    }
}
