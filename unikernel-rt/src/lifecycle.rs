//! The end of a machine in good order: somebody asks for it, everybody finishes, then the machine exits.
//!
//! The host asks with the power button (`SIGTERM` to the runner, QEMU's `system_powerdown`) or Ctrl-Alt-Del, the app with
//! [`request_stop`] or by returning from `main`. Then
//!
//! 1. every [`stopping`] resolves: servers take no new work and finish what they have;
//! 2. the machine waits until no [`Busy`] guard is held, and until `main` returns if it listened;
//! 3. the [hooks](on_stop) run, the last one registered first: volumes write what they hold;
//! 4. the machine exits with code 0, or with `main`'s.
//!
//! All of it within `stop-timeout=SECONDS` (a boot argument, ten seconds without it): after that the machine says who was
//! not finished and exits with code 106. Nobody listens, nothing is registered: the machine exits at once.

#[cfg(any(test, target_os = "none"))]
pub(crate) mod keyboard;
#[cfg(test)]
mod tests;

use crate::{
    Result, args, platform,
    platform::{console_line, with_core},
    sync::Notify,
    task::wait_for,
    time::{Duration, Instant, timeout},
};
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use slab::Slab;

/// Exit code of a machine whose stop took too long.
const EXIT_STOP_TIMEOUT: u8 = 106;

/// How long a stop may take without `stop-timeout=`.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>;

/// Begins the stop of the machine; returns at once. Further calls change nothing.
pub fn request_stop() {
    let life = this();
    if life.stop() {
        crate::spawn_named("stop", async move {
            let code = life.wind_down().await;
            platform::stopped(code);
        });
    }
}

/// Whether a stop was asked for.
pub fn is_stopping() -> bool {
    with_core(|core| core.life.is_stopping.get())
}

/// How long the machine still waits for those that finish; the whole of `stop-timeout` before a stop is asked for.
pub fn time_left() -> Duration {
    let life = this();
    let passed = life.stopped_at.get().map_or(Duration::ZERO, |at| Instant::now() - at);
    life.limit.get().saturating_sub(passed)
}

/// Resolves when a stop is asked for, with a guard: the machine goes on until it is dropped.
///
/// Awaited in `main` itself, it also makes the machine wait until `main` returns.
///
/// ```
/// # async fn work() {}
/// use unikernel_rt::{future::select, lifecycle::stopping};
/// # async fn service() {
/// # use core::pin::pin;
/// select(pin!(stopping()), pin!(work())).await;
/// // What is done here the machine waits for, if this is `main`, or if the guard is kept.
/// # }
/// ```
#[track_caller]
pub fn stopping() -> Stopping {
    Stopping { location: Location::caller(), busy: None }
}

/// Keeps the machine from ending in good order until the guard is dropped: for work that is to be finished. The place
/// of the call is named when it takes too long.
#[must_use = "the machine waits only while the guard is held"]
#[track_caller]
pub fn busy() -> Busy {
    Busy::new(Location::caller())
}

/// Has `hook` run at the end of every stop, after all work is finished: to write what is only in memory. A machine that
/// ends otherwise ([`exit`](crate::exit()), a panic, a power cut) does not run it.
pub fn on_stop<F: Future<Output = ()> + 'static>(hook: impl FnOnce() -> F + 'static) {
    let hook: Hook = Box::new(move || Box::pin(hook()));
    with_core(|core| core.life.hooks.borrow_mut().push(hook));
}

/// The future of [`stopping`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Stopping {
    location: &'static Location<'static>,
    /// From the first poll on: so nobody is forgotten between the call for the stop and the next poll.
    busy: Option<Busy>,
}

impl Future for Stopping {
    type Output = Busy;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Busy> {
        let location = self.location;
        let busy = self.busy.get_or_insert_with(|| Busy::new(location));
        let life = &busy.life;
        if life.is_stopping.get() {
            return Poll::Ready(self.busy.take().expect("just made"));
        }
        life.main_listens.set(life.main_listens.get() || life.in_main.get());
        life.work.borrow_mut()[busy.slot].waker = Some(cx.waker().clone());
        wait_for("a stop");
        Poll::Pending
    }
}

/// See [`busy`].
pub struct Busy {
    life: Rc<Lifecycle>,
    slot: usize,
}

