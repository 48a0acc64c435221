//! Machines in the background: several at once, with crashes, stops, copies and killed supervisors.

use crate::home::Home;
use e2e::{
    PATIENCE, boot_disk,
    client::{self, connect, get, read_response},
    output::Output,
    vm::free_port,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

/// Waits until the web server of an instance answers.
fn answers(port: u16, path: &str) {
    let deadline = Instant::now() + PATIENCE;
    while client::try_get(port, path).is_err() {
        assert!(Instant::now() < deadline, "port {port} does not answer");
        // QEMU accepts connections before the guest does, so there is no event that tells.
        thread::sleep(client::PAUSE);
    }
}

/// An instance of the server for tests that answers.
fn serving(home: &Home, name: &str, words: &str) -> u16 {
    let port = free_port();
    home.create(name, "e2e-guest", &format!("-p {port}:8080 {words}"));
    answers(port, "/");
    port
}

/// Nothing is left, and it does not need a moment to be gone.
fn all_is_gone(home: &Home) {
    assert_eq!((home.left(), home.processes()), (Vec::new(), Vec::new()));
}

#[test]
fn two_side_by_side() {
    let home = Home::new();
    let (one, other) = (serving(&home, "one", ""), serving(&home, "other", "--machine microvm --memory 96M"));
    get(one, "/log");
    let table = home.says("list");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "UP", "IMAGE", "PORTS", "RESTARTS", "ENDED"]);
    assert_eq!((rows[1][..2].join(" "), rows[2][..2].join(" ")), ("one running".into(), "other running".into()));
    assert_eq!((rows[1][3], rows[1][4], rows[1][5]), ("e2e-guest", &*format!("{one}:8080"), "0"));
    assert_eq!(
        (&home.state("other")["memory"], &home.state("other")["machine"]),
        (&"96M".into(), &"microvm,acpi=on".into())
    );
    // Decoded, and each with its own.
    home.logs_say("one", "WARN  asked to log the number 7");
    assert!(!home.says("logs other").contains("number 7"));
    let stats: serde_json::Value = serde_json::from_str(&home.says("stats --json")).unwrap();
    let uses = |at: usize| {
        stats[at]["cpu_seconds"].as_f64() > Some(0.0) && stats[at]["resident_bytes"].as_u64() > Some(1 << 20)
    };
    assert!(uses(0) && uses(1), "{stats}");

    assert!(home.says("stop one").contains("one: stopped; the app ended (exit code 0)"));
    let stopped = home.state("one");
    assert_eq!((&stopped["state"], &stopped["ended"]["code"]), (&"stopped".into(), &0.into()));
    assert!(client::try_get(one, "/").is_err());
    answers(other, "/");
    home.says("start one");
    answers(one, "/");
    assert_eq!(home.says("logs one").matches("unikernel: the app ended (exit code 0)").count(), 1);
    home.says("delete one");
    assert_eq!(home.state("one"), serde_json::Value::Null);
    answers(other, "/");
    home.says("delete --now other");
    all_is_gone(&home);
}

#[test]
fn a_crash_is_told_and_the_machine_is_started_again() {
    let home = Home::new();
    let port = serving(&home, "web", "--restart on-failure");
    let mut follower = home.command("logs web --follow").stdout(Stdio::piped()).spawn().unwrap();
    let heard = Output::of(vec![Box::new(follower.stdout.take().unwrap())]);
    let mut stream = connect(port).unwrap();
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: e2e\r\n\r\n").unwrap();
    assert!(read_response(&mut BufReader::new(stream)).is_err());
    let state = home.wait("web", |state| state["restarts"] == 1 && state["state"] == "running");
    assert_eq!(
        (&state["ended"]["code"], &state["ended"]["words"]),
        (&101.into(), &"the app panicked (exit code 101)".into())
    );
    answers(port, "/");
    heard.says("asked to panic", 1);
    heard.says("it starts again in 0.25 s", 1);
    // Addresses have become places.
    heard.says("e2e/guest/src/main.rs:", 1);
    home.says("stop web");
    assert!(follower.wait().unwrap().success(), "a follower ends with the instance");
    heard.wait(|_| false);
    assert!(heard.said().ends_with("unikernel: the app ended (exit code 0)\n"), "{}", heard.said());
    assert_eq!(home.state("web")["restarts"], 1);
    home.says("delete web");
    all_is_gone(&home);
}

