//! The way to a failure, by the frame pointers.

use super::{
    super::{fiber, interrupts::FaultFrame, memory},
    out::line,
};
use core::{arch::asm, ops::Range};

/// Frames that are shown. More are a recursion of several functions, whose pattern shows by then.
const FRAMES_MAX: usize = 64;

/// Where the walk begins.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// The instruction that failed.
    instruction: Option<u64>,
    /// The stack pointer then.
    stack_pointer: u64,
    frame: u64,
    stack: (u64, u64),
}

impl Origin {
    pub(super) fn panic(frame: u64) -> Origin {
        Origin { instruction: None, stack_pointer: frame, frame, stack: stack() }
    }

    pub(super) fn fault(frame: &FaultFrame) -> Origin {
        Origin { instruction: Some(frame.rip), stack_pointer: frame.rsp, frame: frame.rbp, stack: stack() }
    }
}

/// The stack that is in use where a report begins: the running fiber's, or the executor's.
fn stack() -> (u64, u64) {
    let stack = fiber::current_stack().unwrap_or(memory::stack(memory::Stack::Main));
    (stack.start, stack.end)
}

/// Each frame holds the caller's frame and the return address. On a fiber they end where it was started.
pub(super) fn print(origin: &Origin) {
    let stack = origin.stack.0..origin.stack.1;
    line(format_args!("unikernel: backtrace"));
    if let Some(instruction) = origin.instruction {
        line(format_args!("unikernel:   {:#018x}", memory::link_address(instruction)));
        // A call of something that is no code has left the way back on top of the stack.
        let caller = word(origin.stack_pointer, &stack).filter(|_| !memory::text().contains(&instruction));
        print_address(caller);
    }
    let (mut count, mut last, mut repeated) = (0, None, 0);
    for address in (Callers { frame: Some(origin.frame), stack }) {
        if last == Some(address) {
            repeated += 1;
        } else {
            print_repeated(core::mem::take(&mut repeated));
            (count, last) = (count + 1, Some(address));
            print_address(last.filter(|_| count <= FRAMES_MAX));
        }
    }
    print_repeated(repeated);
    if count > FRAMES_MAX {
        line(format_args!("unikernel: and {} frames more", count - FRAMES_MAX));
    }
}

/// Return addresses, from a frame outwards.
struct Callers {
    frame: Option<u64>,
    stack: Range<u64>,
}

impl Iterator for Callers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        // A frame outside the stack is where the chain ends or was damaged: reading it could fault.
        let frame = self.frame.take()?;
        let (caller, address) = (word(frame, &self.stack)?, word(frame.wrapping_add(8), &self.stack)?);
        // Callers are further up; a chain that goes down was damaged, and might never end.
        self.frame = (caller > frame).then_some(caller);
        memory::text().contains(&address).then_some(address)
    }
}

/// Who called the function that calls this, as the addresses of the ELF file; zeros after the last.
#[inline(always)]
pub(in super::super) fn callers<const N: usize>() -> [u64; N] {
    let frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    let (start, end) = stack();
    let mut addresses = [0; N];
    let callers = Callers { frame: Some(frame), stack: start..end };
    addresses.iter_mut().zip(callers).for_each(|(place, address)| *place = memory::link_address(address));
    addresses
}

/// A function that calls itself.
fn print_repeated(count: usize) {
    if count > 0 {
        line(format_args!("unikernel:   the same {count} times more"));
    }
}

fn print_address(address: Option<u64>) {
    if let Some(address) = address.filter(|address| memory::text().contains(address)) {
        line(format_args!("unikernel:   {:#018x}", memory::link_address(address)));
    }
}

/// The word at `address`, if that is on `stack`.
fn word(address: u64, stack: &Range<u64>) -> Option<u64> {
    let is_on_stack = address.is_multiple_of(8) && (stack.start..stack.end - 8).contains(&address);
    // SAFETY: an aligned word within the executor's or a fiber's stack, both of which are mapped.
    is_on_stack.then(|| unsafe { *(address as *const u64) })
}
