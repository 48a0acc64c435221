//! Runs the tasks of one core. A task is polled after its waker was called and never otherwise.
//!
//! Everything here is safe code: futures stay in a slab of this core, and wakers, which may be called
//! from anywhere, only carry a slot number to the shared ready queue.

use crate::platform;
use alloc::{boxed::Box, collections::VecDeque, rc::Rc, sync::Arc, task::Wake};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
};
use slab::Slab;
use spin::mutex::SpinMutex;

pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The number of a task on its core; numbers are used again.
pub(crate) type TaskId = usize;

/// The tasks of one core.
pub(crate) struct Executor {
    tasks: RefCell<Slab<Rc<Task>>>,
    ready: Arc<ReadyQueue>,
    /// The batch being run; kept so that its memory is used again.
    batch: RefCell<VecDeque<TaskId>>,
    current: Cell<Option<TaskId>>,
    since: Cell<u64>,
}

struct Task {
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
            since: Cell::new(0),
        }
    }

    /// Adds a task and makes it ready. One that has `on_panic` is supervised: it panics alone.
    pub(crate) fn spawn(&self, future: TaskFuture, on_panic: Option<Box<dyn Fn()>>) -> TaskId {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let id = entry.key();
        let wake = Arc::new(TaskWake { id, queued: AtomicBool::new(true), ready: self.ready.clone() });
        entry.insert(Rc::new(Task {
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
        }
        for id in batch.drain(..) {
            self.poll(id);
        }
        *self.batch.borrow_mut() = batch;
        count
    }

    /// The task being polled, for reports.
    #[cfg(target_os = "none")]
    pub(crate) fn current(&self) -> Option<TaskId> {
        self.current.get()
    }

    /// When the poll that is under way began, in ticks; `None` between two polls.
    #[cfg(target_os = "none")]
    pub(crate) fn poll_began(&self) -> Option<u64> {
        self.current.get().map(|_| self.since.get())
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
            self.tasks.borrow_mut().remove(id);
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
        self.since.set(self.since.get() + 1);
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
        if panicked {
            self.tasks.borrow_mut().remove(id);
            // Its destructors may rely on what the panic broke, so the future stays where it is, for ever.
            mem::forget(future);
            task.on_panic.as_ref().expect("supervised, or it would not be here")();
            return;
        }
        if done || task.aborted.get() {
            self.tasks.borrow_mut().remove(id);
            // Dropped last, and outside every borrow: destructors may spawn and abort.
            drop(future);
        } else {
            *task.future.borrow_mut() = Some(future);
        }
    }
}
