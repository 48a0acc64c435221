//! Stops in good order: asked for by a signal to the runner, or by Ctrl-Alt-Del in the machine.

use e2e::{
    PATIENCE,
    client::{connect, get, read_response},
    qmp::Qmp,
    vm::{End, Vm},
};
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Instant,
};

fn check(end: &End, code: i32, parts: &[&str]) {
    assert_eq!(end.code, code, "{end:?}");
    assert!(parts.iter().all(|part| end.text.contains(part)), "{parts:?} in {}", end.text);
}

/// The app would wait for ever, and the machine for longer than this test does.
#[test]
fn an_app_that_does_not_listen_ends_at_once() {
    for (machine, signal) in [("q35", Signal::TERM), ("pc", Signal::INT), ("microvm", Signal::TERM)] {
        let vm = Vm::start("selftest", &format!("--machine {machine} --net none selftest=wait stop-timeout=600"));
        vm.says("waiting");
        vm.signal(signal);
        let end = vm.ends();
        check(&end, 0, &["unikernel: stopping: the power button was pressed"]);
        assert!(!end.text.contains("survived"), "{machine}: {}", end.text);
    }
}

#[test]
fn a_second_signal_ends_a_machine_that_is_busy() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let vm = Vm::serving("e2e-guest", "stop-timeout=600");
        get(vm.port, "/busy");
        vm.signal(signal);
        vm.says("unikernel: stopping: the power button was pressed");
        vm.signal(signal);
        check(&vm.ends(), code, &["unikernel: stopped"]);
    }
}

#[test]
fn without_a_power_button_the_machine_is_ended() {
    let vm = Vm::start("hello", "--machine microvm,acpi=off");
    vm.says("hello from");
    vm.stop();
    check(&vm.ends(), 130, &["unikernel: stopped"]);
}

#[test]
fn ctrl_alt_del() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("monitor");
    let vm = Vm::start_with("hello", "", &Qmp::arguments(&socket));
    vm.says("hello from");
    let keys = ["ctrl", "alt", "delete"].map(|name| json!({ "type": "qcode", "data": name }));
    Qmp::connect(&socket).execute("send-key", json!({ "keys": keys }));
    check(&vm.ends(), 0, &["unikernel: stopping: Ctrl-Alt-Del was pressed"]);
}

/// Clients that ask again as soon as they are answered, on connections that they keep. A request on a connection that was not
/// announced to be closed is answered, whenever the stop comes; on a new connection it may be refused from then on.
#[test]
fn no_request_is_lost_under_load() {
    const CLIENTS: usize = 8;
    const REQUESTS_BEFORE: usize = 400;
    let vm = Vm::serving("e2e-guest", "");
    let (stopping, answered, after) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (port, answered, after, stopping) = (vm.port, &answered, &after, &stopping);
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(move || ask_until_refused(port, answered, after, stopping))).collect();
        let deadline = Instant::now() + PATIENCE;
        while answered.load(Ordering::Relaxed) < REQUESTS_BEFORE && Instant::now() < deadline {
            thread::yield_now();
        }
        stopping.store(true, Ordering::Relaxed);
        vm.stop();
        clients.into_iter().for_each(|client| client.join().unwrap().unwrap());
    });
    check(&vm.ends(), 0, &["unikernel: stopping: the power button was pressed"]);
    assert!(answered.load(Ordering::Relaxed) >= REQUESTS_BEFORE, "too slow to be loaded");
    assert!(after.load(Ordering::Relaxed) > 0, "the stop came when nobody asked");
}

