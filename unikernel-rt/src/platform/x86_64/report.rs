//! The last words of a machine: what happened, where, and how it came there.
//!
//! Written as plain text, so that it can be read without the ELF; the runner adds function names and lines to the
//! addresses. No memory contents are printed.

use super::{fiber, heap_stats, interrupts::FaultFrame, memory, power, recover, serial, serial::console_line};
use core::{
    arch::asm,
    fmt::Write,
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};
use x86_64::registers::control::Cr2;

/// Exit codes; README, "Exit codes".
const EXIT_PANIC: u8 = 101;
const EXIT_FAULT: u8 = 102;
const EXIT_OUT_OF_MEMORY: u8 = 103;
pub(super) const EXIT_HANG: u8 = 105;

/// Frames of a backtrace; a deeper one is a recursion, whose pattern shows by then.
const FRAMES_MAX: usize = 64;

/// A second failure while one is being reported ends the machine at once.
static REPORTING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    let out_of_memory = is_out_of_memory(info);
    let what = if out_of_memory { "out of memory" } else { "panic" };
    let _ = write!(serial::Console, "unikernel: {what}");
    if let Some(location) = info.location() {
        let _ = write!(serial::Console, " at {}:{}:{}", location.file(), location.line(), location.column());
    }
    console_line(format_args!(": {}", info.message()));
    if out_of_memory {
        let heap = heap_stats();
        let (in_use, total) = (heap.in_use >> 10, heap.total >> 10);
        let mib = (2 * heap.total + memory::image_physical().end as usize).div_ceil(1 << 20);
        console_line(format_args!(
            "unikernel: {in_use} of {total} KiB of heap are in use; start the machine with more memory: -m {mib}M"
        ));
    }
    let frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack)) };
    last_words(None, frame);
    if !out_of_memory {
        recover::resume();
    }
    power::exit(if out_of_memory { EXIT_OUT_OF_MEMORY } else { EXIT_PANIC })
}

/// The standard library's allocation failure arrives as a panic with this text.
fn is_out_of_memory(info: &PanicInfo<'_>) -> bool {
    struct Prefix(bool, usize);
    const TEXT: &str = "memory allocation of ";
    impl Write for Prefix {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            let rest = &TEXT[self.1.min(TEXT.len())..];
            let len = rest.len().min(text.len());
            self.0 &= rest.as_bytes()[..len] == text.as_bytes()[..len];
            self.1 += len;
            Ok(())
        }
    }
    let mut prefix = Prefix(true, 0);
    let _ = write!(prefix, "{}", info.message());
    prefix.0 && prefix.1 == TEXT.len()
}

/// Reports a CPU exception; called by the entry of every fault vector.
pub(super) extern "C" fn fault(frame: &FaultFrame) -> ! {
    begin();
    let name = match frame.vector {
        0 => "divide error",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid instruction",
        8 => "double fault",
        13 => "general protection fault",
        14 => "page fault",
        _ => "CPU exception",
    };
    let _ = write!(serial::Console, "unikernel: {name} (vector {}, error {:#x})", frame.vector, frame.error_code);
    if frame.vector == 14 || frame.vector == 8 {
        let address = Cr2::read_raw();
        let _ = write!(serial::Console, " at address {address:#x}");
        if memory::stack_guarded_by(address).is_some() || fiber::is_overflow(address) {
            let _ = write!(serial::Console, ": stack overflow");
        } else if address < 0x1_0000 {
            let _ = write!(serial::Console, ": null pointer");
        }
    }
    console_line(format_args!(""));
    registers(frame);
    last_words(Some(frame.rip), frame.rbp);
    power::exit(EXIT_FAULT)
}

/// Reports a task that runs and does not wait; called by the interrupt that found it so.
pub(super) fn hang(frame: &FaultFrame, millis: u64, is_end: bool) {
    begin();
    console_line(format_args!("unikernel: hang: a task has been running for {millis} ms without waiting"));
    if is_end {
        registers(frame);
    }
    last_words(Some(frame.rip), frame.rbp);
}

fn registers(frame: &FaultFrame) {
    let rows = [
        [("rip", frame.rip), ("rsp", frame.rsp), ("rbp", frame.rbp), ("flags", frame.rflags)],
        [("rax", frame.rax), ("rbx", frame.rbx), ("rcx", frame.rcx), ("rdx", frame.rdx)],
        [("rsi", frame.rsi), ("rdi", frame.rdi), ("r8", frame.r8), ("r9", frame.r9)],
        [("r10", frame.r10), ("r11", frame.r11), ("r12", frame.r12), ("r13", frame.r13)],
        [("r14", frame.r14), ("r15", frame.r15), ("cs", frame.cs), ("ss", frame.ss)],
    ];
    for row in rows {
        let _ = write!(serial::Console, "unikernel:  ");
        for (name, value) in row {
            let _ = write!(serial::Console, " {name} {value:#018x}");
        }
        console_line(format_args!(""));
    }
}

fn begin() {
    if REPORTING.swap(true, Ordering::Relaxed) {
        console_line(format_args!("unikernel: a second failure during the report"));
        power::exit(EXIT_FAULT);
    }
    // Ends a log frame that was being written.
    serial::write(&[0xc1, b'\r', b'\n']);
}

fn last_words(first: Option<u64>, frame: u64) {
    match super::current_task() {
        Some(task) => console_line(format_args!("unikernel: in task {task}")),
        None => console_line(format_args!("unikernel: outside of any task")),
    }
    console_line(format_args!("unikernel: backtrace"));
    if let Some(address) = first {
        console_line(format_args!("unikernel:   {:#018x}", memory::link_address(address)));
    }
    backtrace(frame);
    console_line(format_args!("unikernel: end of report"));
    REPORTING.store(false, Ordering::Relaxed);
}

/// Follows the frame pointers: each frame holds the caller's frame and the return address. On a fiber they end where it
/// was started.
fn backtrace(mut frame: u64) {
    let stack = fiber::current_stack().unwrap_or(memory::stack(memory::Stack::Main));
    for _ in 0..FRAMES_MAX {
        // A frame outside the stack is where the chain ends or was damaged: reading it could fault.
        if !frame.is_multiple_of(8) || !(stack.start..stack.end - 16).contains(&frame) {
            return;
        }
        // SAFETY: two aligned words within the image's stack section or a fiber's stack, both of which are mapped.
        let [caller, address] = unsafe { *(frame as *const [u64; 2]) };
        if !memory::text().contains(&address) {
            return;
        }
        console_line(format_args!("unikernel:   {:#018x}", memory::link_address(address)));
        frame = caller;
    }
}
