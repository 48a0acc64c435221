//! What is known of each task: its name, what it waits for, and the time it took.

use crate::platform::with_core;
use alloc::vec::Vec;
use core::{fmt, panic::Location, time::Duration};

/// A task of this core at one moment.
#[derive(Clone, Copy, Debug)]
pub struct TaskInfo {
    /// Its number; a later task may get the number of one that has ended.
    pub id: usize,
    /// Its name.
    pub name: TaskName,
    /// Whether it runs.
    pub state: TaskState,
    /// What it waited for when it was last polled; empty when it never waited, or its futures do not tell.
    pub waits_for: &'static str,
    /// How often it was polled.
    pub polls: u64,
    /// How long it ran, all polls together. On the hosted platform polls take no time.
    pub run_time: Duration,
    /// Its longest poll: for so long nothing else ran.
    pub longest_poll: Duration,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It is being polled.
    Running,
    /// It was woken, and is polled when its turn comes.
    Ready,
    /// Nothing has woken it.
    Waiting,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TaskState::Running => "running",
            TaskState::Ready => "ready",
            TaskState::Waiting => "waiting",
        })
    }
}

/// The name of a task, or else the place where it was spawned.
#[derive(Clone, Copy, Debug)]
pub struct TaskName {
    /// Empty when it was given none.
    pub name: &'static str,
    /// Where it was spawned.
    pub place: &'static Location<'static>,
}

impl TaskName {
    /// `name` for what the caller of the caller spawns.
    #[track_caller]
    pub(crate) fn new(name: &'static str) -> TaskName {
        TaskName { name, place: Location::caller() }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            "" => write!(f, "{}:{}", self.place.file(), self.place.line()),
            name => f.write_str(name),
        }
    }
}

/// The tasks of this core, in the order of their numbers.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// for task in unikernel_rt::task::tasks() {
///     println!("{} {} is {} and waits for {}", task.id, task.name, task.state, task.waits_for);
/// }
/// # });
/// ```
pub fn tasks() -> Vec<TaskInfo> {
    let mut tasks = Vec::new();
    with_core(|core| core.executor.for_each(&mut |task| tasks.push(task)));
    tasks
}

/// Up to `max` tasks whose numbers are `from` or more, and the number that the next ones begin at; `None` after the last. A
/// bounded amount of work, however many tasks there are: a page may be short, or empty, and yet not be the last.
pub fn tasks_from(from: usize, max: usize) -> (Vec<TaskInfo>, Option<usize>) {
    with_core(|core| core.executor.tasks_from(from, max))
}
