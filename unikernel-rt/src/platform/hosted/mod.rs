//! The workstation as a machine: one core per thread, in virtual time or in real time.
//!
//! In virtual time the clock jumps to the next timer when every task waits. So a test takes no longer than its work, and what
//! it sees depends on nothing but its code and its seeds. In real time the caller says how to wait for the outside
//! (`crate::hosted`).

mod fiber;
mod launch;
mod real;

pub(crate) use fiber::{RawFiber, RawSuspend};
pub(crate) use launch::launch;
pub(crate) use real::block_on as block_on_in_real_time;

use super::Core;
use crate::{
    args::BootArgs,
    crash::Report,
    heap::{self, ClassStats, HeapStats},
    log::{self, entry::Entry, ring::Ring},
    task::JoinHandle,
    time::Instant,
};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{rc::Rc, string::String, thread_local};

/// The wall clock at the start of every test: 2026-01-01 00:00 UTC.
const BOOT_UNIX_TIME: Duration = Duration::from_secs(1_767_225_600);

/// Tests see the same "random" bytes in every run.
const SEED: [u8; 32] = *b"the same seed for every test run";

/// Tests log little.
const LOG_LEN: usize = 16 * 1024;

thread_local! {
    static CORE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
    static NOW_MICROS: Cell<u64> = const { Cell::new(0) };
    static VM_GENERATION: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
    static HEAP_FREE: Cell<usize> = const { Cell::new(usize::MAX) };
    static LOG: RefCell<Ring<LOG_LEN>> = const { RefCell::new(Ring::new()) };
}

/// Calls `f` with this thread's core; a thread that runs no machine gets one, so that values that belong to one
/// may be made and dropped anywhere.
pub(crate) fn with_core<R>(f: impl FnOnce(&Core) -> R) -> R {
    let core = CORE.try_with(|core| core.borrow_mut().get_or_insert_with(|| Rc::new(new_core(""))).clone());
    match core {
        Ok(core) => f(&core),
        // The thread is ending and its core is gone: what is dropped now needs any core, not that one.
        Err(_) => f(&new_core("")),
    }
}

fn new_core(args: &str) -> Core {
    Core::new(seed(), BootArgs::parse(args))
}

pub(crate) fn now_micros() -> u64 {
    real::now_micros().unwrap_or_else(|| NOW_MICROS.try_with(Cell::get).unwrap_or_default())
}

/// Virtual time stands still while a task is polled.
pub(crate) fn ticks() -> u64 {
    now_micros()
}

pub(crate) fn micros_of(ticks: u64) -> u64 {
    ticks
}

pub(crate) fn micros_at(ticks: u64) -> u64 {
    ticks
}

pub(crate) fn boot_unix_time() -> Duration {
    real::boot_unix_time().unwrap_or(BOOT_UNIX_TIME)
}

pub(crate) fn seed() -> [u8; 32] {
    real::seed().unwrap_or(SEED)
}

/// The workstation computes it in plain code.
pub(crate) fn crc32c(_: u32, _: &[u8]) -> Option<u32> {
    None
}

pub(crate) fn vm_generation() -> [u64; 2] {
    VM_GENERATION.try_with(Cell::get).unwrap_or_default()
}

pub(crate) fn set_vm_generation(id: [u64; 2]) {
    VM_GENERATION.set(id);
}

/// A test that hangs is noticed by whoever runs it.
pub(crate) fn watch() {}

/// The host has protections of its own.
pub(crate) fn protections() -> crate::protection::Protections {
    crate::protection::Protections::default()
}

pub(crate) fn heap_stats() -> HeapStats {
    HeapStats::default()
}

pub(crate) fn heap_classes() -> [ClassStats; heap::SIZES] {
    [ClassStats::default(); heap::SIZES]
}

pub(crate) fn watch_heap_sites() {}

pub(crate) fn heap_sites() -> heap::Sites {
    heap::Sites::default()
}

