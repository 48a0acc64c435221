//! Interrupts and CPU faults.
//!
//! Interrupts of devices are taken in two places only: while the core halts, and in a short window between two rounds of
//! the executor; elsewhere the core's task priority holds them back. A handler marks its vector and returns; the work is done
//! by the task it wakes. So no code ever runs beside other code, and there are no critical sections.
//!
//! The timer's vector is above that priority: its handler also looks whether a task runs for too long (see [`watchdog`]),
//! and may report it, for which it uses the console and nothing of apps or crates.

use super::{
    clock,
    memory::{self, Stack},
    report, watchdog,
};
use core::{
    arch::{asm, global_asm, naked_asm},
    cell::{RefCell, UnsafeCell},
    mem::MaybeUninit,
    sync::atomic::{AtomicU32, Ordering},
    task::Waker,
};
use x86_64::{
    VirtAddr,
    instructions::{segmentation::Segment, tables::load_tss},
    registers::segmentation::{CS, DS, ES, SS},
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable},
        idt::InterruptDescriptorTable,
        tss::TaskStateSegment,
    },
};

/// The first vector that is not a CPU exception.
const VECTOR_FIRST: u8 = 32;
/// One bit each in `PENDING`.
const VECTOR_COUNT: u8 = 32;

/// The timer's vector, in the class of the highest priority (SDM 12.8.3.1).
pub(super) const VECTOR_TIMER: u8 = 0xf0;
/// Its bit in `__PENDING`, whose vector nobody has.
const TIMER_BIT: u32 = 1;

/// The task priority that lets only the timer in.
const PRIORITY_BUSY: u64 = (VECTOR_TIMER >> 4) as u64 - 1;
/// The one that lets everything in.
const PRIORITY_IDLE: u64 = 0;
/// What the local APIC delivers when there was nothing to deliver (its low four bits are ones).
pub(super) const VECTOR_SPURIOUS: u8 = VECTOR_FIRST + VECTOR_COUNT - 1;

/// Vectors that have fired since somebody looked, by their distance from `VECTOR_FIRST`.
#[unsafe(no_mangle)]
static __PENDING: AtomicU32 = AtomicU32::new(0);

/// Per-core state that handlers and the executor never use at the same time.
struct CoreOnly<T>(UnsafeCell<T>);

// SAFETY: one core, and interrupt handlers do not touch it.
unsafe impl<T> Sync for CoreOnly<T> {}

static WAKERS: CoreOnly<RefCell<[Option<Waker>; VECTOR_COUNT as usize]>> =
    CoreOnly(UnsafeCell::new(RefCell::new([const { None }; VECTOR_COUNT as usize])));

type Tables = (InterruptDescriptorTable, GlobalDescriptorTable, TaskStateSegment);

/// Filled by [`init`], and read-only soon after. Ready-made in the image they would take 4 KiB of it.
#[unsafe(link_section = ".bss.sealed")]
static TABLES: CoreOnly<MaybeUninit<Tables>> = CoreOnly(UnsafeCell::new(MaybeUninit::uninit()));

/// Stacks that the CPU switches to, by their place in its table.
const STACKS: [Stack; 3] = [Stack::Fault, Stack::DoubleFault, Stack::Watchdog];
const FAULT: u16 = 0;
const DOUBLE_FAULT: u16 = 1;
const WATCHDOG: u16 = 2;

// One entry per vector: mark the bit, hold the others back, end the interrupt at the local APIC, and return. Held back
// before the end: a line that is still active interrupts again, but not before its device was looked after.
global_asm!(
    r#"
.altmacro
.macro interrupt_entry number
.balign 64
    push rax
    lock or dword ptr [rip + __PENDING], 1 << \number
    mov eax, {priority}
    mov cr8, rax
    mov rax, [rip + __LOCAL_APIC]
    mov dword ptr [rax + 0xb0], 0
    pop rax
    iretq
.endm
.pushsection .text.interrupt_entries, "ax"
.balign 64
.global __interrupt_entries
__interrupt_entries:
.set n, 0
.rept 32
    interrupt_entry %n
    .set n, n + 1
.endr
.popsection
.noaltmacro
"#,
    priority = const PRIORITY_BUSY
);

unsafe extern "C" {
    static __interrupt_entries: u8;
}

/// Bytes from one entry to the next; the assembly aligns them so.
const ENTRY_LEN: u64 = 64;

