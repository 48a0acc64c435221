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
//! All of it within `stop-timeout=SECONDS` (a boot argument, ten seconds without it): half of it is for work, and what is left
//! for hooks, which run in any case. The machine says who was late, and its exit code is 106 then. Nobody listens, nothing is
//! registered: the machine exits at once.

#[cfg(any(test, target_os = "none"))]
pub(crate) mod keyboard;
#[cfg(test)]
mod tests;

use crate::{
    Result, args, platform,
    platform::{console_line, with_core},
    registry::Registry,
    sync::Notify,
    task::wait_for,
    time::{Duration, Instant, timeout},
};
use alloc::{boxed::Box, rc::Rc};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    panic::Location,
    pin::Pin,
    str::FromStr,
    task::{Context, Poll, Waker},
};
use slab::Slab;

/// Exit code of a machine whose stop took too long.
const EXIT_STOP_TIMEOUT: u8 = 106;

/// How long a stop may take without `stop-timeout=`.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What is run at the end of a stop, and who registered it.
struct Hook {
    location: &'static Location<'static>,
    /// `None` when its owner is gone.
    begin: Box<dyn FnOnce() -> Option<Running>>,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

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
    with_core(|core| core.life.is_stopping())
}

/// How long the machine still waits for work that is not finished: half of `stop-timeout` until a stop is asked for, zero when
/// it waits no more.
pub fn time_left() -> Duration {
    let life = this();
    life.work_limit().saturating_sub(life.passed())
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
/// of the call is named when it takes too long. When the [supervised](crate::spawn_supervised) task that called this panics,
/// the machine does not wait for it, whoever has the guard then.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{lifecycle, spawn, time::{Duration, sleep}};
///
/// spawn(async {
///     let order = lifecycle::busy();
///     // Packs it, stop or not.
///     sleep(Duration::from_secs(1)).await;
///     drop(order);
/// });
/// # });
/// ```
#[must_use = "the machine waits only while the guard is held"]
#[track_caller]
pub fn busy() -> Busy {
    Busy::new(Location::caller())
}

/// Has `hook` run at the end of every stop, after all work is finished: to write what is only in memory. A machine that
/// ends otherwise ([`exit`](crate::exit()), a panic, a power cut) does not run it. The place of the call is named when it takes
/// too long; those that were registered before it do not run then.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{lifecycle, log::info};
///
/// lifecycle::on_stop(async || info!("the last words"));
/// # });
/// ```
#[track_caller]
pub fn on_stop<F: Future<Output = ()> + 'static>(hook: impl FnOnce() -> F + 'static) {
    let begin = Box::new(move || Some(Box::pin(hook()) as Running));
    let hook = Hook { location: Location::caller(), begin };
    with_core(|core| core.life.hooks.borrow_mut().push(hook));
}

/// [`on_stop`] for as long as `owner` lives: a hook whose owner is gone does not run, and takes no memory for long.
#[track_caller]
pub fn on_stop_of<T: ?Sized + 'static, F: Future<Output = ()> + 'static>(
    owner: &Rc<T>,
    hook: impl FnOnce(Rc<T>) -> F + 'static,
) {
    let weak = Rc::downgrade(owner);
    let begin = Box::new(move || Some(Box::pin(hook(weak.upgrade()?)) as Running));
    let hook = Hook { location: Location::caller(), begin };
    with_core(|core| core.life.hooks.borrow_mut().push_for(owner, hook));
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
        if life.is_stopping() {
            return Poll::Ready(self.busy.take().expect("just made"));
        }
        let listener = Listener { waker: cx.waker().clone(), is_main: life.in_main.get() };
        life.with_work(busy, |work| work.listener = Some(listener));
        wait_for("a stop");
        Poll::Pending
    }
}

/// See [`busy`].
pub struct Busy {
    life: Rc<Lifecycle>,
    slot: usize,
    /// Of the work in the slot.
    number: u64,
}

impl Busy {
    fn new(location: &'static Location<'static>) -> Busy {
        let life = this();
        let number = life.numbers.get();
        life.numbers.set(number + 1);
        let task = with_core(|core| core.executor.current_number());
        let slot = life.work.borrow_mut().insert(Work { location, number, task, listener: None });
        Busy { life, slot, number }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut work = self.life.work.borrow_mut();
        // Other work may have the slot, if the task of this one has panicked.
        if work.get(self.slot).is_some_and(|work| work.number == self.number) {
            work.remove(self.slot);
            self.life.progress.notify_one();
        }
    }
}

/// The state of a stop, one per machine.
pub(crate) struct Lifecycle {
    work: RefCell<Slab<Work>>,
    numbers: Cell<u64>,
    hooks: RefCell<Registry<Hook>>,
    /// The hook that runs.
    hook: Cell<Option<&'static Location<'static>>>,
    /// `main` is being polled.
    in_main: Cell<bool>,
    /// `main` was listening when the stop was asked for.
    main_listened: Cell<bool>,
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
    number: u64,
    /// The number of the task that began it.
    task: Option<u64>,
    listener: Option<Listener>,
}

