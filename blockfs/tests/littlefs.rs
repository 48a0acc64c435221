//! littlefs volumes: what they do, with files of every length.
#![cfg(feature = "littlefs")]

use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_rt::sim::{Random, SimDisk};

async fn new_volume(len: u64) -> (SimDisk, Volume) {
    let sim = SimDisk::new(len);
    let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
    (sim, volume)
}

async fn again(sim: &SimDisk) -> Volume {
    Volume::mount(Disk::new(sim.device())).await.unwrap()
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

#[unikernel_rt::test]
async fn files_of_every_length() {
    let (sim, volume) = new_volume(32 << 20).await;
    volume.create_folder("sub").await.unwrap();
    let lens = [0, 1, 100, 511, 512, 513, 1022, 4095, 4096, 4097, 12_345, 131_072, 3_000_000];
    for len in lens {
        volume.write(&format!("sub/{len}"), &bytes(len as u64, len)).await.unwrap();
    }
    for volume in [volume, again(&sim).await] {
        for len in lens {
            let path = format!("sub/{len}");
            assert_eq!(volume.read(&path, len).await.unwrap(), bytes(len as u64, len), "{len}");
            assert_eq!(volume.metadata(&path).await.unwrap().len, len as u64);
        }
        assert_eq!(volume.list("sub").await.unwrap().len(), lens.len());
    }
}
