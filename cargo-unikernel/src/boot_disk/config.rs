//! The config partition of a disk, which holds the app's environment: `unikernel_blockfs::ConfigPartition` reads it at each start.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use gpt::partition_types::{OperatingSystem, Type};
use unikernel_blockfs::{CONFIG_MARK, CONFIG_PARTITION};
use unikernel_rt::config::TEXT_LEN_MAX;
use uuid::Uuid;

/// What it is called, which nobody looks for.
pub(super) const NAME: &str = "unikernel-config";

/// As long as the longest text that is read; on the disk it is a whole MiB, so that zeros follow.
pub(super) const LEN: u64 = TEXT_LEN_MAX as u64;

/// By which it is found.
pub(super) fn kind() -> Type {
    Type { guid: Uuid::from_bytes_le(CONFIG_PARTITION), os: OperatingSystem::None }
}

/// Refuses a kernel that would never look at it.
pub(super) fn check_reader(kernel: &[u8]) -> Result<()> {
    let mark = CONFIG_MARK.as_bytes();
    ensure!(
        kernel.windows(mark.len()).any(|bytes| bytes == mark),
        "this app reads no config partition, so it would not see `--env`; make `_: unikernel_blockfs::ConfigPartition` the \
         first argument of its `main`, or write the values as boot arguments: `-- env.NAME=VALUE`"
    );
    Ok(())
}

/// Writes the text of the partition of `len` bytes that begins here, over the one before.
pub(super) fn write(disk: &Path, start: u64, len: u64, text: &str) -> Result<()> {
    let len_max = read_len(len);
    let mut bytes = text.as_bytes().to_vec();
    ensure!(bytes.len() <= len_max, "the environment has {} bytes; its place has {len_max}", bytes.len());
    bytes.resize(len_max, 0);
    let file = OpenOptions::new().write(true).open(disk)?;
    file.write_all_at(&bytes, start).context("cannot write the config partition")
}

/// How much of a partition of so many bytes is read.
fn read_len(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(TEXT_LEN_MAX)
}

/// The keys in the partition of `len` bytes that begins here, in their order. Whoever made it may have written what he likes; no value is
/// ever shown, as any may be secret.
pub(super) fn keys(disk: &Path, start: u64, len: u64) -> Result<Vec<String>> {
    let mut bytes = vec![0; read_len(len)];
    File::open(disk)?.read_exact_at(&mut bytes, start).context("the disk ends within its config partition")?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Ok(keys_of(&String::from_utf8_lossy(&bytes[..end])))
}

/// As the runtime reads them, but for what it refuses.
fn keys_of(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut keys: Vec<String> = Vec::new();
    for line in lines {
        let key = line.split_once('=').map_or(line, |(key, _)| key.trim_end());
        let is_key = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        // A line that is wrong may have the secret anywhere.
        let key = if is_key { key } else { "(a line that is no `key=value`)" };
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_and_values_are_not() {
        let check = |text: &str, expected: &[&str]| assert_eq!(keys_of(text), expected, "{text:?}");
        check("", &[]);
        check("# a=1\r\n env.TOKEN = \"hunter2\"\r\nport=8080\nverbose\n", &["env.TOKEN", "port", "verbose"]);
        check("env.A=1\nenv.A=2", &["env.A"]);
        check("my hunter2", &["(a line that is no `key=value`)"]);
        check("hunter2 x=1", &["(a line that is no `key=value`)"]);
    }

    #[test]
    fn a_text_replaces_a_longer_one() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::write(&disk, [7; 80_000]).unwrap();
        write(&disk, 512, LEN, "env.LONG=x\nenv.B=y\n").unwrap();
        write(&disk, 512, LEN, "env.A=1\n").unwrap();
        assert_eq!(keys(&disk, 512, LEN).unwrap(), ["env.A"]);
        let bytes = std::fs::read(&disk).unwrap();
        assert_eq!((bytes.len(), bytes[511], bytes[521], bytes[512 + TEXT_LEN_MAX]), (80_000, 7, 0, 7));
        assert!(write(&disk, 0, LEN, &"#".repeat(TEXT_LEN_MAX + 1)).is_err());
        assert!(keys(&disk, 80_000, LEN).is_err());
    }

    /// Others make shorter ones; what is behind them is not ours.
    #[test]
    fn a_short_partition_keeps_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        std::fs::write(&disk, [b'x'; 4096]).unwrap();
        write(&disk, 512, 512, "env.A=1\n").unwrap();
        assert_eq!(keys(&disk, 512, 512).unwrap(), ["env.A"]);
        let bytes = std::fs::read(&disk).unwrap();
        assert_eq!((bytes[511], bytes[1023], bytes[1024], bytes.len()), (b'x', 0, b'x', 4096));
        let error = write(&disk, 512, 512, &format!("env.A={}", "1".repeat(512))).unwrap_err().to_string();
        assert_eq!(error, "the environment has 518 bytes; its place has 512");
    }

    #[test]
    fn who_does_not_look_is_told() {
        check_reader(format!("..{CONFIG_MARK}..").as_bytes()).unwrap();
        let error = check_reader(b"something else").unwrap_err().to_string();
        assert!(error.contains("make `_: unikernel_blockfs::ConfigPartition` the first argument"), "{error}");
    }
}
