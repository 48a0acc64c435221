//! Logs that were kept as the machine wrote them.

use std::{
    fs::{self, File},
    process::Stdio,
};

use crate::support::{Shown, Stage};

#[test]
fn a_saved_log_becomes_readable() {
    let stage = Stage::new();
    let report = "unikernel: backtrace\r\nunikernel:   0x0000000000104a31\r\nunikernel: end of report\r\n";
    fs::write(stage.path("log"), [b"up\n\xc0\x01\xc1", report.as_bytes()].concat()).unwrap();
    let mut command = stage.command("symbolize --elf app -");
    let output = command.stdin(Stdio::from(File::open(stage.path("log")).unwrap())).output().unwrap();
    let shown = Shown::of(output, stage.folder.path());
    let lines = [
        "up",
        "(log frame 01 without a decoder)",
        "unikernel: backtrace",
        "unikernel:   0: 0x104a31 (not in this image)",
        "unikernel: end of report",
        "",
    ];
    assert_eq!((shown.code, shown.stdout), (0, lines.join("\n")), "{}", shown.stderr);
}
