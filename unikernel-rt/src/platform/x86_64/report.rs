//! The last words of a machine: what happened, where, and how it came there.
//!
//! Written as plain text, so that it can be read without the ELF; the runner adds function names and lines to the
//! addresses. No memory contents are printed. Addresses are those of the ELF file, which tell nothing about this boot; only
//! a fault, or a hang that ends the machine, shows its registers.

mod backtrace;
mod out;
mod steps;

use super::{
    crash, fiber,
    interrupts::{self, FaultFrame},
    log_ring, memory, power, recover, serial, with_log,
};
use crate::crash::Kind;
use backtrace::Origin;
pub(super) use backtrace::callers;
use core::{
    arch::asm,
    cell::UnsafeCell,
    fmt::{self, Write},
    panic::PanicInfo,
};
use out::{Indented, Out, line};
use x86_64::registers::control::Cr2;

/// A report in progress. Not on the stack: after a second failure the report goes on with its next step.
#[derive(Clone, Copy)]
struct Report {
    kind: Kind,
    origin: Origin,
    /// The machine goes on after it.
    is_survived: bool,
    next_step: usize,
    failures: usize,
}

impl Report {
    fn new(kind: Kind, origin: Origin, is_survived: bool) -> Report {
        Report { kind, origin, is_survived, next_step: 0, failures: 0 }
    }
}

struct Slot(UnsafeCell<Option<Report>>);

// SAFETY: one core, and no interrupts while a report is written: `panic` and `hang` come first of all to that.
unsafe impl Sync for Slot {}

/// The last line, which readers of a console wait for.
const END: &str = "unikernel: end of report";

static REPORT: Slot = Slot(UnsafeCell::new(None));

/// Failures during a report, after which it is given up.
const FAILURES_MAX: usize = 2 * steps::ALL.len();

fn report() -> Option<Report> {
    // SAFETY: one core; the value is copied.
    unsafe { *REPORT.0.get() }
}

fn set_report(report: Option<Report>) {
    // SAFETY: one core; nobody has a reference to it.
    unsafe { *REPORT.0.get() = report };
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    interrupts::block();
    let kind = if is_out_of_memory(info) { Kind::OutOfMemory } else { Kind::Panic };
    begin(kind, format_args!("{kind}{}", Place(info)), || {
        let frame: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack)) };
        Origin::panic(frame)
    });
    let _ = write!(Out, "unikernel: {kind}{}: ", Place(info));
    let _ = write!(Indented, "{}", info.message());
    line(format_args!(""));
    if kind == Kind::OutOfMemory {
        steps::memory_advice();
    }
    go_on()
}

/// ` at FILE:LINE:COLUMN`.
struct Place<'a>(&'a PanicInfo<'a>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.location().map_or(Ok(()), |place| write!(f, " at {}:{}:{}", place.file(), place.line(), place.column()))
    }
}

/// The standard library's allocation failure arrives as a panic with this text.
fn is_out_of_memory(info: &PanicInfo<'_>) -> bool {
    const TEXT: &str = "memory allocation of ";
    struct Prefix {
        matches: bool,
        len: usize,
    }
    impl Write for Prefix {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let rest = &TEXT[self.len.min(TEXT.len())..];
            let len = rest.len().min(text.len());
            self.matches &= rest.as_bytes()[..len] == text.as_bytes()[..len];
            self.len += len;
            // What comes after it does not matter, and formatting it could fail.
            if self.matches && self.len < TEXT.len() { Ok(()) } else { Err(fmt::Error) }
        }
    }
    let mut prefix = Prefix { matches: true, len: 0 };
    let _ = write!(prefix, "{}", info.message());
    prefix.matches && prefix.len == TEXT.len()
}

/// Reports a CPU exception; called by the entry of every fault vector.
pub(super) extern "C" fn fault(frame: &FaultFrame) -> ! {
    let address = Cr2::read_raw();
    let is_memory = matches!(frame.vector, 8 | 14);
    let overflow = is_memory && (memory::stack_guarded_by(address).is_some() || fiber::is_overflow(address));
    let kind = if overflow { Kind::StackOverflow } else { Kind::Fault };
    let name = name(frame.vector);
    begin(kind, format_args!("{name} at {:#x}", memory::link_address(frame.rip)), || Origin::fault(frame));
    let _ = write!(Out, "unikernel: {name} (vector {}, error {:#x})", frame.vector, frame.error_code);
    if is_memory {
        let _ = write!(Out, " at address {address:#x}");
    }
    if overflow {
        let _ = write!(Out, ": stack overflow in {}", steps::CurrentTask);
    } else if is_memory && address < memory::LOW_END {
        let _ = write!(Out, ": null pointer");
    } else if frame.vector == 14 {
        let _ = write!(Out, ": {}", reason(frame.error_code));
    }
    line(format_args!(""));
    registers(frame);
    go_on()
}

