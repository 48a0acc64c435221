//! Log lines on their way out: JSON on the console, syslog to rsyslog and to a collector of this test, and what they cost.

#[path = "../../../syslog/tests/common/rfc5424.rs"]
#[allow(dead_code, missing_docs)]
mod rfc5424;

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use e2e::{
    PATIENCE,
    client::{PAUSE, get, try_get},
    server::{HOST, Server},
    vm::{Vm, free_port},
};
use rfc5424::{Parsed, parse, split_frames};

const TEXT: &str = "e2e-guest+text-log";
/// What `/log-odd` logs, as the collector has it.
const ODD: &str = "two\\nlines, a \"quote\", a \\, an \\u{1b}[31mescape and an \u{fc}";

/// Waits until the file has a line with `text`, and returns all of it.
fn file_with(path: &Path, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let content = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half there.
        if content.contains(text) && content.ends_with('\n') {
            return content;
        }
        assert!(Instant::now() < deadline, "`{text}` never came:\n{content}");
        thread::sleep(PAUSE);
    }
}

fn check_rsyslog(transport: &str) {
    let folder = tempfile::tempdir().unwrap();
    let rsyslog = Server::rsyslog(free_port(), folder.path());
    let vm = Vm::serving(TEXT, &format!("syslog={transport}:{HOST}:{} hostname=web1", rsyslog.port));
    get(vm.port, "/log-odd");
    let raw = file_with(&folder.path().join("raw"), "a record of the log crate");
    let messages: Vec<Parsed> = raw.lines().map(|line| parse(line.as_bytes()).unwrap()).collect();
    for message in &messages {
        assert_eq!((message.hostname.as_deref(), message.app_name.as_deref()), (Some("web1"), Some("e2e-guest")));
        assert!(message.time.as_deref().is_some_and(|time| time >= "2025"), "{message:?}");
    }
    let numbers: Vec<u64> = messages.iter().map(Parsed::sequence).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{raw}");
    let odd = messages.iter().find(|message| message.msg_id.as_deref() == Some("e2e_guest::logs")).unwrap();
    assert_eq!((odd.pri, &*odd.text), (28, ODD));
    let third_party = messages.last().unwrap();
    assert_eq!((third_party.pri, third_party.msg_id.as_deref()), (30, Some("third_party")));
    // And rsyslog reads the same.
    let parsed = file_with(&folder.path().join("parsed"), "a record of the log crate");
    let line = parsed.lines().find(|line| line.contains("escape")).unwrap();
    assert!(line.starts_with("daemon.warning web1 e2e-guest e2e_guest::logs 20"), "{line}");
    assert!(line.contains("[meta sequenceId=\"") && line.ends_with(ODD), "{line}");
    // The console has the lines, too.
    vm.says("info  third_party: a record of the log crate\n");
}

#[test]
fn rsyslog_has_every_line_over_tcp() {
    check_rsyslog("tcp");
}

#[test]
fn rsyslog_has_every_line_over_udp() {
    check_rsyslog("udp");
}

#[test]
fn the_console_speaks_json() {
    let vm = Vm::serving(TEXT, "log=json hostname=web1");
    get(vm.port, "/log-odd");
    vm.says("a record of the log crate");
    let said = vm.said();
    let lines: Vec<serde_json::Value> =
        said.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        assert_eq!((&line["app"], &line["hostname"]), (&"e2e-guest".into(), &"web1".into()));
        assert!(line["time"].as_str().is_some_and(|time| time > "2025" && time.ends_with('Z')), "{line}");
        assert!(line["uptime"].as_f64().is_some_and(|uptime| uptime > 0.0), "{line}");
    }
    let has = |target: &str, level: &str, message: &str| {
        let same = |line: &&serde_json::Value| line["target"] == target && line["level"] == level;
        assert!(lines.iter().filter(same).any(|line| line["message"] == message), "no {message}:\n{said}");
    };
    has("e2e_guest::logs", "warn", "two\nlines, a \"quote\", a \\, an \u{1b}[31mescape and an \u{fc}");
    has("third_party", "info", "a record of the log crate");
    // An error of the app that ends it is not a log line, and stays text.
    get(vm.port, "/panic-alone");
    vm.says("asked to panic alone");
}

#[test]
fn frames_cannot_go_to_a_sink() {
    for (words, code) in [("log=json", 2), ("syslog=udp:10.0.2.2:514", 1)] {
        let end = Vm::start("e2e-guest", words).ends();
        assert_eq!(end.code, code, "{end:?}");
        assert!(end.text.contains("build it with the feature `text-log` of unikernel-rt"), "{end:?}");
    }
}

