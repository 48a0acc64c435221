//! Logging on the machine: it does not wait, and what has no room is counted.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the host there is no machine to test, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

extern crate alloc;

use alloc::vec::Vec;
use unikernel_rt::{
    log::{
        Display2Format, info,
        tail::{Kind, Tail},
    },
    spawn_supervised,
    time::{Duration, sleep},
};

unikernel_rt::test_harness!();

/// How many lines there are to read.
fn count(tail: &mut Tail) -> usize {
    let mut line = Vec::new();
    core::iter::from_fn(|| tail.read(&mut line)).count()
}

#[unikernel_rt::test]
async fn readers_get_the_lines_of_the_console() {
    let mut tail = Tail::from_now();
    let mut line = Vec::new();
    assert_eq!(tail.read(&mut line), None);
    info!("with bytes that frames escape: {} {}", 0xc0_u8, 0xdb_u8);
    let head = tail.read(&mut line).expect("a line was logged");
    assert_eq!((head.kind, line[0], line[line.len() - 1]), (Kind::Frame, 0xc0, 0xc1));
    assert!(line[1..line.len() - 1].iter().all(|byte| !matches!(byte, 0xc0 | 0xc1)), "{line:x?}");
}

/// The console gets nothing while a task runs, so a burst ends where the memory is full.
#[unikernel_rt::test]
async fn a_burst_is_cut_and_the_cut_is_told() {
    const BURST: usize = 5_000;
    sleep(Duration::from_millis(20)).await;
    let mut tail = Tail::from_now();
    (0..BURST).for_each(|number| info!("line {} of a burst", number));
    let kept = count(&mut tail);
    assert!((500..BURST).contains(&kept), "{kept} lines were kept");
    assert_eq!(tail.take_lost(), (BURST - kept) as u64);
    // The console takes all in a few milliseconds; then one line says how many were dropped.
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        match count(&mut tail) {
            0 => {}
            told => return assert_eq!(told, 1),
        }
    }
    panic!("nobody said that lines were dropped");
}

/// Logs while it is formatted, or panics.
struct Odd(bool);

impl core::fmt::Display for Odd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        assert!(!self.0, "asked to panic");
        info!("inside of a line");
        f.write_str("odd")
    }
}

#[unikernel_rt::test]
async fn a_line_inside_a_line_or_cut_off_by_a_panic_spoils_nothing() {
    let mut tail = Tail::from_now();
    info!("a value that logs: {}", Display2Format(&Odd(false)));
    assert_eq!(count(&mut tail), 1);
    let task = spawn_supervised(async { info!("a value that panics: {}", Display2Format(&Odd(true))) });
    assert!(task.await.expect("is not aborted").is_err());
    // What the report itself logged: how many lines were dropped.
    count(&mut tail);
    info!("and on it goes");
    assert_eq!(count(&mut tail), 1);
}
