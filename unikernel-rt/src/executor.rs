//! Runs the tasks of one core. A task is polled after its waker was called and never otherwise.
//!
//! Everything here is safe code: futures stay in a slab of this core, and wakers, which may be called
//! from anywhere, only carry a slot number to the shared ready queue.

use crate::{
    platform,
    task::{TaskInfo, TaskName, TaskState},
};
use alloc::{boxed::Box, collections::VecDeque, rc::Rc, sync::Arc, task::Wake, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
    time::Duration,
};
use slab::Slab;
use spin::mutex::SpinMutex;

pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The number of a task on its core; numbers are used again.
pub(crate) type TaskId = usize;

/// Places looked at for one page of the list of tasks: some tens of microseconds.
const LOOKS_MAX: usize = 4096;

/// The tasks of one core.
pub(crate) struct Executor {
    tasks: RefCell<Slab<Rc<Task>>>,
    ready: Arc<ReadyQueue>,
    /// The batch being run; kept so that its memory is used again.
    batch: RefCell<VecDeque<TaskId>>,
    current: Cell<Option<TaskId>>,
    /// What the running task waits for, as far as its poll has said.
    pub(crate) waits_for: Cell<&'static str>,
    /// Tasks are being polled, or dropped.
    in_round: Cell<bool>,
    /// When the current poll began, in ticks.
    since: Cell<u64>,
    totals: Totals,
}

/// What the executor counts besides its tasks.
#[derive(Default)]
struct Totals {
    spawned: Cell<u64>,
    rounds: Cell<u64>,
    /// Of the tasks that have ended.
    polls: Cell<u64>,
    ticks: Cell<u64>,
    longest_ticks: Cell<u64>,
}

/// A snapshot for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExecutorStats {
    pub(crate) tasks: usize,
    pub(crate) spawned: u64,
    /// Rounds in which a task was ready.
    pub(crate) rounds: u64,
    pub(crate) polls: u64,
    pub(crate) run_time: Duration,
    pub(crate) longest_poll: Duration,
}

/// Debuggers read it: plain fields.
struct Task {
    name: TaskName,
    /// No other task ever has it.
    number: u64,
    /// As of the last poll that ended pending.
    waits_for: Cell<&'static str>,
    polls: Cell<u64>,
    /// How long it ran, in ticks.
    ticks: Cell<u64>,
    longest_ticks: Cell<u64>,
    /// Empty while the task is being polled, and once it is done or aborted.
    future: RefCell<Option<TaskFuture>>,
    waker: Waker,
    wake: Arc<TaskWake>,
    aborted: Cell<bool>,
    /// Told when the task panics. Without it a panic ends the machine.
    on_panic: Option<Box<dyn Fn()>>,
}

struct TaskWake {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
}

#[derive(Default)]
struct ReadyQueue(SpinMutex<VecDeque<TaskId>>);

impl Wake for TaskWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.0.lock().push_back(self.id);
        }
    }
}

impl Executor {
    pub(crate) fn new() -> Executor {
        Executor {
            tasks: RefCell::default(),
            ready: Arc::default(),
            batch: RefCell::default(),
            current: Cell::new(None),
            waits_for: Cell::new(""),
            in_round: Cell::new(false),
            since: Cell::new(0),
            totals: Totals::default(),
        }
    }

    /// Adds a task and makes it ready. One that has `on_panic` is supervised: it panics alone.
    pub(crate) fn spawn(&self, name: TaskName, future: TaskFuture, on_panic: Option<Box<dyn Fn()>>) -> TaskId {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let id = entry.key();
        let wake = Arc::new(TaskWake { id, queued: AtomicBool::new(true), ready: self.ready.clone() });
        self.totals.spawned.set(self.totals.spawned.get() + 1);
        entry.insert(Rc::new(Task {
            name,
            number: self.totals.spawned.get(),
            waits_for: Cell::new(""),
            polls: Cell::new(0),
            ticks: Cell::new(0),
            longest_ticks: Cell::new(0),
            future: RefCell::new(Some(future)),
            waker: Waker::from(wake.clone()),
            wake,
            aborted: Cell::new(false),
            on_panic,
        }));
        self.ready.0.lock().push_back(id);
        id
    }

    /// Polls the tasks that were ready when it was called, once each. Returns how many there were.
    pub(crate) fn run_ready(&self) -> usize {
        let mut batch = mem::take(&mut *self.batch.borrow_mut());
        mem::swap(&mut batch, &mut *self.ready.0.lock());
        let count = batch.len();
        if count > 0 {
            platform::watch();
            self.totals.rounds.set(self.totals.rounds.get() + 1);
            self.since.set(platform::ticks());
        }
        self.in_round.set(true);
        for id in batch.drain(..) {
            self.poll(id);
        }
        self.in_round.set(false);
        *self.batch.borrow_mut() = batch;
        count
    }

    /// The task being polled, for reports.
    #[cfg(target_os = "none")]
    pub(crate) fn current(&self) -> Option<TaskId> {
        self.current.get()
    }

    /// The [number](Task::number) of the task being polled.
    pub(crate) fn current_number(&self) -> Option<u64> {
        Some(self.tasks.borrow().get(self.current.get()?)?.number)
    }

    /// When the last poll began, in ticks.
    #[inline(always)]
    pub(crate) fn since(&self) -> u64 {
        self.since.get()
    }

    /// When the poll that is under way began, or what follows it, such as a destructor, in ticks; `None` between two rounds.
    #[cfg(target_os = "none")]
    pub(crate) fn poll_began(&self) -> Option<u64> {
        self.in_round.get().then(|| self.since.get())
    }

