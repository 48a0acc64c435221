//! gdb on a machine and on its core, by `cargo unikernel debug` and `cargo unikernel dump`.

use e2e::{
    client::{connect, get, read_response},
    image,
    vm::Vm,
};
use std::{
    io::{BufReader, Write},
    process::Command,
};

const SOURCE: &str = include_str!("../../guest/src/main.rs");

/// `main.rs:LINE` of the line that has this text.
fn place_of(text: &str) -> String {
    format!("main.rs:{}", SOURCE.lines().position(|line| line.contains(text)).unwrap() + 1)
}

/// What gdb says to these commands.
fn debug(options: &[&str], commands: &[&str]) -> String {
    let mut debug = Command::new(image::tool());
    debug.arg("debug").arg("--image").arg(image::image_for_debugger("e2e-guest")).args(options);
    for command in commands {
        debug.arg("--command").arg(command);
    }
    let output = debug.args(["--", "-nx", "-batch"]).output().expect("the tool starts");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn check(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
}

#[test]
fn a_breakpoint_in_the_app() {
    for machine in ["q35", "microvm"] {
        let place = place_of("let router = Router::new()");
        let machine = format!("--machine={machine}");
        let text = debug(&[&machine, "--break", &place], &["continue", "bt", "uk tasks", "uk layout"]);
        // A statement of several lines may begin on any of them.
        check(
            &text,
            &[
                &place,
                " at e2e/guest/src/main.rs:",
                "#0  e2e_guest::main::",
                "unikernel_rt::executor::Executor::run_ready",
            ],
        );
        check(&text, &["main                                 (running)", "power button", "slide"]);
    }
}

#[test]
fn a_value_of_the_app() {
    // What the function is called with.
    let text = debug(&["--break", "e2e_guest::on_a_line"], &["continue", "info args", "finish"]);
    check(&text, &["number = 42", "Value returned is", "= 43"]);
}

#[test]
fn a_core_of_a_running_machine() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("guest.core");
    let vm = Vm::start_image(&image::image_for_debugger("e2e-guest"), "", "").answers();
    let mut client = connect(vm.port).unwrap();
    client.write_all(b"GET /number/1 HTTP/1.1\r\nHost: e2e\r\n\r\n").unwrap();
    read_response(&mut BufReader::new(&client)).unwrap();
    let mut dump = Command::new(image::tool());
    let output = dump.arg("dump").arg(vm.pid().to_string()).arg("--to").arg(&core).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // It stood still for the core, and goes on.
    get(vm.port, "/number/1");
    let core = core.to_str().unwrap();
    let text = debug(&["--core", core], &["bt", "uk tasks", "uk sockets", "uk heap"]);
    check(&text, &["unikernel_rt::platform::x86_64::start", "network", "main", "a connection"]);
    check(&text, &["LISTEN         *:8080", "UDP            *:7", "Established    10.0.2.15:8080"]);
    check(&text, &["KiB in use", "bytes a slot     blocks"]);

    // gdb alone finds the symbols, too.
    let mut gdb = Command::new("gdb");
    let output = gdb
        .args(["-nx", "-batch", "-ex", "bt"])
        .arg(image::image_for_debugger("e2e-guest"))
        .arg(core)
        .output()
        .unwrap();
    check(&String::from_utf8_lossy(&output.stdout), &["unikernel_rt::platform::x86_64::start"]);
}

#[test]
fn a_core_of_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let image = image::image_for_debugger("e2e-guest");
    let words = format!("--dump-on-crash {}", folder.path().display());
    let vm = Vm::start_image(&image, &words, "").answers();
    let mut stream = connect(vm.port).unwrap();
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: e2e\r\n\r\n").unwrap();
    let end = vm.ends();
    assert_eq!(end.code, 101, "{end:?}");
    check(&end.text, &["asked to panic", "unikernel: the core is in "]);
    let core = folder.path().read_dir().unwrap().next().unwrap().unwrap().path();
    let text = debug(&["--core", core.to_str().unwrap()], &["bt", "uk tasks"]);
    check(&text, &["e2e_guest::panics", "(running)"]);
}

#[test]
fn a_core_of_another_image_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("hello.core");
    let vm = Vm::start("hello", "");
    vm.says("hello from");
    let dump =
        Command::new(image::tool()).arg("dump").arg(vm.pid().to_string()).arg("--to").arg(&core).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    let mut debug = Command::new(image::tool());
    let output = debug
        .arg("debug")
        .arg("--image")
        .arg(image::image_for_debugger("e2e-guest"))
        .arg("--core")
        .arg(&core)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("the core is not of this image"), "{text}");
}
