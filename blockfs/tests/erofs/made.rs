//! Images of `mkfs.erofs`, in every form it has.

use crate::{
    tools::{folder, mkfs, mount},
    tree::{compare, edges, many, names},
};
use std::{fs::File, os::unix::fs::FileExt};

const ZERO_PADDING: u32 = 0x01;
const BIG_CLUSTERS: u32 = 0x02;
const CHUNKS: u32 = 0x04;
const PACKED_TAILS: u32 = 0x10;

/// Makes a tree with each of the options, and reads it back. `features` are the image's incompatible ones.
async fn check(name: &str, options: &[&str], features: u32) {
    let source = folder(name);
    edges(&source);
    names(&source, 254);
    let image = mkfs(&source, options);
    let mut word = [0; 4];
    File::open(&image).unwrap().read_exact_at(&mut word, 1024 + 80).unwrap();
    assert_eq!(u32::from_le_bytes(word), features, "the features of {options:?}");
    compare(&mount(&image).await, &source).await;
}

#[unikernel_rt::test]
async fn plain() {
    check("plain", &[], 0).await;
}
#[unikernel_rt::test]
async fn plain_without_tails() {
    check("no-tails", &["-Enoinline_data"], 0).await;
}
#[unikernel_rt::test]
async fn compact_inodes() {
    check("compact", &["-Eforce-inode-compact"], 0).await;
}
#[unikernel_rt::test]
async fn extended_inodes_without_attributes() {
    check("extended", &["-Eforce-inode-extended", "-x-1"], 0).await;
}
#[unikernel_rt::test]
async fn without_a_checksum() {
    check("no-sum", &["-Enosbcrc"], 0).await;
}
#[unikernel_rt::test]
async fn chunks_of_a_block() {
    check("chunks-4k", &["--chunksize=4096"], CHUNKS).await;
}
#[unikernel_rt::test]
async fn chunks_of_a_megabyte() {
    check("chunks-1m", &["--chunksize=1048576"], CHUNKS).await;
}
#[unikernel_rt::test]
async fn compressed() {
    check("lz4", &["-zlz4"], ZERO_PADDING).await;
}
#[unikernel_rt::test]
async fn compressed_with_full_indexes() {
    check("lz4-full", &["-zlz4", "-Elegacy-compress"], 0).await;
}
#[unikernel_rt::test]
async fn compressed_in_big_clusters() {
    check("lz4hc-64k", &["-zlz4hc", "-C65536"], ZERO_PADDING | BIG_CLUSTERS).await;
}
#[unikernel_rt::test]
async fn compressed_in_the_biggest_clusters() {
    check("lz4-1m", &["-zlz4", "-C1048576"], ZERO_PADDING | BIG_CLUSTERS).await;
}
#[unikernel_rt::test]
async fn compressed_in_big_clusters_with_full_indexes() {
    let options = ["-zlz4hc", "-C65536", "-Elegacy-compress"];
    check("lz4hc-64k-full", &options, ZERO_PADDING | BIG_CLUSTERS).await;
}
#[unikernel_rt::test]
async fn compressed_in_small_extents() {
    check("lz4-extents", &["-zlz4", "--max-extent-bytes=8192"], ZERO_PADDING).await;
}
#[unikernel_rt::test]
async fn compressed_with_tails() {
    check("lz4-tails", &["-zlz4", "-Eztailpacking"], ZERO_PADDING | PACKED_TAILS).await;
}
#[unikernel_rt::test]
async fn compressed_with_tails_and_full_indexes() {
    let options = ["-zlz4", "-Eztailpacking,legacy-compress"];
    // mkfs.erofs leaves the padding out in spite of the tails.
    check("lz4-tails-full", &options, PACKED_TAILS).await;
}
#[unikernel_rt::test]
async fn compressed_with_tails_in_big_clusters() {
    let options = ["-zlz4hc", "-C65536", "-Eztailpacking"];
    check("lz4-tails-big", &options, ZERO_PADDING | BIG_CLUSTERS | PACKED_TAILS).await;
}

#[unikernel_rt::test]
async fn ten_thousand_files() {
    let source = folder("many");
    many(&source, 10_000);
    compare(&mount(&mkfs(&source, &[])).await, &source).await;
}
