//! The metrics of a machine under load, read with Prometheus' own parser.

use e2e::{
    client::get,
    vm::{Vm, free_port},
};
use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

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

#[test]
fn a_loaded_machine_is_scraped() {
    let metrics = free_port();
    let vm = Vm::serving("e2e-guest", &format!("--port {metrics}:9090 metrics=9090"));
    let before = scrape(metrics);
    let mut load = Command::new("wrk");
    load.args(["-t1", "-c32", "-d4s", &vm.url("/number/7")]).stdout(Stdio::piped());
    let load = load.spawn().expect("wrk starts; script/test installs it");
    let mut last = before.clone();
    // While it runs: no counter goes back.
    for _ in 0..5 {
        let now = scrape(metrics);
        for (name, value) in last.iter().filter(|(name, _)| name.contains("_total{") || name.contains("_count{")) {
            assert!(now.get(name).is_some_and(|now| now >= value), "{name} was {value}, is {:?}", now.get(name));
        }
        last = now;
    }
    let output = load.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answered: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or_else(|| panic!("wrk says\n{text}"));
    let after = scrape(metrics);
    let grown = |name: &str| after[name] - before.get(name).copied().unwrap_or_default();
    let requests = grown("unikernel_http_requests_total{route=/number/{number},status=2xx}");
    // Answers that were under way when the load ended count here and not there.
    assert!((answered..=answered + 32.0).contains(&requests), "{requests} were counted, {answered} answered");
    assert_eq!(grown("unikernel_http_request_duration_seconds_count{route=/number/{number}}"), requests);
    // QEMU's network lets few of the connections in at once.
    assert!(grown("unikernel_tcp_accepted_total{}") >= 2.0);
    assert!(grown("unikernel_network_received_frames_total{port=0}") >= requests / 32.0);
    assert!(grown("unikernel_network_sent_bytes_total{port=0}") > requests * 50.0);
    assert!(grown("unikernel_task_run_seconds_total{}") > 0.0);
    assert!(after["unikernel_task_run_seconds_total{}"] <= after["unikernel_uptime_seconds{}"]);
    assert!(after["unikernel_boot_seconds{}"] > 0.0);
    assert!(after["unikernel_heap_used_bytes{}"] < after["unikernel_heap_bytes{}"]);
    assert_eq!(after["unikernel_tasks{task=main}"], 1.0);
}
