//! The way from 64-bit mode to the kernel's entry: 32-bit protected mode, no paging, `ebx` leads to the start info (Xen,
//! docs/misc/pvh).
//!
//! The code is copied to a page below 4 GiB, since a loader may lie above, and since firmware may protect what a loader
//! was loaded to.

use core::arch::global_asm;

global_asm!(
    r#"
.global unikernel_handover_start
unikernel_handover_start:
.code64
    // edi: the entry; esi: the start info; rdx: where this copy is. What is in the stack's memory is not needed any more.
    cli
    cld
    movl %edi, %ebp
    movl %esi, %ebx
    leaq (.Lhandover_stack - unikernel_handover_start)(%rdx), %rsp
    leaq (.Lhandover_gdt - unikernel_handover_start)(%rdx), %rax
    movq %rax, (.Lhandover_gdt_pointer - unikernel_handover_start + 2)(%rdx)
    lgdt (.Lhandover_gdt_pointer - unikernel_handover_start)(%rdx)
    leaq (.Lhandover_32 - unikernel_handover_start)(%rdx), %rax
    pushq $8
    pushq %rax
    lretq
.code32
.Lhandover_32:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    // Paging cannot be turned off with PCIDE on, nor write protection with CET on.
    movl %cr4, %eax
    andl $~(1 << 17 | 1 << 23), %eax
    movl %eax, %cr4
    movl $0x11, %eax            // PE, ET
    movl %eax, %cr0
    movl $0xc0000080, %ecx      // EFER
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    movl %eax, %cr4
    jmp *%ebp
.balign 8
.Lhandover_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    // 32-bit code
    .quad 0x00cf93000000ffff    // data
.Lhandover_gdt_pointer:
    .short 3 * 8 - 1
    .quad 0
    .balign 8
    .skip 64
.Lhandover_stack:
.global unikernel_handover_end
unikernel_handover_end:
.code64
"#,
    options(att_syntax)
);

unsafe extern "C" {
    static unikernel_handover_start: u8;
    static unikernel_handover_end: u8;
}

/// Enters the kernel.
///
/// # Safety
///
/// `page` is a page below 4 GiB that is mapped where it is, may be written and executed, and holds nothing that is needed.
/// `entry` is a PVH entry with its kernel around it; `start_info` leads to a [`StartInfo`](crate::start_info::StartInfo) below
/// 1 GiB. Nobody else runs on this machine: no interrupt is waited for, and no device writes to memory that is RAM in
/// the start info.
pub unsafe fn enter(page: *mut u8, entry: u32, start_info: u32) -> ! {
    let (start, end) = (&raw const unikernel_handover_start, &raw const unikernel_handover_end);
    // SAFETY: the two symbols enclose the code above, which is shorter than a page; the caller gave the page away.
    unsafe { core::ptr::copy_nonoverlapping(start, page, end as usize - start as usize) };
    // SAFETY: the page has begun with this function since the line above; its arguments are where it expects them.
    let copy: unsafe extern "sysv64" fn(u32, u32, *mut u8) -> ! = unsafe { core::mem::transmute(page) };
    // SAFETY: what it needs is what the caller promises.
    unsafe { copy(entry, start_info, page) }
}
