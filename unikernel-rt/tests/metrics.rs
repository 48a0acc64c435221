//! Metrics as an app has them.

use std::{cell::Cell, rc::Rc};
use unikernel_rt::{
    metrics::{self, Buckets, Counter, CounterFamily, Gauge, Histogram},
    time::{Duration, set_unix_time, sleep},
};

/// Whether the page has this line.
fn has(line: &str) -> bool {
    metrics::text().lines().any(|other| other == line)
}

#[unikernel_rt::test]
async fn a_metric_is_on_the_page_from_its_first_use_on() {
    static USED: Counter = Counter::new("test_used_total", "Used.");
    static LISTED: Counter = Counter::new("test_listed_total", "Listed.");
    static LEVEL: Gauge = Gauge::new("test_level", "Level.");
    static LEN: Histogram = Histogram::bytes("test_len_bytes", "Length.");
    assert!(!has("test_used_total 0"));
    USED.add(2);
    USED.increment();
    LEVEL.add(-5);
    LEVEL.add(1);
    LEN.observe_len(1000);
    metrics::list(&LISTED);
    metrics::list(&LISTED);
    for line in ["test_used_total 3", "test_level -4", "test_listed_total 0", "test_len_bytes_bucket{le=\"1024\"} 1"] {
        assert!(has(line), "{line}");
    }
    assert_eq!(metrics::text().matches("\ntest_listed_total").count(), 1);
}

#[unikernel_rt::test]
async fn a_family_has_a_bound() {
    static BY_AGENT: CounterFamily<1> = CounterFamily::new("test_agents_total", "By agent.", ["agent"], 2);
    for agent in ["curl", "wget", "curl", "lynx", "w3m", &"x".repeat(65)] {
        BY_AGENT.with([agent]).increment();
    }
    for (agent, count) in [("curl", 2), ("wget", 1), ("other", 3)] {
        assert!(has(&format!("test_agents_total{{agent=\"{agent}\"}} {count}")), "{agent}");
    }
    assert!(!metrics::text().contains("lynx"));
}

#[unikernel_rt::test]
async fn a_collector_adds_until_it_is_gone() {
    let (count, buckets) = (Rc::new(Cell::new(1_u64)), Buckets::new());
    buckets.observe(1);
    metrics::collect_with(&count, move |count, page| {
        page.counter("test_parts_total", "Parts.", &[("of", "a \"whole\"")], count.get());
        page.histogram_seconds("test_part_seconds", "Time.", &[], &buckets);
    });
    assert!(has("test_parts_total{of=\"a \\\"whole\\\"\"} 1"));
    count.set(2);
    assert!(has("test_parts_total{of=\"a \\\"whole\\\"\"} 2"));
    drop(count);
    assert!(!metrics::text().contains("test_part"));
    assert!(!metrics::text().contains("test_part"));
}

#[unikernel_rt::test]
async fn the_runtime_counts_tasks_and_timers() {
    unikernel_rt::spawn_named("sleeper", sleep(Duration::from_secs(5)));
    sleep(Duration::from_secs(2)).await;
    for line in [
        "unikernel_tasks{task=\"main\"} 1",
        "unikernel_tasks{task=\"sleeper\"} 1",
        "unikernel_tasks_spawned_total 2",
        // Of `main`, before it slept, and of the other.
        "unikernel_task_polls_total 2",
        "unikernel_timers 1",
        "unikernel_timers_started_total 2",
        "unikernel_timers_fired_total 1",
        "unikernel_uptime_seconds 2.000000",
        "unikernel_start_time_seconds 1767225600.000000",
        "unikernel_crashes 0",
        "unikernel_log_dropped_total 0",
    ] {
        assert!(has(line), "no {line:?} in\n{}", metrics::text());
    }
    unikernel_rt::log::info!("a line");
    assert!(has("unikernel_log_lines_total 1"), "{}", metrics::text());
    set_unix_time(Duration::ZERO);
    assert!(!metrics::text().contains("unikernel_start_time"), "a machine without a date does not know its start");
    sleep(Duration::from_secs(4)).await;
    // One that has ended still counts.
    assert!(has("unikernel_task_polls_total 4") && has("unikernel_timers 0"), "{}", metrics::text());
}
