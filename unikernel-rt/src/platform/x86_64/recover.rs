//! Going on after a panic in a supervised task: the registers at its poll are kept, and the panic handler returns to
//! them. Nothing is unwound; what the task held stays where it is.

use super::{fiber, interrupts};
use core::{
    arch::naked_asm,
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

/// The registers a function must preserve, and the stack pointer (System V ABI, 3.2.1).
#[repr(C)]
struct Registers([u64; 7]);

struct Slot(UnsafeCell<Registers>);

// SAFETY: one core, and interrupt handlers do not touch it.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(Registers([0; 7])));
/// Whether `SLOT` holds the registers of a call that is still running. Polls of tasks do not nest.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Calls `f`. False when it panicked.
pub(crate) fn catch_panic(mut f: &mut dyn FnMut()) -> bool {
    extern "C" fn call(f: *mut &mut dyn FnMut()) {
        // SAFETY: the pointer `catch_panic` passes below, which is valid while it waits.
        unsafe { (*f)() }
    }
    RUNNING.store(true, Ordering::Relaxed);
    // SAFETY: `SLOT` is free, since polls do not nest; `call` fits its argument.
    let panicked = unsafe { call_with_way_back(call, &raw mut f, SLOT.0.get()) };
    RUNNING.store(false, Ordering::Relaxed);
    if panicked != 0 {
        fiber::abandon();
        interrupts::unblock();
    }
    panicked == 0
}

/// Whether there is a call to go back to.
pub(super) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// Goes back to the running `catch_panic`, if there is one; it then returns false.
pub(super) fn resume() {
    if is_running() {
        // SAFETY: `SLOT` holds the registers of a call whose frame is still on the stack, below which everything is
        // given up.
        unsafe { go_back(SLOT.0.get()) }
    }
}

/// No running `catch_panic` is gone back to: the failure to come ends the machine.
pub(super) fn forget() {
    RUNNING.store(false, Ordering::Relaxed);
}

/// Saves the registers in `slot` and calls `f(argument)`. Returns 0 after it, 1 when `go_back` ended it.
#[unsafe(naked)]
unsafe extern "C" fn call_with_way_back(
    f: extern "C" fn(*mut &mut dyn FnMut()),
    argument: *mut &mut dyn FnMut(),
    slot: *mut Registers,
) -> u64 {
    naked_asm!(
        "mov [rdx], rbx",
        "mov [rdx + 8], rbp",
        "mov [rdx + 16], r12",
        "mov [rdx + 24], r13",
        "mov [rdx + 32], r14",
        "mov [rdx + 40], r15",
        "mov [rdx + 48], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        // The return address put the stack eight bytes off; calls want it aligned to sixteen.
        "sub rsp, 8",
        "call rax",
        "add rsp, 8",
        "xor eax, eax",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn go_back(slot: *const Registers) -> ! {
    naked_asm!(
        "mov rbx, [rdi]",
        "mov rbp, [rdi + 8]",
        "mov r12, [rdi + 16]",
        "mov r13, [rdi + 24]",
        "mov r14, [rdi + 32]",
        "mov r15, [rdi + 40]",
        "mov rsp, [rdi + 48]",
        "mov eax, 1",
        "ret",
    )
}
