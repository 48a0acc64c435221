//! Disks of every kind on every machine: what is written by the machine is what the host finds in the file.

use e2e::{
    liar::{self, Config, Lie},
    vm::{End, Vm},
};
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// Every machine, and the suffix of its virtio devices.
const MACHINES: [(&str, &str); 4] =
    [("q35", "pci"), ("pc", "pci"), ("microvm,acpi=on", "device"), ("microvm,acpi=off", "device")];

/// The pattern that `e2e-disks` writes.
fn word(place: u64) -> u64 {
    (place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

fn pattern(len: u64) -> Vec<u8> {
    (0..len).step_by(8).flat_map(|place| word(place).to_le_bytes()).collect()
}

fn empty(folder: &TempDir, name: &str, len: u64) -> PathBuf {
    let path = folder.path().join(name);
    File::create(&path).unwrap().set_len(len).unwrap();
    path
}

fn drive(id: &str, file: &Path, options: &str) -> String {
    format!("-drive if=none,id={id},format=raw,file={}{options}", file.display())
}

fn tried(machine: &str, what: &str, qemu: &str) -> End {
    Vm::start_with("e2e-disks", &format!("--net none --machine {machine} try={what}"), qemu).ends()
}

fn check(end: &End, code: i32, parts: &[&str]) {
    assert_eq!(end.code, code, "{}", end.text);
    assert!(parts.iter().all(|part| end.text.contains(part)), "{parts:?} in {}", end.text);
}

/// The file has the pattern, but zeros in its second quarter; its third was discarded.
fn has_pattern_and_gap(file: &Path) {
    let (found, quarter) = (fs::read(file).unwrap(), fs::metadata(file).unwrap().len() as usize / 4);
    let expected = pattern(found.len() as u64);
    assert!(found[..quarter] == expected[..quarter] && found[3 * quarter..] == expected[3 * quarter..]);
    assert!(found[quarter..2 * quarter].iter().all(|byte| *byte == 0));
}

/// Two disks: one that gives back what is discarded, one of large sectors, which has no serial.
fn two_disks(machine: &str, suffix: &str, globals: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (empty(&folder, "first", 8 * MIB), empty(&folder, "second", 8 * MIB));
    let qemu = format!(
        "{globals} {} {} -device virtio-blk-{suffix},drive=a,serial=twenty-bytes-as-most \
         -device virtio-blk-{suffix},drive=b,logical_block_size=4096,physical_block_size=4096",
        drive("a", &first, ",discard=unmap"),
        drive("b", &second, ""),
    );
    let end = tried(machine, "pattern", &qemu);
    let parts = [
        "disk 0: `twenty-bytes-as-most` len=8388608 sector=512 physical=512 ro=false cache=true",
        "disk 0 has the pattern; 64 at once",
        "disk 1: `` len=8388608 sector=4096 physical=4096 ro=false cache=true",
        "disk 1 has the pattern; 64 at once",
        "disks: 2",
    ];
    check(&end, 0, &parts);
    has_pattern_and_gap(&first);
    has_pattern_and_gap(&second);
    let blocks_len = fs::metadata(&first).unwrap().blocks() * 512;
    assert!(blocks_len <= 5 * MIB, "discarded, but {blocks_len} bytes are still there");
}

#[test]
fn two_disks_on_every_machine() {
    for (machine, suffix) in MACHINES {
        two_disks(machine, suffix, "");
    }
}

#[test]
fn two_legacy_disks_on_microvm() {
    two_disks("microvm,acpi=on", "device", "-global virtio-mmio.force-legacy=true");
    two_disks("microvm,acpi=off", "device", "-global virtio-mmio.force-legacy=true");
}

#[test]
fn a_disk_that_is_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, pattern(MIB)).unwrap();
    for (machine, suffix) in MACHINES {
        let drive = drive("a", &file, ",read-only=on");
        let end = tried(machine, "pattern", &format!("{drive} -device virtio-blk-{suffix},drive=a"));
        check(&end, 0, &["ro=true cache=true discard=0 zeroes=0", "disk 0 has the pattern"]);
    }
    assert!(fs::read(&file).unwrap() == pattern(MIB));
}

/// Queues of all lengths, with tables of descriptors of their own and without.
#[test]
fn queues_short_and_long() {
    let folder = tempfile::tempdir().unwrap();
    for (options, parts) in [
        ("indirect_desc=off", ["segments=14 ", "pattern; 16 at once"]),
        ("indirect_desc=off,queue-size=16", ["segments=2 ", "pattern; 4 at once"]),
        ("indirect_desc=off,queue-size=4,seg-max-adjust=off", ["segments=2 ", "pattern; 1 at once"]),
        ("queue-size=8", ["segments=6 ", "pattern; 8 at once"]),
        ("queue-size=1024", ["segments=126 segment=16777216 queue=64", "has the pattern"]),
    ] {
        let file = empty(&folder, "file", 2 * MIB);
        let drive = drive("a", &file, "");
        let end = tried("q35", "pattern", &format!("{drive} -device virtio-blk-pci,drive=a,{options}"));
        check(&end, 0, &parts);
        has_pattern_and_gap(&file);
    }
}

