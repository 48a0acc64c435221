//! Sealed disks: every byte that is read is one that was sealed.

use unikernel_blockfs::{Cause, Disk, Sealer, Volume};
use unikernel_rt::sim::{Random, SimDisk};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 4096 * 31 + at % 251) as u8).collect()
}

fn archive(bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    builder.append_data(&mut header, "file", bytes).unwrap();
    builder.into_inner().unwrap()
}

/// An archive with one file, sealed.
fn sealed(len: usize) -> Vec<u8> {
    let mut content = archive(&pattern(len));
    content.resize(content.len().next_multiple_of(Sealer::PAGE_LEN), 0);
    let mut sealer = Sealer::new();
    content.chunks(Sealer::PAGE_LEN).for_each(|page| sealer.add(page));
    content.extend(sealer.finish());
    content
}

async fn read(sim: &SimDisk, len_max: usize) -> Result<Vec<u8>, Cause> {
    let volume = Volume::mount(Disk::new(sim.device())).await.map_err(|error| error.cause().clone())?;
    assert!(volume.info().is_read_only);
    let bytes = volume.read("file", len_max).await.map_err(|error| error.cause().clone())?;
    Ok(bytes.to_vec())
}

#[unikernel_rt::test]
async fn what_was_sealed_is_read() {
    for len in [0, 1, 4096, 300_000, 9 << 20] {
        let sim = SimDisk::from_bytes(&sealed(len));
        assert_eq!(read(&sim, 16 << 20).await.unwrap(), pattern(len), "{len}");
        let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
        assert!(volume.info().content.is_some());
    }
}

/// Every byte of a small image once, and bytes of an image with two levels of checksums at random.
#[unikernel_rt::test]
async fn a_changed_byte_is_never_served() {
    let small = sealed(10_000);
    let damage = |image: &[u8], at: usize| {
        let mut image = image.to_vec();
        image[at] ^= 0x40;
        SimDisk::from_bytes(&image)
    };
    let mut noticed = 0;
    for at in 0..small.len() {
        match read(&damage(&small, at), 1 << 20).await {
            Err(Cause::Damaged(_) | Cause::Unsupported(_) | Cause::NotFound) => noticed += 1,
            Ok(bytes) => assert_eq!(bytes, pattern(10_000), "byte {at}"),
            Err(cause) => panic!("byte {at}: {cause}"),
        }
    }
    // What is not read is not noticed: the end of the seal's page, and the magic without which there is none.
    assert!(noticed > small.len() - 2 * 4096, "{noticed} of {}", small.len());
    let large = sealed(5 << 20);
    let mut random = Random::new(1);
    for _ in 0..100 {
        let at = random.below(5 << 20);
        assert!(matches!(read(&damage(&large, at), 8 << 20).await, Err(Cause::Damaged(_))), "byte {at}");
    }
}
