//! The parts of a report after its first lines. Each looks at what a broken machine has left, and waits for no lock.

use super::{
    super::{CORE_READY, crash, current_task, heap, memory, with_core, with_log},
    Report, backtrace,
    out::{Indented, Out, bytes, line},
};
use crate::{
    crash::Kind,
    task::{TaskInfo, TaskState},
};
use core::{
    fmt::{self, Write},
    sync::atomic::Ordering,
};

/// Log lines that a report repeats.
const LOG_LINES: u64 = 50;

/// Tasks that are listed: of thousands most are connections, which say the same.
const TASKS_MAX: usize = 64;

pub(super) const ALL: &[fn(&Report)] = &[task, build, trace, tasks, heap_use, sections, log_lines, survival];

fn task(_: &Report) {
    line(format_args!("unikernel: in {CurrentTask}"));
}

/// `task NAME`; its number where the list of tasks cannot be read.
pub(super) struct CurrentTask;

impl fmt::Display for CurrentTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(current) = current_task() else { return f.write_str("no task") };
        let mut name = None;
        for_each_task(&mut |task| name = name.or(Some(task.name).filter(|_| task.id == current)));
        match name {
            Some(name) => write!(f, "task {name}"),
            None => write!(f, "task {current}"),
        }
    }
}

/// Shows every task to `f`. False when the list was just being changed, or there is none yet.
fn for_each_task(f: &mut dyn FnMut(TaskInfo)) -> bool {
    CORE_READY.load(Ordering::Relaxed) && with_core(|core| core.executor.for_each(f))
}

fn tasks(_: &Report) {
    line(format_args!("unikernel: tasks"));
    let mut count = 0;
    let is_whole = for_each_task(&mut |TaskInfo { id, name, state, waits_for, .. }| {
        count += 1;
        match waits_for {
            _ if count > TASKS_MAX => {}
            _ if waits_for.is_empty() || state == TaskState::Running => {
                line(format_args!("unikernel:   {id:>3} {state} {name}"))
            }
            _ => line(format_args!("unikernel:   {id:>3} {state} {name}: {waits_for}")),
        }
    });
    if !is_whole {
        line(format_args!("unikernel:   their list was just being changed"));
    }
    if count > TASKS_MAX {
        line(format_args!("unikernel:   and {} more", count - TASKS_MAX));
    }
}

fn build(_: &Report) {
    let _ = write!(Out, "unikernel: build ");
    for byte in crash::build_id() {
        let _ = write!(Out, "{byte:02x}");
    }
    line(format_args!(""));
}

fn trace(report: &Report) {
    backtrace::print(&report.origin);
}

fn heap_use(_: &Report) {
    let heap = heap::stats_for_report();
    line(format_args!(
        "unikernel: heap: {} of {} KiB in use, {} KiB at most so far",
        heap.in_use >> 10,
        heap.total >> 10,
        heap.peak >> 10
    ));
}

/// What to do when memory ran out.
pub(super) fn memory_advice() {
    let heap = heap::stats_for_report();
    let (in_use, total) = (heap.in_use >> 10, heap.total >> 10);
    let mib = (2 * heap.total + memory::image_physical().end as usize).div_ceil(1 << 20);
    line(format_args!(
        "unikernel: {in_use} of {total} KiB of heap are in use; start the machine with more memory: -m {mib}M"
    ));
}

/// Apps' and crates' own. Not where what was interrupted goes on: it may be in the middle of something.
fn sections(report: &Report) {
    let goes_on = report.is_survived && report.kind == Kind::Hang;
    if goes_on || !CORE_READY.load(Ordering::Relaxed) {
        return;
    }
    with_core(|core| {
        let Ok(sections) = core.sections.try_borrow() else { return };
        for (name, write) in &*sections {
            let _ = write!(Out, "unikernel: {name}: ");
            let _ = write(&mut Indented);
            line(format_args!(""));
        }
    });
}

/// As they were on the console, so the runner decodes them again.
fn log_lines(_: &Report) {
    line(format_args!("unikernel: the last log lines"));
    let mut cursor = with_log(|log| log.last(LOG_LINES));
    while with_log(|log| {
        let Some(line) = log.read(&mut cursor) else { return false };
        line.parts.iter().for_each(|part| bytes(part));
        true
    }) {}
    line(format_args!("unikernel: end of the log lines"));
}

fn survival(report: &Report) {
    if report.is_survived {
        line(format_args!("unikernel: the machine goes on"));
    }
}
