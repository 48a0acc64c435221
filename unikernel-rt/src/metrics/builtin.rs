//! What the runtime itself counts: tasks, timers, heap, time.

use super::Page;
use crate::{
    crash, heap,
    platform::{with_core, with_log},
    task::TaskInfo,
    time::{Instant, unix_time_at},
};
use alloc::string::ToString;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// When `main` began, in microseconds since boot; 0 before that.
static MAIN_MICROS: AtomicU64 = AtomicU64::new(0);

/// The devices are there, and `main` begins.
pub(crate) fn main_begins() {
    MAIN_MICROS.store(Instant::now().as_micros(), Ordering::Relaxed);
}

pub(super) fn collect(page: &mut Page) {
    about(page);
    tasks(page);
    timers(page);
    memory(page);
    crashes(page);
    log(page);
}

fn about(page: &mut Page) {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("profile", profile)];
    page.gauge("unikernel_build_info", "The runtime of this image.", &labels, 1_u64);
    // One moment for both clocks, or the start would be another in each page.
    let now = Instant::now();
    let uptime = Duration::from_micros(now.as_micros());
    page.gauge("unikernel_uptime_seconds", "Time since the machine started.", &[], uptime);
    if let Some(time) = unix_time_at(now) {
        let help = "When the machine started, since 1970; not there while the date is not known.";
        page.gauge("unikernel_start_time_seconds", help, &[], time.saturating_sub(uptime));
    }
    let boot = Duration::from_micros(MAIN_MICROS.load(Ordering::Relaxed));
    page.gauge("unikernel_boot_seconds", "From the machine's start until `main` began.", &[], boot);
}

fn tasks(page: &mut Page) {
    let mut count = |task: TaskInfo| {
        let name = task.name.to_string();
        page.gauge(
            "unikernel_tasks",
            "Tasks by name, or the place where they were spawned.",
            &[("task", &name)],
            1_u64,
        );
    };
    with_core(|core| core.executor.for_each(&mut count));
    let stats = with_core(|core| core.executor.stats());
    page.counter("unikernel_tasks_spawned_total", "Tasks that were started.", &[], stats.spawned);
    page.counter("unikernel_task_polls_total", "Times a task ran until it waited.", &[], stats.polls);
    page.counter("unikernel_task_run_seconds_total", "Time in which a task ran.", &[], stats.run_time);
    page.gauge("unikernel_task_poll_seconds_max", "The longest a task ran without waiting.", &[], stats.longest_poll);
    page.counter("unikernel_executor_rounds_total", "Rounds over the ready tasks.", &[], stats.rounds);
}

fn timers(page: &mut Page) {
    let (running, started, fired) = with_core(|core| core.timers.borrow().counts());
    page.gauge("unikernel_timers", "Timers that run.", &[], running);
    page.counter("unikernel_timers_started_total", "Timers that were started.", &[], started);
    page.counter("unikernel_timers_fired_total", "Timers whose moment came.", &[], fired);
}

fn memory(page: &mut Page) {
    let stats = heap::stats();
    page.gauge("unikernel_heap_bytes", "Size of the heap.", &[], stats.total);
    page.gauge("unikernel_heap_used_bytes", "Allocated now.", &[], stats.in_use);
    page.gauge("unikernel_heap_used_bytes_max", "The most that was allocated at once.", &[], stats.peak);
    page.gauge("unikernel_heap_free_bytes", "What can still be allocated, about.", &[], heap::free().min(stats.total));
    for class in heap::classes().iter().filter(|class| class.held > 0) {
        let len = class.block_len_max.map_or("+Inf".to_string(), |len| len.to_string());
        let labels = [("block_len_max", &*len)];
        page.gauge("unikernel_heap_blocks", "Blocks in use, by the longest of their class.", &labels, class.blocks);
        page.gauge(
            "unikernel_heap_class_bytes",
            "Bytes that serve a class, room for more included.",
            &labels,
            class.held,
        );
    }
}

/// Of the starts before this one: a gauge, as power-on begins anew.
fn crashes(page: &mut Page) {
    page.gauge("unikernel_crashes", "Crashes since power-on, each followed by a new start.", &[], crash::count());
    if let Some(report) = crash::previous() {
        let labels = [("kind", &*report.kind.to_string())];
        page.gauge("unikernel_previous_crash", "The crash that this start follows.", &labels, 1_u64);
    }
}

fn log(page: &mut Page) {
    let (lines, dropped) = with_log(|log| log.counts());
    page.counter("unikernel_log_lines_total", "Log lines that were written.", &[], lines);
    page.counter("unikernel_log_dropped_total", "Log lines for which there was no room.", &[], dropped);
}