/// Who waits for the stop.
struct Listener {
    waker: Waker,
    /// It is `main` itself.
    is_main: bool,
}

impl Lifecycle {
    pub(crate) fn new() -> Lifecycle {
        Lifecycle {
            work: RefCell::default(),
            numbers: Cell::new(0),
            hooks: RefCell::default(),
            hook: Cell::new(None),
            in_main: Cell::new(false),
            main_listened: Cell::new(false),
            main_code: Cell::new(None),
            limit: Cell::new(STOP_TIMEOUT),
            stopped_at: Cell::new(None),
            progress: Notify::of("the end of the work"),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopped_at.get().is_some()
    }

    /// How long the stop has taken.
    fn passed(&self) -> Duration {
        self.stopped_at.get().map_or(Duration::ZERO, |at| Instant::now() - at)
    }

    /// What of the limit is for work. Hooks save data, so they have their time whatever the work does.
    fn work_limit(&self) -> Duration {
        self.limit.get() / 2
    }

    fn with_work(&self, busy: &Busy, f: impl FnOnce(&mut Work)) {
        self.work.borrow_mut().get_mut(busy.slot).filter(|work| work.number == busy.number).map(f);
    }

    /// True when this is the first call.
    fn stop(&self) -> bool {
        if self.is_stopping() {
            return false;
        }
        self.stopped_at.set(Some(Instant::now()));
        let mut work = self.work.borrow_mut();
        for listener in work.iter_mut().filter_map(|(_, work)| work.listener.take()) {
            self.main_listened.set(self.main_listened.get() || listener.is_main);
            listener.waker.wake();
        }
        true
    }

    /// The task has panicked: what it held will never be dropped.
    pub(crate) fn forget_task(&self, task: u64) {
        self.work.borrow_mut().retain(|_, work| work.task != Some(task));
        self.progress.notify_one();
    }

    fn waits_for_main(&self) -> bool {
        self.main_listened.get() && self.main_code.get().is_none()
    }

    fn is_finished(&self) -> bool {
        self.work.borrow().is_empty() && !self.waits_for_main()
    }

    /// Waits until all have finished, then runs the hooks; the exit code.
    async fn wind_down(&self) -> u8 {
        let work = timeout(self.work_limit(), self.work()).await;
        if work.is_err() {
            self.complain();
            self.name_work();
        }
        let hooks = timeout(self.limit.get().saturating_sub(self.passed()), self.run_hooks()).await;
        if hooks.is_err() {
            self.complain();
            self.name_hooks();
        }
        match (work, hooks) {
            (Ok(()), Ok(())) => self.main_code.get().unwrap_or(0),
            _ => EXIT_STOP_TIMEOUT,
        }
    }

    async fn work(&self) {
        while !self.is_finished() {
            self.progress.notified().await;
        }
    }

    async fn run_hooks(&self) {
        while let Some(hook) = self.take_hook() {
            self.hook.set(Some(hook.location));
            if let Some(running) = (hook.begin)() {
                running.await;
            }
        }
        self.hook.set(None);
    }

    /// Not borrowed while the hook runs: it may register another.
    fn take_hook(&self) -> Option<Hook> {
        self.hooks.borrow_mut().pop()
    }

    fn complain(&self) {
        let passed = self.passed().as_secs_f64();
        console_line(format_args!(
            "unikernel: not stopped in order after {passed:.1} s; stop-timeout=SECONDS gives it more"
        ));
    }

    /// Says who was not finished.
    fn name_work(&self) {
        for (_, work) in self.work.borrow().iter() {
            console_line(format_args!("unikernel:   not finished: {}", work.location));
        }
        if self.waits_for_main() {
            console_line(format_args!("unikernel:   not finished: main has not returned"));
        }
    }

    /// Says which hook was not finished, and which did not run.
    fn name_hooks(&self) {
        if let Some(location) = self.hook.get() {
            console_line(format_args!("unikernel:   not finished: the hook of {location}"));
        }
        for hook in self.hooks.borrow().iter() {
            console_line(format_args!("unikernel:   did not run: the hook of {}", hook.location));
        }
    }
}

fn this() -> Rc<Lifecycle> {
    with_core(|core| core.life.clone())
}

/// The value of `stop-timeout=`.
struct Seconds(u32);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Seconds, &'static str> {
        text.parse().map(Seconds).map_err(|_| "expected a whole number of seconds, such as `stop-timeout=30`")
    }
}

/// Takes the boot argument.
///
/// # Errors
///
/// It is no number of seconds.
pub(crate) fn configure() -> Result {
    if let Some(Seconds(seconds)) = args::take("stop-timeout")? {
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
