//! Volumes that somebody has tampered with: mounting and using them ends with answers or errors, whatever they say.

mod common;

#[cfg(feature = "littlefs")]
mod littlefs {
    use super::common::{Work, seeds};
    use unikernel_blockfs::{Disk, Format, Volume};
    use unikernel_rt::sim::{Random, SimDisk};

    const LEN: usize = 1 << 20;
    const BLOCK_LEN: usize = 4096;

    /// A volume with something in it.
    async fn image(seed: u64) -> Vec<u8> {
        let sim = SimDisk::new(LEN as u64);
        let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
        let mut work = Work::new(seed);
        for _ in 0..40 {
            work.operate(&volume, &mut |_| {}).await;
        }
        drop(volume);
        sim.peek(0, LEN)
    }

    /// Uses the volume in every way.
    async fn use_it(bytes: &[u8], seed: u64) {
        let sim = SimDisk::from_bytes(bytes);
        let Ok(volume) = Volume::mount(Disk::new(sim.device())).await else { return };
        drop(volume.check().await);
        drop(volume.space().await);
        for path in volume.walk("").await.unwrap_or_default().into_iter().map(|(path, _)| path).take(20) {
            drop(volume.metadata(&path).await);
            drop(volume.rename(&path, "renamed").await);
            drop(volume.write(&path, &[7; 3000]).await);
            if let Ok(file) = volume.edit(&path).await {
                drop(file.write_at(100, &[8; 5000]).await);
                drop(file.truncate(10).await);
                drop(file.read_all(1 << 20).await);
            }
            if seed.is_multiple_of(2) {
                drop(volume.remove(&path).await);
            }
        }
        drop(volume.create_folder("new folder").await);
        drop(volume.write("new folder/file", &[9; 20_000]).await);
        drop(volume.sync().await);
    }

    #[unikernel_rt::test]
    async fn random_bytes() {
        let image = image(1).await;
        for seed in seeds(200) {
            let mut random = Random::new(seed);
            let mut bytes = image.clone();
            for _ in 0..=random.below(20) {
                let block = random.below(if seed % 2 == 0 { LEN / BLOCK_LEN } else { 2 });
                bytes[block * BLOCK_LEN + random.below(BLOCK_LEN)] = random.u64() as u8;
            }
            use_it(&bytes, seed).await;
        }
    }

    /// Tampered with so that the checksums are right: everything that they protect can have any value.
    #[unikernel_rt::test]
    async fn signed_lies() {
        let images = [image(2).await, image(3).await, image(4).await];
        for seed in seeds(300) {
            let mut random = Random::new(seed);
            let mut bytes = images[seed as usize % images.len()].clone();
            let folders: Vec<usize> =
                (0..LEN / BLOCK_LEN).filter(|block| !tags(block_of(&bytes, *block)).is_empty()).collect();
            for _ in 0..=random.below(4) {
                let block = folders[random.below(folders.len())];
                tamper(&mut bytes[block * BLOCK_LEN..][..BLOCK_LEN], &mut random);
            }
            use_it(&bytes, seed).await;
        }
    }

    fn block_of(bytes: &[u8], block: usize) -> &[u8] {
        &bytes[block * BLOCK_LEN..][..BLOCK_LEN]
    }

    /// Changes a tag, or bytes behind it, and makes the checksums right.
    fn tamper(block: &mut [u8], random: &mut Random) {
        let tags = tags(block);
        if tags.is_empty() {
            return;
        }
        let (at, len) = tags[random.below(tags.len())];
        if random.chance(500) && len > 4 {
            for _ in 0..=random.below(4) {
                block[at + 4 + random.below(len - 4)] = [0, 1, 0xff, random.u64() as u8][random.below(4)];
            }
        } else {
            // A tag is stored as its difference to the one before: the one after it must stay what it is.
            let mask = 1 << random.below(31);
            change_word(block, at, mask);
            if let Some((next, _)) = tags.iter().find(|(next, _)| *next > at) {
                change_word(block, *next, mask);
            }
        }
        sign(block);
    }

    fn change_word(block: &mut [u8], at: usize, mask: u32) {
        let word = u32::from_be_bytes(block[at..at + 4].try_into().unwrap()) ^ mask;
        block[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }

    /// The places and lengths of the tags in a block of a folder, up to the last right checksum.
    fn tags(block: &[u8]) -> Vec<(usize, usize)> {
        let (mut found, mut safe) = (Vec::new(), 0);
        follow(block, |at, len, sum, is_sum| {
            found.push((at, len));
            if is_sum && block[at + 4..at + 8] == sum.to_le_bytes() {
                safe = found.len();
            }
        });
        found.truncate(safe);
        found
    }

    fn sign(block: &mut [u8]) {
        let copy = block.to_vec();
        follow(&copy, |at, _, sum, is_sum| {
            if is_sum {
                block[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
            }
        });
    }

    /// Calls `see` for each tag with its place, its length with what belongs to it, the checksum so far, and whether it is
    /// the tag of a checksum (littlefs, SPEC.md, "Metadata tags").
    fn follow(block: &[u8], mut see: impl FnMut(usize, usize, u32, bool)) {
        let (mut at, mut before) = (4, u32::MAX);
        let mut sum = crc(u32::MAX, &block[..4]);
        while at + 8 <= block.len() {
            let tag = u32::from_be_bytes(block[at..at + 4].try_into().unwrap()) ^ before;
            let size = if tag & 0x3ff == 0x3ff { 0 } else { (tag & 0x3ff) as usize };
            if tag >> 31 != 0 || at + 4 + size > block.len() {
                return;
            }
            sum = crc(sum, &block[at..at + 4]);
            let is_sum = tag >> 27 == 0x500 >> 7 && size >= 4;
            see(at, 4 + size, sum, is_sum);
            before = tag;
            if is_sum {
                before ^= (tag >> 20 & 1) << 31;
                sum = u32::MAX;
            } else {
                sum = crc(sum, &block[at + 4..at + 4 + size]);
            }
            at += 4 + size;
        }
    }

    fn crc(mut sum: u32, bytes: &[u8]) -> u32 {
        for byte in bytes {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0xedb8_8320 };
            }
        }
        sum
    }
}
