//! Files in chunks as mkfs.erofs 1.5 does not make them: with holes, and with long indexes. The images are its own, with
//! fields changed.

use crate::{
    tools::{folder, mkfs, run},
    tree::content,
};
use std::fs;
use unikernel_blockfs::{Disk, Volume};
use unikernel_rt::sim::SimDisk;

const CHUNKS: usize = 64;
const HOLE: u32 = u32::MAX;

/// An image with one file of 64 different chunks of a block each.
struct Image {
    bytes: Vec<u8>,
    /// Where its inode is, and its indexes.
    inode: usize,
    indexes: usize,
    content: Vec<u8>,
}

impl Image {
    fn new(name: &str) -> Image {
        let source = folder(name);
        let content = content(0, CHUNKS * 4096);
        fs::write(source.join("file"), &content).unwrap();
        let path = mkfs(&source, &["--chunksize=4096", "-Eforce-inode-extended,nosbcrc", "-x-1"]);
        let about = run("dump.erofs", &["--path=/file", path.to_str().unwrap()]);
        let number = about.split_once("NID: ").unwrap().1.split_whitespace().next().unwrap();
        let inode = number.parse::<usize>().unwrap() * 32;
        Image { bytes: fs::read(path).unwrap(), inode, indexes: inode + 64, content }
    }

    fn block(&self, chunk: usize) -> u32 {
        let at = self.indexes + 4 * chunk;
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    fn put(&mut self, at: usize, field: &[u8]) {
        self.bytes[at..at + field.len()].copy_from_slice(field);
    }

    async fn mount(&self) -> Volume {
        Volume::mount(Disk::new(SimDisk::from_bytes(&self.bytes).device())).await.unwrap()
    }
}

#[unikernel_rt::test]
async fn holes_are_zeros() {
    let mut image = Image::new("holes");
    for chunk in [0, 3, 4, 5, 40, 63] {
        image.put(image.indexes + 4 * chunk, &HOLE.to_le_bytes());
        image.content[chunk * 4096..(chunk + 1) * 4096].fill(0);
    }
    // Neighbours in the file that are none on the disk.
    let (tenth, eleventh) = (image.block(10), image.block(11));
    image.put(image.indexes + 40, &[eleventh.to_le_bytes(), tenth.to_le_bytes()].concat());
    let [first, second] = [10, 11].map(|chunk| image.content[chunk * 4096..(chunk + 1) * 4096].to_vec());
    image.content[40_960..49_152].copy_from_slice(&[second, first].concat());
    let volume = image.mount().await;
    assert!(volume.read("file", 1 << 20).await.unwrap() == image.content);
    let file = volume.open("file").await.unwrap();
    for (at, len) in [(100, 4), (4000, 200), (12_000, 10_000), (16_384, 12_288), (261_000, 5000)] {
        let mut part = vec![9; len];
        let read = file.read_exact_at(at, &mut part).await.unwrap();
        assert!(part[..read] == image.content[at as usize..at as usize + read], "{len} bytes at {at}");
        assert_eq!(read, len.min(CHUNKS * 4096 - at as usize));
    }
}

/// 32 indexes of 8 bytes in the place of 64 of 4.
#[unikernel_rt::test]
async fn long_indexes() {
    let mut image = Image::new("long-indexes");
    let blocks: Vec<u32> = (0..32).map(|chunk| image.block(chunk)).collect();
    image.put(image.inode + 16, &0x20u16.to_le_bytes());
    image.put(image.inode + 8, &(32u64 * 4096 - 7).to_le_bytes());
    for (chunk, block) in blocks.iter().enumerate() {
        image.put(image.indexes + 8 * chunk, &[[0; 4], block.to_le_bytes()].concat());
    }
    image.put(image.indexes + 8 * 20 + 4, &HOLE.to_le_bytes());
    image.content.truncate(32 * 4096 - 7);
    image.content[20 * 4096..21 * 4096].fill(0);
    assert!(image.mount().await.read("file", 1 << 20).await.unwrap() == image.content);
    image.put(image.indexes + 8 * 9 + 2, &[1]);
    let error = image.mount().await.read("file", 1 << 20).await.unwrap_err().to_string();
    assert!(error.contains("on a device that does not belong to it"), "{error}");
}

/// 60 chunks of 4 GiB, one of which has something at its start.
#[unikernel_rt::test]
async fn a_sparse_file_of_240_gigabytes() {
    let mut image = Image::new("sparse");
    let block = image.block(7);
    image.put(image.inode + 16, &20u16.to_le_bytes());
    image.put(image.inode + 8, &(60u64 << 32).to_le_bytes());
    for chunk in 0..60 {
        image.put(image.indexes + 4 * chunk, &if chunk == 5 { block } else { HOLE }.to_le_bytes());
    }
    let volume = image.mount().await;
    let file = volume.open("file").await.unwrap();
    assert_eq!(file.len(), 60 << 32);
    let mut part = [9; 8192];
    assert_eq!(file.read_exact_at((5 << 32) - 4096, &mut part).await.unwrap(), 8192);
    assert!(part[..4096] == [0; 4096] && part[4096..] == image.content[7 * 4096..8 * 4096]);
    for at in [0, (4 << 32) - 1, (60 << 32) - 100_000] {
        let bytes = file.read_at(at, 1 << 20).await.unwrap();
        assert!(bytes.len() >= 32 * 1024 && bytes.iter().all(|byte| *byte == 0), "at {at}");
    }
    let error = file.read_at((5 << 32) + (1 << 30), 1).await.unwrap_err().to_string();
    assert!(error.contains("reaches beyond the end of the disk"), "{error}");
}