pub(crate) fn build_id() -> &'static [u8] {
    &[]
}

pub(crate) fn heap_free() -> usize {
    HEAP_FREE.get()
}

pub(crate) fn set_heap_free(len: usize) {
    HEAP_FREE.set(len);
}

pub(crate) fn exit(code: u8) -> ! {
    std::process::exit(code.into())
}

pub(crate) fn main_reached() {}

/// Tests follow no crash.
pub(crate) fn previous_crash() -> Option<&'static Report> {
    None
}

pub(crate) fn crash_count() -> u64 {
    0
}

/// The machine would end here; a test goes on, and sees what is left.
pub(crate) fn stopped(_: u8) {}

/// Calls `f`. False when it panicked.
pub(crate) fn catch_panic(f: &mut dyn FnMut()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_ok()
}

/// Writes a line that must be seen, whatever the log level.
pub(crate) fn console_line(text: core::fmt::Arguments<'_>) {
    std::eprintln!("{text}");
}

/// Calls `f` with this thread's log.
pub(crate) fn with_log<R>(f: impl FnOnce(&mut Ring<LOG_LEN>) -> R) -> R {
    LOG.with_borrow_mut(f)
}

/// Writes a log line at once, and keeps it for readers.
pub(crate) fn log_line(entry: &Entry<'_>) {
    let mut line = String::new();
    let format = with_core(|core| core.log.format.get());
    let written = with_core(|core| core.log.with_origin(|origin| entry.write(format, origin, &mut line)));
    written.expect("a string takes all");
    std::eprint!("{}", line.replace("\r\n", "\n"));
    with_log(|log| {
        log.open(format.kind(), Some(entry.level));
        log.write(line.as_bytes());
        log.close();
        // The console has had it.
        log.give_up();
        log.take_dropped();
    });
    with_core(|core| core.log.news.notify_all());
}

/// Runs `future` and the tasks it spawns, from time zero, with `args` as the command line, until `future` is done.
///
/// # Panics
///
/// Nothing is ready and no timer runs: the future would wait for ever.
pub(crate) fn block_on<F: Future + 'static>(args: &str, future: F) -> F::Output
where
    F::Output: 'static,
{
    NOW_MICROS.set(0);
    start(args, future, &mut |next| {
        let next = next.expect("every task waits, and no timer will ever wake one");
        NOW_MICROS.set(next.as_micros().max(now_micros()));
    })
}

/// The same; when every task waits, `idle` gets the moment of the next timer.
fn start<F: Future + 'static>(args: &str, future: F, idle: &mut dyn FnMut(Option<Instant>)) -> F::Output
where
    F::Output: 'static,
{
    HEAP_FREE.set(usize::MAX);
    VM_GENERATION.set([0; 2]);
    with_log(|log| *log = Ring::new());
    let core = Rc::new(new_core(args));
    CORE.set(Some(core.clone()));
    crate::lifecycle::configure().expect("the test's boot arguments");
    log::settings::init().unwrap_or_else(|error| panic!("{error}"));
    let running = Running(core);
    let mut root: JoinHandle<F::Output> = crate::spawn_named("main", future);
    run(&running.0, &mut root, idle).expect("the root task is not aborted")
}

/// A machine that runs. However it ends, by a panic too, its tasks go before the core they belong to.
struct Running(Rc<Core>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.executor.clear();
        CORE.set(None);
    }
}

fn run<T: 'static>(core: &Core, root: &mut JoinHandle<T>, idle: &mut dyn FnMut(Option<Instant>)) -> Option<T> {
    let mut root = pin!(root);
    loop {
        if let Poll::Ready(output) = root.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        core.timers.borrow_mut().expire(Instant::now());
        if core.executor.run_ready() > 0 {
            continue;
        }
        let next = core.timers.borrow().next_deadline();
        idle(next.filter(|next| *next < Instant::FOREVER));
    }
}
