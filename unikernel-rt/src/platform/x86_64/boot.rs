//! From the loader's jump to the first line of Rust: PVH entry, long mode, relocation.
//!
//! The loader enters in 32-bit protected mode with paging off and `ebx` pointing to the start info (Xen,
//! docs/misc/pvh). We map the first GiB and the GiB of the devices below 4 GiB one to one, enter 64-bit mode,
//! clear `.bss`, apply the image's relative relocations (nobody else does) and call [`super::start`].

use core::arch::global_asm;

/// The stack of the executor and of every task while it is polled. Futures live on the heap, so this holds only
/// the deepest chain of calls, with room for debug builds; a guard page reports what is deeper.
const STACK_LEN: usize = 128 * 1024;

/// Selector of the 64-bit code segment in the table below; the runtime's own table has it at the same place.
const CODE_SELECTOR: usize = 8;

global_asm!(
    r#"
.pushsection .boot.stack, "aw", @nobits
.balign 4096
.global __stack_guard
__stack_guard:      .skip 4096
                    .skip {stack_len}
__stack_top:
.global __boot_pml4
__boot_pml4:        .skip 4096
.global __boot_pdpt
__boot_pdpt:        .skip 4096
__boot_pd_low:      .skip 4096
__boot_pd_devices:  .skip 4096
__boot_tables_end:
.popsection

.pushsection .boot, "ax"
.code32
.global __pvh_entry
__pvh_entry:
    cli
    cld
    // Where are we? The image is position independent, and 32-bit code has no rip to ask. The loader gives
    // no stack, so one word of low memory serves until we know where ours is.
    movl %ebx, %ebp
    movl $0x7000, %esp
    call .Lhere
.Lhere:
    popl %esi
    leal (__stack_top - .Lhere)(%esi), %esp

    // Clear the four tables, which lie in memory that nobody cleared.
    leal (__boot_pml4 - .Lhere)(%esi), %edi
    xorl %eax, %eax
    movl $(4 * 4096 / 4), %ecx
    rep stosl

    // Present and writable is 3; a page of 2 MiB adds 0x80, an uncached one 0x10.
    leal (__boot_pdpt - .Lhere)(%esi), %eax
    orl $3, %eax
    movl %eax, (__boot_pml4 - .Lhere)(%esi)
    leal (__boot_pd_low - .Lhere)(%esi), %eax
    orl $3, %eax
    movl %eax, (__boot_pdpt - .Lhere)(%esi)
    leal (__boot_pd_devices - .Lhere)(%esi), %eax
    orl $3, %eax
    movl %eax, (__boot_pdpt - .Lhere + 3 * 8)(%esi)

    xorl %ecx, %ecx
    movl $0x83, %eax
.Lfill:
    movl %eax, (__boot_pd_low - .Lhere)(%esi, %ecx, 8)
    leal 0xc0000010(%eax), %edx
    movl %edx, (__boot_pd_devices - .Lhere)(%esi, %ecx, 8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $512, %ecx
    jb .Lfill

    leal (__boot_pml4 - .Lhere)(%esi), %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax             // PAE
    movl %eax, %cr4
    movl $0xc0000080, %ecx      // EFER
    rdmsr
    orl $0x900, %eax            // LME, NXE
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax       // PG, WP, PE
    andl $0x9fffffff, %eax      // caches on: not CD, not NW
    movl %eax, %cr0

    leal (.Lgdt - .Lhere)(%esi), %eax
    movl %eax, (.Lgdt_pointer - .Lhere + 2)(%esi)
    lgdt (.Lgdt_pointer - .Lhere)(%esi)
    leal (.Llong_mode - .Lhere)(%esi), %eax
    pushl ${code}
    pushl %eax
    lret

.code64
.Llong_mode:
    movl $({code} + 8), %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    leaq __stack_top(%rip), %rsp

    leaq __bss_start(%rip), %rdi
    leaq __bss_end(%rip), %rcx
    subq %rdi, %rcx
    shrq $3, %rcx
    rep stosq

    // Elf64_Rela: offset, info, addend. Those below the image belong to the log strings, which are not loaded.
    leaq __rela_start(%rip), %rsi
    leaq __rela_end(%rip), %rdi
    leaq __image_start(%rip), %rdx
.Lrelocate:
    cmpq %rdi, %rsi
    jae .Lrelocated
    movq (%rsi), %rax
    cmpq %rdx, %rax
    jb .Lskip
    cmpl $8, 8(%rsi)            // R_X86_64_RELATIVE
    jne .Lskip
    movq 16(%rsi), %rcx
    movq %rcx, (%rax)
.Lskip:
    addq $24, %rsi
    jmp .Lrelocate

.Lrelocated:
    movl %ebp, %edi
    xorl %ebp, %ebp             // the end of every backtrace
    call {start}
    ud2
.popsection

// Written to above, while paging is off, so it is data.
.pushsection .data.boot, "aw"
.balign 8
.Lgdt:
    .quad 0
    .quad 0x00af9b000000ffff    // 64-bit code
    .quad 0x00cf93000000ffff    // data
.Lgdt_pointer:
    .short 3 * 8 - 1
    .long 0
    .long 0
.popsection
"#,
    stack_len = const STACK_LEN,
    code = const CODE_SELECTOR,
    start = sym super::start,
    options(att_syntax)
);
