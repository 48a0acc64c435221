//! The metrics of a machine under load, read with Prometheus' own parser.

use e2e::{
    client::{connect, get, read_response},
    vm::{Vm, free_port},
};
use std::{
    collections::BTreeMap,
    io::{BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

const CLIENTS: usize = 16;
const REQUESTS_PER_CLIENT: usize = 500;

/// The samples of a page, by name and labels, as the reference reads them.
fn read(page: &str) -> BTreeMap<String, f64> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = root.join("target/prometheus-python/bin/python");
    assert!(python.exists(), "Prometheus' parser is missing; install it with `. script/setup; setup_prometheus`");
    let mut command = Command::new(python);
    command.arg(root.join("e2e/tests/end_to_end/metrics.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut parser = command.spawn().unwrap();
    parser.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "the parser refuses\n{page}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let sample = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    lines.lines().filter_map(sample).collect()
}

fn scrape(port: u16) -> BTreeMap<String, f64> {
    let response = get(port, "/metrics");
    assert_eq!(response.status, 200);
    read(&String::from_utf8(response.body).unwrap())
}

/// So many requests on one connection, one after the other.
fn ask(port: u16) {
    let mut stream = BufReader::new(connect(port).unwrap());
    for number in 0..REQUESTS_PER_CLIENT {
        let request = format!("GET /number/{number} HTTP/1.1\r\nHost: e2e\r\n\r\n");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let response = read_response(&mut stream).unwrap();
        assert_eq!((response.status, response.body), (200, number.to_string().into_bytes()));
    }
}

#[test]
fn a_loaded_machine_is_scraped() {
    let metrics = free_port();
    let vm = Vm::serving("e2e-guest", &format!("--port {metrics}:9090 metrics=9090"));
    let before = scrape(metrics);
    let mut last = before.clone();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask(vm.port))).collect();
        // While they ask: no counter goes back.
        while clients.iter().any(|client| !client.is_finished()) {
            let now = scrape(metrics);
            for (name, value) in last.iter().filter(|(name, _)| name.contains("_total{") || name.contains("_count{")) {
                assert!(now.get(name).is_some_and(|now| now >= value), "{name} was {value}, is {:?}", now.get(name));
            }
            last = now;
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let after = scrape(metrics);
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    let requests = (CLIENTS * REQUESTS_PER_CLIENT) as f64;
    // All were answered, so all are counted, and nothing else is.
    assert_eq!(grown("unikernel_http_requests_total{route=/number/{number},status=2xx}"), requests);
    assert_eq!(grown("unikernel_http_request_duration_seconds_count{route=/number/{number}}"), requests);
    assert!(grown("unikernel_tcp_accepted_total{}") >= CLIENTS as f64);
    assert!(grown("unikernel_network_received_frames_total{port=0}") >= requests);
    assert!(grown("unikernel_network_sent_bytes_total{port=0}") > requests * 50.0);
    assert!(grown("unikernel_task_run_seconds_total{}") > 0.0);
    assert!(after["unikernel_task_run_seconds_total{}"] <= after["unikernel_uptime_seconds{}"]);
    assert!(after["unikernel_boot_seconds{}"] > 0.0);
    assert!(after["unikernel_heap_used_bytes{}"] < after["unikernel_heap_bytes{}"]);
    assert_eq!(after["unikernel_tasks{task=main}"], 1.0);
}
