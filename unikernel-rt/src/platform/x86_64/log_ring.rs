//! The machine's log lines, from the ring to the serial port: in small portions between two rounds of the executor, all
//! of them before something that must be seen.

use super::serial;
use crate::{
    log::ring::Ring,
    time::{Duration, Instant},
};
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence},
};

/// Room for some hundred lines, or for what a real serial port takes in 3 s.
const LOG_LEN: usize = 32 * 1024;
/// What the console gets between two rounds at most. A hypervisor's port takes a microsecond or so for 16 bytes.
const BUDGET_LEN: usize = 512;
/// When a port that was busy is looked at again. At 115,200 baud it has sent eleven of its 16 bytes by then.
const RETRY: Duration = Duration::from_millis(1);

#[repr(transparent)]
struct Log(UnsafeCell<Ring<LOG_LEN>>);

// SAFETY: one core, and interrupt handlers do not log; `with_log` says why calls do not nest.
unsafe impl Sync for Log {}

/// Debuggers look for it by this name.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static __unikernel_log: Log = Log(UnsafeCell::new(Ring::new()));

static BUSY: AtomicBool = AtomicBool::new(false);
/// Lines were logged that readers have not been told of.
static NEWS: AtomicBool = AtomicBool::new(false);

/// Has readers woken after this round: a log call itself does nothing that may allocate.
#[inline(always)]
pub(super) fn tell_readers() {
    NEWS.store(true, Ordering::Relaxed);
}

/// Calls `f` with the log. It must not log: nothing that formats values of an app, nothing that allocates.
#[inline(always)]
pub(crate) fn with_log<R>(f: impl FnOnce(&mut Ring<LOG_LEN>) -> R) -> R {
    let outer = BUSY.swap(true, Ordering::Relaxed);
    // The timer's interrupt looks at the mark, and must not find the log changed without it.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: one core; `f` does not come here again. A fault in the middle of it does, but never goes back; and the report
    // of a hang, which only reads then, see `is_busy`.
    let result = f(unsafe { &mut *__unikernel_log.0.get() });
    compiler_fence(Ordering::SeqCst);
    BUSY.store(outer, Ordering::Relaxed);
    result
}

/// Whether logging has been interrupted: in [`with_log`], or in the middle of a line.
pub(super) fn is_busy() -> bool {
    // SAFETY: one core, and nobody is in `with_log`.
    BUSY.load(Ordering::Relaxed) || unsafe { &*__unikernel_log.0.get() }.is_open()
}

/// Gives the console what it can take now, within a budget. Returns when to call again at the latest.
#[inline(always)]
pub(super) fn drain() -> Option<Instant> {
    // SAFETY: one core, and nobody changes the log now.
    let log = unsafe { &*__unikernel_log.0.get() };
    if log.is_sent() && !NEWS.load(Ordering::Relaxed) {
        return None;
    }
    let console = drain_some();
    if wake_readers() { Some(Instant::now()) } else { console }
}

/// Wakes who waits for lines. False when nobody does, or there are no new ones.
#[inline(never)]
fn wake_readers() -> bool {
    NEWS.swap(false, Ordering::Relaxed) && super::with_core(|core| core.log.news.notify_waiting())
}

/// When a port that was busy is looked at again, in microseconds: each look leaves the virtual machine.
static LOOK_AT: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn drain_some() -> Option<Instant> {
    let look_at = Instant::from_micros(LOOK_AT.load(Ordering::Relaxed));
    if Instant::now() < look_at {
        return Some(look_at);
    }
    let mut left = BUDGET_LEN;
    while left > 0 {
        if with_log(|log| log.is_sent()) && !tell_dropped() {
            return None;
        }
        if !serial::is_ready() {
            let look_at = Instant::now() + RETRY;
            LOOK_AT.store(look_at.as_micros(), Ordering::Relaxed);
            return Some(look_at);
        }
        left = left.saturating_sub(send_piece());
    }
    Some(Instant::now())
}

/// Fills the transmitter once.
fn send_piece() -> usize {
    with_log(|log| {
        let len = serial::send(log.unsent());
        log.mark_sent(len);
        len
    })
}

/// Logs how many lines were dropped, if any were. False when there is nothing to send then: warnings may be withheld.
fn tell_dropped() -> bool {
    let dropped = with_log(|log| log.take_dropped());
    if dropped > 0 {
        crate::log::warn!("{} log lines were dropped", dropped);
    }
    with_log(|log| !log.is_sent())
}

/// Gives the console all that waits, for as long as it takes any.
pub(super) fn flush() {
    while with_log(|log| !log.is_sent()) || tell_dropped() {
        if serial::wait() {
            send_piece();
            continue;
        }
        if with_log(|log| log.give_up()) {
            // What follows must not be taken for the rest of a frame.
            serial::write(b"\xc1\r\n");
        }
        return;
    }
}

/// Logs a line of text.
#[cfg(feature = "text-log")]
pub(crate) fn log_line(entry: &crate::log::entry::Entry<'_>) {
    use crate::log::entry::{Format, Origin};
    struct Open;
    impl core::fmt::Write for Open {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            with_log(|log| log.write(text.as_bytes()));
            Ok(())
        }
    }
    let write = |format: Format, origin: &Origin<'_>| {
        with_log(|log| log.open(format.kind(), Some(entry.level)));
        // What of a value cannot be written is missing.
        let _ = entry.write(format, origin, &mut Open);
        with_log(|log| log.close());
    };
    if super::CORE_READY.load(Ordering::Relaxed) {
        super::with_core(|core| core.log.with_origin(|origin| write(core.log.format.get(), origin)));
    } else {
        write(Format::Text, &Origin::default());
    }
    tell_readers();
}