/// Loads the tables. Faults are reported from here on.
pub(super) fn init() {
    // SAFETY: called once, at boot; from now on only the CPU reads the tables.
    let tables = unsafe { &mut *TABLES.0.get() };
    let (idt, gdt, tss) =
        tables.write((InterruptDescriptorTable::new(), GlobalDescriptorTable::new(), TaskStateSegment::new()));
    for (place, stack) in STACKS.into_iter().enumerate() {
        tss.interrupt_stack_table[place] = VirtAddr::new(memory::stack(stack).end);
    }
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    let tss = gdt.append(Descriptor::tss_segment(tss));
    gdt.load();
    // SAFETY: the selectors name descriptors of the table just loaded.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        load_tss(tss);
    }
    set_handlers(idt);
    idt.load();
}

macro_rules! fault_entries {
    ($idt:ident, $stack:ident, without_code: [$($plain:ident = $plain_number:literal),*], with_code: [$($coded:ident = $coded_number:literal),*]) => {
        $({
            #[unsafe(naked)]
            unsafe extern "C" fn entry() {
                naked_asm!("push 0", concat!("push ", $plain_number), "jmp {fault}", fault = sym fault_entry)
            }
            // SAFETY: the entry saves the frame the CPU pushes for this vector; the stack is one of `STACKS`.
            unsafe { $idt.$plain.set_handler_addr(VirtAddr::from_ptr(entry as *const ())).set_stack_index($stack) };
        })*
        $({
            #[unsafe(naked)]
            unsafe extern "C" fn entry() {
                naked_asm!(concat!("push ", $coded_number), "jmp {fault}", fault = sym fault_entry)
            }
            // SAFETY: as above; for this vector the CPU pushes an error code.
            unsafe { $idt.$coded.set_handler_addr(VirtAddr::from_ptr(entry as *const ())).set_stack_index($stack) };
        })*
    };
}

fn set_handlers(idt: &mut InterruptDescriptorTable) {
    fault_entries!(idt, DOUBLE_FAULT,
        without_code: [non_maskable_interrupt = 2, machine_check = 18],
        with_code: [double_fault = 8]
    );
    fault_entries!(idt, FAULT,
        without_code: [
            divide_error = 0, debug = 1, breakpoint = 3, overflow = 4, bound_range_exceeded = 5, invalid_opcode = 6,
            device_not_available = 7, x87_floating_point = 16, simd_floating_point = 19, virtualization = 20
        ],
        with_code: [
            invalid_tss = 10, segment_not_present = 11, stack_segment_fault = 12,
            general_protection_fault = 13, page_fault = 14, alignment_check = 17
        ]
    );
    for number in 0..VECTOR_COUNT {
        let entry = (&raw const __interrupt_entries) as u64 + u64::from(number) * ENTRY_LEN;
        // SAFETY: an entry of the assembly above, which preserves every register.
        unsafe { idt[VECTOR_FIRST + number].set_handler_addr(VirtAddr::new(entry)) };
    }
    let timer = VirtAddr::from_ptr(timer_entry as *const ());
    // SAFETY: the entry preserves every register; the stack is one of `STACKS`, and no interrupt comes while it is in use.
    unsafe { idt[VECTOR_TIMER].set_handler_addr(timer).set_stack_index(WATCHDOG) };
}

