//! The disk that is uploaded: which of its blocks are not empty, and their checksums.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

/// A snapshot's blocks (EBS direct APIs, `BlockSize`).
pub const BLOCK_LEN: usize = 512 * 1024;
/// Volumes have whole GiB.
const VOLUME_UNIT: u64 = 1 << 30;

/// A raw disk, opened; its file may be removed.
pub struct Disk {
    file: File,
    /// Of the file.
    pub len: u64,
    /// Of all its bytes, in hex.
    pub sha256: String,
    /// How many blocks are not empty.
    pub block_count: i32,
    /// Of the blocks' checksums.
    pub checksum: String,
}

/// Part of the disk; behind its end there are zeros.
pub struct Block {
    /// Its place, in blocks.
    pub index: i32,
    /// [`BLOCK_LEN`] of them.
    pub bytes: Vec<u8>,
}

impl Block {
    /// Its checksum.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

impl Disk {
    /// Opens a raw disk, and reads it once.
    pub fn open(path: &Path) -> Result<Disk> {
        let cannot = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(cannot)?;
        let len = file.metadata().with_context(cannot)?.len();
        let disk = Disk { file, len, sha256: String::new(), block_count: 0, checksum: String::new() };
        let (mut whole, mut sums, mut block_count) = (Sha256::new(), Checksum::default(), 0);
        for block in disk.all_blocks() {
            let block = block.with_context(cannot)?;
            let rest = len - block.index as u64 * BLOCK_LEN as u64;
            whole.update(&block.bytes[..BLOCK_LEN.min(usize::try_from(rest).unwrap_or(BLOCK_LEN))]);
            if !is_empty(&block) {
                block_count += 1;
                sums.add(&block.sha256());
            }
        }
        let sha256 = whole.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Disk { sha256, block_count, checksum: sums.finish(), ..disk })
    }

    /// The blocks that are not empty, in their order.
    pub fn blocks(&self) -> impl Iterator<Item = Result<Block>> {
        let blocks = self.all_blocks().filter(|block| !block.as_ref().is_ok_and(is_empty));
        blocks.map(|block| block.context("cannot read the disk"))
    }

    fn all_blocks(&self) -> impl Iterator<Item = std::io::Result<Block>> {
        (0..self.len.div_ceil(BLOCK_LEN as u64)).map(|index| {
            let mut bytes = vec![0; BLOCK_LEN];
            let start = index * BLOCK_LEN as u64;
            let here = BLOCK_LEN.min(usize::try_from(self.len - start).unwrap_or(BLOCK_LEN));
            self.file.read_exact_at(&mut bytes[..here], start)?;
            let index = i32::try_from(index).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
            Ok(Block { index, bytes })
        })
    }

    /// The size of a volume that holds it, in GiB.
    pub fn volume_gib(&self) -> i32 {
        // A disk whose blocks have numbers of 31 bits has fewer.
        i32::try_from(self.len.div_ceil(VOLUME_UNIT).max(1)).unwrap_or(i32::MAX)
    }
}

fn is_empty(block: &Block) -> bool {
    block.bytes.iter().all(|byte| *byte == 0)
}

/// The checksum of a snapshot: that of the checksums of its blocks, one behind the other ("linear").
#[derive(Default)]
pub struct Checksum(Sha256);

impl Checksum {
    /// The next block's.
    pub fn add(&mut self, block: &[u8; 32]) {
        self.0.update(block);
    }

    /// As the API takes it.
    pub fn finish(self) -> String {
        BASE64_STANDARD.encode(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn disk(content: &[u8]) -> Disk {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        Disk::open(file.path()).unwrap()
    }

    #[test]
    fn empty_blocks_are_left_out_and_the_last_is_filled_up() {
        let mut content = vec![0; 3 * BLOCK_LEN + 5];
        (content[7], content[3 * BLOCK_LEN + 4]) = (1, 2);
        let disk = disk(&content);
        let blocks: Vec<Block> = disk.blocks().map(Result::unwrap).collect();
        assert_eq!(blocks.iter().map(|block| block.index).collect::<Vec<_>>(), [0, 3]);
        assert!(blocks.iter().all(|block| block.bytes.len() == BLOCK_LEN));
        assert_eq!((blocks[0].bytes[7], &blocks[1].bytes[..6]), (1, &[0, 0, 0, 0, 2, 0][..]));
        assert_eq!((disk.block_count, disk.len, disk.volume_gib()), (2, content.len() as u64, 1));
        let sums = blocks.iter().flat_map(Block::sha256).collect::<Vec<u8>>();
        assert_eq!(disk.checksum, BASE64_STANDARD.encode(Sha256::digest(sums)));
    }

    #[test]
    fn its_checksum_is_that_of_the_file() {
        // FIPS 180-2, B.1.
        assert_eq!(disk(b"abc").sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        // FIPS 180-2, B.3, which is longer than a block.
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(disk(&[b'a'; 1_000_000]).sha256, million);
    }

    #[test]
    fn volumes_have_whole_gib() {
        for (len, expected) in [(0, 1), (1, 1), (1 << 30, 1), ((1 << 30) + 1, 2)] {
            assert_eq!(Disk { len, ..disk(b"") }.volume_gib(), expected, "{len}");
        }
    }
}