    /// Drops the future of a task now, or after its current poll when it is the one that is running.
    pub(crate) fn abort(&self, id: TaskId, is_same: impl Fn() -> bool) {
        let Some(task) = self.tasks.borrow().get(id).cloned() else { return };
        // The slot may belong to a later task by now; only the caller can tell.
        if !is_same() {
            return;
        }
        task.aborted.set(true);
        if self.current.get() != Some(id) {
            self.remove(id);
            drop(task.future.take());
        }
    }

    /// Drops every task.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn clear(&self) {
        // Destructors may spawn; so one at a time, until none is left.
        loop {
            let task = {
                let mut tasks = self.tasks.borrow_mut();
                let Some(id) = tasks.iter().next().map(|(id, _)| id) else { return };
                tasks.remove(id)
            };
            drop(task.future.take());
        }
    }

    fn poll(&self, id: TaskId) {
        // A waker that outlived its task may name an empty slot.
        let Some(task) = self.tasks.borrow().get(id).cloned() else { return };
        task.wake.queued.store(false, Ordering::Release);
        let Some(mut future) = task.future.take() else { return };
        self.current.set(Some(id));
        self.waits_for.set("");
        let mut done = false;
        let mut step = || done = future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready();
        let panicked = match task.on_panic {
            None => {
                step();
                false
            }
            Some(_) => !platform::catch_panic(&mut step),
        };
        self.current.set(None);
        self.account(&task);
        if panicked {
            self.remove(id);
            // Its destructors may rely on what the panic broke, so the future stays where it is, for ever.
            mem::forget(future);
            platform::with_core(|core| core.life.forget_task(task.number));
            task.on_panic.as_ref().expect("supervised, or it would not be here")();
            return;
        }
        if done || task.aborted.get() {
            self.remove(id);
            // Dropped last, and outside every borrow: destructors may spawn and abort.
            drop(future);
        } else {
            task.waits_for.set(self.waits_for.get());
            *task.future.borrow_mut() = Some(future);
        }
    }

    /// Counts a poll that is over. The clock is read once a poll: the end of one is the beginning of the next.
    #[inline(always)]
    fn account(&self, task: &Task) {
        let now = platform::ticks();
        let ticks = now.wrapping_sub(self.since.replace(now));
        task.polls.set(task.polls.get() + 1);
        task.ticks.set(task.ticks.get().wrapping_add(ticks));
        if ticks > task.longest_ticks.get() {
            task.longest_ticks.set(ticks);
        }
    }

    /// Takes a task off the list. Its future is the caller's to drop.
    fn remove(&self, id: TaskId) {
        let task = self.tasks.borrow_mut().remove(id);
        let totals = &self.totals;
        totals.polls.set(totals.polls.get() + task.polls.get());
        totals.ticks.set(totals.ticks.get().wrapping_add(task.ticks.get()));
        totals.longest_ticks.set(totals.longest_ticks.get().max(task.longest_ticks.get()));
    }

    /// Shows every task to `f`. For reports that may come at any time: it neither allocates nor panics. False when the list
    /// is just being changed, and cannot be read.
    pub(crate) fn for_each(&self, f: &mut dyn FnMut(TaskInfo)) -> bool {
        let Ok(tasks) = self.tasks.try_borrow() else { return false };
        for (id, task) in tasks.iter() {
            f(self.info(id, task));
        }
        true
    }

    /// The sums over all tasks, those that have ended too.
    pub(crate) fn stats(&self) -> ExecutorStats {
        let totals = &self.totals;
        let mut stats = ExecutorStats {
            spawned: totals.spawned.get(),
            rounds: totals.rounds.get(),
            polls: totals.polls.get(),
            run_time: time_of(totals.ticks.get()),
            longest_poll: time_of(totals.longest_ticks.get()),
            tasks: 0,
        };
        self.for_each(&mut |task| {
            stats.tasks += 1;
            stats.polls += task.polls;
            stats.run_time += task.run_time;
            stats.longest_poll = stats.longest_poll.max(task.longest_poll);
        });
        stats
    }

    /// A page of the tasks, and where the next begins.
    pub(crate) fn tasks_from(&self, from: TaskId, max: usize) -> (Vec<TaskInfo>, Option<TaskId>) {
        let tasks = self.tasks.borrow();
        let mut page = Vec::new();
        let end = tasks.capacity();
        for id in (from..end).take(LOOKS_MAX) {
            if page.len() >= max {
                return (page, Some(id));
            }
            page.extend(tasks.get(id).map(|task| self.info(id, task)));
        }
        (page, from.checked_add(LOOKS_MAX).filter(|next| *next < end))
    }

    fn info(&self, id: TaskId, task: &Task) -> TaskInfo {
        let is_running = self.current.get() == Some(id);
        let this_poll = if is_running { platform::ticks().wrapping_sub(self.since.get()) } else { 0 };
        let state = match task.wake.queued.load(Ordering::Relaxed) {
            _ if is_running => TaskState::Running,
            true => TaskState::Ready,
            false => TaskState::Waiting,
        };
        TaskInfo {
            id,
            name: task.name,
            state,
            waits_for: task.waits_for.get(),
            polls: task.polls.get(),
            run_time: time_of(task.ticks.get().wrapping_add(this_poll)),
            longest_poll: time_of(task.longest_ticks.get().max(this_poll)),
        }
    }
}

fn time_of(ticks: u64) -> Duration {
    Duration::from_micros(platform::micros_of(ticks))
}
