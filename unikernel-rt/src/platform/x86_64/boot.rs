//! From the loader's jump to the first line of Rust: PVH entry, long mode, relocation.
//!
//! The loader enters in 32-bit protected mode with paging off and `ebx` pointing to the start info (Xen,
//! docs/misc/pvh). We map the first GiB one to one, enter 64-bit mode and clear `.bss`. [`super::early::plan`] draws the
//! addresses of this boot and makes the page tables for them; the image is relocated to its address, the tables are
//! switched, and [`super::start`] runs there.

use super::memory::STACKS_LEN;
use core::arch::global_asm;

/// Selector of the 64-bit code segment in the table below; the runtime's own table has it at the same place.
const CODE_SELECTOR: usize = 8;

global_asm!(
    r#"
.pushsection .boot.stacks, "aw", @nobits
.balign 4096
                    .skip {stacks_len}
__stacks_top:
.popsection
.pushsection .boot.tables, "aw", @nobits
.balign 4096
__boot_pml4:        .skip 4096
.global __boot_pdpt
__boot_pdpt:        .skip 4096
__boot_pd:          .skip 4096
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
    leal (__stacks_top - .Lhere)(%esi), %esp

    // Clear two tables, which lie in memory that nobody cleared.
    leal (__boot_pml4 - .Lhere)(%esi), %edi
    xorl %eax, %eax
    movl $(2 * 4096 / 4), %ecx
    rep stosl

    // Present and writable is 3; a page of 2 MiB adds 0x80.
    leal (__boot_pdpt - .Lhere)(%esi), %eax
    orl $3, %eax
    movl %eax, (__boot_pml4 - .Lhere)(%esi)
    leal (__boot_pd - .Lhere)(%esi), %eax
    orl $3, %eax
    movl %eax, (__boot_pdpt - .Lhere)(%esi)

    xorl %ecx, %ecx
    movl $0x83, %eax
.Lfill:
    movl %eax, (__boot_pd - .Lhere)(%esi, %ecx, 8)
    movl $0, (__boot_pd - .Lhere + 4)(%esi, %ecx, 8)
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
    leaq __stacks_top(%rip), %rsp

    leaq __bss_start(%rip), %rdi
    leaq __bss_end(%rip), %rcx
    subq %rdi, %rcx
    shrq $3, %rcx
    rep stosq

    // Where the loader put it: by r13 beyond where it was linked, which is mostly nothing.
    leaq __image_start(%rip), %r13
    subq ${link_start}, %r13
    movq %r13, %rdi
    movq %r13, %rsi
    call .Lrelocate

    movl %ebp, %edi
    call {plan}
    // The image goes to its address of this boot: by r12 beyond where it was linked. No Rust code runs until it is there.
    movq %rax, %r12
    movq %rdx, %r14
    movq %rax, %rdi
    subq %r13, %rdi
    movq %rax, %rsi
    call .Lrelocate
    // A debugger finds the slide in r12 here.
.global __relocated
__relocated:
    leaq .Lswitched(%rip), %rcx
    subq %r13, %rcx
    addq %r12, %rcx
    // The new tables still have the old map, too.
    movq %r14, %cr3
    jmpq *%rcx
.Lswitched:
    movq __unikernel_layout+{stack_top_offset}(%rip), %rsp
    xorl %ebp, %ebp             // the end of every backtrace
    call {start}
    ud2

// Adds rdi to every address in the image, or sets those that are told in full, for which rsi is where the image will be
// beyond where it was linked. The image is r13 beyond it now. Addresses below the image belong to the log strings, which
// are not loaded.
.Lrelocate:
    leaq __rela_start(%rip), %r8
    leaq __rela_end(%rip), %r9
    leaq __image_start(%rip), %r10
    // Elf64_Rela: offset, info, addend.
.Lrela:
    cmpq %r9, %r8
    jae .Lrelr_first
    movq (%r8), %rax
    addq %r13, %rax
    cmpq %r10, %rax
    jb .Lrela_next
    cmpl $8, 8(%r8)             // R_X86_64_RELATIVE
    jne .Lrela_next
    movq 16(%r8), %rcx
    addq %rsi, %rcx
    movq %rcx, (%rax)
.Lrela_next:
    addq $24, %r8
    jmp .Lrela

    // Elf64_Relr: an address, or a bitmap of the 63 words after the last ones; its lowest bit tells which.
.Lrelr_first:
    testq %rdi, %rdi
    jz .Lrelocated
    leaq __relr_start(%rip), %r8
    leaq __relr_end(%rip), %r9
.Lrelr:
    cmpq %r9, %r8
    jae .Lrelocated
    movq (%r8), %rax
    addq $8, %r8
    testb $1, %al
    jnz .Lbitmap
    leaq (%rax, %r13), %rdx
    cmpq %r10, %rdx
    jb .Lword_done
    addq %rdi, (%rdx)
.Lword_done:
    addq $8, %rdx
    jmp .Lrelr
.Lbitmap:
    shrq $1, %rax
    jz .Lbitmap_done
.Lbit:
    bsfq %rax, %rcx
    leaq (%rdx, %rcx, 8), %r11
    cmpq %r10, %r11
    jb .Lbit_done
    addq %rdi, (%r11)
.Lbit_done:
    leaq -1(%rax), %rcx
    andq %rcx, %rax
    jnz .Lbit
.Lbitmap_done:
    addq $(63 * 8), %rdx
    jmp .Lrelr
.Lrelocated:
    ret
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
    stacks_len = const STACKS_LEN,
    code = const CODE_SELECTOR,
    link_start = const super::memory::LINK_START,
    stack_top_offset = const super::memory::STACK_TOP_OFFSET,
    plan = sym super::early::plan,
    start = sym super::start,
    options(att_syntax)
);