fn ask_until_refused(port: u16, answered: &AtomicUsize, after: &AtomicUsize, stopping: &AtomicBool) -> io::Result<()> {
    loop {
        // QEMU accepts for the machine, so a refusal shows at the first answer.
        let Ok(stream) = connect(port) else { return refused(stopping, "connect") };
        let mut stream = BufReader::new(stream);
        let mut is_new = true;
        loop {
            let number = answered.load(Ordering::Relaxed);
            let request = format!("GET /number/{number} HTTP/1.1\r\nHost: e2e\r\n\r\n");
            let sent = stream.get_mut().write_all(request.as_bytes());
            let response = match sent.and_then(|()| read_response(&mut stream)) {
                Ok(response) => response,
                Err(error) if is_new => return refused(stopping, &error.to_string()),
                Err(error) => return Err(error),
            };
            assert_eq!((response.status, response.body), (200, number.to_string().into_bytes()));
            answered.fetch_add(1, Ordering::Relaxed);
            is_new = false;
            if response.head.to_lowercase().contains("connection: close") {
                assert!(stopping.load(Ordering::Relaxed), "closed without a stop");
                after.fetch_add(1, Ordering::Relaxed);
                assert_eq!(stream.fill_buf()?, b"", "nothing follows");
                break;
            }
        }
    }
}

fn refused(stopping: &AtomicBool, error: &str) -> io::Result<()> {
    assert!(stopping.load(Ordering::Relaxed), "refused without a stop: {error}");
    Ok(())
}

fn begin(vm: &Vm, path: &str) -> BufReader<std::net::TcpStream> {
    let mut stream = connect(vm.port).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: e2e\r\n\r\n").as_bytes()).unwrap();
    BufReader::new(stream)
}

#[test]
fn a_request_in_flight_is_finished() {
    let vm = Vm::serving("e2e-guest", "");
    let (mut slow, mut idle) = (begin(&vm, "/slow"), begin(&vm, "/number/1"));
    read_response(&mut idle).unwrap();
    vm.says("asked for what is slow");
    vm.stop();
    assert_eq!(idle.fill_buf().unwrap(), b"", "an idle connection is closed in order");
    let response = read_response(&mut slow).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, "slow".as_bytes()));
    assert!(response.head.to_lowercase().contains("connection: close"), "{}", response.head);
    check(&vm.ends(), 0, &[]);
}

#[test]
fn a_request_that_is_never_answered_is_cut_off() {
    let vm = Vm::serving("e2e-guest", "stop-timeout=2");
    let mut never = begin(&vm, "/never");
    vm.says("asked for what never comes");
    vm.stop();
    assert_eq!(never.fill_buf().unwrap(), b"");
    check(&vm.ends(), 0, &["http: 1 connections are cut off"]);
}

#[test]
fn who_does_not_finish_is_named() {
    const SOURCE: &str = include_str!("../../guest/src/main.rs");
    let line = SOURCE.lines().position(|line| line.contains("lifecycle::busy()")).unwrap() + 1;
    let vm = Vm::serving("e2e-guest", "stop-timeout=1");
    get(vm.port, "/busy");
    vm.stop();
    let place = format!("unikernel:   not finished: e2e/guest/src/main.rs:{line}:");
    check(&vm.ends(), 106, &[&place, "the app did not stop in time (exit code 106)"]);
}

/// The file was not synced, and its disk takes four writes a second: the answer comes long before the file is written.
#[test]
fn what_a_volume_still_holds_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    File::create(&file).unwrap().set_len(16 << 20).unwrap();
    let visit = |path: &str, options: &str| {
        let drive = format!("-drive if=none,id=disk,format=raw,file={}{options}", file.display());
        let vm =
            Vm::serving_with("e2e-guest", "stop-timeout=50", &format!("{drive} -device virtio-blk-pci,drive=disk"));
        let response = get(vm.port, path);
        vm.signal(Signal::TERM);
        check(&vm.ends(), 0, &["unikernel: stopping: the power button was pressed"]);
        response
    };
    assert_eq!(visit("/left", "").status, 404);
    assert_eq!(visit("/leave/this", ",throttling.iops-write=4").status, 200);
    assert_eq!(visit("/left", "").body, b"this");
}
