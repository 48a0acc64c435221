//! Volumes go to and fro between us and the reference implementation of littlefs, as the Python package `littlefs-python`
//! has it. `script/setup` installs that.
#![cfg(feature = "littlefs")]

mod common;

use common::{Node, Tree, Work, tree_of};
use std::{collections::BTreeSet, fs, path::Path, process::Command};
use unikernel_blockfs::{Disk, Format, Volume};
use unikernel_rt::sim::{SimDisk, Survivors};

/// Runs the reference; what it says is in the volume, a line for each file and folder.
fn reference(arguments: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = root.join("target/littlefs-python/bin/python");
    assert!(python.exists(), "littlefs' reference is missing; install it with `. script/setup; setup_littlefs`");
    let script = root.join("blockfs/tests/interchange.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

/// The same lines of a tree of ours.
fn lines(tree: &Tree) -> BTreeSet<String> {
    let line = |(path, node): (&String, &Node)| match node {
        Node::Folder => format!("/{path}\tfolder"),
        Node::File(bytes) => format!("/{path}\t{}\t{}", bytes.len(), crc32fast::hash(bytes)),
    };
    tree.iter().map(line).collect()
}

fn dump(sim: &SimDisk, path: &Path, block_len: u32) -> BTreeSet<String> {
    fs::write(path, sim.peek(0, sim.len() as usize)).unwrap();
    reference(&["dump", path.to_str().unwrap(), &block_len.to_string()])
}

#[unikernel_rt::test]
async fn made_by_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (block_len, block_count, prog_len) in [("512", "4096", "16"), ("4096", "256", "512"), ("65536", "64", "256")] {
        let said = reference(&["make", path.to_str().unwrap(), block_len, block_count, prog_len]);
        let sim = SimDisk::from_bytes(&fs::read(&path).unwrap());
        let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
        assert_eq!(lines(&tree_of(&volume).await), said, "blocks of {block_len} bytes");

        let mut work = Work::on(tree_of(&volume).await, 5);
        for _ in 0..60 {
            work.operate(&volume, &mut |_| {}).await;
        }
        volume.sync().await.unwrap();
        let said = dump(&sim, &path, block_len.parse().unwrap());
        assert_eq!(lines(&work.tree), said, "blocks of {block_len} bytes, changed");
    }
}

#[unikernel_rt::test]
async fn made_here_and_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for seed in 0..3 {
        let sim = SimDisk::new(8 << 20);
        let volume = Volume::mount_or_format(Disk::new(sim.device()), Format::Littlefs).await.unwrap();
        let block_len = volume.info().block_len;
        sim.record();
        let mut work = Work::new(seed);
        for _ in 0..80 {
            work.operate(&volume, &mut |_| {}).await;
        }
        volume.sync().await.unwrap();
        assert_eq!(dump(&sim, &path, block_len), lines(&work.tree), "seed {seed}");

        let recording = sim.end_recording();
        for number in 0..5 {
            let sim = recording.cut(recording.len() * number / 5, Survivors::Some(seed * 5 + number as u64));
            // Mounting ends what was interrupted.
            let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
            let tree = tree_of(&volume).await;
            assert_eq!(dump(&sim, &path, block_len), lines(&tree), "seed {seed}, cut {number}");
        }
    }
}
