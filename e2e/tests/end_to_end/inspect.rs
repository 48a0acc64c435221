//! Looking inside a machine with `cargo unikernel ps` and the like, while it has all the work it can do.

use e2e::{
    PATIENCE,
    client::{PAUSE, get},
    image,
    vm::{Vm, free_port},
};
use std::{
    process::{Child, Command, Output, Stdio},
    thread,
    time::Instant,
};

const KEY: &str = "a-key-for-this-test-alone";
/// More would take long to connect: QEMU keeps one connection waiting, and the others come back after seconds.
const CLIENTS: usize = 16;

/// What the tool ends with when it could not do what was asked.
const FAILURE: i32 = 125;

/// A machine that may be looked into, and how.
struct Open {
    vm: Vm,
    address: String,
}

impl Open {
    fn start(arguments: &str) -> Open {
        let (port, inner) = (free_port(), 9091);
        let vm = Vm::serving("e2e-guest", &format!("--port {port}:{inner} {arguments}"));
        Open { vm, address: format!("127.0.0.1:{port}") }
    }

    /// Runs a client; the key is in its environment.
    fn run(&self, command: &str, words: &str, key: &str) -> Output {
        let mut tool = Command::new(image::tool());
        tool.arg(command).arg(&self.address).args(words.split_whitespace()).env("UNIKERNEL_INSPECT_KEY", key);
        let output = tool.output().expect("the tool starts");
        for text in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(text).contains(key), "{command} shows the key");
        }
        output
    }

    /// The same, which must succeed; what it printed.
    fn look(&self, command: &str, words: &str) -> String {
        let output = self.run(command, words, KEY);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command} {words}: {errors}\n{}", self.vm.said());
        String::from_utf8(output.stdout).expect("is text")
    }

    /// The same, which must fail; what it said.
    fn fails(&self, command: &str, words: &str, key: &str) -> String {
        let output = self.run(command, words, key);
        assert_eq!(output.status.code(), Some(FAILURE), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn established(&self) -> usize {
        let table = self.look("netstat", "");
        table.lines().filter(|line| line.starts_with("ESTABLISHED") && line.contains(":8080 ")).count()
    }
}

fn opened() -> Open {
    Open::start(&format!("inspect=9091 inspect-key={KEY}"))
}

struct Load(Child);

impl Load {
    fn on(vm: &Vm) -> Load {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{CLIENTS}"), "-d120s", &vm.url("/number/7")]).stdout(Stdio::null());
        Load(wrk.spawn().expect("wrk starts; script/test installs it"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn each_view_is_right_under_full_load() {
    let open = opened();
    let load = Load::on(&open.vm);
    let deadline = Instant::now() + PATIENCE;
    while open.established() != CLIENTS {
        assert!(Instant::now() < deadline, "{}", open.look("netstat", ""));
        // wrk does not say when it is connected.
        thread::sleep(PAUSE);
    }
    (0..3).for_each(|_| assert_eq!(open.established(), CLIENTS));
    let tasks = open.look("ps", "");
    let connections = tasks.lines().filter(|line| line.contains("http connection")).count();
    // And the one that asks.
    assert!((CLIENTS..=CLIENTS + 2).contains(&connections), "{tasks}");
    assert!(tasks.contains("  network  ") && tasks.contains("  inspect  "), "{tasks}");
    let top = open.look("top", "-d 1 -n 1");
    let share: f64 = top.split(['%', ' ']).find_map(|word| word.parse().ok()).expect("a number");
    assert!((5.0..=101.0).contains(&share), "{top}");
    assert!(top.contains("  network") && top.contains("OF UP TO"), "{top}");
    assert!(open.look("ping", "-n 1").starts_with("answered after "));
    captures(&open);
    drop(load);
    assert!(!open.vm.said().contains(KEY), "the machine shows the key");
}

/// KiB in all lines of a function.
fn held_kib(top: &str, function: &str) -> u64 {
    let lines = top.lines().filter(|line| line.contains(function));
    lines.map(|line| line.split_whitespace().next().unwrap().parse::<u64>().expect("a number")).sum()
}

#[test]
fn the_heap_is_shown_by_who_allocated() {
    let open = opened();
    let image = image::image("e2e-guest");
    let held_now =
        || held_kib(&open.look("top", &format!("-d 0.1 -n 1 --image {}", image.display())), "e2e_guest::hold");
    assert_eq!(held_now(), 0);
    get(open.vm.port, "/hold/4000");
    // By samples, so it is right within a few of them.
    assert!((3_600..4_200).contains(&held_now()), "{}", held_now());
    get(open.vm.port, "/let-go");
    assert!(held_now() < 200, "{}", held_now());
    let other = open.fails("top", &format!("-d 0.1 -n 1 --image {}", image::tool().display()), KEY);
    assert!(other.contains("but the machine is build"), "{other}");
}

/// What is captured Wireshark reads, and it is what passed.
fn captures(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load.pcap");
    let words = format!("-w {} --port 8080 --protocol tcp -c 300", path.display());
    let output = open.run("tcpdump", &words, KEY);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("300 frames written"), "{said}");
    let tshark = |arguments: &[&str]| {
        let output = Command::new("tshark").arg("-r").arg(&path).args(arguments).output();
        let output = output.expect("tshark starts; script/test installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(tshark(&["-Y", "tcp.port == 8080 && ip.addr == 10.0.2.15"]), 300);
    assert_eq!(tshark(&["-Y", "_ws.malformed"]), 0);
    let requests = tshark(&["-d", "tcp.port==8080,http", "-Y", "http.request.uri == \"/number/7\""]);
    let answers = tshark(&["-d", "tcp.port==8080,http", "-Y", "http.response.code == 200"]);
    assert!(requests > 20 && answers > 20, "{requests} requests, {answers} answers");
}

#[test]
fn log_lines_stop_and_come_back() {
    let open = opened();
    let levels = open.look("log-level", "e2e_guest=off");
    assert!(levels.contains("off    e2e_guest"), "{levels}");
    assert_eq!(get(open.vm.port, "/log/3").status, 200);
    let levels = open.look("log-level", "e2e_guest=default e2e_guest::network=trace");
    assert!(levels.contains("built with DEFMT_LOG=info"), "{levels}");
    assert_eq!(get(open.vm.port, "/log").status, 200);
    open.vm.says("asked to log the number 7");
    assert!(!open.vm.said().contains("of many"), "{}", open.vm.said());
    assert!(open.fails("log-level", "loud", KEY).contains("a level is `off`"));
}

#[test]
fn who_has_another_key_learns_what_is_wrong() {
    let open = opened();
    let wrong = open.fails("ps", "", "another key than that of the machine");
    assert!(wrong.contains("is not the key of") && wrong.contains("inspect-key="), "{wrong}");
    let short = open.fails("ps", "", "short key");
    assert!(short.contains("openssl rand -hex 16"), "{short}");
}

#[test]
fn nothing_listens_unless_it_was_asked_for() {
    let open = Open::start("");
    let nobody = open.fails("ps", "", KEY);
    assert!(nobody.contains("inspect=PORT inspect-key=KEY"), "{nobody}");
    assert!(!open.vm.said().contains("inspect"));
}

#[test]
fn a_port_without_a_good_key_is_refused() {
    for (arguments, expected) in [
        ("inspect=9091", "inspect-key=KEY"),
        ("inspect=9091 inspect-key=tooshortkey", "make one with `openssl rand -hex 16`"),
        ("inspect-key=long-enough-to-be-a-key", "inspect=PORT"),
    ] {
        let end = Vm::start("e2e-guest", arguments).ends();
        assert_eq!(end.code, if arguments == "inspect=9091" { 1 } else { 2 }, "{end:?}");
        assert!(end.text.contains(expected), "{end:?}");
        assert!(!end.text.contains("tooshortkey"), "{end:?}");
    }
}