impl Busy {
    fn new(location: &'static Location<'static>) -> Busy {
        let life = this();
        let slot = life.work.borrow_mut().insert(Work { location, waker: None });
        Busy { life, slot }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.life.work.borrow_mut().remove(self.slot);
        self.life.progress.notify_one();
    }
}

/// The state of a stop, one per machine.
pub(crate) struct Lifecycle {
    is_stopping: Cell<bool>,
    work: RefCell<Slab<Work>>,
    hooks: RefCell<Vec<Hook>>,
    /// `main` is being polled.
    in_main: Cell<bool>,
    main_listens: Cell<bool>,
    /// The exit code by what `main` returned.
    main_code: Cell<Option<u8>>,
    limit: Cell<Duration>,
    stopped_at: Cell<Option<Instant>>,
    /// Somebody finished.
    progress: Notify,
}

/// Somebody who finishes, or who waits for the stop.
struct Work {
    location: &'static Location<'static>,
    waker: Option<Waker>,
}

impl Lifecycle {
    pub(crate) fn new() -> Lifecycle {
        Lifecycle {
            is_stopping: Cell::new(false),
            work: RefCell::default(),
            hooks: RefCell::default(),
            in_main: Cell::new(false),
            main_listens: Cell::new(false),
            main_code: Cell::new(None),
            limit: Cell::new(STOP_TIMEOUT),
            stopped_at: Cell::new(None),
            progress: Notify::of("the end of the work"),
        }
    }

    /// True when this is the first call.
    fn stop(&self) -> bool {
        let first = !self.is_stopping.replace(true);
        if first {
            self.stopped_at.set(Some(Instant::now()));
        }
        for (_, work) in self.work.borrow_mut().iter_mut() {
            work.waker.take().into_iter().for_each(Waker::wake);
        }
        first
    }

    fn is_finished(&self) -> bool {
        self.work.borrow().is_empty() && (self.main_code.get().is_some() || !self.main_listens.get())
    }

    /// Waits until all have finished, then runs the hooks; the exit code.
    async fn wind_down(&self) -> u8 {
        let all = async {
            while !self.is_finished() {
                self.progress.notified().await;
            }
            while let Some(hook) = self.take_hook() {
                hook().await;
            }
        };
        match timeout(self.limit.get(), all).await {
            Ok(()) => self.main_code.get().unwrap_or(0),
            Err(_) => {
                self.complain();
                EXIT_STOP_TIMEOUT
            }
        }
    }

    /// Not borrowed while the hook runs: it may register another.
    fn take_hook(&self) -> Option<Hook> {
        self.hooks.borrow_mut().pop()
    }

    /// Says who was not finished.
    fn complain(&self) {
        let limit = self.limit.get().as_secs_f64();
        console_line(format_args!(
            "unikernel: not stopped in order after {limit} s; stop-timeout=SECONDS gives it more"
        ));
        for (_, work) in self.work.borrow().iter() {
            console_line(format_args!("unikernel:   not finished: {}", work.location));
        }
        if self.main_listens.get() && self.main_code.get().is_none() {
            console_line(format_args!("unikernel:   not finished: main has not returned"));
        }
    }
}

fn this() -> Rc<Lifecycle> {
    with_core(|core| core.life.clone())
}

/// Takes the boot argument.
///
/// # Errors
///
/// It is no number of seconds.
pub(crate) fn configure() -> Result {
    if let Some(seconds) = args::take::<u32>("stop-timeout")? {
        with_core(|core| core.life.limit.set(Duration::from_secs(seconds.into())));
    }
    Ok(())
}

/// Runs `main`; while it is polled, [`stopping`] knows that it is `main` who listens.
pub(crate) async fn run_main<T>(main: impl Future<Output = T>) -> T {
    let life = this();
    let mut main = core::pin::pin!(main);
    core::future::poll_fn(|cx| {
        life.in_main.set(true);
        let polled = main.as_mut().poll(cx);
        life.in_main.set(false);
        polled
    })
    .await
}

/// Ends the machine in good order: `main` has returned.
pub(crate) fn main_returned(code: u8) {
    let life = this();
    life.main_code.set(Some(code));
    life.progress.notify_one();
    request_stop();
}
