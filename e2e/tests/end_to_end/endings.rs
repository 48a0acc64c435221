//! Deaths of an app: the exit code, and a report with functions and lines.

use e2e::{
    client::{connect, get},
    vm::{End, Vm},
};
use std::io::Write;

const SOURCE: &str = include_str!("../../guest/src/main.rs");

fn killed_by(path: &str) -> End {
    let vm = Vm::serving("e2e-guest", "");
    let mut stream = connect(vm.port).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: e2e\r\n\r\n").as_bytes()).unwrap();
    vm.ends()
}

/// `e2e/guest/src/main.rs:LINE` of the line that has this text.
fn place_of(text: &str) -> String {
    let line = SOURCE.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("e2e/guest/src/main.rs:{line}")
}

fn check(end: &End, code: i32, parts: &[&str]) {
    assert_eq!(end.code, code, "{end:?}");
    assert!(parts.iter().all(|part| end.text.contains(part)), "{parts:?} in {}", end.text);
}

#[test]
fn a_panic_in_a_task() {
    let end = killed_by("/panic");
    let place = place_of("panic!(");
    let head = format!("unikernel: panic at {place}");
    check(&end, 101, &[&head, "asked to panic", "unikernel: the app panicked (exit code 101)"]);
    let frames: Vec<_> = end.text.lines().filter(|line| line.contains(" at e2e/guest/src/main.rs:")).collect();
    assert!(frames.iter().any(|frame| frame.contains("e2e_guest::") && frame.contains(&place)), "{}", end.text);
}

#[test]
fn a_fault_of_the_cpu() {
    let end = killed_by("/overflow");
    check(
        &end,
        102,
        &["page fault", "stack overflow", "e2e_guest::", "unikernel: the CPU reported a fault (exit code 102)"],
    );
}

#[test]
fn an_overflow_on_a_fiber() {
    let end = killed_by("/overflow-on-fiber");
    check(&end, 102, &["page fault", "stack overflow", "e2e_guest::deeper", "(exit code 102)"]);
}

#[test]
fn a_panic_on_a_fiber() {
    let end = killed_by("/panic-on-fiber");
    // The backtrace ends where the fiber starts.
    check(&end, 101, &["asked to panic on a fiber", "e2e_guest::", "::fiber::start\nunikernel: end of report"]);
}

#[test]
fn no_memory_left() {
    let end = killed_by("/memory");
    check(&end, 103, &["unikernel: out of memory", "-m ", "unikernel: the app ran out of memory (exit code 103)"]);
}

#[test]
fn an_app_may_name_its_own_code() {
    check(&killed_by("/exit"), 43, &["unikernel: the app ended itself (exit code 43)"]);
}

#[test]
fn log_lines_are_decoded() {
    let vm = Vm::serving("e2e-guest", "");
    get(vm.port, "/log");
    vm.says(" WARN  asked to log the number 7\n");
}
