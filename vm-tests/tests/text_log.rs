//! Log lines as text, in the machine: with their fields, for readers that sleep until there are some.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the host there is no machine to test, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};
use unikernel_rt::{
    log::{
        IS_TEXT, app_name, error, info,
        tail::{Kind, Level, Record, Tail},
        warn,
    },
    task::{spawn, yield_now},
    time::{Duration, Instant, sleep},
};

unikernel_rt::test_harness!();

fn check(record: &Record, level: Level, target: &str, message: &str) {
    assert_eq!((record.level, &*record.target, &*record.message), (level, target, message));
}

#[unikernel_rt::test]
async fn lines_come_as_data() {
    assert!(IS_TEXT && app_name() == "vm-tests", "{}", app_name());
    let mut tail = Tail::from_now();
    let before = Instant::now();
    error!("{} of {}", 1, "two");
    warn!("one\ntwo \u{1b}");
    let record = tail.next().await;
    check(&record, Level::Error, "text_log", "1 of two");
    assert!((before..=Instant::now()).contains(&record.at), "{record:?}");
    check(&tail.next().await, Level::Warn, "text_log", "one\ntwo \\u{1b}");
    assert_eq!((tail.read_record(), tail.take_lost()), (None, 0));
}

#[unikernel_rt::test]
async fn records_of_third_party_crates_are_lines() {
    let mut tail = Tail::from_now();
    log::warn!(target: "some crate", "with {}", 1);
    log::info!("from here");
    log::debug!("more than anybody asked for");
    check(&tail.next().await, Level::Warn, "some_crate", "with 1");
    check(&tail.next().await, Level::Info, "text_log", "from here");
    assert_eq!(tail.read_record(), None);
}

#[unikernel_rt::test]
async fn a_reader_sleeps_until_a_line_comes() {
    let reader = spawn(async {
        let mut tail = Tail::from_now();
        (tail.next().await, Instant::now(), tail.next().await, Instant::now())
    });
    sleep(Duration::from_millis(100)).await;
    info!("first");
    sleep(Duration::from_millis(100)).await;
    info!("second");
    let (first, first_read, second, second_read) = reader.await.expect("is not aborted");
    check(&first, Level::Info, "text_log", "first");
    check(&second, Level::Info, "text_log", "second");
    for (record, read) in [(first, first_read), (second, second_read)] {
        assert!(read - record.at < Duration::from_millis(90), "read {:?} later", read - record.at);
    }
}

#[unikernel_rt::test]
async fn the_console_has_what_readers_have() {
    let mut tail = Tail::from_now();
    info!("a line");
    let mut line = Vec::new();
    let head = tail.read(&mut line).expect("a line was logged");
    let line = String::from_utf8(line).expect("is text");
    assert_eq!((head.kind, head.level), (Kind::Text, Some(Level::Info)));
    assert!(line.ends_with(" info  text_log: a line\r\n"), "{line}");
}

/// More than there is room for, while nothing drains it.
#[unikernel_rt::test]
async fn a_reader_knows_of_every_line() {
    sleep(Duration::from_millis(50)).await;
    let mut tail = Tail::from_now();
    (0..5_000).for_each(|number| info!("line {}", number));
    let mut read = 0_u64;
    while tail.read_record().is_some() {
        read += 1;
    }
    let lost = tail.take_lost();
    assert_eq!((read + lost, read > 100), (5_000, true), "{read} and {lost}");
    // The console empties it, and says so.
    yield_now().await;
    let told = tail.next().await;
    assert_eq!(told.message, format!("{lost} log lines were dropped"));
}
