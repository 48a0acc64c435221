//! Fibers on the machine: stacks of their own, and the switch between two of them.
//!
//! Devices' interrupts are held back while tasks run, the timer's has a stack of its own, and compiled code uses no vector
//! registers: so a switch is what a function call must preserve, and the stack pointer.

mod stack;

pub(super) use stack::{give_back_stacks, waiting_len};

use alloc::{boxed::Box, rc::Rc};
use core::{
    arch::naked_asm,
    cell::{Cell, UnsafeCell},
    ops::Range,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use stack::{GUARD_LEN, Stack};

type Body = Box<dyn FnOnce(RawSuspend) + Send>;

/// What both sides of a switch know.
struct Control {
    /// The stack pointer of the side that waits.
    waiting: UnsafeCell<u64>,
    /// None once it has started.
    body: Cell<Option<Body>>,
    returned: Cell<bool>,
    stack: Range<u64>,
}

/// The fiber that runs, or null. Each lives in the `Rc` of a `RawFiber` whose `resume` has not returned.
static CURRENT: AtomicPtr<Control> = AtomicPtr::new(ptr::null_mut());

#[derive(PartialEq)]
enum Stage {
    /// Not started, or suspended.
    Waiting,
    /// In a call of `resume`, for ever if a panic has ended that.
    Running,
    Returned,
}

pub(crate) struct RawFiber {
    control: Rc<Control>,
    /// None once the computation has returned. A stack that is dropped is leaked.
    stack: Option<Stack>,
    stage: Stage,
}

pub(crate) struct RawSuspend {
    /// Compared with `CURRENT`, never followed.
    control: *const Control,
}

impl RawFiber {
    /// `body` starts at the first `resume`. `None` when there is no memory for the stack.
    pub(crate) fn new(stack_len: usize, body: Body) -> Option<RawFiber> {
        let stack = Stack::new(stack_len)?;
        let control = Control {
            waiting: UnsafeCell::new(prepare(&stack)),
            body: Cell::new(Some(body)),
            returned: Cell::new(false),
            stack: stack.range(),
        };
        Some(RawFiber { control: Rc::new(control), stack: Some(stack), stage: Stage::Waiting })
    }

    /// Runs the computation until it suspends or returns; true when it returned.
    pub(crate) fn resume(&mut self) -> bool {
        assert!(self.stage == Stage::Waiting, "a computation that has returned or panicked cannot be resumed");
        self.stage = Stage::Running;
        let outer = CURRENT.swap(Rc::as_ptr(&self.control).cast_mut(), Ordering::Relaxed);
        // SAFETY: the fiber waits, so the pointer is into its stack, where `prepare` or a switch saved registers; the stack
        // is not freed before the computation has returned.
        unsafe { switch(self.control.waiting.get()) };
        CURRENT.store(outer, Ordering::Relaxed);
        if !self.control.returned.get() {
            self.stage = Stage::Waiting;
            return false;
        }
        self.stage = Stage::Returned;
        // Nothing switches to the stack any more: `waiting` is only used above, and the stage forbids that.
        self.stack.take().expect("was there to run on").put_back();
        true
    }
}

impl Drop for RawFiber {
    /// Lets a suspended computation end. What a panic left on a stack stays there, since others may point to it.
    fn drop(&mut self) {
        match self.control.body.take() {
            Some(never_started) => {
                drop(never_started);
                // Nothing ever ran on it.
                self.stack.take().into_iter().for_each(Stack::put_back);
            }
            None if self.stage == Stage::Waiting => {
                let returned = self.resume();
                assert!(returned, "a cancelled computation cannot suspend");
            }
            None => {}
        }
    }
}

impl RawSuspend {
    /// Lets the resumer go on; returns when it resumes or drops the fiber.
    pub(crate) fn suspend(&self) {
        let current = CURRENT.load(Ordering::Relaxed);
        assert!(ptr::eq(current, self.control), "a computation can only suspend itself");
        // SAFETY: see `CURRENT`; null is no `control`.
        let waiting = unsafe { (*current).waiting.get() };
        // SAFETY: this code runs on the fiber's stack, so it is the resumer that waits: `resume` saved its registers on a
        // stack that lives as long as that call.
        unsafe { switch(waiting) };
    }
}

/// The stack of the running fiber.
pub(super) fn current_stack() -> Option<Range<u64>> {
    // SAFETY: see `CURRENT`.
    let current = unsafe { CURRENT.load(Ordering::Relaxed).as_ref() };
    current.map(|control| control.stack.clone())
}

/// Whether touching `address` is the running fiber's overflow.
pub(super) fn is_overflow(address: u64) -> bool {
    current_stack().is_some_and(|stack| (stack.start - GUARD_LEN..stack.start).contains(&address))
}

/// A panic has left the running fiber, and those it was resumed by, for ever.
pub(super) fn abandon() {
    CURRENT.store(ptr::null_mut(), Ordering::Relaxed);
}

/// Puts on a new stack what the first `switch` to it takes off. Returns the stack pointer.
fn prepare(stack: &Stack) -> u64 {
    // Six registers, of which `rbp` ends backtraces; the address to go to; two words, so that the stack is aligned to
    // sixteen where a call wants that.
    let frame = [0, 0, 0, 0, 0, 0, start as *const () as u64, 0, 0];
    let at = stack.range().end - size_of_val(&frame) as u64;
    // SAFETY: the top of a stack that is mapped and that nothing runs on; words are aligned there.
    unsafe { (at as *mut [u64; 9]).write(frame) };
    at
}

/// The first instruction of a fiber.
#[unsafe(naked)]
unsafe extern "C" fn start() {
    naked_asm!("call {run}", "ud2", run = sym run)
}

extern "C" fn run() {
    let current = CURRENT.load(Ordering::Relaxed);
    // SAFETY: see `CURRENT`: `resume` has just set it.
    let body = unsafe { (*current).body.take() }.expect("a fiber starts once");
    body(RawSuspend { control: current });
    // SAFETY: see `CURRENT`: the fiber runs again, or still.
    unsafe { (*current).returned.set(true) };
    // SAFETY: as above.
    let waiting = unsafe { (*current).waiting.get() };
    // SAFETY: as in `suspend`. It does not come back, so what the stack holds is over.
    unsafe { switch(waiting) };
}

/// Saves the registers a function must preserve (System V ABI, 3.2.1) on this stack, and goes on where the stack pointer
/// in `waiting` was saved, which is exchanged for this one.
#[unsafe(naked)]
unsafe extern "C" fn switch(waiting: *mut u64) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov rax, [rdi]",
        "mov [rdi], rsp",
        "mov rsp, rax",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}
