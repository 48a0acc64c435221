//! The virtual machine: x86-64, one core.
//!
//! In the order of the boot: [`boot`] enters from the loader, [`start`] sets up the rest, [`run`] is the machine's
//! life. All unsafe code of the project is in this folder.

mod acpi;
mod apic;
mod boot;
mod clock;
mod cpu;
mod crash;
mod crc32c;
mod critical;
mod early;
mod fiber;
mod fw_cfg;
mod generation;
mod heap;
mod i8042;
mod interrupts;
mod log_ring;
mod logger;
mod memory;
#[cfg(feature = "selftest")]
pub mod misuse;
mod pci;
mod port;
mod power;
mod power_button;
mod protection;
mod recover;
mod report;
mod seed;
mod serial;
mod start_info;
mod unprotected;
mod virtio;
mod watchdog;

pub(crate) use clock::{boot_unix_time, micros_at, micros_of, now_micros, ticks};
pub(crate) use crash::{build_id, crash_count, main_reached, previous_crash};
pub(crate) use crc32c::crc32c;
pub(crate) use fiber::{RawFiber, RawSuspend};
pub(crate) use generation::vm_generation;
pub(crate) use heap::{heap_classes, heap_free, heap_sites, heap_stats, watch_heap_sites};
#[cfg(feature = "text-log")]
pub(crate) use log_ring::log_line;
pub(crate) use log_ring::with_log;
pub(crate) use power::{exit, stopped};
pub(crate) use protection::protections;
pub(crate) use recover::catch_panic;
pub(crate) use seed::seed;
pub(crate) use serial::console_line;
pub(crate) use watchdog::watch;

use super::Core;
use crate::{Machine, args::BootArgs, entropy::Generator, entry, lifecycle, log, time::Instant};
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

unsafe extern "Rust" {
    /// The app; `#[unikernel_rt::main]` defines it.
    safe fn __unikernel_main(machine: Machine);
}

struct CoreSlot(UnsafeCell<Option<Core>>);

// SAFETY: one core, and interrupt handlers do not touch it.
unsafe impl Sync for CoreSlot {}

static CORE: CoreSlot = CoreSlot(UnsafeCell::new(None));
static CORE_READY: AtomicBool = AtomicBool::new(false);

/// Calls `f` with this core.
// Two instructions, if it is not a call: 21 fewer a request, for 1.5 KB of image.
#[inline(always)]
pub(crate) fn with_core<R>(f: impl FnOnce(&Core) -> R) -> R {
    // SAFETY: written once in `start`, before the first task; after that there are shared references only.
    let core = unsafe { (*CORE.0.get()).as_ref() };
    f(core.expect("the core is set up before anything uses it"))
}

/// Returns the frames and buffers that wait to be used again to the heap, which has run out.
fn give_back_pools() {
    if CORE_READY.load(Ordering::Relaxed) {
        // Borrowed while the pool itself allocates; then it is not what holds the memory.
        let frames = with_core(|core| core.frames.try_borrow_mut().ok().map(|mut frames| frames.empty()));
        drop(frames);
        let buffers = with_core(|core| core.buffers.try_borrow_mut().ok().map(|mut buffers| buffers.empty()));
        drop(buffers);
    }
}

/// The tests of a test image.
pub(crate) fn tests() -> &'static [entry::TestCase] {
    unsafe extern "C" {
        static __tests_start: u8;
        static __tests_end: u8;
    }
    let start: *const entry::TestCase = (&raw const __tests_start).cast();
    let end: *const entry::TestCase = (&raw const __tests_end).cast();
    // SAFETY: the linker script puts nothing but such records between the two symbols.
    unsafe { core::slice::from_raw_parts(start, end.offset_from(start) as usize) }
}

/// The task that is being polled, for reports that may come at any time.
fn current_task() -> Option<usize> {
    CORE_READY.load(Ordering::Relaxed).then(|| with_core(|core| core.executor.current()))?
}

/// When the poll that is under way began; `None` between two polls.
fn poll_began() -> Option<u64> {
    CORE_READY.load(Ordering::Relaxed).then(|| with_core(|core| core.executor.poll_began()))?
}

/// Sets the machine up and runs the app. Called by the boot code, once, at the image's address of this boot.
unsafe extern "C" fn start() -> ! {
    logger::init();
    interrupts::init();
    cpu::protect();
    cpu::enable_vectors();
    // SAFETY: the boot code calls `early::plan` first.
    let info = unsafe { early::start_info() };
    // SAFETY: called once; the interrupt tables were the last that used the boot code's map.
    unsafe { memory::init(info) };
    memory::seal();
    apic::init();
    clock::init().unwrap_or_else(|problem| refuse(problem));
    let facts = acpi::read(info);
    facts.vm_generation.into_iter().for_each(generation::learn);
    let args = BootArgs::parse(info.command_line().unwrap_or_else(|problem| refuse(problem)));
    // SAFETY: called once, before anything uses the core. Nothing draws random numbers before the real seed follows.
    unsafe { *CORE.0.get() = Some(Core::new([0; 32], args)) };
    CORE_READY.store(true, Ordering::Relaxed);
    fw_cfg::init().unwrap_or_else(|error| entry::die(error));
    log::settings::init().unwrap_or_else(|error| entry::die(error));
    crash::init().unwrap_or_else(|error| entry::die(error));
    let seed = seed::at_boot(&facts).unwrap_or_else(|problem| refuse(problem));
    with_core(|core| *core.entropy.borrow_mut() = Generator::new(seed, Instant::now(), vm_generation()));
    watchdog::init().unwrap_or_else(|error| entry::die(error));
    unprotected::take_argument().unwrap_or_else(|error| entry::die(error));
    protection::report(info).unwrap_or_else(|error| entry::die(error));

    let mut machine = Machine::new();
    for (range, name) in info.modules() {
        let name = core::str::from_utf8(name).unwrap_or_else(|_| refuse("the name of a boot module is not UTF-8"));
        machine.add_module(name, memory::module(range)).unwrap_or_else(|error| entry::die(error));
    }
    virtio::probe(&mut machine, &facts).unwrap_or_else(|error| entry::die(error));
    lifecycle::configure().unwrap_or_else(|error| entry::die(error));
    power_button::init(&facts);
    i8042::init(&facts);
    __unikernel_main(machine);
    run()
}

/// Refuses to start.
fn refuse(problem: &'static str) -> ! {
    // There may be no heap yet, which an error would take.
    console_line(format_args!("unikernel: cannot start: {problem}"));
    exit(entry::EXIT_BOOT_ERROR)
}

/// Runs the tasks until the machine ends. When none is ready the core halts until a timer or a device wakes it.
fn run() -> ! {
    interrupts::begin();
    with_core(|core| {
        loop {
            interrupts::window();
            interrupts::wake_pending();
            let next = core.timers.borrow().next_deadline();
            if let Some(now) = next.map(|_| Instant::now()).filter(|now| next <= Some(*now)) {
                core.timers.borrow_mut().expire(now);
            }
            let idle = core.executor.run_ready() == 0;
            let console = log_ring::drain();
            // What is left for the console now needs another round, no timer.
            if idle && console.is_none_or(|at| at > Instant::now()) {
                clock::wake_at(core.timers.borrow().next_deadline().into_iter().chain(console).min());
                interrupts::halt();
            }
        }
    })
}
