//! Images of our builder: they pass `fsck.erofs`, which extracts the same files that we read.

use crate::{
    tools::{folder, mount, run},
    tree::{compare, content, edges, expected, many, names},
};
use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use unikernel_blockfs::{
    Kind,
    erofs::{Attributes, Builder, Content},
};

fn build(source: &Path) -> PathBuf {
    let path = source.with_extension("img");
    let mut file = File::create(&path).unwrap();
    let len = Builder::from_folder(source).unwrap().write(&mut file).unwrap();
    assert_eq!(file.metadata().unwrap().len(), len);
    path
}

/// Extracts an image and compares it with the folder that it was made of.
fn check_with_fsck(image: &Path, source: &Path) {
    let extracted = folder(&format!("{}-extracted", source.file_name().unwrap().to_str().unwrap()));
    let option = format!("--extract={}", extracted.to_str().unwrap());
    run("fsck.erofs", &[&option, "--overwrite", image.to_str().unwrap()]);
    let paths = expected(source);
    assert_eq!(expected(&extracted), paths);
    for (path, kind) in paths {
        let (from, to) = (source.join(&path), extracted.join(&path));
        match kind {
            Kind::File => assert!(fs::read(from).unwrap() == fs::read(to).unwrap(), "{path}"),
            Kind::Link => assert_eq!(fs::read_link(from).unwrap(), fs::read_link(to).unwrap()),
            _ => {}
        }
    }
}

#[unikernel_rt::test]
async fn edges_and_names() {
    let source = folder("built");
    edges(&source);
    names(&source, 255);
    let image = build(&source);
    compare(&mount(&image).await, &source).await;
    check_with_fsck(&image, &source);
}

#[unikernel_rt::test]
async fn ten_thousand_files() {
    let source = folder("built-many");
    many(&source, 10_000);
    let image = build(&source);
    compare(&mount(&image).await, &source).await;
    check_with_fsck(&image, &source);
}

/// mkfs.erofs 1.5 makes blocks of 4096 bytes only, so these images are ours.
#[unikernel_rt::test]
async fn blocks_of_every_length() {
    let source = folder("built-blocks");
    edges(&source);
    names(&source, 255);
    many(&source, 300);
    for len in [512, 1024, 2048, 8192, 65536] {
        let mut builder = Builder::from_folder(&source).unwrap();
        builder.block_len(len).unwrap();
        let image = source.with_extension("img");
        builder.write(&mut File::create(&image).unwrap()).unwrap();
        let volume = mount(&image).await;
        assert_eq!(volume.info().block_len, len);
        compare(&volume, &source).await;
    }
}

#[unikernel_rt::test]
async fn an_empty_folder() {
    let source = folder("built-empty");
    let image = build(&source);
    assert_eq!(fs::metadata(&image).unwrap().len(), 8192);
    compare(&mount(&image).await, &source).await;
    check_with_fsck(&image, &source);
}

#[unikernel_rt::test]
async fn the_same_entries_make_the_same_image() {
    let source = folder("built-twice");
    edges(&source);
    let once = fs::read(build(&source)).unwrap();
    assert!(once == fs::read(build(&source)).unwrap());
}

/// 4 GB and some bytes, which take no place on the workstation.
#[unikernel_rt::test]
async fn a_file_of_four_gigabytes() {
    let source = folder("built-large");
    let len = (4 << 30) + 100;
    let mut file = File::create(source.join("large")).unwrap();
    let marks = [0, (1 << 32) - 250, len - 100];
    for at in marks {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&content(0, 100)).unwrap();
    }
    let image = source.with_extension("img");
    Builder::from_folder(&source).unwrap().write(&mut Sparse(File::create(&image).unwrap())).unwrap();
    let volume = mount(&image).await;
    assert_eq!(volume.metadata("large").await.unwrap().len, len);
    let file = volume.open("large").await.unwrap();
    for at in marks {
        let mut bytes = [0; 150];
        let read = file.read_exact_at(at, &mut bytes).await.unwrap();
        assert_eq!(bytes[..100], content(0, 100), "at {at}");
        assert_eq!(read as u64, 150.min(len - at));
    }
    fs::remove_file(image).unwrap();
}

