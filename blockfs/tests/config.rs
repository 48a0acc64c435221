//! Config partitions: what is on one, what is wrong with it, and what counts before it. Tables are the standard tool's.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};
use unikernel_blockfs::ConfigPartition;
use unikernel_rt::{
    Acquire, Config, Machine, Secret,
    config::{Source, TEXT_LEN_MAX, add},
    device::{BlockError, BlockOp},
    log::{self, tail::Tail},
    sim::SimDisk,
};

const TYPE: &str = "type=37D7ED5E-A8BC-4DA7-AD33-FD667E755520";

/// A disk of 4 MiB with the table of this script of `sfdisk`.
fn disk_with(script: &str) -> SimDisk {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    fs::File::create(&path).unwrap().set_len(4 << 20).unwrap();
    let mut command = Command::new("/usr/sbin/sfdisk");
    let command = command.arg("--quiet").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut sfdisk = command.spawn().expect("install the package fdisk (Debian) or util-linux");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    SimDisk::from_bytes(&fs::read(path).unwrap())
}

/// A disk whose config partition has this length, and these bytes at its beginning.
fn disk_of(len: usize, text: &[u8]) -> SimDisk {
    let disk = disk_with(&format!("label: gpt\nstart=1MiB, size={}, {TYPE}, name=any\n", len / 512));
    disk.poke(1 << 20, text);
    disk
}

/// What an app finds that asks for `A` and `a`, or why it does not start. No error shows a value.
async fn found(disks: &[&SimDisk]) -> Result<String, String> {
    let mut machine = Machine::new();
    disks.iter().for_each(|disk| machine.add_disk(disk.device()));
    let result = async {
        let partition = ConfigPartition::acquire(&mut machine).await?;
        assert_eq!(format!("{partition:?}"), format!("ConfigPartition {{ is_there: {} }}", partition.is_there));
        let config = Config::acquire(&mut machine).await?;
        let (variable, argument) = (config.env::<String>("A")?, config.get::<String>("a")?);
        config.finish()?;
        let or_nothing = |value: Option<String>| value.unwrap_or("-".into());
        Ok(format!("{} {} {}", partition.is_there, or_nothing(variable), or_nothing(argument)))
    };
    let result = result.await.map_err(|error: unikernel_rt::Error| error.to_string());
    // Whatever was on them, the disks stay for who asks for them.
    assert_eq!(std::iter::from_fn(|| machine.take_disk().ok()).count(), disks.len());
    assert!(result.as_ref().err().is_none_or(|error| !error.contains("hunter2")), "{result:?}");
    result
}

/// The result for a partition of 128 KiB with this text, which zeros follow.
async fn check(text: &[u8], expected: Result<&str, &str>) {
    let found = found(&[&disk_of(128 << 10, text)]).await;
    match (&found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
        _ => panic!("{found:?} instead of {expected:?}"),
    }
}

#[unikernel_rt::test]
async fn a_machine_may_have_none() {
    assert_eq!(found(&[]).await.unwrap(), "false - -");
    let without_table = SimDisk::from_bytes(&[0; 4 << 20]);
    let of_another_type = disk_with("label: gpt\nstart=1MiB, size=64KiB, name=unikernel-config\n");
    let mbr = disk_with("label: dos\nstart=1MiB, size=64KiB\n");
    for disk in [&of_another_type, &mbr] {
        disk.poke(1 << 20, b"env.A=1\n");
    }
    assert_eq!(found(&[&without_table, &of_another_type, &mbr]).await.unwrap(), "false - -");
}

#[unikernel_rt::test]
async fn an_empty_one() {
    check(b"", Ok("true - -")).await;
}

#[unikernel_rt::test]
async fn values_and_what_is_left_after_a_zero() {
    check(b"env.A=some words\na=\"two\\nlines\"\n\0env.A=of a longer text before", Ok("true some words two\nlines"))
        .await;
}

#[unikernel_rt::test]
async fn comments_and_the_ends_of_lines_of_other_systems() {
    check(b"# A comment.\r\n\r\n env.A = x # y \r\n\ta=1\r\n#a=2", Ok("true x # y 1")).await;
}

#[unikernel_rt::test]
async fn of_one_key_the_last_counts() {
    check(b"env.A=1\na=1\nenv.A=2\na=2\n", Ok("true 2 2")).await;
}

#[unikernel_rt::test]
async fn an_unknown_variable() {
    let expected = "unknown environment variable `TOKEN` (from the config partition); this image understands: A";
    check(b"env.A=1\nenv.TOKEN=hunter2\n", Err(expected)).await;
}

#[unikernel_rt::test]
async fn an_unknown_argument() {
    check(b"prot=hunter2\n", Err("unknown boot argument `prot` (from the config partition)")).await;
}