/// The registers at a fault, as `fault_entry` pushes them.
#[repr(C)]
pub(super) struct FaultFrame {
    pub(super) r15: u64,
    pub(super) r14: u64,
    pub(super) r13: u64,
    pub(super) r12: u64,
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rbp: u64,
    pub(super) rdi: u64,
    pub(super) rsi: u64,
    pub(super) rdx: u64,
    pub(super) rcx: u64,
    pub(super) rbx: u64,
    pub(super) rax: u64,
    pub(super) vector: u64,
    pub(super) error_code: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

/// Makes the first fields of a [`FaultFrame`].
macro_rules! push_registers {
    () => {
        "push rax\npush rbx\npush rcx\npush rdx\npush rsi\npush rdi\npush rbp\npush r8\npush r9\npush r10\npush r11\n\
         push r12\npush r13\npush r14\npush r15"
    };
}

#[unsafe(naked)]
unsafe extern "C" fn fault_entry() {
    naked_asm!(
        push_registers!(),
        "cld",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {report}",
        "ud2",
        report = sym report::fault,
    )
}

/// The timer's: saves what `fault_entry` saves, in the same order, and takes it back.
#[unsafe(naked)]
unsafe extern "C" fn timer_entry() {
    naked_asm!(
        "push 0",
        "push {vector}",
        push_registers!(),
        "lock or dword ptr [rip + __PENDING], {bit}",
        "mov rax, [rip + __LOCAL_APIC]",
        "mov dword ptr [rax + 0xb0], 0",
        "cld",
        "mov rdi, rsp",
        "call {tick}",
        "pop r15\npop r14\npop r13\npop r12\npop r11\npop r10\npop r9\npop r8\npop rbp\npop rdi\npop rsi\npop rdx\npop rcx\n\
         pop rbx\npop rax",
        "add rsp, 16",
        "iretq",
        vector = const VECTOR_TIMER as i32,
        bit = const TIMER_BIT as i32,
        tick = sym watchdog::tick,
    )
}

/// A vector of a device, and whom it wakes.
#[cfg_attr(feature = "selftest", derive(Clone))]
pub(super) struct Irq {
    number: usize,
}

impl Irq {
    /// Takes the next free vector.
    pub(super) fn new() -> Option<Irq> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) as usize;
        (number + 1 < VECTOR_COUNT as usize).then_some(Irq { number })
    }

    /// The vector to tell the device.
    pub(super) fn vector(&self) -> u8 {
        VECTOR_FIRST + self.number as u8
    }

    /// Wakes `waker` when the interrupt comes; once.
    pub(super) fn wake(&self, waker: &Waker) {
        let mut wakers = wakers().borrow_mut();
        match &mut wakers[self.number] {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// What the interrupt does, from a device that is none.
    #[cfg(feature = "selftest")]
    pub(super) fn come(&self) {
        let waker = wakers().borrow_mut()[self.number].take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether the interrupt came since the last [`wake`](Self::wake).
    pub(super) fn has_come(&self) -> bool {
        wakers().borrow()[self.number].is_none()
    }
}

fn wakers() -> &'static RefCell<[Option<Waker>; VECTOR_COUNT as usize]> {
    // SAFETY: a shared reference; handlers do not use it, so the `RefCell` sees one core only.
    unsafe { &*WAKERS.0.get() }
}

/// Lets the timer's interrupt in, from now on, and no others.
pub(super) fn begin() {
    // SAFETY: handlers touch `__PENDING`, the timer's also what the watchdog says.
    unsafe { asm!("mov cr8, {}", "sti", in(reg) PRIORITY_BUSY, options(nostack)) };
}

/// Lets pending interrupts in, one instruction long.
pub(super) fn window() {
    // SAFETY: as for `begin`.
    unsafe {
        asm!("mov cr8, {}", "nop", "mov cr8, {}", in(reg) PRIORITY_IDLE, in(reg) PRIORITY_BUSY, options(nostack));
    }
}

/// Halts until an interrupt comes, if none is marked. It cannot come between the look at the marks and the halt: `sti` takes
/// effect after `hlt` has begun.
pub(super) fn halt() {
    // SAFETY: as for `begin`.
    unsafe {
        asm!(
            "cli",
            "cmp dword ptr [rip + __PENDING], 0",
            "jne 2f",
            "mov cr8, {idle}",
            "sti",
            "hlt",
            "mov cr8, {busy}",
            "2:",
            "sti",
            idle = in(reg) PRIORITY_IDLE,
            busy = in(reg) PRIORITY_BUSY,
            options(nostack)
        );
    }
}

/// Holds back the timer's interrupt, too, for a report or an end.
pub(super) fn block() {
    // SAFETY: fewer interrupts break nothing.
    unsafe { asm!("cli", options(nomem, nostack)) };
}

/// Lets it in again, where a task goes on after a report.
pub(super) fn unblock() {
    // SAFETY: as for `begin`; the task priority is what it was.
    unsafe { asm!("sti", options(nomem, nostack)) };
}

/// Nothing runs any more.
pub(super) fn stop() -> ! {
    loop {
        // SAFETY: the core does nothing.
        unsafe { asm!("cli", "hlt", options(nostack)) };
    }
}

/// Wakes whom the interrupts since the last call concern. False when there were none.
pub(super) fn wake_pending() -> bool {
    if __PENDING.load(Ordering::Relaxed) == 0 {
        return false;
    }
    let mut pending = __PENDING.swap(0, Ordering::AcqRel);
    if pending & TIMER_BIT != 0 {
        clock::timer_fired();
        watchdog::timer_fired();
    }
    let mut wakers = wakers().borrow_mut();
    while pending != 0 {
        let number = pending.trailing_zeros();
        pending &= pending - 1;
        if let Some(waker) = wakers[number as usize].take() {
            waker.wake();
        }
    }
    true
}
