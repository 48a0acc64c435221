//! What the tests of the command share: an image made by hand, and a stage with a QEMU that plays a role.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use unikernel_blockfs::CONFIG_MARK;

/// Loaded at 1 MiB, where the machines have memory.
const BASE: u64 = 0x10_0000;

/// A PVH image that writes `text` to the serial port, then ends with this exit code, or halts without one.
pub fn image(text: &str, exit_code: Option<u8>) -> Vec<u8> {
    image_of(&code(text, exit_code))
}

fn code(text: &str, exit_code: Option<u8>) -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    code.extend(text.bytes().flat_map(|byte| [0xb0, byte, 0xee])); // mov al, byte; out dx, al
    code.extend(exit_code.into_iter().flat_map(|exit| [0x66, 0xba, 0xf4, 0, 0xb0, exit, 0xee])); // the same to 0xf4
    code.extend([0xf4, 0xeb, 0xfd]); // hlt; again
    code
}

/// One that says `text`, and would look for a config partition.
pub fn image_with_config(text: &str) -> Vec<u8> {
    image_of(&[&code(text, Some(0)), CONFIG_MARK.as_bytes()].concat())
}

/// A PVH image of this machine code.
pub fn image_of(code: &[u8]) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64
    elf.extend(longs(&[BASE + 0x1000, 64, 0]));
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let len = code.len() as u64;
    elf.extend(longs(&[5 << 32 | 1, 0x1000, BASE + 0x1000, BASE + 0x1000, len, len, 0x1000])); // PT_LOAD, r-x
    elf.extend(longs(&[4 << 32 | 4, 0x200, BASE, BASE, 20, 20, 4])); // PT_NOTE
    elf.resize(0x200, 0);
    elf.extend(longs(&[4 << 32 | 4, u64::from(u32::from_le_bytes(*b"Xen\0")) << 32 | 18]));
    elf.extend(((BASE + 0x1000) as u32).to_le_bytes());
    elf.resize(0x1000, 0);
    elf.extend(code);
    elf
}

fn longs(fields: &[u64]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

/// A folder with an image and programs that only this test sees.
pub struct Stage {
    pub folder: TempDir,
}

impl Stage {
    pub fn new() -> Stage {
        let stage = Stage { folder: TempDir::new().unwrap() };
        fs::write(stage.image(), image("hello\n", Some(0))).unwrap();
        stage
    }

    pub fn image(&self) -> PathBuf {
        self.path("app")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a shell script in front of the PATH.
    pub fn program(&self, name: &str, script: &str) -> &Stage {
        let file = self.path("bin").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Another process writes it: had we it open for writing while another test forks, it could not be run.
        let write = "printf '%s\\n' '#!/bin/sh' \"$1\" >\"$0\" && chmod +x \"$0\"";
        assert!(Command::new("sh").arg("-c").arg(write).arg(&file).arg(script).status().unwrap().success());
        self
    }

    /// `cargo-unikernel WORDS`, in the folder of the stage, where no variable of cargo or of ours is seen.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-unikernel"));
        let ours = |name: &str| name.starts_with("CARGO_") || name.starts_with("UNIKERNEL_");
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name) && name != "CARGO_HOME") {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.env("XDG_STATE_HOME", self.path("state"));
        command.current_dir(self.folder.path()).args(words.split_whitespace());
        command
    }

    /// A tool of the system, in the folder of the stage; it must succeed.
    pub fn tool(&self, program: &str, arguments: &str) -> String {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        let output = command.args(arguments.split(' ')).env("PATH", path).current_dir(self.folder.path()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}; script/setup installs it"));
        let shown = Shown::of(output, self.folder.path());
        assert_eq!(shown.code, 0, "{program} {arguments}: {shown:?}");
        shown.stdout
    }

    /// All that is in the folder but the stage's own things.
    pub fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !["app", "bin", "state"].contains(&name.as_str())).collect();
        names.sort();
        names
    }

    pub fn run(&self, words: &str) -> Shown {
        Shown::of(self.command(words).output().unwrap(), self.folder.path())
    }
}

/// What a command showed.
#[derive(Debug)]
pub struct Shown {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Shown {
    /// The folder of the stage is shown as `STAGE`.
    pub fn of(output: Output, stage: &Path) -> Shown {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(stage.to_str().unwrap(), "STAGE");
        Shown { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
