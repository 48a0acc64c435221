//! Tasks: futures that run beside each other on this core.
//!
//! A task need not be `Send`; it runs until it waits. [`tasks`] lists them by name, with what each waits for. A panic in a task ends the machine with a report, unless it is
//! [supervised](spawn_supervised).

mod info;
mod wait;

pub use info::{TaskInfo, TaskName, TaskState, tasks, tasks_from};
pub use wait::{aside, wait_for, waiting_for};

use crate::platform::with_core;
use alloc::{boxed::Box, rc::Rc};
use core::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// Starts `future` beside the caller; it is first polled after the caller waits.
///
/// The task goes on when the handle is dropped. Await the handle for the result, or
/// [`abort`](JoinHandle::abort) the task.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{spawn, time::{Duration, Instant, sleep}};
///
/// let both = [100, 200].map(|millis| {
///     spawn(async move {
///         sleep(Duration::from_millis(millis)).await;
///         millis
///     })
/// });
/// let [first, second] = both;
/// assert_eq!((first.await, second.await), (Some(100), Some(200)));
/// assert_eq!(Instant::now(), Instant::from_millis(200));
/// # });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    start(TaskName::new(""), future)
}

/// [`spawn`] for a task that reports call `name` instead of the place where it was spawned. Several may have the same.
#[track_caller]
pub fn spawn_named<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    start(TaskName::new(name), future)
}

fn start<F>(name: TaskName, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let state = Rc::new(JoinState { stage: RefCell::new(Stage::Running(None)), id: Cell::new(0) });
    // Made here, so that it is dropped with a future that was aborted before it was first polled.
    let guard = Finish(state.clone());
    let future = Box::pin(async move {
        let guard = guard;
        let output = future.await;
        guard.0.finish(Stage::Done(output));
    });
    state.id.set(with_core(|core| core.executor.spawn(name, future, None)));
    JoinHandle { state }
}

/// Starts `future` as a supervised task: when it panics, the panic is reported, the task ends and the handle resolves to
/// `Some(Err(Panicked))`, but the machine goes on.
///
/// For work that may fail without harm to the rest, such as one request. What the task held at that moment is leaked,
/// not dropped: memory, and locks and borrows, which stay taken for ever. Count panics and restart if they recur.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{spawn_supervised, task::Panicked};
///
/// let number: Option<u32> = None;
/// let task = spawn_supervised(async move { number.expect("there is one") });
/// assert!(matches!(task.await, Some(Err(Panicked))));
/// # });
/// ```
#[track_caller]
pub fn spawn_supervised<F>(future: F) -> JoinHandle<Result<F::Output, Panicked>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    start_supervised(TaskName::new(""), future)
}

/// [`spawn_supervised`] for a task with a name, like [`spawn_named`].
#[track_caller]
pub fn spawn_supervised_named<F>(name: &'static str, future: F) -> JoinHandle<Result<F::Output, Panicked>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    start_supervised(TaskName::new(name), future)
}

fn start_supervised<F>(name: TaskName, future: F) -> JoinHandle<Result<F::Output, Panicked>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let state = Rc::new(JoinState { stage: RefCell::new(Stage::Running(None)), id: Cell::new(0) });
    let (guard, panicked) = (Finish(state.clone()), state.clone());
    let future = Box::pin(async move {
        let guard = guard;
        let output = future.await;
        guard.0.finish(Stage::Done(Ok(output)));
    });
    let on_panic = Box::new(move || {
        // Where a panic unwinds, the dropped future has already said that it was aborted.
        let aborted = matches!(*panicked.stage.borrow(), Stage::Aborted);
        if aborted || panicked.is_running() {
            panicked.finish(Stage::Done(Err(Panicked)));
        }
    });
    state.id.set(with_core(|core| core.executor.spawn(name, future, Some(on_panic))));
    JoinHandle { state }
}

/// The supervised task panicked; the report is on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task panicked; its report is on the console")
    }
}

impl core::error::Error for Panicked {}

/// The result of a task, as a future.
///
/// Resolves to `None` when the task was aborted. Dropping it lets the task run on.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{spawn, task::yield_now};
///
/// let handle = spawn(async { 7 });
/// assert!(!handle.is_finished());
/// yield_now().await;
/// assert!(handle.is_finished());
/// assert_eq!(handle.await, Some(7));
/// # });
/// ```
pub struct JoinHandle<T> {
    state: Rc<JoinState<T>>,
}

struct JoinState<T> {
    stage: RefCell<Stage<T>>,
    id: Cell<usize>,
}

enum Stage<T> {
    Running(Option<Waker>),
    Done(T),
    Aborted,
    Taken,
}

impl<T> JoinState<T> {
    fn finish(&self, stage: Stage<T>) {
        if let Stage::Running(Some(waker)) = self.stage.replace(stage) {
            waker.wake();
        }
    }

    fn is_running(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Running(_))
    }
}

/// Marks a task as aborted when its future is dropped before it is done.
struct Finish<T>(Rc<JoinState<T>>);

impl<T> Drop for Finish<T> {
    fn drop(&mut self) {
        if self.0.is_running() {
            self.0.finish(Stage::Aborted);
        }
    }
}

impl<T> JoinHandle<T> {
    /// Drops the task's future. Nothing happens when it is already done; a task that aborts itself is
    /// dropped when it next waits.
    pub fn abort(&self) {
        if self.state.is_running() {
            with_core(|core| core.executor.abort(self.state.id.get(), || self.state.is_running()));
        }
    }

    /// Whether the task is done or aborted.
    pub fn is_finished(&self) -> bool {
        !self.state.is_running()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut stage = self.state.stage.borrow_mut();
        match &mut *stage {
            Stage::Running(waker) => {
                *waker = Some(cx.waker().clone());
                wait_for("another task");
                Poll::Pending
            }
            Stage::Aborted | Stage::Taken => Poll::Ready(None),
            Stage::Done(_) => match core::mem::replace(&mut *stage, Stage::Taken) {
                Stage::Done(output) => Poll::Ready(Some(output)),
                _ => unreachable!("matched above"),
            },
        }
    }
}

/// Lets every other ready task run once before the caller goes on.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        wait_for("its next turn");
        Poll::Pending
    })
    .await
}