#[test]
fn a_killed_supervisor_takes_its_machine_along_and_the_instance_can_be_started() {
    let home = Home::new();
    let port = serving(&home, "web", "--restart always");
    let pid = home.state("web")["pid"].to_string();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let supervisor = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    assert!(Command::new("kill").args(["-9", supervisor]).status().unwrap().success());
    // Its machine may take a moment longer, and has the port until the kernel has closed its files: after its memory, and so its command
    // line, has gone.
    let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    home.wait("web", |state| state["state"] == "dead" && home.processes().is_empty() && is_free());
    home.says("start web");
    answers(port, "/");
    home.says("delete web");
    all_is_gone(&home);
}

fn numbers(port: u16) -> BTreeSet<String> {
    let text = String::from_utf8(get(port, "/random").body).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_copy_goes_on_from_the_same_moment_with_other_random_numbers() {
    let home = Home::new();
    let port = serving(&home, "web", "");
    assert_eq!(get(port, "/number/5").body, b"5");
    let copy: serde_json::Value = serde_json::from_str(&home.says("clone web copy --json")).unwrap();
    let copied = u16::try_from(copy["ports"][0]["host"].as_u64().unwrap()).unwrap();
    assert!(copied != port && copy["state"] == "running", "{copy}");
    answers(copied, "/");
    let (one, other) = (numbers(port), numbers(copied));
    assert_eq!((one.len(), other.len()), (64, 64));
    assert!(one.is_disjoint(&other), "{one:?} {other:?}");
    // It did not boot: that is said once in the life of a memory.
    home.logs_say("web", "network: address");
    assert!(!home.says("logs copy").contains("network: address"));
    // A copy has copies, and starts by itself once it was stopped.
    let own = free_port();
    home.says(&format!("clone copy third -p {own}:8080"));
    answers(own, "/");
    home.says("stop copy");
    home.says("start copy");
    answers(copied, "/");
    home.says("delete --now web copy third");
    all_is_gone(&home);
}

fn put(port: u16, id: &str, text: &str) {
    let mut stream = connect(port).unwrap();
    let head =
        format!("PUT /notes/{id} HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all((head + text).as_bytes()).unwrap();
    assert!(read_response(&mut BufReader::new(stream)).unwrap().status < 300);
}

#[test]
fn a_copy_has_disks_of_its_own() {
    let home = Home::new();
    let port = free_port();
    home.create("notes", "notes", &format!("-p {port}:8080 --volume notes={},size=16M", home.path("n.img").display()));
    answers(port, "/notes");
    put(port, "1", "\"both\"");
    let copied = free_port();
    home.says(&format!("clone notes copy -p {copied}:8080"));
    answers(copied, "/notes");
    put(port, "2", "\"first\"");
    put(copied, "2", "\"second\"");
    for (port, expected) in [(port, "\"first\""), (copied, "\"second\"")] {
        assert_eq!(get(port, "/notes/1").body, b"\"both\"");
        assert_eq!(get(port, "/notes/2").body, expected.as_bytes());
    }
    home.says("delete copy");
    assert_eq!(get(port, "/notes/2").body, b"\"first\"");
    home.says("delete notes");
    all_is_gone(&home);
    // It was there before the instance, and is the user's.
    assert!(home.path("n.img").exists());
}

#[test]
fn what_cannot_be_copied_is_refused_with_the_reason() {
    let home = Home::new();
    let refused = |words: &str, expected: &str| {
        let output = home.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{words}: {said}");
    };
    serving(&home, "micro", "--machine microvm");
    refused("clone micro copy", "which does not tell its app that it is a copy");
    refused("clone micro micro", "there is an instance `micro` already");
    home.says("stop micro");
    refused("clone micro copy", "`micro` is stopped, and only what runs can be copied");
    refused("clone nothing copy", "there is no instance `nothing`; there are micro");
    home.says("delete micro");
    all_is_gone(&home);
}

/// Its log is decoded by the build that is on it, which nobody names.
#[test]
fn a_disk_is_an_instance_with_a_log() {
    let home = Home::new();
    let disk = home.path("site.img");
    boot_disk::created("static-site", &disk, &[]);
    let port = free_port();
    home.says(&format!("create web --image {} --bios seabios --accel tcg -p {port}:8080", disk.display()));
    home.logs_say("web", "INFO  network: address 10.0.2.15");
    answers(port, "/");
    home.says("delete web");
    all_is_gone(&home);
}