/// Without a cache there is nothing to flush; a machine of little memory has fewer requests under way.
#[test]
fn a_disk_without_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let drive = drive("a", &empty(&folder, "file", MIB), ",cache=writethrough");
    let end = tried("microvm --memory 8M", "pattern", &format!("{drive} -device virtio-blk-device,drive=a"));
    check(&end, 0, &["cache=false", "queue=5", "disk 0 has the pattern"]);
}

#[test]
fn errors_of_the_medium() {
    let folder = tempfile::tempdir().unwrap();
    let file = empty(&folder, "file", 64 * 1024);
    for (machine, suffix) in MACHINES {
        let qemu = format!(
            "-blockdev driver=file,node-name=f,filename={} -blockdev driver=blkdebug,node-name=d,image=f,\
             inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.sector=7,inject-error.0.errno=5,\
             inject-error.1.event=none,inject-error.1.iotype=write,inject-error.1.errno=28 \
             -device virtio-blk-{suffix},drive=d,rerror=report,werror=report,request-merging=off",
            file.display()
        );
        check(&tried(machine, "errors", &qemu), 0, &["disk 0 cannot read [3584: Io]; write: Err(Io)"]);
    }
}

#[test]
fn disks_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let drive = drive("a", &empty(&folder, "file", MIB), "");
    for (options, parts) in [
        ("logical_block_size=1024,physical_block_size=1024", ["its sectors have 1024 bytes", "`logical_block_size=`"]),
        ("vectors=0", ["no MSI-X interrupts", "`vectors=0`"]),
        ("disable-modern=on", ["no modern interface", "`disable-modern=off`"]),
    ] {
        let end = tried("q35", "", &format!("{drive} -device virtio-blk-pci,drive=a,{options}"));
        check(&end, 2, &parts);
    }
}

/// On the PCI bus.
const LIAR: &str = "vhost-user-blk-pci";
const GONE: &str = "answered Gone Gone Gone Gone Gone Gone Gone Gone, then Err(Gone); memory is back";
const RULES: &str = "the disk `liar` broke the rules";

fn lie(lie: Lie, parts: &[&str]) {
    for (machine, device) in [("q35", LIAR), ("microvm", "vhost-user-blk")] {
        let folder = tempfile::tempdir().unwrap();
        let end = tried(machine, "requests", &liar::plug_in(folder.path(), device, Config::USUAL, lie));
        check(&end, 0, parts);
    }
}

#[test]
fn answers_may_come_in_any_order() {
    lie(Lie::Reversed, &["answered ok ok ok ok ok ok ok ok, then Ok(()); memory is back"]);
}

#[test]
fn answers_that_nobody_asked_for() {
    lie(Lie::NoSuchId, &[RULES, GONE]);
    lie(Lie::NotGiven, &[RULES, GONE]);
    lie(Lie::Twice, &[RULES, "answered ok Gone Gone Gone Gone Gone Gone Gone, then Err(Gone); memory is back"]);
    lie(Lie::Ahead, &[RULES, "answered ok Gone Gone Gone Gone Gone Gone Gone, then Err(Gone); memory is back"]);
}

#[test]
fn answers_that_are_none() {
    lie(Lie::TooLong, &[RULES, GONE]);
    lie(Lie::Status(3), &[RULES, GONE]);
    lie(Lie::NoStatus, &[RULES, GONE]);
}

#[test]
fn answers_that_are_too_short() {
    lie(Lie::TooShort, &["answered Io Io Io Io Io Io Io Io, then Ok(()); memory is back"]);
}

#[test]
fn a_disk_that_never_answers() {
    let folder = tempfile::tempdir().unwrap();
    let end = tried("q35", "requests", &liar::plug_in(folder.path(), LIAR, Config::USUAL, Lie::Silent));
    check(&end, 2, &["cannot start: a virtio disk cannot be used: it does not answer; look at the host"]);
}

#[test]
fn configurations_that_make_no_sense() {
    let usual = Config::USUAL;
    for (config, code, parts) in [
        (Config { capacity: u64::MAX, ..usual }, 2, "it says that it has 18446744073709551615 sectors"),
        (Config { blk_size: 0, ..usual }, 2, "its sectors have 0 bytes"),
        (Config { size_max: Some(511), ..usual }, 2, "it takes 511 bytes at most at once"),
        (Config { capacity: 0, ..usual }, 0, "`liar` len=0 "),
        (Config { capacity: 15, blk_size: 4096, ..usual }, 0, "len=4096 sector=4096 physical=32768 "),
        (Config { physical_exponent: 255, ..usual }, 0, " physical=512 "),
        (Config { seg_max: Some(0), size_max: Some(5000), ..usual }, 0, "segments=1 segment=4608 "),
        (Config { seg_max: Some(u32::MAX), size_max: Some(u32::MAX), ..usual }, 0, "segments=126 segment=16777216 "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let end = tried("q35", "", &liar::plug_in(folder.path(), LIAR, config, Lie::Reversed));
        check(&end, code, &[parts]);
    }
}
