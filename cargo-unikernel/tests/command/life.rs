//! From the start of a VM to its end: exit codes, signals, time limits, and nothing left behind.

use crate::support::{Stage, image};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

fn check(script: &str, code: i32, stdout: &str, stderr: &str) {
    let stage = Stage::new();
    stage.program("qemu-system-x86_64", script);
    let shown = stage.run("runner app --accel tcg");
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (code, stdout, stderr), "{script}");
}

#[test]
fn the_exit_code_of_the_app_becomes_ours() {
    check("echo hi; exit 1", 0, "hi\n", "");
    check("exit 1", 0, "", "");
    check("exit 3", 1, "", "unikernel: the app's main returned an error (exit code 1)\n");
    check("exit 5", 2, "", "unikernel: the app could not start (exit code 2)\n");
    check("exit 203", 101, "", "unikernel: the app panicked (exit code 101)\n");
    check("exit 205", 102, "", "unikernel: the CPU reported a fault (exit code 102)\n");
    check("exit 207", 103, "", "unikernel: the app ran out of memory (exit code 103)\n");
    check("exit 209", 104, "", "unikernel: a test failed (exit code 104)\n");
    check("exit 87", 43, "", "unikernel: the app ended itself (exit code 43)\n");
}

#[test]
fn the_end_of_qemu_itself_is_told_apart() {
    let failed = "unikernel: QEMU failed with status 1, see its message above (exit code 125)\n";
    check("echo 'qemu: no such device' >&2; exit 1", 125, "", &format!("qemu: no such device\n{failed}"));
    check("echo 'qemu: warning: old' >&2; exit 1", 0, "", "qemu: warning: old\n");
    check("echo hi; echo 'qemu: odd packet' >&2; exit 1", 0, "hi\n", "qemu: odd packet\n");
    check("kill -9 $$", 137, "", "unikernel: QEMU was killed by signal 9 (exit code 137)\n");
}

/// Which one is chosen is printed, and QEMU is told the same.
#[test]
fn a_free_port_is_chosen_and_named() {
    let stage = Stage::new();
    stage.program("qemu-system-x86_64", "echo \"$@\"; exit 1");
    let shown = stage.run("runner app --accel tcg -p 0:80 -p 0.0.0.0:0:53/udp");
    let words: Vec<&str> = shown.stderr.split_whitespace().filter(|word| word.contains(':')).collect();
    let [_, tcp, _, udp] = words[..] else { panic!("{shown:?}") };
    let (tcp, udp) = (tcp.replace("localhost", "tcp:127.0.0.1"), udp.replace("0.0.0.0", "udp:0.0.0.0"));
    let udp = udp.strip_suffix("/udp").unwrap();
    assert!(shown.stdout.contains(&format!("hostfwd={tcp}-:80,hostfwd={udp}-:53 ")), "{shown:?}");
    assert!(!tcp.ends_with(":0") && !udp.ends_with(":0"), "{shown:?}");
}

#[test]
fn a_real_machine_boots_and_ends() {
    for machine in ["q35", "pc", "microvm", "microvm,acpi=off"] {
        let stage = Stage::new();
        fs::write(stage.image(), image("one\r\ntwo", Some(7))).unwrap();
        let shown = stage.run(&format!("unikernel runner app --accel tcg --timeout 60 --machine {machine}"));
        let expected = (7, "one\ntwo\n", "unikernel: the app ended itself (exit code 7)\n");
        assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), expected, "{machine}");
    }
}

#[test]
fn a_machine_that_does_not_end_is_stopped_in_time() {
    let stage = Stage::new();
    fs::write(stage.image(), image("waiting\n", None)).unwrap();
    let shown = stage.run("runner app --accel tcg --timeout 1.5");
    let words = "unikernel: not finished after 1.5 s and stopped (exit code 124); `--timeout SECONDS` gives it more\n";
    assert_eq!((shown.code, shown.stdout.as_str(), shown.stderr.as_str()), (124, "waiting\n", words));
}

/// A VM that told its process id: the fake QEMU becomes `sleep`, which keeps the id.
fn running(stage: &Stage) -> (Child, u32) {
    stage.program("qemu-system-x86_64", "echo $$; exec sleep 600");
    let mut runner = stage.command("runner app --accel tcg").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(runner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (runner, line.trim().parse().unwrap())
}

fn is_running(pid: u32) -> bool {
    // A zombie has ended; only its parent has not yet asked how.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// The kernel's own work after a kill has no event to wait for, so this looks again and again, within bounds.
pub fn ends(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(pid) && Instant::now() < deadline {
        thread::yield_now();
    }
    !is_running(pid)
}

#[test]
fn a_signal_ends_the_machine_too() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let stage = Stage::new();
        let (mut runner, machine) = running(&stage);
        assert!(is_running(machine));
        signal(runner.id(), name);
        assert_eq!(runner.wait().unwrap().code(), Some(code), "{name}");
        assert!(ends(machine), "{name}");
    }
}

#[test]
fn a_killed_runner_leaves_no_machine_behind() {
    let stage = Stage::new();
    let (mut runner, machine) = running(&stage);
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!(ends(machine));
}

#[test]
fn nobody_listening_ends_the_machine() {
    let stage = Stage::new();
    stage.program("qemu-system-x86_64", "echo $$; while echo more; do :; done; exec sleep 600");
    let mut runner = stage.command("runner app --accel tcg").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(runner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(141));
    assert!(ends(line.trim().parse().unwrap()));
}