#[unikernel_rt::test]
async fn a_line_that_is_none() {
    let expected = "the configuration in the config partition is wrong in line 2: it is no `key=value`";
    check(b"env.A=1\nmy hunter2\n", Err(expected)).await;
}

#[unikernel_rt::test]
async fn what_is_no_text() {
    check(b"env.A=hunter2\xff\n", Err("the configuration in the config partition is no UTF-8 text")).await;
}

#[unikernel_rt::test]
async fn a_text_that_is_too_long() {
    let mut text = vec![b'#'; TEXT_LEN_MAX + 1];
    check(&text, Err("the configuration in the config partition is longer than 64 KiB")).await;
    text.truncate(TEXT_LEN_MAX - b"\na=1".len());
    text.extend(b"\na=1");
    check(&text, Ok("true - 1")).await;
}

#[unikernel_rt::test]
async fn a_text_that_fills_its_partition() {
    let mut text = vec![b'#'; 512 - b"\na=1".len()];
    text.extend(b"\na=1");
    let disk = disk_of(512, &text);
    // What follows it on the disk is not its own.
    disk.poke((1 << 20) + 512, b"23\nenv.A=1\n");
    assert_eq!(found(&[&disk]).await.unwrap(), "true - 1");
}

#[unikernel_rt::test]
async fn a_second_one_is_refused() {
    let two = disk_with(&format!("label: gpt\nstart=1MiB, size=64KiB, {TYPE}\nstart=2MiB, size=64KiB, {TYPE}\n"));
    let error = found(&[&two]).await.unwrap_err();
    assert!(error.starts_with("disk 1 cannot be searched for a config partition: "), "{error}");
    assert!(error.ends_with("it has several config partitions; leave all but one out"), "{error}");
    let (one, empty, other) = (disk_of(512, b"a=1"), SimDisk::new(1 << 20), disk_of(512, b"a=2"));
    let error = found(&[&one, &empty, &other]).await.unwrap_err();
    assert_eq!(error, "disk 3 has another config partition; leave one of them out");
}

#[unikernel_rt::test]
async fn a_disk_that_cannot_be_read() {
    let disk = disk_of(512, b"env.A=hunter2");
    disk.fail(BlockOp::Read, 1 << 20..(1 << 20) + 512, BlockError::Io, usize::MAX);
    let error = found(&[&SimDisk::new(1 << 20), &disk]).await.unwrap_err();
    assert!(
        error.starts_with("disk 2 cannot be searched for a config partition: the disk reported an I/O error"),
        "{error}"
    );
}

/// Of the four sources the partition is the third, in whatever order they are read.
#[unikernel_rt::test(args = "env.A=line a=line")]
async fn what_counts_before_it_and_after() {
    add(Source::FwCfg, b"env.B=fw_cfg\nb=fw_cfg\nenv.A=fw_cfg").unwrap();
    add(Source::Metadata, b"env.C=metadata\nd=metadata\na=metadata").unwrap();
    let mut machine = Machine::new();
    let text: String = ["A", "B", "C"].map(|name| format!("env.{name}=partition\n")).concat();
    machine.add_disk(disk_of(4096, format!("{text}a=partition\nb=partition\nc=partition\n").as_bytes()).device());
    ConfigPartition::acquire(&mut machine).await.unwrap();
    let config = Config::acquire(&mut machine).await.unwrap();
    let env = |name| config.env::<String>(name).unwrap().unwrap();
    assert_eq!(["A", "B", "C"].map(env), ["line", "fw_cfg", "partition"]);
    let get = |key| config.get::<String>(key).unwrap().unwrap();
    assert_eq!(["a", "b", "c", "d"].map(get), ["line", "fw_cfg", "partition", "metadata"]);
    config.finish().unwrap();
}

#[unikernel_rt::test]
async fn a_secret_of_it_is_in_no_line_of_the_log() {
    let mut machine = Machine::new();
    machine.add_disk(disk_of(512, b"env.TOKEN=\"hunter2\"\n").device());
    let partition = ConfigPartition::acquire(&mut machine).await.unwrap();
    let config = Config::acquire(&mut machine).await.unwrap();
    let token: Secret = config.required("TOKEN").unwrap();
    config.finish().unwrap();
    log::info!("{} has the token {}", log::Debug2Format(&partition), log::Display2Format(&token));
    let mut tail = Tail::from_oldest();
    let lines: Vec<_> = std::iter::from_fn(|| tail.read_record()).map(|record| record.message).collect();
    assert_eq!(lines.last().map(String::as_str), Some("ConfigPartition { is_there: true } has the token ***"));
    assert!(lines.iter().all(|line| !line.contains("hunter2")) && token.expose() == "hunter2", "{lines:?}");
}
