//! The key-value store on an image.

use crate::support::{Shown, Stage};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};
use unikernel_blockfs::{Disk, kv::KvStore};
use unikernel_rt::sim::{self, FileDisk};

/// A store with a few entries; the last one only in the log if `is_closed` is false.
fn stage_with_store(is_closed: bool) -> Stage {
    let stage = Stage::new();
    let path = stage.path("kv.img");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let device = FileDisk::device(&path, true).unwrap();
    sim::run("", async move {
        let store = KvStore::open_or_create(Disk::new(device)).await.unwrap();
        store.put(b"user/1", b"Ada").await.unwrap();
        store.put(b"user/\xff\n", b"\x00\xfe").await.unwrap();
        store.put(b"long", &[7; 10_000]).await.unwrap();
        if is_closed {
            store.close().await.unwrap();
        }
    });
    stage
}

fn check(stage: &Stage, words: &str, stdout: &str) {
    let before = fs::read(stage.path("kv.img")).unwrap();
    let shown = stage.run(&format!("kv {words}"));
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (0, stdout, ""), "{words}");
    assert!(fs::read(stage.path("kv.img")).unwrap() == before, "{words} changed the image");
}

#[test]
fn keys_and_values_are_shown() {
    for is_closed in [false, true] {
        let stage = stage_with_store(is_closed);
        check(&stage, "ls kv.img", "long\nuser/1\nuser/\\xff\\n\n");
        check(&stage, "ls -l kv.img --prefix user/", "        3 user/1\n        2 user/\\xff\\n\n");
        check(&stage, "ls kv.img --hex --prefix 75736572", "757365722f31\n757365722fff0a\n");
        check(&stage, "get kv.img user/1", "Ada");
        check(&stage, "get kv.img --hex 757365722f31", "Ada");
        let line = r#"{"key":"user/1","value":"Ada"}"#;
        let other = r#"{"key":"user/\\xff\\n","value":"\\x00\\xfe"}"#;
        check(&stage, "dump kv.img --prefix user/", &format!("{line}\n{other}\n"));
        let output = stage.command("kv get kv.img user/\\xff\\n").output().unwrap();
        assert_eq!(output.stdout, b"\x00\xfe");
    }
}

#[test]
fn a_store_is_checked() {
    let stage = stage_with_store(true);
    let shown = stage.run("kv check kv.img");
    assert!(
        shown.code == 0 && shown.stdout.starts_with("ok: 3 entries in the tree and 0 keys in the log; "),
        "{shown:?}"
    );
    let mut image = fs::read(stage.path("kv.img")).unwrap();
    let value = image.windows(5000).position(|bytes| bytes == [7; 5000]).unwrap();
    // The log has a copy of it, which nobody reads after a checkpoint.
    let last = image.windows(5000).rposition(|bytes| bytes == [7; 5000]).unwrap();
    for place in [value, last] {
        image[place] = 8;
    }
    fs::write(stage.path("kv.img"), &image).unwrap();
    let shown = stage.run("kv check kv.img");
    assert!(shown.code == 1 && shown.stdout.contains("damaged: "), "{shown:?}");
    let json: serde_json::Value = serde_json::from_str(&stage.run("kv check --json kv.img").stdout).unwrap();
    assert_eq!(json["problem_count"], json["problems"].as_array().unwrap().len());
}

#[test]
fn what_is_wrong_is_told() {
    let stage = stage_with_store(true);
    let blank = File::create(stage.path("blank.img")).unwrap();
    blank.set_len(1 << 20).unwrap();
    let noise = File::create(stage.path("noise.img")).unwrap();
    noise.write_all_at(&[0x55; 1 << 20], 0).unwrap();
    let fails = |words: &str, part: &str| {
        let shown: Shown = stage.run(&format!("kv {words}"));
        assert!(shown.code == 125 && shown.stderr.contains(part), "{words}: {shown:?}");
    };
    fails("get kv.img user/2", "error: there is no key `user/2`; `kv ls` lists them\n");
    fails("get kv.img --hex user", "`user` has other than pairs of hexadecimal digits");
    fails("ls blank.img", "cannot open the key-value store: the disk is blank");
    fails("ls noise.img", "cannot open the key-value store: ");
    fails("ls none.img", "there is no image none.img");
    assert_eq!(stage.run("kv check noise.img").code, 1);
}