/// A collector of one connection after the other, and what it has.
struct Collector {
    port: u16,
    received: Arc<Mutex<Vec<Parsed>>>,
    ends: Arc<AtomicBool>,
}

impl Collector {
    fn start(port: u16) -> Collector {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, ends) = (Arc::<Mutex<Vec<Parsed>>>::default(), Arc::<AtomicBool>::default());
        let (into, end) = (received.clone(), ends.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                read(stream, &into);
            }
        });
        Collector { port, received, ends }
    }

    /// How many lines with this text it has.
    fn count(&self, text: &str) -> u64 {
        let received = self.received.lock().unwrap();
        received.iter().filter(|message| message.text.contains(text)).count() as u64
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn read(mut stream: TcpStream, into: &Mutex<Vec<Parsed>>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..len]);
        let (messages, used) = split_frames(&bytes).unwrap();
        into.lock().unwrap().extend(messages);
        bytes.drain(..used);
    }
}

/// Lines sent, lost, and failures, as the guest counts them.
fn sink(vm: &Vm) -> [u64; 3] {
    let answer = String::from_utf8(get(vm.port, "/sink").body).unwrap();
    let numbers: Vec<u64> = answer.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[test]
fn a_flood_of_lines_loses_no_request_and_counts_what_it_drops() {
    const CLIENTS: u64 = 4;
    const REQUESTS: u64 = 50;
    const LINES: u64 = 400;
    let collector = Collector::start(0);
    let vm = Vm::serving(TEXT, &format!("syslog=tcp:{HOST}:{}", collector.port));
    let ask = |_| {
        let port = vm.port;
        thread::spawn(move || (0..REQUESTS).filter(|_| get(port, &format!("/log/{LINES}")).status == 200).count())
    };
    let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
    let served: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert_eq!(served as u64, CLIENTS * REQUESTS);
    let deadline = Instant::now() + PATIENCE;
    let lost = loop {
        let [_, lost, _] = sink(&vm);
        if collector.count("of many") + lost >= CLIENTS * REQUESTS * LINES {
            break lost;
        }
        assert!(Instant::now() < deadline, "{} came and {lost} were lost", collector.count("of many"));
        thread::sleep(PAUSE);
    };
    assert!(lost > 0, "more was logged than there is room for");
    println!("{} lines came, {lost} were dropped and counted", collector.count("of many"));
}

#[test]
fn a_collector_that_was_away_gets_what_waited() {
    let port = free_port();
    let vm = Vm::serving(TEXT, &format!("syslog=tcp:{HOST}:{port}"));
    get(vm.port, "/log/100");
    vm.says("syslog: no way to tcp:10.0.2.2:");
    assert!(try_get(vm.port, "/sink").is_ok_and(|answer| answer.status == 200));
    let collector = Collector::start(port);
    let deadline = Instant::now() + PATIENCE;
    while collector.count("of many") < 100 || collector.count("again") < 1 {
        assert!(Instant::now() < deadline, "{} lines came", collector.count(""));
        thread::sleep(PAUSE);
    }
    assert_eq!((collector.count("of many"), sink(&vm)[1]), (100, 0));
}

/// QEMU's clock goes on by a nanosecond an instruction here.
#[test]
fn a_log_call_costs_little() {
    let cost = |package: &str, words: &str| {
        let vm = Vm::serving_with(package, words, "-icount shift=0");
        let answer = String::from_utf8(get(vm.port, "/log-cost").body).unwrap();
        let (call, sink) = answer.split_once(' ').unwrap();
        println!("{package} {words}: {call} instructions a call, {sink} in the sink");
        (call.parse::<u64>().unwrap(), sink.parse::<u64>().unwrap())
    };
    let collector = Collector::start(0);
    let (frame, _) = cost("e2e-guest", "");
    let (text, no_sink) = cost(TEXT, "");
    let (json, _) = cost(TEXT, "log=json");
    let (text_and_sink, sink) = cost(TEXT, &format!("syslog=tcp:{HOST}:{}", collector.port));
    assert!(frame < FRAME_MAX && text < TEXT_MAX && json < JSON_MAX, "{frame} {text} {json}");
    assert!(text_and_sink < text + text / 10, "a sink makes no call dearer: {text} {text_and_sink}");
    assert!(no_sink == 0 && sink < SINK_MAX, "{no_sink} {sink}");
}

/// Measured: 1,745, 3,215, 7,545, and 10,280 in the sink's tasks.
const FRAME_MAX: u64 = 2_500;
const TEXT_MAX: u64 = 4_500;
const JSON_MAX: u64 = 10_000;
const SINK_MAX: u64 = 15_000;