/// What a page fault's error code says (Intel SDM volume 3, 4.7).
fn reason(error_code: u64) -> &'static str {
    match (error_code & 0b1_0000 != 0, error_code & 0b10 != 0, error_code & 1 != 0) {
        (true, ..) => "running what is no code",
        (_, true, true) => "writing where nothing may be written",
        (_, _, true) => "touching a page of user code",
        _ => "nothing is there",
    }
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid instruction",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        _ => "CPU exception",
    }
}

/// These are addresses of this boot, which is over.
fn registers(frame: &FaultFrame) {
    line(format_args!("unikernel:   image at {:#x}", memory::image().start));
    let rows = [
        [("rip", frame.rip), ("rsp", frame.rsp), ("rbp", frame.rbp), ("flags", frame.rflags)],
        [("rax", frame.rax), ("rbx", frame.rbx), ("rcx", frame.rcx), ("rdx", frame.rdx)],
        [("rsi", frame.rsi), ("rdi", frame.rdi), ("r8", frame.r8), ("r9", frame.r9)],
        [("r10", frame.r10), ("r11", frame.r11), ("r12", frame.r12), ("r13", frame.r13)],
        [("r14", frame.r14), ("r15", frame.r15), ("cs", frame.cs), ("ss", frame.ss)],
    ];
    for row in rows {
        let _ = write!(Out, "unikernel:  ");
        for (name, value) in row {
            let _ = write!(Out, " {name} {value:#018x}");
        }
        line(format_args!(""));
    }
}

/// Reports a task that runs and does not wait; called by the interrupt that found it so, which returns to it.
pub(super) fn hang(frame: &FaultFrame, millis: u64) {
    // A report on a slow console is no hang.
    if report().is_none() {
        begin_hang(frame, millis, true);
        take_steps();
        line(format_args!("{END}"));
        set_report(None);
    }
}

/// The same, and the last that this machine does.
pub(super) fn hang_for_ever(frame: &FaultFrame, millis: u64) {
    if report().is_none() {
        begin_hang(frame, millis, false);
        registers(frame);
        go_on()
    }
}

fn begin_hang(frame: &FaultFrame, millis: u64, is_survived: bool) {
    begin_with(Report::new(Kind::Hang, Origin::fault(frame), is_survived));
    line(format_args!("unikernel: hang: a task has been running for {millis} ms without waiting"));
}

/// Begins a report. When this is a second failure, during a report, it goes on with that one and does not return.
fn begin(kind: Kind, what: fmt::Arguments<'_>, origin: impl FnOnce() -> Origin) {
    let Some(mut report) = report() else {
        let is_survived = kind == Kind::Panic && recover::is_running();
        with_log(|log| log.discard());
        return begin_with(Report::new(kind, origin(), is_survived));
    };
    report.failures += 1;
    if core::mem::replace(&mut report.is_survived, false) {
        crash::begin(true);
    }
    set_report(Some(report));
    if report.failures > FAILURES_MAX {
        power::exit(crash::exit_code(report.kind));
    }
    line(format_args!("unikernel: a second failure during the report: {what}"));
    go_on()
}

fn begin_with(report: Report) {
    set_report(Some(report));
    crash::begin(!report.is_survived);
    // A hang may be found in the middle of logging.
    match log_ring::is_busy() {
        false => log_ring::flush(),
        // What follows must not be taken for the rest of a frame.
        true => serial::write(b"\xc1\r\n"),
    }
}

/// Takes the steps that are left.
fn take_steps() {
    while let Some(mut report) = report()
        && let Some(step) = steps::ALL.get(report.next_step)
    {
        report.next_step += 1;
        set_report(Some(report));
        step(&report);
    }
}

/// Takes the steps that are left, and ends the machine or the task.
fn go_on() -> ! {
    take_steps();
    line(format_args!("{END}"));
    let Some(report) = report() else { unreachable!("it has begun") };
    if report.is_survived {
        set_report(None);
        recover::resume();
    }
    crash::end(report.kind)
}
