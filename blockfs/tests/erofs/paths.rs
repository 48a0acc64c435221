//! Paths through links, and what is refused.

use crate::tools::{folder, mkfs, mount, open};
use std::{fs, os::unix::fs::symlink, process::Command};
use unikernel_blockfs::{Cause, Disk, Format, Kind, Volume};
use unikernel_rt::sim::SimDisk;

/// `a/file` and many ways to it and to nowhere.
async fn linked(name: &str) -> Volume {
    let source = folder(name);
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/file"), "content").unwrap();
    let links = [
        ("absolute", "/a/file"),
        ("relative", "./a//./file"),
        ("a/b/up", "../file"),
        ("a/b/far-up", "../../../../../../a/file"),
        ("a/b/around", "../../a/b/up"),
        ("folder", "a/b/"),
        ("root", "/"),
        ("through-file", "a/file/../file"),
        ("dangling", "a/nothing"),
        ("loop", "loop"),
        ("ping", "a/b/pong"),
        ("a/b/pong", "/ping"),
        ("0", "a/file"),
    ];
    for (link, target) in links {
        symlink(target, source.join(link)).unwrap();
    }
    for number in 1..=41 {
        symlink((number - 1).to_string(), source.join(number.to_string())).unwrap();
    }
    symlink("x/".repeat(2000), source.join("long")).unwrap();
    assert!(Command::new("mkfifo").arg(source.join("pipe")).status().unwrap().success());
    mount(&mkfs(&source, &[])).await
}

#[unikernel_rt::test]
async fn links_lead_where_they_say() {
    let volume = linked("links").await;
    let check = async |path: &str, expected: Result<&str, Cause>| {
        for when in ["the first time", "again"] {
            let found = volume.read(path, 100).await;
            let found =
                found.as_ref().map(|bytes| str::from_utf8(bytes).unwrap()).map_err(|error| error.cause().clone());
            assert_eq!(found, expected, "{path} {when}");
        }
    };
    for path in
        ["a/file", "absolute", "relative", "a/b/up", "a/b/far-up", "a/b/around", "folder/up", "root/root/a/file"]
    {
        check(path, Ok("content")).await;
    }
    check("0", Ok("content")).await;
    check("39", Ok("content")).await;
    check("40", Err(Cause::TooManyLinks)).await;
    check("loop", Err(Cause::TooManyLinks)).await;
    check("ping", Err(Cause::TooManyLinks)).await;
    check("dangling", Err(Cause::NotFound)).await;
    check("long", Err(Cause::NotFound)).await;
    check("through-file", Err(Cause::NotAFolder)).await;
    check("a/file/x", Err(Cause::NotAFolder)).await;
    check("nothing/x", Err(Cause::NotFound)).await;
    check("folder", Err(Cause::IsAFolder)).await;
    check("", Err(Cause::IsAFolder)).await;
    check("a/../a/file", Err(Cause::InvalidName)).await;
}

#[unikernel_rt::test]
async fn what_is_known_of_links_and_others() {
    let volume = linked("kinds").await;
    let kind = async |path: &str| volume.metadata(path).await.map(|about| about.kind).map_err(|e| e.cause().clone());
    assert_eq!(kind("absolute").await, Ok(Kind::File));
    assert_eq!(kind("folder").await, Ok(Kind::Folder));
    assert_eq!(kind("root").await, Ok(Kind::Folder));
    assert_eq!(kind("pipe").await, Ok(Kind::Other));
    let error = volume.open("pipe").await.unwrap_err();
    assert!(error.to_string().contains("a device, pipe or socket"), "{error}");
    let listed = volume.list("").await.unwrap();
    let of = |name: &str| listed.iter().find(|entry| entry.name == name).unwrap().kind;
    assert_eq!((of("absolute"), of("pipe"), of("a")), (Kind::Link, Kind::Other, Kind::Folder));
    assert_eq!(volume.list("a/file").await.unwrap_err().cause(), &Cause::NotAFolder);
    assert_eq!(volume.list("folder").await.unwrap().len(), 4);
    assert_eq!(volume.create("new").await.unwrap_err().cause(), &Cause::ReadOnly);
    assert_eq!(volume.remove("a/file").await.unwrap_err().cause(), &Cause::ReadOnly);
}

#[unikernel_rt::test]
async fn times_and_labels() {
    let source = folder("times");
    fs::write(source.join("old"), "x").unwrap();
    let touch = Command::new("touch").args(["-d", "@1000000000"]).arg(source.join("old")).status();
    assert!(touch.unwrap().success());
    let volume = mount(&mkfs(&source, &["-T1234567890"])).await;
    let info = volume.info();
    assert_eq!((info.format, info.block_len, info.is_read_only), (Format::Erofs, 4096, true));
    assert_eq!(volume.metadata("old").await.unwrap().modified, Some(1_234_567_890));
    let volume = mount(&mkfs(&source, &["-Eforce-inode-extended"])).await;
    assert_eq!(volume.metadata("old").await.unwrap().modified, Some(1_000_000_000));
}

/// Superblocks without a sum that were changed in one place.
#[unikernel_rt::test]
async fn superblocks_that_are_refused() {
    let source = folder("refused");
    fs::write(source.join("file"), "x").unwrap();
    let image = fs::read(mkfs(&source, &["-Enosbcrc"])).unwrap();
    let check = async |at: usize, bytes: &[u8], expected: &str| {
        let sim = SimDisk::from_bytes(&image);
        sim.poke(1024 + at as u64, bytes);
        let error = Volume::mount(Disk::new(sim.device())).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{at} {bytes:?}: {error}");
    };
    check(0, &[0], "no volume of a known format").await;
    check(4, &[1, 2, 3, 4, 1], "does not match its checksum").await;
    check(12, &[8], "block length").await;
    check(12, &[17], "block length").await;
    check(14, &[0xff, 0xff], "EROFS").await;
    check(36, &[0xff], "the disk ends before").await;
    check(40, &[0xff; 4], "beyond the end of the disk").await;
    check(80, &[0x20], "fragments or deduplicated").await;
    check(80, &[0x80], "block numbers of 48 bits").await;
    check(80, &[0, 1], "a separate area for metadata").await;
    check(80, &[0, 0, 0, 0x80], "features of a later time (bits 0x80000000)").await;
    check(80, &[2, 0, 0, 0, 3], "compressed with LZMA").await;
    check(80, &[2, 0, 0, 0, 8], "compressed with Zstandard").await;
    check(86, &[1], "data on other devices").await;
    check(90, &[1], "folders with blocks of their own length").await;
}

#[unikernel_rt::test]
async fn a_cut_image_is_refused() {
    let source = folder("cut");
    fs::write(source.join("file"), vec![7; 100_000]).unwrap();
    let image = mkfs(&source, &[]);
    fs::File::options().write(true).open(&image).unwrap().set_len(65536).unwrap();
    let error = Volume::mount(open(&image)).await.unwrap_err().to_string();
    assert!(error.contains("the disk ends before the EROFS on it does"), "{error}");
}
