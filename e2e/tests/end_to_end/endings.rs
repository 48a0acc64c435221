//! Deaths of an app: the exit code, and a report with functions and lines.

use e2e::{
    PATIENCE,
    client::{PAUSE, Response, connect, get, try_get},
    image,
    vm::{End, Vm, free_port},
};
use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

const SOURCE: &str = include_str!("../../guest/src/main.rs");

fn killed_by(path: &str) -> End {
    asked_to_die(Vm::serving("e2e-guest", ""), path)
}

fn asked_to_die(vm: Vm, path: &str) -> End {
    ask(&vm, path);
    vm.ends()
}

fn ask(vm: &Vm, path: &str) {
    let mut stream = connect(vm.port).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: e2e\r\n\r\n").as_bytes()).unwrap();
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
        &[
            "page fault",
            "stack overflow in task ",
            "e2e_guest::",
            "unikernel: the CPU reported a fault (exit code 102)",
        ],
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
    check(&end, 101, &["asked to panic on a fiber", "e2e_guest::", "::fiber::start\nunikernel: tasks"]);
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

/// What a report says besides: the build, the state of heap and network, and the last log lines.
#[test]
fn a_report_says_what_else_was_going_on() {
    let vm = Vm::serving("e2e-guest", "");
    get(vm.port, "/log");
    let end = asked_to_die(vm, "/panic");
    let log = " WARN  asked to log the number 7";
    check(
        &end,
        101,
        &[
            "\nunikernel: tasks\n",
            " waiting power button: the power button\n",
            // It waits, or has just been woken by a frame.
            " network: the network\n",
            "\nunikernel: build ",
            "\nunikernel: heap: ",
            "\nunikernel: network: ",
            "unikernel:   | ",
            log,
        ],
    );
    let report = end.text.split("unikernel: panic at ").nth(1).unwrap();
    assert!(report.lines().any(|line| line.starts_with("unikernel:   | ") && line.ends_with(log)), "{report}");
    let build = report.lines().find_map(|line| line.strip_prefix("unikernel: build ")).unwrap();
    assert!(build.len() == 40 && !report.contains("names and lines below may be wrong"), "{report}");
    // It would tell where the image lies at this boot.
    assert!(!report.contains("image at"), "{report}");
}

#[test]
fn a_supervised_panic_is_reported_and_survived() {
    let vm = Vm::serving("e2e-guest", "");
    assert_eq!(text_of(get(vm.port, "/panic-alone")), "Some(true)");
    vm.says("unikernel: the machine goes on\nunikernel: end of report");
    check(&asked_to_die(vm, "/exit"), 43, &["asked to panic alone"]);
}

#[test]
fn more_log_lines_than_there_is_room_for() {
    let vm = Vm::serving("e2e-guest", "");
    get(vm.port, "/log/5000");
    vm.says(" log lines were dropped\n");
    let said = vm.said();
    let numbers = said.lines().filter_map(|line| line.split_once("WARN  line ")?.1.split(' ').next()?.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    assert!(numbers.len() > 100 && numbers.iter().copied().eq(0..numbers.len()), "{numbers:?}");
    let dropped = said.lines().find_map(|line| line.split_once("WARN  ")?.1.strip_suffix(" log lines were dropped"));
    assert_eq!(dropped.unwrap().parse::<usize>().unwrap() + numbers.len(), 5000);
}

fn text_of(response: Response) -> String {
    String::from_utf8(response.body).unwrap()
}

/// The answer to `/crashes` once it begins like this.
fn crashes(vm: &Vm, wanted: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_get(vm.port, "/crashes").map(text_of) {
            Ok(answer) if answer.starts_with(wanted) => return answer,
            answer => assert!(Instant::now() < deadline, "{answer:?} instead of {wanted}:\n{}", vm.said()),
        }
        // The machine that was asked may be the one that has crashed, or the next that does not listen yet.
        thread::sleep(PAUSE);
    }
}

#[test]
fn a_machine_that_starts_again_knows_why() {
    for machine in ["q35", "pc", "microvm", "microvm,acpi=off"] {
        let vm = Vm::serving("e2e-guest", &format!("--machine {machine} on-crash=reboot"));
        assert_eq!(text_of(get(vm.port, "/crashes")), "0 ");
        ask(&vm, "/panic");
        let first = crashes(&vm, "1 panic: unikernel: panic at ");
        assert!(first.contains(&place_of("panic!(")) && first.contains("unikernel: backtrace"), "{first}");
        vm.says("unikernel: the previous run crashed:\nunikernel: panic at ");
        ask(&vm, "/overflow");
        crashes(&vm, "2 stack overflow: unikernel: page fault ");
        let end = asked_to_die(vm, "/exit");
        check(&end, 43, &["end of the previous run's report", "crashed and started again, 2 times in all"]);
    }
}

#[test]
fn crashes_before_main_do_not_go_on_for_ever() {
    let end = Vm::start("e2e-guest", "on-crash=reboot -- crash-early").ends();
    check(
        &end,
        101,
        &["asked to panic before main", "not starting again: 4 crashes in a row came before main was reached"],
    );
    assert_eq!(end.text.matches("unikernel: starting again, ").count(), 3, "{}", end.text);
}

#[test]
fn a_crash_may_halt() {
    let vm = Vm::serving("e2e-guest", "on-crash=halt");
    ask(&vm, "/panic");
    vm.says("unikernel: end of report\nunikernel: halted, ");
    // Ports are forwarded for as long as there is a machine.
    assert!(connect(vm.port).is_ok(), "the machine stays for a debugger");
}

#[test]
fn on_crash_is_checked_at_the_start() {
    let end = Vm::start("e2e-guest", "on-crash=perhaps").ends();
    check(&end, 2, &["boot argument `on-crash=perhaps`: write on-crash=exit, on-crash=halt or on-crash=reboot"]);
}

/// Written by QEMU without a runner, and read much later; the image is found by the build that the report names.
#[test]
fn a_saved_log_is_symbolised() {
    let port = free_port();
    let mut runner = Command::new(image::tool());
    runner.arg("runner").arg(image::image("e2e-guest")).args(["--dry-run", "--port", &format!("{port}:8080")]);
    let line = String::from_utf8(runner.output().unwrap().stdout).unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut qemu = Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .stdin(Stdio::null())
        .stdout(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while try_get(port, "/log").is_err() && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    connect(port).unwrap().write_all(b"GET /panic HTTP/1.1\r\nHost: e2e\r\n\r\n").unwrap();
    assert_eq!(qemu.wait().unwrap().code(), Some(101 << 1 | 1));
    let output = Command::new(image::tool()).arg("symbolize").arg(log.path()).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let parts = [" WARN  asked to log the number 7\n", "e2e_guest::", &place_of("panic!("), "inlined into "];
    assert!(parts.iter().all(|part| shown.contains(part)), "{shown}{}", String::from_utf8_lossy(&output.stderr));
}