/// A file that leaves holes where zeros are written.
struct Sparse(File);

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match bytes.iter().all(|byte| *byte == 0) {
            true => {
                let end = self.0.seek(SeekFrom::Current(bytes.len() as i64))?;
                if end > self.0.metadata()?.len() {
                    self.0.set_len(end)?;
                }
                Ok(bytes.len())
            }
            false => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[unikernel_rt::test]
async fn entries_one_by_one() {
    let mut builder = Builder::new();
    let bytes = |text: &str| Content::Bytes(text.as_bytes().to_vec());
    builder.label("sixteen letters.").unwrap();
    builder.file("/a/b/file", bytes("content"), Attributes { mode: 0o600, modified: 7 }).unwrap();
    builder.link("link", "a/b/file", Attributes::file(8)).unwrap();
    builder.same("a/same", "a/b/file").unwrap();
    builder.folder("a", Attributes::folder(9)).unwrap();
    let image = folder("built-one-by-one").with_extension("img");
    builder.write(&mut File::create(&image).unwrap()).unwrap();
    run("fsck.erofs", &[image.to_str().unwrap()]);
    let volume = mount(&image).await;
    assert_eq!(volume.info().label, "sixteen letters.");
    for path in ["a/b/file", "link", "a/same"] {
        assert_eq!(volume.read(path, 100).await.unwrap(), "content");
        assert_eq!(volume.metadata(path).await.unwrap().modified, Some(7));
    }
    assert_eq!(volume.metadata("a").await.unwrap().modified, Some(9));
    assert_eq!(volume.metadata("a/b").await.unwrap().modified, Some(0));
}

#[test]
fn entries_that_are_refused() {
    let bytes = || Content::Bytes(vec![]);
    let attributes = Attributes::file(0);
    let mut builder = Builder::new();
    builder.file("file", bytes(), attributes).unwrap();
    builder.folder("folder", attributes).unwrap();
    let mut check = |result: &mut dyn FnMut(&mut Builder) -> std::io::Result<()>, expected: &str| {
        let error = result(&mut builder).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&mut |b| b.file("file", bytes(), attributes), "is there twice");
    check(&mut |b| b.file("folder", bytes(), attributes), "is there twice");
    check(&mut |b| b.file("file/x", bytes(), attributes), "no folder");
    check(&mut |b| b.folder("file", attributes), "no folder");
    check(&mut |b| b.file("", bytes(), attributes), "no file can have");
    check(&mut |b| b.file("a/../b", bytes(), attributes), "no file can have");
    check(&mut |b| b.file(&"n".repeat(256), bytes(), attributes), "no file can have");
    check(&mut |b| b.link("link", "", attributes), "a target that links cannot have");
    check(&mut |b| b.link("link", &"x".repeat(4096), attributes), "a target that links cannot have");
    check(&mut |b| b.same("same", "nothing"), "which is no file");
    check(&mut |b| b.same("same", "folder"), "which is no file");
    check(&mut |b| b.block_len(256), "blocks cannot have 256 bytes");
    check(&mut |b| b.block_len(5000), "blocks cannot have 5000 bytes");
    check(&mut |b| b.block_len(0), "blocks cannot have 0 bytes");
    check(&mut |b| b.label("seventeen letters"), "more than 16 bytes");
    check(&mut |b| b.file("new", Content::Path("/nowhere/at/all".into()), attributes), "/nowhere/at/all");
}

#[test]
fn a_file_that_changes_meanwhile() {
    let source = folder("built-changes");
    for (before, after, expected) in [(5000, 4000, "became shorter"), (5000, 6000, "became longer"), (10, 11, "longer")]
    {
        fs::write(source.join("file"), vec![1; before]).unwrap();
        let builder = Builder::from_folder(&source).unwrap();
        fs::write(source.join("file"), vec![1; after]).unwrap();
        let error = builder.write(&mut std::io::Cursor::new(vec![])).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("built-changes/file"), "{error}");
    }
}
