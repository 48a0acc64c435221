//! Environment and arguments arrive from every source, in order, and secrets are not shown.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use e2e::vm::{End, Vm};
use tempfile::TempDir;

const MACHINES: [&str; 4] = ["q35", "pc", "microvm", "microvm,acpi=off"];

/// The image's end with these words for the runner, which must not contain blanks in a word.
fn end(words: &str) -> End {
    Vm::start("e2e-config", words).ends()
}

#[test]
fn the_environment_arrives_on_each_machine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("env");
    fs::write(&file, "# of a test\nGREETING=hello, \"world\" \\ of\ttabs\nTOKEN=hunter2-of-the-file\n").unwrap();
    for machine in MACHINES {
        let end = end(&format!("--machine {machine} --env-file {} --env TOKEN=hunter2 number=8", file.display()));
        let expected = "greeting <hello, \"world\" \\ of\ttabs> number 8 token *** of 7 bytes";
        assert!(end.code == 0 && end.text.contains(expected), "{machine}: {end:?}");
        assert!(!end.text.contains("hunter2"), "{machine}: {end:?}");
    }
}

#[test]
fn the_command_line_wins_over_fw_cfg() {
    let end = end("--env GREETING=fw_cfg --env TOKEN=1 env.GREETING=line");
    assert!(end.code == 0 && end.text.contains("greeting <line> number 7 token *** of 1 bytes"), "{end:?}");
}

#[test]
fn a_variable_may_be_this_process_own() {
    let path = env::var("PATH").unwrap();
    let end = end("--env TOKEN=1 --env PATH");
    // Nobody asks for it: the error names it, and not its value.
    let expected = "unknown environment variable `PATH` (from fw_cfg); this image understands: GREETING, TOKEN";
    assert!(end.code == 1 && end.text.contains(expected) && !end.text.contains(&path), "{end:?}");
}

#[test]
fn what_is_missing_or_mistyped_is_named() {
    let check = |words: &str, expected: &str| {
        let end = end(words);
        assert!(end.code == 1 && end.text.contains(expected), "{words}: {end:?}");
    };
    check(
        "",
        "this unikernel needs the environment variable `TOKEN`; start it with `cargo unikernel run --env TOKEN=VALUE`",
    );
    check(
        "--env TOKEN=1 --env GREETNIG=x",
        "unknown environment variable `GREETNIG` (from fw_cfg); did you mean `GREETING`?",
    );
    check("--env TOKEN=1 nmuber=8", "unknown boot argument `nmuber`; did you mean `number`?");
    check("--env TOKEN=1 number=eight", "boot argument `number=eight`: invalid digit found in string");
}

/// Neither the report of a crash nor the decoder's output shows it.
#[test]
fn a_crash_does_not_show_secrets() {
    for words in ["--env TOKEN=hunter2", "env.TOKEN=hunter2"] {
        let end = end(&format!("{words} -- crash"));
        assert!(end.text.contains("asked to crash") && end.text.contains("token *** of 7 bytes"), "{end:?}");
        assert!(!end.text.contains("hunter2"), "{end:?}");
    }
}

/// QEMU itself may be told, too; what is no configuration is refused by its line, which is not shown.
#[test]
fn a_wrong_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    let check = |text: &[u8], expected: &str| {
        fs::write(&file, text).unwrap();
        let qemu = format!("-fw_cfg name=opt/unikernel/config,file={}", file.display());
        let end = Vm::start_with("e2e-config", "", &qemu).ends();
        assert!(end.text.contains(expected) && !end.text.contains("hunter2"), "{end:?}");
    };
    check(b"env.TOKEN=hunter2\nnumber = 9\n", "number 9 token *** of 7 bytes");
    check(
        b"number=9\nthe hunter2",
        "cannot start: the configuration in fw_cfg is wrong in line 2: it is no `key=value`",
    );
    check(&vec![b'#'; 65_537], "cannot start: the configuration in fw_cfg is longer than 64 KiB");
    check(b"\xff\xfe", "cannot start: the configuration in fw_cfg is no UTF-8 text");
}

/// A disk with a config partition made by the standard tool, and this text on it.
pub fn disk_with_partition(text: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let disk = File::create(&path).unwrap();
    disk.set_len(8 << 20).unwrap();
    let mut sfdisk = Command::new("/usr/sbin/sfdisk").arg("--quiet").arg(&path).stdin(Stdio::piped()).spawn().unwrap();
    let script = b"label: gpt\nstart=1MiB, size=64KiB, type=37D7ED5E-A8BC-4DA7-AD33-FD667E755520\n";
    sfdisk.stdin.take().unwrap().write_all(script).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    disk.write_all_at(text, PARTITION_AT).unwrap();
    (folder, path)
}

/// Where it begins.
const PARTITION_AT: u64 = 1 << 20;

/// Its argument for the runner counts before main's arguments are acquired.
#[test]
fn a_partition_is_read_on_each_machine() {
    let (_folder, path) = disk_with_partition(b"env.TOKEN=hunter2\nenv.GREETING=\"partition\"\nnumber=9\n");
    for machine in MACHINES {
        let plain = end(&format!("--machine {machine} --disk {}", path.display()));
        let expected = "greeting <partition> number 9 token *** of 7 bytes";
        assert!(plain.code == 0 && plain.text.contains(expected), "{machine}: {plain:?}");
    }
    let both = end(&format!("--env GREETING=fw_cfg number=1 --disk {}", path.display()));
    assert!(both.text.contains("greeting <fw_cfg> number 1 token *** of 7 bytes"), "{both:?}");
    let disk = OpenOptions::new().write(true).open(&path).unwrap();
    disk.write_all_at(b"log=info\n\0", PARTITION_AT).unwrap();
    let late = end(&format!("--disk {}", path.display()));
    let expected = "the boot argument `log` in the config partition comes too late";
    assert!(late.code == 2 && late.text.contains(expected), "{late:?}");
}
